"""A law on a list of values with weights, used by `empirical` and `zipf`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from promptset.distributions.family import Law
from promptset.errors import SpecError
from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class Atoms(Law):
    """P(X = values[i]) is (cumulative[i] - cumulative[i - 1]) / cumulative[-1]. Values are strictly increasing."""

    values: tuple[float, ...] = field(repr=False)
    cumulative: tuple[float, ...] = field(repr=False)

    @classmethod
    def from_weights(cls, weighted: Iterable[tuple[float, float]]) -> Atoms:
        """From (value, weight) in any order. Weights of equal values are added; values with weight 0 are left out.
        Raises SpecError."""
        weights: dict[float, float] = {}
        for value, weight in weighted:
            if weight > 0:
                weights[value] = weights.get(value, 0.0) + weight
        if not weights:
            raise SpecError("no value has a weight above 0")
        values = sorted(weights)
        return cls(tuple(values), tuple(accumulate(weights[value] for value in values)))

    def draw(self, rng: Random) -> float:
        """One of the values."""
        return self.values[bisect_right(self.cumulative, rng.random() * self.cumulative[-1])]

    def mass(self, low: float, high: float) -> float:
        """The share of the weights inside, ends included."""
        first, end = self._inside(low, high)
        if first >= end:
            return 0.0
        before = self.cumulative[first - 1] if first else 0.0
        return (self.cumulative[end - 1] - before) / self.cumulative[-1]

    def partial_mean(self, low: float, high: float) -> float:
        """The weighted sum of the values inside, over all weights."""
        first, end = self._inside(low, high)
        before = self.cumulative[first - 1] if first else 0.0
        total = 0.0
        for i in range(first, end):
            total += self.values[i] * (self.cumulative[i] - before)
            before = self.cumulative[i]
        return total / self.cumulative[-1]

    def atoms(self, low: float, high: float) -> list[tuple[float, float]]:
        """Each value with its share of the weights."""
        first, end = self._inside(low, high)
        before = (0.0, *self.cumulative)
        return [(self.values[i], (self.cumulative[i] - before[i]) / self.cumulative[-1]) for i in range(first, end)]

    def _inside(self, low: float, high: float) -> tuple[int, int]:
        return bisect_left(self.values, low), bisect_right(self.values, high)
