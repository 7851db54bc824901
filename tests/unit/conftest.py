"""What tests of this folder may do."""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
from typing import NoReturn

import pytest


def _refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError(
        "tests in tests/unit start no process, unless they are marked `processes`: --quick leaves those out"
    )


@pytest.fixture(autouse=True)
def processes_are_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that starts a process says so by its mark, so that `scripts/test --quick` stays quick."""
    if request.node.get_closest_marker("processes") is None:
        monkeypatch.setattr(subprocess.Popen, "__init__", _refuse)
        monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", _refuse)
        monkeypatch.setattr(os, "fork", _refuse)
