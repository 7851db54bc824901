"""The mock as a child process: what it removes when its parent is gone. test_killed_parents.py kills real parents."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mockserver.child import Parent


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
