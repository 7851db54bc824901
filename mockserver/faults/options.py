"""The options of faults and the parsers of their values. Each parser raises ValueError with what to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from promptset.distributions import parse as parse_distribution
from promptset.errors import SpecError

Value = int | float | None
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Option:
    """An option, written `name=value` after the name of a fault."""

    name: str
    read: Callable[[str], int | float]
    default: Value
    doc: str


def whole(text: str) -> int:
    """0, 1, 2 ..."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("write a whole number")
    return int(text)


def positive(text: str) -> int:
    """1, 2, 3 ... Most count chunks or tokens to make, so there is a limit."""
    if not 1 <= (value := whole(text)) <= _MOST:
        raise ValueError(f"write a whole number from 1 to {_MOST:,}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def share(text: str) -> float:
    """From 0 to 1."""
    value = _number(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError("write a share from 0 to 1, for example 0.1")
    return value


def factor(text: str) -> float:
    """A finite number from 0 up."""
    value = _number(text)
    if not 0.0 <= value <= 1e6:
        raise ValueError("write a factor, for example 2 or 1.5")
    return value


def duration_ns(text: str) -> int:
    """A time above 0 with its unit, in ns."""
    try:
        distribution = parse_distribution(text, "time")
    except SpecError as e:
        raise ValueError("write a time like 500ms or 2s") from e
    if ":" in str(distribution):
        raise ValueError("write one time like 500ms or 2s, not a distribution")
    if (ns := round(distribution.mean())) < 1:
        raise ValueError("write a time above 0, like 500ms or 2s")
    return ns


def instant_ns(text: str) -> int:
    """A time from 0 up with its unit, in ns."""
    return 0 if text in ("0", "0s", "0ms") else duration_ns(text)
