"""The exponential distribution: `exp:mean=1s`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from promptset.distributions.family import ContinuousLaw, Family, ParameterSet, require_positive
from promptset.distributions.values import QUANTITY, Dimension
from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class Exponential(ContinuousLaw):
    """P(X > x) = e^(-x / scale)."""

    scale: float

    def draw(self, rng: Random) -> float:
        return -self.scale * math.log(1.0 - rng.random())

    def cdf(self, x: float) -> float:
        """1 - e^(-x / scale)."""
        return -math.expm1(-x / self.scale) if x > 0 else 0.0

    def mean_below(self, x: float) -> float:
        """scale - (x + scale) e^(-x / scale)."""
        if x <= 0:
            return 0.0
        return self.scale if math.isinf(x) else self.scale - (x + self.scale) * math.exp(-x / self.scale)


def _build(dimension: Dimension, mean: float) -> Exponential:
    require_positive(mean=mean)
    return Exponential(mean)


FAMILY = Family((ParameterSet({"mean": QUANTITY}, _build),), {"tokens": "exp:mean=128", "time": "exp:mean=1s"})
