"""The one place of promptset that reads a clock: some chat templates print today's date."""

from __future__ import annotations

from datetime import datetime

NS_PER_S = 1_000_000_000


def strftime_now(pattern: str) -> str:
    """The local date and time, formatted: what a server's chat template is given under this name."""
    return datetime.now().strftime(pattern)  # local on purpose: servers render it so
