"""Conditions over the values of flags: `ub > b`, `batched-tokens < seqs`, `spec == none and draft > 0`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

Value = str | int | float | bool | None
Flags = Mapping[str, Value]

_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_TERM = re.compile(rf"^\s*(\S+)\s*({'|'.join(('==', '!=', *_ORDER))})\s*(\S+)\s*$")


@dataclass(frozen=True, slots=True)
class _Term:
    flag: str
    sign: str
    other: str
    other_is_flag: bool

    def holds(self, flags: Flags) -> bool:
        left = flags.get(self.flag)
        right = flags.get(self.other) if self.other_is_flag else self.other
        if self.sign in ("==", "!="):
            return (_written(left) == _written(right)) is (self.sign == "==")
        a, b = _number(left), _number(right)
        return a is not None and b is not None and _ORDER[self.sign](a, b)


@dataclass(frozen=True, slots=True)
class Condition:
    """Terms that must all hold."""

    terms: tuple[_Term, ...]

    def holds(self, flags: Flags) -> bool:
        """Whether it holds for these values. An omitted flag equals `null`, and is not ordered."""
        return all(term.holds(flags) for term in self.terms)


def parse(text: str, names: Collection[str]) -> Condition:
    """Parse a condition. Raises ValueError with what is wrong, and what to write."""
    terms = []
    for part in text.split(" and "):
        match = _TERM.match(part)
        if match is None:
            raise ValueError(f"{part.strip()!r} is not a condition: write FLAG OPERATOR VALUE, for example ub > b")
        flag, sign, other = match.groups()
        if flag not in names:
            raise ValueError(f"{flag!r} is not a flag of this file: it is one of {', '.join(names)}")
        terms.append(_Term(flag, sign, other, other in names))
    return Condition(tuple(terms))


def written(value: Value) -> str:
    """A value as written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _written(value: Value) -> str:
    number = _number(value)
    return written(value).lower() if number is None else written(number)


def _number(value: Value) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except ValueError:
        return None
