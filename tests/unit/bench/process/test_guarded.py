"""A guard's processes end with the guard's standard input, and with the process that holds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.process import guarded
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.processes

GUARD = [sys.executable, "-m", "bench.process.guarded", "20"]
STUBBORN = "trap '' TERM; setsid sleep 1000 & echo $$ $!; exec >&-; while :; do sleep 1000; done"
"""It ignores SIGTERM, and leaves a process in a session of its own."""


def gone(pid: int) -> bool:
    """Whether a process has ended. A zombie counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="it adopts processes on Linux alone")
@pytest.mark.parametrize("how", ["stdin is closed", "the parent is killed"])
def test_nothing_outlives_the_parent(how: str) -> None:
    guard = [sys.executable, "-m", "bench.process.guarded", "0.01", "sh", "-c", STUBBORN]
    # The parent holds the other end of the guard's stdin, and waits for a line on its own stdin.
    parent = (
        f"import subprocess, sys; p = subprocess.Popen({guard!r}, stdin=subprocess.PIPE); print(p.pid, flush=True); "
    )
    parent += "sys.stdin.readline(); p.stdin.close(); p.wait()"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        pids = [int(word) for _ in range(2) for word in process.stdout.readline().split()]
        assert len(pids) == 3
        if how == "stdin is closed":
            process.stdin.write("\n")
            process.stdin.flush()
        else:
            process.kill()
        process.stdout.read()  # Reads until the guard, the last process with the pipe, has ended.
    assert [pid for pid in pids[1:] if not gone(pid)] == []


class Server(subprocess.Popen[bytes]):
    """A server that can end, and be asked whether it has. `obeys`: whether SIGTERM ends it."""

    def __init__(self, *, obeys: bool) -> None:
        self.pid, self.obeys, self.signals = 7, obeys, list[int]()

    def send(self, group: int, number: int) -> None:
        assert group == self.pid
        self.signals.append(number)

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and not (self.obeys and signal.SIGTERM in self.signals):
            raise subprocess.TimeoutExpired("serve", timeout)
        return 0

    def __del__(self) -> None:
        """There is no process."""


def test_a_command_is_asked_to_end_before_it_is_killed() -> None:
    """Signals and waits are events here: a process that was not asked to end is noticed at once, not after its grace
    period."""
    obedient, stubborn = Server(obeys=True), Server(obeys=False)
    for server in (obedient, stubborn):
        guarded.end(server, 30.0, server.send)
    assert obedient.signals == [signal.SIGTERM]
    assert stubborn.signals == [signal.SIGTERM, signal.SIGKILL]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -9 $$"], 137, ""),
        (["/no/such/program"], 127, "/no/such/program: No such file or directory"),
    ],
)
def test_its_status_is_that_of_the_command(words: list[str], status: int, said: str) -> None:
    # The end of stdin would end the command: it stays open until the guard has ended.
    stdin, held = os.pipe()
    try:
        ran = subprocess.run(
            [*GUARD, *words], stdin=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    finally:
        os.close(stdin)
        os.close(held)
    assert ran.returncode == status
    assert said in ran.stderr
