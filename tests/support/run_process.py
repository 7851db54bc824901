"""`python -m bench run` as a process, and what its directory holds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import Hang, Received, Step

SMALL = ("--input-tokens", "16", "--output-tokens", "3")
MASK = "***"


def flags(url: str, tmp_path: Path, *more: str, out: str = "run", limits: str = "calm.yaml") -> list[str]:
    return ["run", "--url", url, "--config", str(tmp_path / limits), "--out", str(tmp_path / out), *SMALL, *more]


def process(words: Sequence[str], **popen: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)


def finished(words: Sequence[str], **popen: Any) -> tuple[int, str, str]:
    with process(words, **popen) as running:
        out, err = running.communicate(timeout=30)
    return running.returncode, out, err


def summary(tmp_path: Path, out: str = "run") -> dict[str, Any]:
    told: dict[str, Any] = json.loads((tmp_path / out / "summary.json").read_text())
    return told


def records(tmp_path: Path, out: str = "run") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / out / "requests.jsonl").read_text().splitlines()]


def wait_for(what: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def loaded(chat: Callable[[Received], Sequence[Step]]) -> Callable[[Received], Sequence[Step]]:
    """A server that satisfies the probe, and answers the load by `chat`."""

    def script(request: Received) -> Sequence[Step]:
        return stream(*GOOD) if request.headers["x-request-id"].startswith("probe-") else chat(request)

    return api(script)


def hanging(request: Received) -> Sequence[Step]:
    return [*stream(*GOOD)[:3], Hang()]
