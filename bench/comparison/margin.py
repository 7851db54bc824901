"""Reads shares as people write them: `5%` or `0.05`."""

from __future__ import annotations

from bench.errors import UsageError


def share_of(flag: str, text: str) -> float:
    """A share between 0 and 1. Raises UsageError."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise UsageError(f"{flag} {text}: not a share between 0 and 1; write 5% or 0.05")
    return value
