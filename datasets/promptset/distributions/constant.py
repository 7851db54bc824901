"""Always the same value: `128`, `50ms`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptset.distributions.family import Family, Law, ParameterSet
from promptset.distributions.values import QUANTITY, Dimension
from promptset.errors import SpecError
from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class Constant(Law):
    """P(X = value) = 1."""

    value: float

    def draw(self, rng: Random) -> float:
        """Returns the value without using the generator."""
        return self.value

    def mass(self, low: float, high: float) -> float:
        """1 if the value lies inside, else 0."""
        return 1.0 if low <= self.value <= high else 0.0

    def partial_mean(self, low: float, high: float) -> float:
        """The value if it lies inside, else 0."""
        return self.value * self.mass(low, high)

    def atoms(self, low: float, high: float) -> list[tuple[float, float]]:
        """The value, if it lies inside."""
        return [(self.value, 1.0)] if low <= self.value <= high else []


def _build(dimension: Dimension, value: float) -> Constant:
    if dimension == "tokens" and not value.is_integer():
        raise SpecError(f"{value} tokens: write a whole number")
    return Constant(value)


def _split(text: str) -> dict[str, str]:
    return {"value": text}


def _join(texts: Mapping[str, str]) -> str:
    return texts["value"]


FAMILY = Family(
    (ParameterSet({"value": QUANTITY}, _build),),
    {"tokens": "128", "time": "50ms"},
    split=_split,
    join=_join,
    listed=True,
)
