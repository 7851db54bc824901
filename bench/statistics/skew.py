"""Whether one of several replicas differs from the others by more than chance: in latency, in requests, in failures.

*Latency*: the run is cut into slices of time. In each, d = the replica's mean log latency less the mean of the others'
means, so that anything that affects all replicas cancels. The mean of d is tested against 0 with t:

    t = mean(d) / error    with B (1 - r) / (1 + r) - 1 degrees of freedom (`_judged`)

Queues outlive a slice, so the error accounts for the dependence of slices. Nothing is claimed if too few independent
batches of slices are left, or if latencies rise or fall throughout the run: in an overload equal replicas diverge by
chance, and keep diverging for as long as it lasts.

*Requests*: chi-square against equal shares; then each replica with the exact binomial tail.

*Failures*: Fisher's exact test of a replica against all others together.

Every p value is one-sided (slower, more, worse), and the caller corrects it for the number of replicas and metrics
(Holm).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.statistics.autocorrelation import SAFETY, Floats, act
from bench.statistics.student import incomplete_beta, t_quantile, two_sided
from promptset.distributions.gamma import regularized_gamma

MOST_SLICES = 200
A_SLICE = 4
"""The least mean number of requests of each replica in a slice."""
BATCHES = 16
LEAST_EFFECTIVE = 6.0
"""Independent batches."""
TREND = 0.5
LEAST_MS = 1e-3
"""Smaller latencies count as this: they are rounding error."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Slower:
    """By how much a replica is slower than the others: 0.2 is 20% (of the geometric mean), below 0 is faster.

    `low` and `high` bound it with 95%; `p` is the chance of as much with equal replicas.
    """

    change: float
    low: float
    high: float
    p: float


def slower(replicas: Sequence[tuple[Floats, Floats]]) -> list[Slower | None]:
    """Each replica against the others: for each, the send times and the latencies (more than 0) of its requests.

    Returns None for each if the requests are too few, or depend on each other for too long.
    """
    nothing: list[Slower | None] = [None] * len(replicas)
    fewest = min((len(sent) for sent, _ in replicas), default=0)
    slices = min(MOST_SLICES, fewest // A_SLICE)
    if len(replicas) < 2 or slices < BATCHES:
        return nothing
    edges = np.quantile(np.concatenate([sent for sent, _ in replicas]), np.linspace(0, 1, slices + 1)[1:-1])
    means = np.array([_means(np.searchsorted(edges, sent, side="right"), ms, slices) for sent, ms in replicas])
    means = means[:, ~np.isnan(means).any(axis=0)]
    if means.shape[1] < BATCHES:
        return nothing
    if _goes_one_way(means.mean(axis=0)):
        return nothing
    others = (means.sum(axis=0) - means) / (len(replicas) - 1)
    rows = means - others
    shared = _at_lag_1([_batches(row) for row in rows])
    return [_judged(row, shared) for row in rows]


def _means(place: npt.NDArray[np.integer[Any]], ms: Floats, slices: int) -> Floats:
    """The mean log of the values in each slice; nan for an empty one."""
    counts = np.bincount(place, minlength=slices)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(place, weights=np.log(np.maximum(ms, LEAST_MS)), minlength=slices) / counts)


def _goes_one_way(means: Floats) -> bool:
    """Whether values rise, or fall, throughout: Kendall's tau of the means of batches is beyond `TREND`."""
    x = _batches(means)
    signs = np.sign(x[None, :] - x[:, None])[np.triu_indices(len(x), 1)]
    return abs(float(signs.mean())) > TREND


def _batches(d: Floats) -> Floats:
    """The means of contiguous batches, about `BATCHES` of them."""
    return np.array([part.mean() for part in np.array_split(d, min(BATCHES, len(d)))])


def _at_lag_1(rows: Sequence[Floats]) -> float:
    """The correlation of neighbours, pooled over all rows."""
    centered = [x - x.mean() for x in rows]
    spread = math.fsum(float(x @ x) for x in centered)
    return math.fsum(float(x[1:] @ x[:-1]) for x in centered) / spread if spread > 0 else 0.0


def _judged(d: Floats, shared: float) -> Slower | None:
    """The mean of d, with the larger of two standard errors. The error from slices covers the dependence of neighbours.
    The error from batches covers a slow drift, which hides in the noise of slices; their correlation r at lag 1, less
    its bias of -(1 + 3 r) / B (Kendall, Biometrika 41, 1954), is modelled as an autoregression: B (1 - r) / (1 + r) of
    them are independent.

    `shared` is the correlation over all replicas. From `BATCHES` values alone r is uncertain, and among many replicas
    one looks independent by chance; queues of equal replicas live equally long, so r is at least `shared`.
    """
    x = _batches(d)
    spread = float(((x - x.mean()) ** 2).sum())
    r = max(_at_lag_1([x]), shared)
    r = max(0.0, r + (1 + 3 * r) / len(x))
    effective = len(x) * (1 - r) / (1 + r)
    if effective < LEAST_EFFECTIVE:
        return None
    of_batches = spread / (len(x) - 1) / effective
    of_slices = float(d.var(ddof=1)) * SAFETY * act(d) / len(d)
    error = max(math.sqrt(max(of_batches, of_slices)), 1e-12)
    mean, freedom = float(d.mean()), effective - 1
    reach = t_quantile(0.5 + CONFIDENCE / 2, freedom) * error
    p = two_sided(mean / error, freedom) / 2
    return Slower(math.expm1(mean), math.expm1(mean - reach), math.expm1(mean + reach), p if mean > 0 else 1 - p)


def chi_square(counts: Sequence[int]) -> float:
    """The p value of counts against equal shares: the upper tail of chi-square with n - 1 degrees of freedom."""
    expected = sum(counts) / len(counts)
    if not expected:
        return 1.0
    statistic = math.fsum((count - expected) ** 2 for count in counts) / expected
    return regularized_gamma((len(counts) - 1) / 2, statistic / 2)[1]


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) of n trials with chance p: the incomplete beta function I_p(k, n - k + 1)."""
    return 1.0 if k <= 0 else incomplete_beta(p, k, n - k + 1)


def fisher(failed: int, tried: int, failed_of_others: int, tried_of_others: int) -> float:
    """P(at least `failed` failures fall on this replica), if failures are independent of the replica: Fisher's exact
    test."""
    bad, whole = failed + failed_of_others, tried + tried_of_others
    most = min(bad, tried)
    base = _log_ways(whole, tried)
    terms = (
        math.exp(_log_ways(bad, k) + _log_ways(whole - bad, tried - k) - base)
        for k in range(failed, most + 1)
        if tried - k <= whole - bad
    )
    return min(1.0, math.fsum(terms))


def _log_ways(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
