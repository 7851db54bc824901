"""How one of our processes is started and ended, and its end in words."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from bench.process import child_process
from bench.process.child_process import death


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (70, "ended with status 70"),
        (-15, "was killed by SIGTERM"),
        (-11, "was killed by SIGSEGV"),
        (-9, "was killed by SIGKILL (which the system does when memory runs out)"),
    ],
)
def test_a_death_is_told_and_sigkill_with_its_likely_cause(status: int, words: str) -> None:
    assert death(status) == words


class Child(subprocess.Popen[bytes]):
    """It ends after this many seconds of the clock, or when killed."""

    def __init__(self, clock: list[int], ends_s: float, waited: list[float | None]) -> None:
        self.clock, self.ends_ns, self.waited, self.killed = clock, ends_s * 1e9, waited, False

    def wait(self, timeout: float | None = None) -> int:
        self.waited.append(timeout)
        if timeout is not None and self.clock[0] + timeout * 1e9 < self.ends_ns:
            self.clock[0] += round(timeout * 1e9)
            raise subprocess.TimeoutExpired("child", timeout)
        if not self.killed:
            self.clock[0] = max(self.clock[0], round(self.ends_ns))
        return 0

    def kill(self) -> None:
        self.killed = True

    def __del__(self) -> None:
        """There is no process."""


@pytest.mark.parametrize(
    ("ends_s", "waits", "after_s"),
    [
        ((1.0, 3.0), [5.0, 4.0, None, None], 3.0),
        ((5.0, 5.0), [5.0, 0.0, None, None], 5.0),  # The second child has no time left, but has ended.
        ((9.0, 1.0), [5.0, None, None], 5.0),
        ((3.0, 9.0), [5.0, 2.0, None, None], 5.0),
    ],
)
def test_processes_have_one_time_to_end_and_are_killed_then(
    ends_s: tuple[float, float], waits: list[float | None], after_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, waited = [0], list[float | None]()
    monkeypatch.setattr(child_process, "now_ns", lambda: clock[0])
    children = [Child(clock, ends, waited) for ends in ends_s]
    child_process.end(children, 5.0)
    assert waited == pytest.approx(waits)
    assert clock == [after_s * 1e9]
    assert all(child.killed for child in children)


def test_a_time_that_has_passed_is_no_time_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, waited = [0], list[float | None]()
    late = iter([0, 7_000_000_000])
    monkeypatch.setattr(child_process, "now_ns", lambda: next(late))
    child_process.end([Child(clock, 0.0, waited)], 5.0)
    assert waited == [0, None]


def test_a_program_is_started_with_one_end_of_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, Any]]] = []

    def popen(command: list[str], **how: Any) -> str:
        (theirs,) = how["pass_fds"]
        os.write(theirs, b"from the program")
        started.append((command, how))
        return "process"

    monkeypatch.setattr(subprocess, "Popen", popen)
    process, ours = child_process.start("a.module", environment={"A": "b"})
    ((command, how),) = started
    assert (process, command[1:4]) == ("process", ["-m", "bench.process.beside", "a.module"])
    assert command[4] == str(how["pass_fds"][0])
    assert (how["env"], how["start_new_session"], how["stdin"]) == ({"A": "b"}, True, subprocess.DEVNULL)
    with ours:
        assert ours.recv(100) == b"from the program"
        assert ours.recv(100) == b""  # Our copy of the child's end is closed.
