"""The mock as a child process: what it removes when its parent is gone. test_killed_parents.py kills real parents."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mockserver.api import MockServer
from mockserver.child import Parent, run
from mockserver.errors import UsageError


@contextmanager
def parent_of(scratch: Path, monkeypatch: pytest.MonkeyPatch, *, ended: bool) -> Iterator[Parent]:
    """A parent that holds our stdin, or has ended. The thread that waits for this has not run yet."""
    ours, theirs = os.pipe()
    monkeypatch.setattr(Parent, "_wait", lambda self: None)
    with os.fdopen(ours, "rb") as stdin, os.fdopen(theirs, "wb") as held:
        monkeypatch.setattr(sys, "stdin", stdin)
        if ended:
            held.close()
        yield Parent(str(scratch))


def test_a_folder_that_is_written_to_while_it_is_removed_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    remove, late = shutil.rmtree, iter(("ledger.jsonl", "mock.json"))

    def while_written(path: str, *, ignore_errors: bool) -> None:
        remove(path, ignore_errors=ignore_errors)
        if (name := next(late, None)) is not None:
            scratch.mkdir()
            (scratch / name).touch()

    monkeypatch.setattr(shutil, "rmtree", while_written)
    with parent_of(scratch, monkeypatch, ended=True) as parent:
        parent.clean_up()
    assert not scratch.exists()


def test_the_folder_of_a_parent_that_lives_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with parent_of(tmp_path, monkeypatch, ended=False) as parent:
        parent.clean_up()
    assert tmp_path.exists()


def test_it_removes_the_folder_of_an_ended_parent_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    woken: list[None] = []
    # It would hold for this process.
    monkeypatch.setattr("mockserver.child.woken_by_parents_end", lambda: woken.append(None))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "scratch").mkdir()
    with parent_of(tmp_path, monkeypatch, ended=True):
        assert run(["--scratch", str(tmp_path / "scratch"), "--port", "none"]) == UsageError.exit_code
    assert (tempfile.tempdir, [*tmp_path.iterdir()]) == (str(tmp_path), [])
    assert "--port" in capsys.readouterr().err
    assert len(woken) == 1


def test_a_mock_that_does_not_end_is_killed_and_waited_for() -> None:
    calls: list[str] = []

    def wait(timeout_s: float | None = None) -> None:
        calls.append("wait a while" if timeout_s else "wait")
        if timeout_s:
            raise subprocess.TimeoutExpired("mock", timeout_s)

    server: Any = MockServer()
    server._process = SimpleNamespace(
        stdin=None, stdout=None, poll=lambda: None, wait=wait,
        terminate=lambda: calls.append("terminate"), kill=lambda: calls.append("kill"),
    )  # fmt: skip
    server.close()
    assert calls == ["terminate", "wait a while", "kill", "wait"]
