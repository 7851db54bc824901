"""A run of several workers as a process group, and its workers."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support import run_process

SMALL = ("--input-tokens", "16", "--output-tokens", "3", "--workers", "2")
PROGRAM = b"bench.scale.program"


def flags(url: str, tmp_path: Path, *more: str) -> list[str]:
    return ["run", "--url", url, "--config", str(tmp_path / "calm.yaml"), "--out", str(tmp_path / "run"), *SMALL, *more]


@contextlib.contextmanager
def process(words: Sequence[str], **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """The command in its own process group, as a shell starts it: `os.killpg` acts like Ctrl-C on a terminal.

    It ends with the block.
    """
    with run_process.process(words, start_new_session=True, **settings) as running:
        yield running


def worker_processes(parent: int) -> dict[int, list[bytes]]:
    """Worker processes started by this one: pid -> command line. Ended ones are left out."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            of_parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if of_parent and PROGRAM in words:
            found[int(entry.name)] = words
    return found


def gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def shard_lines(tmp_path: Path, folder: str = "run") -> list[int]:
    """How many lines each worker has written."""
    return [path.read_bytes().count(b"\n") for path in sorted((tmp_path / folder).glob("requests-*.jsonl"))]
