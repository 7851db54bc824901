"""How sure a number is: 95% confidence intervals, each by the method that its dependence asks for.

Quantiles of request metrics: order statistics (Hahn and Meeker, Statistical Intervals, 5.2). With B ~ Bin(n, p) values
below the true quantile, the l-th smallest value lies above it with P(B < l) and the u-th below it with P(B >= u); l is
the greatest and u the least rank for which each is at most 2.5%. Where no such rank exists the interval does not:
below n = 6 (p50), 13 (p75), 36 (p90), 72 (p95), 368 (p99), 3,688 (p99.9).

Token metrics: tokens of a request are not independent, so whole requests are resampled (a cluster bootstrap), on the
scale of probability: with m tokens a request of which z are at or under the estimate q, the share z/m summed over a
resample says by how much F(q) may be off p; the quantiles at p plus those offsets bound q (Woodruff, 1952).

Means and rates: moving-block bootstrap (Kuensch, 1989), blocks of ceil(n^(1/3)) neighbours, at least n/1000, so that
one resample never takes more than 1,000 draws. Its deviations are widened as Student's t widens the normal's, since a
bootstrap of few blocks is too sure of itself.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate

from bench.metrics.quantile import QUANTILES, quantile
from bench.rng import Random

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
RESAMPLES = 1_000
MIN_FOR_MEAN = 20
"""Values (of token metrics: requests) under which a resampled interval is not given."""

_MAX_DRAWS = 1_000
_MAX_GROUPS = 500
_Z = 1.959963984540054

Interval = tuple[float, float]


@lru_cache(maxsize=256)
def order_ranks(n: int, p: float) -> tuple[int, int] | None:
    """Ranks (from 1) of the ordered values that bound the quantile of order p with 95%; None for too few values."""
    if max(p, 1 - p) ** n > TAIL:
        return None
    mean, spread = n * p, math.sqrt(n * p * (1 - p))
    # Beyond nine standard deviations the binomial holds less than 1e-18.
    low, high = max(0, int(mean - 9 * spread - 9)), min(n, int(mean + 9 * spread + 9))
    log_ways = math.lgamma(n + 1) - math.lgamma(low + 1) - math.lgamma(n - low + 1)
    chance = math.exp(log_ways + low * math.log(p) + (n - low) * math.log1p(-p))
    chances = []
    for k in range(low, high + 1):
        chances.append(chance)
        chance *= (n - k) / (k + 1) * p / (1 - p)
    lower = low + bisect_right(list(accumulate(chances)), TAIL)
    upper = high - bisect_right(list(accumulate(reversed(chances))), TAIL) + 1
    return (lower, upper) if lower >= 1 and upper <= n else None


def quantile_interval(ordered: Sequence[float], p: float) -> Interval | None:
    """The interval of the quantile of order p of independent values in ascending order."""
    ranks = order_ranks(len(ordered), p)
    return None if ranks is None else (ordered[ranks[0] - 1], ordered[ranks[1] - 1])


def quantile_intervals(ordered: Sequence[float]) -> dict[str, Interval | None]:
    """The interval of each quantile that is reported."""
    return {name: quantile_interval(ordered, p) for name, p in QUANTILES.items()}


def _widening(groups: int) -> float:
    """Student's 97.5% quantile over the normal's, and the bias of a bootstrap's variance, for this many groups.

    The quantile by its expansion in 1/nu (Abramowitz and Stegun 26.7.5), good to 0.1% from nu = 6 on.
    """
    nu, z = groups - 1, _Z
    t = z + (z**3 + z) / (4 * nu) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
    return t / z * math.sqrt(groups / nu)


def mean_interval(values: Sequence[float], rng: Random) -> Interval | None:
    """The interval of the mean of values in the order in which they came about."""
    n = len(values)
    if n < MIN_FOR_MEAN:
        return None
    block = max(math.ceil(n ** (1 / 3)), math.ceil(n / _MAX_DRAWS))
    sums = [0.0, *accumulate(values)]
    means = [(sums[i + block] - sums[i]) / block for i in range(n - block + 1)]
    center = math.fsum(means) / len(means)
    draws = max(1, round(n / block))
    offsets = sorted(math.fsum(rng.choices(means, k=draws)) / draws - center for _ in range(RESAMPLES))
    mean, widening = math.fsum(values) / n, _widening(max(draws, 3))
    return mean + quantile(offsets, TAIL) * widening, mean + quantile(offsets, 1 - TAIL) * widening


def clustered_intervals(
    clusters: Sequence[Sequence[float]],
    population: int,
    quantile_of: Callable[[float], float],
    mean: float,
    rng: Random,
) -> dict[str, Interval | None]:
    """Intervals of the mean and of each quantile of values that come in clusters (the tokens of requests).

    `clusters` are those of a random sample out of `population` many; what the sample says of the spread is scaled to
    the whole. `quantile_of(p)` and `mean` are the estimates, from all values.
    """
    filled = [sorted(cluster) for cluster in clusters if len(cluster)]
    result: dict[str, Interval | None] = dict.fromkeys(("mean", *QUANTILES))
    if len(filled) < MIN_FOR_MEAN:
        return result
    estimates = {name: quantile_of(p) for name, p in QUANTILES.items()}
    sizes = _grouped([len(cluster) for cluster in filled])
    counts = {name: _grouped([bisect_right(c, q) for c in filled]) for name, q in estimates.items()}
    totals = _grouped([math.fsum(cluster) for cluster in filled])
    groups = len(sizes)
    offsets = _ratio_offsets(sizes, [totals, *counts.values()], rng)
    scale = math.sqrt(len(filled) / max(population, len(filled))) * _widening(groups)
    low, high = (offset * scale for offset in offsets[0])
    result["mean"] = (mean + low, mean + high)
    tokens = sum(sizes) / len(filled) * population
    for (name, p), (low, high) in zip(QUANTILES.items(), offsets[1:], strict=True):
        lower, upper = p + low * scale, p + high * scale
        # The same floor as for independent values: so few cannot hold the quantile between two of them.
        if max(p, 1 - p) ** tokens <= TAIL and lower >= 0 and upper < 1:
            result[name] = (min(quantile_of(lower), estimates[name]), max(quantile_of(upper), estimates[name]))
    return result


def _grouped(values: Sequence[float]) -> list[float]:
    """Sums over at most 500 groups of clusters: fewer draws a resample, the same variance."""
    groups = min(len(values), _MAX_GROUPS)
    return [math.fsum(values[i::groups]) for i in range(groups)]


def _ratio_offsets(sizes: list[float], numerators: list[list[float]], rng: Random) -> list[Interval]:
    """For each numerator, the 95% range of its ratio to the sizes over resampled groups, less the ratio itself."""
    groups = range(len(sizes))
    ratios: list[list[float]] = [[] for _ in numerators]
    for _ in range(RESAMPLES):
        chosen = rng.choices(groups, k=len(sizes))
        size = math.fsum(map(sizes.__getitem__, chosen))
        for ratio, numerator in zip(ratios, numerators, strict=True):
            ratio.append(math.fsum(map(numerator.__getitem__, chosen)) / size)
    whole = math.fsum(sizes)
    result = []
    for ratio, numerator in zip(ratios, numerators, strict=True):
        ratio.sort()
        center = math.fsum(numerator) / whole
        result.append((quantile(ratio, TAIL) - center, quantile(ratio, 1 - TAIL) - center))
    return result
