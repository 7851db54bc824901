"""How strongly the values of a run depend on each other, and how many independent values they are worth.

Consecutive requests meet the same queue. Near capacity a queue lives for hundreds of requests, so that a thousand
latencies hold no more information than ten independent ones would.

The integrated autocorrelation time, in requests, with rho(k) the autocorrelation of the series at lag k:

    act = 1 + 2 (rho(1) + rho(2) + ...)

The sum is cut by Geyer's initial monotone sequence (Practical Markov chain Monte Carlo, Statistical Science 7, 1992):
G(k) = rho(2k) + rho(2k+1) is positive and falls for reversible chains, so the sum ends before the first G(k) <= 0, and
each G(k) is capped by the one before. A long series is first averaged in bins of b values, at most 2,000 of them:

    act = max(1, (2 sum G - 1) x b x variance of the bin means / variance of the values)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_BINS = 2_000
LEAST_VALUES = 20
"""Fewer values than this do not show their dependence: they count as a single value."""

SAFETY = 1.5
"""D = 1.5 x act of the ranks: `act` is itself an estimate, and too small in a short run."""

Values = npt.ArrayLike
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dependence:
    """How many independent values the `n` values of a series are worth: `effective` = n / d, at most n."""

    n: int
    d: float

    @property
    def effective(self) -> float:
        """The number of values on which an interval may rest."""
        return self.n / self.d


def act(values: Values) -> float:
    """The integrated autocorrelation time of values in send order: at least 1, in values."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < LEAST_VALUES:
        return float(n)
    b = math.ceil(n / MOST_BINS)
    m = n // b
    variance = float(x.var())
    y = x[: m * b].reshape(m, b).mean(axis=1) if b > 1 else x
    y = y - y.mean()
    bin_variance = float(y @ y) / m
    # Below this share of the mean square, a variance is rounding error: the values are all the same.
    rounding = 1e-24 * float(x @ x) / n
    if variance <= rounding or bin_variance <= rounding:
        return 1.0
    rho = _autocorrelation(y) / bin_variance
    pairs = (m // 2) // 2
    g = rho[0 : 2 * pairs : 2] + rho[1 : 2 * pairs : 2]
    below = np.flatnonzero(g <= 0)
    total = float(np.minimum.accumulate(g[: below[0] if len(below) else pairs]).sum())
    return max(1.0, (2 * total - 1) * b * bin_variance / variance)


def _autocorrelation(centered: Floats) -> Floats:
    """Autocovariances at the lags 0, 1, ... (biased: divided by the length), from the power spectrum."""
    m = len(centered)
    size = 1 << (2 * m - 1).bit_length()
    spectrum = np.fft.rfft(centered, size)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), size)[:m] / m)


def ranks(values: Values) -> Floats:
    """The rank of each value, from 1; equal values share their mean rank."""
    _, place, count = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place])


def dependence(values: Values) -> Dependence:
    """The dependence for an interval of a quantile: D = 1.5 x act of the ranks, at most n.

    Ranks, so that one value of a minute does not mask the dependence of all the others.
    """
    n = len(np.asarray(values))
    return Dependence(n, max(1.0, min(float(n), SAFETY * act(ranks(values)))) if n else 1.0)


def tail_act(values: Values) -> float:
    """act of 1{value > the series' own p90}: how long the excursions last that break a limit in the tail."""
    x = np.asarray(values, dtype=np.float64)
    return act(x > np.quantile(x, 0.9)) if len(x) else 1.0
