"""An arm's server without a process: the message about its end, and how it is ended."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from bench.tuning.servers import Server


class Guard(subprocess.Popen[bytes]):
    """`status`: its exit status once its standard input is closed; None: it ends only when killed."""

    def __init__(self, status: int | None) -> None:
        self.stdin, self.status, self.returncode = io.BytesIO(), status, 0
        self.events: list[object] = []

    def wait(self, timeout: float | None = None) -> int:
        assert self.stdin is not None
        self.events.append(("waits", timeout, self.stdin.closed))
        if self.status is None:
            raise subprocess.TimeoutExpired("guard", timeout or 0)
        return self.status

    def kill(self) -> None:
        self.events.append("killed")
        self.status = -9

    def __del__(self) -> None:
        """There is no process."""


def server(guard: Guard) -> Server:
    return Server(guard, 8000, Path("log"), stop_within_s=4.0)


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (0, "ended with status 0"),
        (1, "ended with status 1"),
        (127, "ended with status 127"),
        (128, "ended with status 128"),
        (129, "was killed by SIGHUP"),
        (137, "was killed by SIGKILL (which the system does when memory runs out)"),
        (143, "was killed by SIGTERM"),
        (255, "ended with status 255"),
        (-15, "was killed by SIGTERM"),  # The guard itself was killed.
    ],
)
def test_a_status_of_the_guard_is_that_of_the_server_or_its_signal(status: int, how: str) -> None:
    assert server(Guard(status)).how_it_ended() == how


def test_a_guard_that_does_not_end_in_its_time_is_killed() -> None:
    obedient, stubborn = Guard(143), Guard(None)
    for guard in (obedient, stubborn):
        server(guard).stop()
    # Ten seconds more than the server gets: the guard kills the server first.
    assert obedient.events == [("waits", 14.0, True)]
    assert stubborn.events == [("waits", 14.0, True), "killed", ("waits", None, True)]
