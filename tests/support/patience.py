"""How tests bear a machine that other programs keep busy: they wait long, and look for a calm moment."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

PATIENCE_S = 200.0
"""How long a test waits: far beyond what anything takes anywhere, so that only what never comes about fails."""

TRIES = 10

Test = TypeVar("Test", bound=Callable[..., None])


def of_this_try(folder: Path) -> Path:
    """A new folder in this one, for a test whose tries must not find what those before have left."""
    return Path(tempfile.mkdtemp(dir=folder))


def in_a_calm_moment(test: Test) -> Test:
    """For a test that holds moments of this machine to each other: one of ten tries has to pass.

    Other programs may come in between at each instant, but hardly ten times; a defect is there each time. The fixtures are
    those of the first try.
    """

    @functools.wraps(test)
    def tried(*args: object, **named: object) -> None:
        for _ in range(TRIES - 1):
            try:
                return test(*args, **named)
            except (Exception, pytest.fail.Exception):  # A skip is none of them.
                continue
        return test(*args, **named)

    return tried  # type: ignore[return-value]
