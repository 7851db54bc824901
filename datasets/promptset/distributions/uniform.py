"""The uniform distribution: `uniform:100..500`, both ends included; `uniform:10ms..50ms`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptset.distributions.family import ContinuousLaw, Family, ParameterSet, split_pairs
from promptset.distributions.values import QUANTITY, Dimension
from promptset.errors import SpecError
from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class Uniform(ContinuousLaw):
    """Density 1 / (high - low) between low and high."""

    low: float
    high: float

    def draw(self, rng: Random) -> float:
        return self.low + (self.high - self.low) * rng.random()

    def cdf(self, x: float) -> float:
        """(x - low) / (high - low)."""
        return (min(max(x, self.low), self.high) - self.low) / (self.high - self.low)

    def mean_below(self, x: float) -> float:
        """(x^2 - low^2) / (2 (high - low))."""
        x = min(max(x, self.low), self.high)
        return (x - self.low) * (x + self.low) / (2.0 * (self.high - self.low))


def _build(dimension: Dimension, low: float, high: float) -> Uniform:
    if dimension == "tokens":
        if not (low.is_integer() and high.is_integer()):
            raise SpecError("the ends must be whole numbers of tokens")
        if low <= high:
            # Rounding then gives every whole number from low to high the same probability.
            return Uniform(low - 0.5, high + 0.5)
    if not low < high:
        raise SpecError("the first end must be below the second")
    return Uniform(low, high)


def _split(text: str) -> dict[str, str]:
    ends, _, rest = text.partition(",")
    low, dots, high = (piece.strip() for piece in ends.partition(".."))
    if not (dots and low and high):
        raise SpecError(f"{ends!r} is not two ends joined by two dots")
    return split_pairs(f"low={low},high={high},{rest}")


def _join(texts: Mapping[str, str]) -> str:
    rest = "".join(f",{key}={text}" for key, text in texts.items() if key not in ("low", "high"))
    return f"{texts['low']}..{texts['high']}{rest}"


FAMILY = Family(
    (ParameterSet({"low": QUANTITY, "high": QUANTITY}, _build),),
    {"tokens": "uniform:100..500", "time": "uniform:10ms..50ms"},
    split=_split,
    join=_join,
    listed=True,
)
