"""Run configurations, as accepted or refused settings."""

from __future__ import annotations

from typing import Any

import pytest

from bench.config import RunConfig, resolve
from bench.errors import UsageError

URL = "http://127.0.0.1:8000"


def resolved(**flags: Any) -> RunConfig:
    return resolve({"url": URL, **flags})


def problems(file: dict[str, Any] | None = None, file_name: str = "", **flags: Any) -> list[str]:
    """The problems of refused settings."""
    with pytest.raises(UsageError) as raised:
        resolve({"url": URL, **flags}, file, file_name)
    return raised.value.problems
