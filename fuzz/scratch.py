"""A folder for the files of targets, in memory where the machine has one; it goes with the process."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

WITHIN = "TRUELOAD_FUZZ_SCRATCH"


def memory() -> Path | None:
    """Where files are in memory."""
    found = Path("/dev/shm")
    return found if found.is_dir() else None


@functools.cache
def folder() -> Path:
    """The folder, made once a process: in that of who started it, where there is one, for libFuzzer ends without a word."""
    made = tempfile.TemporaryDirectory(prefix="trueload-fuzz-", dir=os.environ.get(WITHIN, memory()))
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def file(name: str, content: bytes) -> Path:
    """A file of this name and content."""
    path = folder() / name
    path.write_bytes(content)
    return path
