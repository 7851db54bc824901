"""The normal distribution: `normal:mean=1024,std=200,min=1`. Draws below the minimum are repeated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from promptset.distributions.family import (
    ContinuousLaw,
    Family,
    ParameterSet,
    require_positive,
    standard_normal,
    standard_normal_cdf,
)
from promptset.distributions.values import NUMBER, QUANTITY, Dimension
from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class Normal(ContinuousLaw):
    """N(mu, std^2)."""

    mu: float
    std: float

    def draw(self, rng: Random) -> float:
        """One value; it may be negative."""
        return self.mu + self.std * standard_normal(rng)

    def cdf(self, x: float) -> float:
        """Phi((x - mu) / std)."""
        return standard_normal_cdf((x - self.mu) / self.std)

    def mean_below(self, x: float) -> float:
        """mu Phi(z) - std phi(z), with z = (x - mu) / std."""
        z = (x - self.mu) / self.std
        return self.mu * standard_normal_cdf(z) - self.std * math.exp(-0.5 * z * z) / math.sqrt(math.tau)


def _from_std(dimension: Dimension, mean: float, std: float) -> Normal:
    require_positive(std=std)
    return Normal(mean, std)


def _from_cv(dimension: Dimension, mean: float, cv: float) -> Normal:
    require_positive(mean=mean, cv=cv)
    return Normal(mean, mean * cv)


FAMILY = Family(
    (
        ParameterSet({"mean": QUANTITY, "std": QUANTITY}, _from_std),
        ParameterSet({"mean": QUANTITY, "cv": NUMBER}, _from_cv),
    ),
    {"tokens": "normal:mean=1024,std=200,min=1", "time": "normal:mean=200ms,std=40ms"},
)
