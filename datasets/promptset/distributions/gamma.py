"""The gamma distribution, from constant to bursty by its coefficient of variation: `gamma:mean=20ms,cv=0.3`; cv=1 is
exponential."""

from __future__ import annotations

import math
from dataclasses import dataclass

from promptset.distributions.family import ContinuousLaw, Family, ParameterSet, require_positive, standard_normal
from promptset.distributions.values import NUMBER, QUANTITY, Dimension
from promptset.errors import SpecError
from promptset.rng import Random

_MAX_SHAPE = 1e6


@dataclass(frozen=True, slots=True)
class Gamma(ContinuousLaw):
    """Density proportional to x^(shape - 1) e^(-x / scale): mean shape x scale, cv shape^(-1/2)."""

    shape: float
    scale: float

    def draw(self, rng: Random) -> float:
        """One value, by Marsaglia and Tsang, "A simple method for generating gamma variables" (2000).

        A shape below 1 is drawn as shape + 1 and multiplied by U^(1 / shape) (their section 6).
        """
        shape, factor = self.shape, self.scale
        if shape < 1.0:
            factor *= (1.0 - rng.random()) ** (1.0 / shape)
            shape += 1.0
        d = shape - 1.0 / 3.0
        c = 1.0 / math.sqrt(9.0 * d)
        while True:
            z = standard_normal(rng)
            v = (1.0 + c * z) ** 3
            if v > 0.0 and math.log(1.0 - rng.random()) < 0.5 * z * z + d - d * v + d * math.log(v):
                return d * v * factor

    def cdf(self, x: float) -> float:
        """P(shape, x / scale), the regularized incomplete gamma function."""
        return regularized_gamma(self.shape, x / self.scale)[0]

    def mean_below(self, x: float) -> float:
        """shape x scale x P(shape + 1, x / scale)."""
        return self.shape * self.scale * regularized_gamma(self.shape + 1.0, x / self.scale)[0]


def regularized_gamma(a: float, x: float) -> tuple[float, float]:
    """P(a, x), lower, and Q(a, x), upper: by the power series below a + 1, by the continued fraction above (DLMF 8.7.1
    and 8.9.2)."""
    if x <= 0.0:
        return 0.0, 1.0
    if math.isinf(x):
        return 1.0, 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = total = 1.0 / a
        n = a
        while term > total * 1e-16:
            n += 1.0
            term *= x / n
            total += term
        return front * total, max(0.0, 1.0 - front * total)
    # Lentz's method for 1 / (x + 1 - a - 1(1 - a) / (x + 3 - a - 2(2 - a) / ...)).
    b = x + 1.0 - a
    c = 1e300
    d = 1.0 / b
    fraction = d
    i = 0
    step = 0.0
    while abs(step - 1.0) > 1e-15:
        i += 1
        numerator = -i * (i - a)
        b += 2.0
        d = 1.0 / (numerator * d + b)
        c = b + numerator / c
        step = d * c
        fraction *= step
    return 1.0 - front * fraction, front * fraction


def _from_shape(dimension: Dimension, mean: float, shape: float) -> Gamma:
    require_positive(mean=mean, shape=shape)
    if shape > _MAX_SHAPE:
        raise SpecError(f"a shape above {_MAX_SHAPE:g} (cv below 0.001) is next to constant: write the mean alone")
    return Gamma(shape, mean / shape)


def _from_cv(dimension: Dimension, mean: float, cv: float) -> Gamma:
    require_positive(mean=mean, cv=cv)
    return _from_shape(dimension, mean, 1.0 / (cv * cv))


FAMILY = Family(
    (
        ParameterSet({"mean": QUANTITY, "cv": NUMBER}, _from_cv),
        ParameterSet({"mean": QUANTITY, "shape": NUMBER}, _from_shape),
    ),
    {"tokens": "gamma:mean=128,cv=0.5", "time": "gamma:mean=20ms,cv=0.3"},
)
