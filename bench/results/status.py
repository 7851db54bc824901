"""The possible verdicts."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The possible verdicts, from good to bad."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"
    FAILED = "FAILED"
    """The target failed: the numbers, if any, are not about the requested load."""
