"""A folder for the files of targets, in memory where the machine has one; it goes with the process."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path


@functools.cache
def folder() -> Path:
    """The folder, made once a process."""
    memory = Path("/dev/shm")
    made = tempfile.TemporaryDirectory(prefix="trueload-fuzz-", dir=memory if memory.is_dir() else None)
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def file(name: str, content: bytes) -> Path:
    """A file of this name and content."""
    path = folder() / name
    path.write_bytes(content)
    return path
