"""The kept run as the console lists it, with other content of some files: the list never ends with an error."""

from __future__ import annotations

import functools
from pathlib import Path

from bench.console.store import Store
from bench.console.tasks import TaskFolder
from fuzz import scratch
from fuzz.run_files import run_with


@functools.cache
def _store() -> Store:
    return Store(Path(":memory:"))


def list_with(**files: bytes | None) -> None:
    """List the tasks. A name has `__` for its dot."""
    run_with(**files)
    tasks = TaskFolder(scratch.folder(), _store()).tasks({}, ())
    assert "run" in [task.id for task in tasks]
    _store().forget("run")
