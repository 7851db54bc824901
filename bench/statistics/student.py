"""Student's t without scipy: its distribution by the incomplete beta function, its quantiles by Newton's method.

    P(|T| > t) = I_x(v / 2, 1 / 2)   with x = v / (v + t^2)

I is the regularised incomplete beta function, by the continued fraction of Lentz (Press and others, Numerical Recipes,
6.4). Degrees of freedom need not be whole: Welch's are not.
"""

from __future__ import annotations

import math
from functools import lru_cache

NORMAL_QUANTILE = 1.959963984540054
"""The normal quantile of order 97.5%."""
_TINY = 1e-300
_STEPS = 300


def two_sided(t: float, freedom: float) -> float:
    """P(|T| > |t|): the probability of a t at least this large by chance."""
    if math.isinf(t):
        return 0.0
    return incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


@lru_cache(maxsize=1024)
def t_quantile(p: float, freedom: float) -> float:
    """The value below which T lies with probability p. Raises ValueError for p outside (0, 1) and freedom <= 0."""
    if not 0 < p < 1 or freedom <= 0:
        raise ValueError(f"no t quantile of order {p} with {freedom} degrees of freedom")
    if p < 0.5:
        return -t_quantile(1 - p, freedom)
    tail = 2 * (1 - p)
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > tail:
        low, high = high, 2 * high
    t = (low + high) / 2
    for _ in range(100):
        over = two_sided(t, freedom) - tail
        low, high = (t, high) if over > 0 else (low, t)
        # Newton's step if it stays between the bounds, which every step narrows.
        step = t + over / (2 * _density(t, freedom))
        step = step if low < step < high else (low + high) / 2
        if abs(step - t) <= 1e-14 * (1 + t):
            break
        t = step
    return t


def _density(t: float, freedom: float) -> float:
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    return math.exp(log_scale - (freedom + 1) / 2 * math.log1p(t * t / freedom))


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # The fraction converges fast below the mean; above it use the symmetry I_x(a, b) = 1 - I_(1-x)(b, a).
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _fraction(x, a, b) / a
    return 1 - math.exp(log_front) * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    result = d
    for m in range(1, _STEPS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + step * d
            d = 1 / (d if abs(d) > _TINY else _TINY)
            c = 1 + step / c
            c = c if abs(c) > _TINY else _TINY
            result *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return result
