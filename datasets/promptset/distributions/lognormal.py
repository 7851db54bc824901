"""The lognormal distribution, right-skewed like lengths and latencies: `lognormal:mean=200ms,cv=0.5,min=10ms,max=5s`."""

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
from promptset.errors import SpecError
from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class Lognormal(ContinuousLaw):
    """ln X is N(mu, sigma^2)."""

    mu: float
    sigma: float

    def draw(self, rng: Random) -> float:
        """One value, above 0."""
        return math.exp(self.mu + self.sigma * standard_normal(rng))

    def cdf(self, x: float) -> float:
        """Phi((ln x - mu) / sigma)."""
        return standard_normal_cdf((math.log(x) - self.mu) / self.sigma) if x > 0 else 0.0

    def mean_below(self, x: float) -> float:
        """e^(mu + sigma^2 / 2) Phi((ln x - mu) / sigma - sigma)."""
        if x <= 0:
            return 0.0
        z = (math.log(x) - self.mu) / self.sigma
        return math.exp(self.mu + self.sigma**2 / 2) * standard_normal_cdf(z - self.sigma)


def _from_cv(dimension: Dimension, mean: float, cv: float) -> Lognormal:
    # cv^2 = e^(sigma^2) - 1 and mean = e^(mu + sigma^2 / 2), solved for sigma and mu.
    require_positive(mean=mean, cv=cv)
    variance = math.log1p(cv * cv)
    return Lognormal(math.log(mean) - variance / 2, math.sqrt(variance))


def _from_median(dimension: Dimension, median: float, sigma: float) -> Lognormal:
    require_positive(median=median, sigma=sigma)
    return Lognormal(math.log(median), sigma)


def _from_mu(dimension: Dimension, mu: float, sigma: float) -> Lognormal:
    if dimension == "time":
        raise SpecError("mu is a logarithm and has no unit: write median= (it is e^mu) with a unit instead")
    require_positive(sigma=sigma)
    return Lognormal(mu, sigma)


FAMILY = Family(
    (
        ParameterSet({"mean": QUANTITY, "cv": NUMBER}, _from_cv),
        ParameterSet({"median": QUANTITY, "sigma": NUMBER}, _from_median),
        ParameterSet({"mu": NUMBER, "sigma": NUMBER}, _from_mu),
    ),
    {"tokens": "lognormal:mean=1024,cv=0.5", "time": "lognormal:mean=200ms,cv=0.5,min=10ms,max=5s"},
)
