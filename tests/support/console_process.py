"""A console in its own process, and the requests that tests send it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen

TOKEN = "a-token-of-the-test"
READ_TOKEN = "a-word-for-readers"
SMALL = {"input_tokens": 16, "output_tokens": 4, "concurrency": 2}


@contextmanager
def console_of(runs: Path, *flags: str) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "bench", "console", "--no-browser", "--port", "0", "--runs", str(runs)]
    process = popen(
        [*command, *flags, "--token", TOKEN],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    assert process.stdout is not None
    base = process.stdout.readline().removeprefix("console ready at ").strip()
    try:
        with httpx.Client(
            base_url=f"{base}/api", headers={"authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_S
        ) as client:
            yield client, process
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)
        process.stdout.close()


def new(client: httpx.Client, url: str | list[str], title: str, **settings: Any) -> str:
    reply = client.post("/tasks", json={"settings": {"url": url, **SMALL, **settings}, "title": title})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def until(client: httpx.Client, task: str, when: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    while not when(found := client.get(f"/tasks/{task}").json()):
        time.sleep(0.2)  # Each poll costs both sides some milliseconds of processor time.
    return dict(found)
