"""What a verdict can be."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What a verdict can be, from good to bad."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"
    FAILED = "FAILED"
    """The target failed: what there is of numbers is not about the load that was asked for."""
