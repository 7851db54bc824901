"""What tests in this folder may do."""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import pytest

_HERE = Path(__file__).parent
_STARTERS: tuple[tuple[object, str], ...] = (
    (subprocess.Popen, "__init__"), (multiprocessing.process.BaseProcess, "start"), (os, "fork"),
)  # fmt: skip


def _refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError(
        "tests in tests/unit start no process, unless they are marked `processes`: --quick leaves those out"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that starts a process must be marked, so that `scripts/test --quick` stays quick.

    Not a fixture: for 14,000 tests of a millisecond, a fixture that requests `request` and `monkeypatch` would double
    the time.
    """
    # pytest calls this for the tests of every folder.
    if _HERE not in item.path.parents or item.get_closest_marker("processes") is not None:
        return (yield)
    real = [getattr(owner, name) for owner, name in _STARTERS]
    for owner, name in _STARTERS:
        setattr(owner, name, _refuse)
    try:
        return (yield)
    finally:
        for (owner, name), starter in zip(_STARTERS, real, strict=True):
            setattr(owner, name, starter)
