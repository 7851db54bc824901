"""An arm's server without a process: the message about its end, and how it is ended."""

from __future__ import annotations

import io
import subprocess
import urllib.error
import urllib.request
from contextlib import nullcontext
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import TargetError
from bench.tuning.servers import Server, clear_cache
from bench.tuning.spec import ServerSpec


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


def spec_with(clear: str) -> ServerSpec:
    return ServerSpec(
        "serve {port}", "http://127.0.0.1:{port}/", (0,), together=False, ready="answer", start_within_s=1.0,
        stop_within_s=1.0, environment={}, clear_cache=clear,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "gave"),
    [(199, "199"), (200, None), (204, None), (299, None), (300, "300"), (404, "404"), (None, "no answer")],
)
def test_a_cache_is_cleared_by_a_post_that_succeeds_within_ten_seconds(
    status: int | None, gave: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def opened(request: urllib.request.Request, timeout: float) -> Any:
        asked.append((request.full_url, request.get_method(), request.data, timeout))
        if status is None:
            raise ConnectionResetError
        if status >= 400:
            raise urllib.error.HTTPError(request.full_url, status, "", Message(), None)
        return nullcontext(SimpleNamespace(status=status))

    monkeypatch.setattr(urllib.request, "build_opener", lambda *handlers: SimpleNamespace(open=opened))
    problem = None
    try:
        clear_cache(spec_with("/reset"), server(Guard(0)))
    except TargetError as e:
        problem = str(e)
    assert problem == (None if gave is None else f"server.clear_cache: POST /reset gave {gave}")
    assert asked == [("http://127.0.0.1:8000/reset", "POST", b"", 10.0)]
