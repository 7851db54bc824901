"""The only module of promptset that reads a clock: some chat templates print today's date."""

from __future__ import annotations

from datetime import datetime

NS_PER_S = 1_000_000_000


def strftime_now(pattern: str) -> str:
    """The formatted local date and time, which servers pass to chat templates under this name."""
    return datetime.now().strftime(pattern)  # Local on purpose, because servers render it so.
