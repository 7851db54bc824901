"""What a distribution family tells the grammar, and what its law can do.

A *law* is the mathematics of one family: it draws, and knows in closed form how much mass and how much of its mean
lies between two points, from which `Distribution` derives truncation and rounding for every family at once. A *kind* is
how the family is written. Laws draw by `rng.random()` alone (see promptset.rng).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from promptset.distributions.values import Value
from promptset.errors import SpecError
from promptset.rng import Random


class Law(ABC):
    """A distribution on the numbers from 0 up (a normal law also has mass below 0, which is never drawn from it)."""

    __slots__ = ()

    @abstractmethod
    def draw(self, rng: Random) -> float:
        """One value."""

    @abstractmethod
    def mass(self, low: float, high: float) -> float:
        """P(low <= X <= high); `high` may be infinite."""

    @abstractmethod
    def partial_mean(self, low: float, high: float) -> float:
        """E[X; low <= X <= high], the part of the mean that lies there; `high` may be infinite."""

    def atoms(self, low: float, high: float) -> list[tuple[float, float]] | None:
        """(value, probability) of each value in low <= X <= high; None where the law is continuous."""
        return None


class ContinuousLaw(Law):
    """A law without atoms, given by two functions of one point."""

    __slots__ = ()

    @abstractmethod
    def cdf(self, x: float) -> float:
        """P(X <= x)."""

    @abstractmethod
    def mean_below(self, x: float) -> float:
        """E[X; X <= x]."""

    def mass(self, low: float, high: float) -> float:
        return self.cdf(high) - self.cdf(low)

    def partial_mean(self, low: float, high: float) -> float:
        return self.mean_below(high) - self.mean_below(low)


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One set of keys that defines a law, and what builds it: `build(dimension, **values)`, raising SpecError."""

    keys: Mapping[str, Value]
    build: Callable[..., Law]


def split_pairs(text: str) -> dict[str, str]:
    """`mean=200ms,cv=0.5` as a dict of texts. Raises SpecError."""
    pairs: dict[str, str] = {}
    problems = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            problems.append(f"{part!r} is not key=value")
        elif key in pairs:
            problems.append(f"{key} is given twice")
        else:
            pairs[key] = value
    if problems:
        raise SpecError(problems)
    return pairs


def join_pairs(pairs: Mapping[str, str]) -> str:
    """The inverse of `split_pairs`."""
    return ",".join(f"{key}={value}" for key, value in pairs.items())


@dataclass(frozen=True, slots=True)
class Family:
    """How a family is written: its forms, and how its text is split into keys and joined again."""

    parameter_sets: tuple[ParameterSet, ...]
    example: Mapping[str, str]
    """One example a dimension; a dimension that is missing is refused."""
    split: Callable[[str], dict[str, str]] = split_pairs
    join: Callable[[Mapping[str, str]], str] = join_pairs
    listed: bool = False
    """Every value was listed by the user, so that nothing below 1 token is refused by default."""


def require_positive(**values: float) -> None:
    """Raises SpecError unless every value is above 0."""
    if problems := [f"{name} must be above 0" for name, value in values.items() if not value > 0]:
        raise SpecError(problems)


def standard_normal(rng: Random) -> float:
    """One draw of N(0, 1): Box-Muller, of which the second value is not kept, so that draws have no hidden state."""
    return math.sqrt(-2.0 * math.log(1.0 - rng.random())) * math.cos(math.tau * rng.random())


def standard_normal_cdf(z: float) -> float:
    """P(Z <= z) of N(0, 1)."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
