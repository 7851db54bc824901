"""Exact quantiles, and the statistics reported for every metric.

The quantile of order p of n ordered values x[0..n-1] is at position h = (n - 1) p, interpolated linearly between its
neighbours: type 7 of Hyndman and Fan (1996), the definition of numpy, R and spreadsheets. A truncated index would read
the p99 of 100 values as their maximum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.results.numbers import QUANTILES, Statistics

STATISTICS = ("mean", "std", "min", "max", *QUANTILES)
NO_VALUES = Statistics(n=0, **dict.fromkeys(STATISTICS))


def lower_quantiles(name: str) -> list[str]:
    """The names of the quantiles below this one, the highest first."""
    return sorted(
        (other for other, p in QUANTILES.items() if p < QUANTILES[name]), key=QUANTILES.__getitem__, reverse=True
    )


def quantile(ordered: Sequence[float], p: float) -> float:
    """The quantile of order p of values in ascending order. Raises ValueError if there are none."""
    if not ordered:
        raise ValueError("a quantile of no values does not exist")
    position = (len(ordered) - 1) * p
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    low, high = ordered[below], ordered[above]
    # A value may be infinite: if all tokens came in one read, a speed has no upper bound.
    return low if low == high or position == below else low + (high - low) * (position - below)


def describe(ordered: Sequence[float]) -> Statistics:
    """n, mean, std (of a sample, n - 1), min, max and quantiles of values in ascending order; None if undefined."""
    n = len(ordered)
    if not n:
        return NO_VALUES
    mean = math.fsum(ordered) / n
    with np.errstate(invalid="ignore"):  # A value may be infinite here too.
        off = np.asarray(ordered) - mean
    std = math.sqrt(math.fsum(off * off) / (n - 1)) if n > 1 else None
    quantiles = {name: quantile(ordered, p) for name, p in QUANTILES.items()}
    return Statistics(n=n, mean=mean, std=std, min=ordered[0], max=ordered[-1], **quantiles)
