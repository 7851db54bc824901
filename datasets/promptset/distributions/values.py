"""Numbers in the grammar, parsed and written without loss.

Quantities are tokens (bare numbers) or times (with a unit: us, ms, s), stored as tokens or nanoseconds. Decimal
arithmetic converts between text and float, so that written values parse back to the same float.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from promptset.errors import SpecError

Dimension = Literal["tokens", "time"]

UNITS_NS = {"us": Decimal(1_000), "ms": Decimal(1_000_000), "s": Decimal(1_000_000_000)}


@dataclass(frozen=True, slots=True)
class Value:
    """How a kind of value is parsed from text (raising SpecError) and written back to the same value."""

    read: Callable[[str, Dimension], Any]
    write: Callable[[Any, Dimension], str]


def read_number(text: str, dimension: Dimension = "tokens") -> float:
    """A finite number. Raises SpecError."""
    try:
        number = float(text)
    except ValueError:
        raise SpecError(f"{text!r} is not a number") from None
    if not math.isfinite(number):
        raise SpecError(f"{text!r} is not a finite number")
    return number


def read_quantity(text: str, dimension: Dimension) -> float:
    """Tokens or nanoseconds, never negative. Raises SpecError, which suggests the right unit."""
    stripped = text.strip()
    unit = next((u for u in UNITS_NS if stripped.endswith(u) and stripped[: -len(u)].strip()), None)
    digits = stripped.removesuffix(unit).strip() if unit else stripped
    # "5 s" ends in "s", as "5 ms" does. The longest unit wins because us and ms come first in UNITS_NS.
    try:
        number = Decimal(digits)
    except InvalidOperation:
        if (between := re.fullmatch(r"([\d.]+\s*[mu]?s?)\s*-\s*([\d.]+\s*[mu]?s?)", stripped)) is not None:
            raise SpecError(f"{text!r}: for values between the two, write uniform:{between[1]}..{between[2]}") from None
        units = ", ".join(UNITS_NS)
        hint = f"a number with a unit ({units}), such as 50ms" if dimension == "time" else "a number"
        raise SpecError(f"{text!r} is not {hint}") from None
    if not number.is_finite():
        raise SpecError(f"{text!r} is not a finite number")
    if number < 0:
        raise SpecError(f"{text!r} cannot be negative")
    if dimension == "time":
        if unit is None:
            raise SpecError(f"{text!r} is a time without a unit: write {digits}ms, {digits}s or {digits}us")
        return float(number * UNITS_NS[unit])
    if unit is not None:
        raise SpecError(f"{text!r} is a number that takes no unit: write {digits}")
    return float(number)


def write_number(number: float, dimension: Dimension = "tokens") -> str:
    """The shortest text that parses back to the same float."""
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def write_quantity(quantity: float, dimension: Dimension) -> str:
    """The quantity in the largest unit in which it is at least 1, or in us."""
    if dimension == "tokens":
        return write_number(quantity)
    exact = Decimal(repr(quantity))
    unit = next((u for u in ("s", "ms") if exact >= UNITS_NS[u]), "us")
    return f"{(exact / UNITS_NS[unit]).normalize():f}{unit}"


def _read_text(text: str, dimension: Dimension) -> str:
    return text


NUMBER = Value(read_number, write_number)
QUANTITY = Value(read_quantity, write_quantity)
TEXT = Value(_read_text, _read_text)
