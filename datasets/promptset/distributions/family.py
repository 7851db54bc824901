"""The interface between a distribution family and the grammar, and the operations of its law.

A *law* is the mathematics of one family: it draws, and knows in closed form the mass and the part of the mean between
two points. From these, `Distribution` derives truncation and rounding for every family. A *family* is how a law is
written. Laws draw only by `rng.random()` (see promptset.rng).
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
    """A distribution on the numbers from 0 up (a normal law also has mass below 0, which is never drawn)."""

    __slots__ = ()

    @abstractmethod
    def draw(self, rng: Random) -> float:
        """One value."""

    @abstractmethod
    def mass(self, low: float, high: float) -> float:
        """P(low <= X <= high); `high` may be infinite."""

    @abstractmethod
    def partial_mean(self, low: float, high: float) -> float:
        """E[X; low <= X <= high], the part of the mean in that range; `high` may be infinite."""

    def atoms(self, low: float, high: float) -> list[tuple[float, float]] | None:
        """(value, probability) of each value in low <= X <= high. None if the law is continuous."""
        return None


class ContinuousLaw(Law):
    """A law without atoms, defined by two functions of a point."""

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
    """A set of keys that defines a law, and its constructor: `build(dimension, **values)`, which may raise SpecError."""

    keys: Mapping[str, Value]
    build: Callable[..., Law]


def split_pairs(text: str) -> dict[str, str]:
    """`mean=200ms,cv=0.5` as a dict of strings. Raises SpecError."""
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
    """The syntax of a family: its parameter sets, and how its text is split into keys and joined again."""

    parameter_sets: tuple[ParameterSet, ...]
    example: Mapping[str, str]
    """One example per dimension. A dimension without an example is refused."""
    split: Callable[[str], dict[str, str]] = split_pairs
    join: Callable[[Mapping[str, str]], str] = join_pairs
    listed: bool = False
    """The user lists every value, so by default values below 1 token are allowed."""


def require_positive(**values: float) -> None:
    """Raises SpecError unless every value is above 0."""
    if problems := [f"{name} must be above 0" for name, value in values.items() if not value > 0]:
        raise SpecError(problems)


def standard_normal(rng: Random) -> float:
    """One draw of N(0, 1) by Box-Muller. The second value is discarded, so that draws have no hidden state."""
    return math.sqrt(-2.0 * math.log(1.0 - rng.random())) * math.cos(math.tau * rng.random())


def standard_normal_cdf(z: float) -> float:
    """P(Z <= z) of N(0, 1)."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
