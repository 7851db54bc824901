"""`python -m bench run` as a process, and the content of its directory."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import Hang, LiteralServer, Received, Step
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.record_rows import record_rows

SMALL = ("--input-tokens", "16", "--output-tokens", "3")
MASK = "***"


def flags(url: str, tmp_path: Path, *more: str, out: str = "run", limits: str = "calm.yaml") -> list[str]:
    return ["run", "--url", url, "--config", str(tmp_path / limits), "--out", str(tmp_path / out), *SMALL, *more]


@contextlib.contextmanager
def process(words: Sequence[str], **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """The running command, ended with the block."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen([sys.executable, "-m", "bench", *words], text=True, **pipes, **settings) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


def finished(words: Sequence[str], **settings: Any) -> tuple[int, str, str]:
    with process(words, **settings) as running:
        out, err = running.communicate(timeout=PATIENCE_S)
    return running.returncode, out, err


def summary(tmp_path: Path, out: str = "run") -> Any:
    told: dict[str, Any] = json.loads((tmp_path / out / "summary.json").read_text())
    return told


def records(tmp_path: Path, out: str = "run") -> list[dict[str, Any]]:
    return record_rows(tmp_path / out / "requests.jsonl")


def wait_for(what: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "this did not happen in time"
        time.sleep(0.01)


def loaded(chat: Callable[[Received], Sequence[Step]]) -> Callable[[Received], Sequence[Step]]:
    """A server that satisfies the probe, and answers the load with `chat`."""

    def script(request: Received) -> Sequence[Step]:
        return stream(*GOOD) if request.headers["x-request-id"].startswith("probe-") else chat(request)

    return api(script)


def load_of(server: LiteralServer) -> list[Received]:
    """The requests of the load, without earlier ones."""
    ids = [(request, request.headers.get("x-request-id", "probe-")) for request in server.received]
    return [request for request, name in ids if not name.startswith("probe-")]


def all_hang(server: LiteralServer, requests: int) -> bool:
    """Whether this many requests of the load have got the beginning of a reply from `hanging`, and have read it."""
    load = load_of(server)
    return len(load) == requests and all(len(request.writes) == 3 for request in load) and server.all_is_read()


def hanging(request: Received) -> Sequence[Step]:
    """A reply that stops after the head, the role and one token."""
    return [*stream(*GOOD)[:3], Hang()]
