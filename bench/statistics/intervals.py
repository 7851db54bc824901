"""95% intervals of values that depend on each other.

Quantiles: order statistics (Hahn and Meeker, Statistical Intervals, 5.2). Of m independent values B ~ Bin(m, p) lie
below the quantile of order p; the ranks l and u bound it if P(B < l) and P(B >= u) are at most 2.5%. Here m = n / D,
the number of independent values (`autocorrelation.dependence`), and the ranks are taken as shares of the real sample.
If m is too small no such ranks exist (6 for p50, 36 for p90, 368 for p99), and the answer is `TooFew`, never a guess.

Means: with D = 2 act(values), e = n / D, s their standard deviation and t Student's quantile,

    mean +- t s / sqrt(e')    e' = e^2 / (e + 10), t with e' / 2 - 1 degrees of freedom (at least 1), for e >= 10

A rate is the mean of the counts per second, or per step in a shorter run, which has 64 steps (`bench/metrics/scope.py`);
it has no interval if that reaches 0. A run with few waves of the server underestimates act, especially if its mean happens to
be far off, so e' is well below e for small e and equal to it for large ones. A higher bound on e in place of e' makes
it worse: it selects the runs whose act came out too small. (docs/dev/simulations.md has the figures, and those of
moving blocks of max(n^(1/3), 2 act) neighbours, which held in 74 to 89%.)

Values that come in groups, such as the gaps between a request's tokens: the request is what varies. With m_i tokens of
request i, z_i of them at or under the estimate q, the share p = sum z / sum m has the residuals e_i = z_i - p m_i and
the error sqrt(var(e) D / n) / mean(m), D = 2 act(e) (the linearised ratio: Cochran, Sampling Techniques, 6.3). So F(q)
may be off p by t times that error, and the quantiles at p plus and minus it bound q (Woodruff, 1952).

Shares (an error rate): Wilson's interval (JASA 22, 1927) with n / D in place of n, D = 2 act of the zeros and ones. It
exists even if nothing failed: of m independent successes, the share that fails is at most 3.8 / (m + 3.8). Equal values
do not show their dependence, so the caller gives the dependence of another number of the same requests.

Nothing here is random: the same values give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bench.statistics.autocorrelation import LEAST_VALUES, Dependence, Floats, Values, act, dependence
from bench.statistics.student import NORMAL_QUANTILE, t_quantile

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
MEAN_SAFETY = 2.0
"""D = 2 x act for means: a short run sees too little of the slow waves that move its mean."""
LEAST_FOR_MEAN = 10
"""The fewest independent values for the interval of a mean."""
LEAST_FOR_SHARE = 20
"""The fewest independent groups for the error of a share of their values, and so for the interval of a quantile of
groups."""
UNSEEN = 10.0
"""e' = e^2 / (e + UNSEEN): how many of e independent values, by a run's own `act`, are certain."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends of a 95% interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TooFew:
    """Too few independent values for an interval: there are `effective`, and `needed` are required.

    `more`: how many more values that is at the same dependence, each worth 1 / D of an independent one.
    """

    effective: float
    needed: int
    more: int

    def seconds(self, values_per_s: float) -> float | None:
        """How much longer the run would have to be. Returns None if no value arrived."""
        return self.more / values_per_s if values_per_s > 0 else None


@dataclass(frozen=True, slots=True)
class Whole:
    """The population of a sample of groups: the number of groups, the mean of all values, and their quantile of any
    order."""

    groups: int
    mean: float
    quantile: Callable[[float], float]


@lru_cache(maxsize=256)
def order_ranks(m: int, p: float) -> tuple[int, int] | None:
    """Ranks (from 1) of m independent values in ascending order that bound the quantile of order p. Returns None for
    too few."""
    k = np.arange(m + 1)
    factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, m + 1)))))
    chances = np.exp(factorials[m] - factorials[k] - factorials[m - k] + k * math.log(p) + (m - k) * math.log1p(-p))
    lower = int(np.searchsorted(np.cumsum(chances), TAIL, side="right"))
    upper = m - int(np.searchsorted(np.cumsum(chances[::-1]), TAIL, side="right")) + 1
    return (lower, upper) if lower >= 1 and upper <= m else None


@lru_cache(maxsize=64)
def values_needed(p: float) -> int:
    """How many independent values the interval of the quantile of order p needs."""
    m = math.floor(math.log(TAIL) / math.log(max(p, 1 - p)))
    while order_ranks(m, p) is None:
        m += 1
    return m


def quantile_interval(ordered: Sequence[float] | Floats, p: float, known: Dependence) -> Interval | TooFew:
    """The interval of the quantile of order p of values in ascending order with known dependence."""
    n = len(ordered)
    m = int(known.effective)
    ranks = order_ranks(m, p)
    if ranks is None:
        needed = values_needed(p)
        # Too few to know their dependence: assume none, which gives the least number needed.
        takes = max(needed, LEAST_VALUES) if n < LEAST_VALUES else math.ceil(needed * known.d)
        return TooFew(known.effective, needed, max(1, takes - n))
    below = math.floor(n * (ranks[0] - 1) / m)
    above = math.ceil(n * ranks[1] / m) - 1
    return Interval(float(ordered[below]), float(ordered[above]))


def quantile_intervals(values: Values, orders: Mapping[str, float]) -> dict[str, Interval | TooFew]:
    """The interval of each quantile (by name: its order) of values in send order."""
    x = np.asarray(values, dtype=np.float64)
    known, ordered = dependence(x), np.sort(x)
    return {name: quantile_interval(ordered, p, known) for name, p in orders.items()}


def mean_interval(values: Values) -> Interval | TooFew:
    """The interval of the mean of values in order of arrival; for a rate, of the counts per second."""
    x = np.asarray(values, dtype=np.float64)
    known = mean_dependence(x)
    missing = _too_few_for_mean(known)
    if missing is not None:
        return missing
    certain = certain_values(known.effective)
    reach = _t(certain) * float(x.std(ddof=1)) / math.sqrt(certain)
    return Interval(float(x.mean()) - reach, float(x.mean()) + reach)


def rate_interval(values: Values, rate: float) -> Interval | TooFew:
    """The interval of a rate per step, from the count in each step. The counts may leave out the last, partial step.

    A rate above 0 has no interval that reaches down to 0: then so few waves came that only their existence is known. If
    the only wave lies in the partial step, the steps do not even show that: ten waves are needed.
    """
    interval = mean_interval(values)
    if isinstance(interval, TooFew) or rate <= 0:
        return interval
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if not x.any():
        return TooFew(1.0, LEAST_FOR_MEAN, n * (LEAST_FOR_MEAN - 1))
    reach = (interval.high - interval.low) / 2
    if reach < rate:
        return Interval(rate - reach, rate + reach)
    effective = mean_dependence(x).effective
    needed = _effective_for((reach / rate) ** 2 * certain_values(effective))
    return TooFew(effective, math.ceil(needed), max(1, math.ceil(n * (needed / effective - 1))))


def share_interval(happened: Values, otherwise: Dependence) -> Interval | TooFew:
    """The interval of the share of requests to which something happened (1) or not (0), in send order.

    `otherwise` is the dependence if it happened to all or to none.
    """
    x = np.asarray(happened, dtype=np.float64)
    n, share = len(x), float(x.mean()) if len(x) else 0.0
    if n < LEAST_VALUES:
        return TooFew(1.0 if n else 0.0, LEAST_VALUES, LEAST_VALUES - n)
    m = n / (mean_dependence(x).d if 0 < share < 1 else otherwise.d)
    z = NORMAL_QUANTILE
    center, spread = share + z * z / (2 * m), z * math.sqrt(share * (1 - share) / m + z * z / (4 * m * m))
    return Interval(max(0.0, center - spread) / (1 + z * z / m), min(1.0, (center + spread) / (1 + z * z / m)))


def grouped_intervals(
    values: Values,
    sizes: Values,
    orders: Mapping[str, float],
    whole: Whole | None = None,
    times: Floats | None = None,
) -> dict[str, Interval | TooFew]:
    """Intervals of the mean ("mean") and of quantiles (by name: their order) of values that come in groups.

    `values` has the values of all groups in sequence, `sizes` the number in each group, both in send order. If the
    groups are an even sample of a `whole`, the intervals are those of the whole, around its numbers: narrower, since it
    has more groups, with the dependence that sampling thinned out restored. `times`, for a sample: how often each value
    occurs, if not once.
    """
    x, counts = np.asarray(values, dtype=np.float64), _filled(sizes)
    n = len(counts)
    if not n:
        return dict.fromkeys(("mean", *orders), TooFew(0.0, LEAST_FOR_MEAN, LEAST_VALUES))
    starts = _starts(counts)
    if whole is None:
        ordered = np.sort(x)
        whole = Whole(n, float(x.mean()), lambda p: float(np.quantile(ordered, p)))
    groups = max(n, whole.groups)
    times = np.ones(len(x)) if times is None else times
    counts = np.add.reduceat(times, starts)
    reach = _ratio_reach(np.add.reduceat(times * x, starts), counts, groups)
    result: dict[str, Interval | TooFew] = {
        "mean": reach if isinstance(reach, TooFew) else Interval(whole.mean - reach, whole.mean + reach)
    }
    for name, p in orders.items():
        below = np.add.reduceat(times * (x <= whole.quantile(p)), starts)
        reach = _ratio_reach(below, counts, groups, LEAST_FOR_SHARE)
        if isinstance(reach, TooFew):
            result[name] = reach
        elif reach >= min(p, 1 - p):
            # The error falls with the square root of the number of certain values: this factor brings it inside.
            more = (reach / min(p, 1 - p)) ** 2
            effective = _of_groups(mean_dependence(_residuals(below, counts)), groups).effective
            needed = _effective_for(more * certain_values(effective))
            result[name] = TooFew(effective, math.ceil(needed), max(1, math.ceil(n * (needed / effective - 1))))
        else:
            result[name] = Interval(whole.quantile(p - reach), whole.quantile(p + reach))
    return result


def ratio_interval(totals: Values, sizes: Values) -> Interval | TooFew:
    """The interval of sum(totals) / sum(sizes): the mean of values in groups whose totals and sizes are known."""
    counts = _filled(sizes)
    sums = np.asarray(totals, dtype=np.float64)[np.asarray(sizes, dtype=np.int64) > 0]
    if not len(counts):
        return TooFew(0.0, LEAST_FOR_MEAN, LEAST_VALUES)
    ratio, reach = float(sums.sum()) / float(counts.sum()), _ratio_reach(sums, counts, len(counts))
    return reach if isinstance(reach, TooFew) else Interval(ratio - reach, ratio + reach)


def grouped_dependence(
    values: Values, sizes: Values, groups: int | None = None, times: Floats | None = None
) -> Dependence:
    """How many independent groups grouped values are worth; for a sample, out of `groups`. `times`: how often each
    value occurs, if not once."""
    x, counts = np.asarray(values, dtype=np.float64), _filled(sizes)
    if not len(counts):
        return Dependence(0, 1.0)
    starts = _starts(counts)
    if times is not None:
        x, counts = times * x, np.add.reduceat(times, starts)
    sample = mean_dependence(_residuals(np.add.reduceat(x, starts), counts))
    return _of_groups(sample, max(len(counts), groups or 0))


Counts = npt.NDArray[np.int64] | Floats


def _filled(sizes: Values) -> npt.NDArray[np.int64]:
    counts = np.asarray(sizes, dtype=np.int64)
    return counts[counts > 0]


def _starts(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each group begins."""
    return np.cumsum(counts) - counts


def _residuals(numerators: Floats, counts: Counts) -> Floats:
    return numerators - float(numerators.sum()) / float(counts.sum()) * counts


def _of_groups(sample: Dependence, groups: int) -> Dependence:
    """act - 1 sums the correlation of neighbours; in a sample they are `groups` / n times further apart."""
    if sample.n < LEAST_VALUES:
        return Dependence(sample.n, sample.d)
    thinned = MEAN_SAFETY * ((sample.d / MEAN_SAFETY - 1) * groups / sample.n + 1)
    # The whole has at least the information of its sample.
    return Dependence(groups, max(1.0, min(thinned, groups / sample.effective)))


def _ratio_reach(numerators: Floats, counts: Counts, groups: int, least: int = LEAST_FOR_MEAN) -> float | TooFew:
    """How far sum(numerators) / sum(counts) may be off, for all `groups` of which these are a sample."""
    residuals = _residuals(numerators, counts)
    known = mean_dependence(residuals)
    missing = _too_few_for_mean(known, least)
    if missing is not None:
        return missing
    certain = certain_values(known.effective)
    # The whole has more information than its sample, by this factor.
    of_whole = certain * _of_groups(known, groups).effective / known.effective
    return _t(certain) * float(residuals.std(ddof=1)) / math.sqrt(of_whole) / float(counts.mean())


def mean_dependence(values: Values) -> Dependence:
    """The dependence for an interval of a mean: D = 2 act of the values, at most n."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    return Dependence(n, max(1.0, min(float(n), MEAN_SAFETY * act(x)))) if n else Dependence(0, 1.0)


def certain_values(effective: float) -> float:
    """The number of independent values to use for the error of a mean, from their number by the run's own `act`."""
    return effective * effective / (effective + UNSEEN)


def _effective_for(certain: float) -> float:
    """The inverse of `certain_values`."""
    return (certain + math.sqrt(certain * (certain + 4 * UNSEEN))) / 2


def _too_few_for_mean(known: Dependence, least: int = LEAST_FOR_MEAN) -> TooFew | None:
    if known.effective >= least:
        return None
    needed = LEAST_VALUES if known.n < LEAST_VALUES else math.ceil(least * known.d)
    return TooFew(known.effective, least, max(1, needed - known.n))


def _t(certain: float) -> float:
    """The variance of the mean is also an estimate, over the lags of `act`, which costs half of the values."""
    return t_quantile(1 - TAIL, max(1.0, certain / 2 - 1))
