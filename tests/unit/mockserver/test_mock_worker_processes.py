"""The parent of the workers, tested with minimal workers: when the mock is ready, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mockserver.errors import MockError, UsageError
from mockserver.workers.peers import sum_counts
from mockserver.workers.processes import WorkerPipes, WorkerProcesses

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")


def until_told(pipes: WorkerPipes) -> None:
    """A worker that serves normally."""
    asked, told = os.pipe()
    signal.signal(signal.SIGTERM, lambda number, frame: os.close(told))
    os.write(pipes.ready, b"1")
    os.read(asked, 1)


def run(work: Callable[[int, WorkerPipes], None], on_ready: Callable[[], None]) -> str:
    """The parent's output at the end."""
    try:
        WorkerProcesses(3, work).run(on_ready)
    except MockError as e:
        return str(e)
    return ""


@pytest.mark.processes
def test_it_is_ready_once_when_all_are_and_a_signal_ends_it_without_a_word() -> None:
    said = []

    def on_ready() -> None:
        said.append("ready")
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert run(lambda number, pipes: until_told(pipes), on_ready) == ""
    assert said == ["ready"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.processes
@pytest.mark.parametrize(
    ("end", "how"),
    [
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            "was killed by SIGKILL (which the system does when memory runs out)",
        ),
        (lambda: os.kill(os.getpid(), signal.SIGHUP), "was killed by SIGHUP"),
        (lambda: os._exit(3), "ended unexpectedly with status 3"),
        (lambda: None, "ended unexpectedly with status 0"),
        (lambda: 1 / 0, "ended unexpectedly with status 70"),
    ],
    ids=["killed", "hung up", "left", "returned", "defect"],
)
@pytest.mark.parametrize("when", ["before it is ready", "later"])
def test_a_worker_that_ends_unasked_is_named_and_the_others_end(
    end: Callable[[], object], how: str, when: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def work(number: int, pipes: WorkerPipes) -> None:
        if number != 1:
            until_told(pipes)
            return
        if when == "later":
            os.write(pipes.ready, b"1")
        end()

    ready: list[None] = []
    said = run(work, lambda: ready.append(None))
    assert said.startswith("worker 1 of 3 (process ")
    assert f") {how}: its requests are missing from the ledger" in said
    assert bool(ready) is (when == "later")
    assert ("ZeroDivisionError" in capfd.readouterr().err) is how.endswith("70")


@pytest.mark.processes
def test_an_error_of_a_worker_is_told_in_its_own_words(capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int, pipes: WorkerPipes) -> None:
        raise UsageError(f"--flag: worker {number} cannot")

    assert "with status 2" in run(work, lambda: None)
    assert "mockserver: --flag: worker 0 cannot\n" in capfd.readouterr().err


def test_counts_are_added_up_and_the_first_error_is_kept() -> None:
    each: list[dict[str, dict[str, Any]]] = [
        {"a": {"n": 1, "error": None}, "b": {"m": 5}},
        {"a": {"n": 2, "error": "full"}, "b": {"m": 0}},
        {"a": {"n": 4, "error": "late"}, "b": {"m": 1}},
        {"a": {"n": None}},
    ]
    assert sum_counts(each) == {"a": {"n": 7, "error": "full"}, "b": {"m": 6}}
