"""Processes that a test stops (SIGSTOP) and resumes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.support.patience import PATIENCE_S

LEFT_ALONE = "TRUELOAD_TEST_STEADINESS_LEAVES"
"""Names the folder in which scripts/test-steadiness, which wakes processes it has stopped, looks for processes to leave
alone."""


def state(pid: int) -> str:
    """The kernel's letter for the state of a process: `T` means stopped (Linux)."""
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]


def has_stopped(pid: int) -> bool:
    """Whether all threads of a process have stopped: each does when it gets a processor."""
    states = []
    for thread in (Path("/proc") / str(pid) / "task").iterdir():
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            states.append(state(int(thread.name)))
    return set(states) == {"T"}


def stop(pid: int) -> None:
    """Stop a process, and wait until it has stopped."""
    if folder := os.environ.get(LEFT_ALONE):
        (Path(folder) / str(pid)).touch()
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE_S
    while not has_stopped(pid):
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(0.001)


def go_on(pid: int) -> None:
    """Resume a stopped process."""
    os.kill(pid, signal.SIGCONT)
    if folder := os.environ.get(LEFT_ALONE):
        (Path(folder) / str(pid)).unlink(missing_ok=True)
