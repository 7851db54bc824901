"""Whether two sides differ: the change of a number from runs of A to runs of B, with its interval.

A number of a run (a p90, a throughput) is one value on the log scale, however many requests it rests on. Requests of
one run share its server, its machine and its hour, so tests over pooled requests raise 6 to 71% false alarms.

- *Paired*: alternating runs (ABBA), the n-th of A with the n-th of B: t over the differences of the pairs. Slow drift
  affects both runs of a pair and cancels.
- *Welch*: existing runs (Biometrika 34, 1947): d / sqrt(s_a^2 / a + s_b^2 / b), with Welch's degrees of freedom.
- *Batches*: one run a side: Welch over ten contiguous batches of each. This covers the spread inside the runs but not
  the spread between them, and the result states that.

Shares (error rate, goodput) can be zero and are compared directly: their change is a difference, not a ratio. Few runs
often have equal error rates (two runs without a failure), so their spread is too small an estimate: the error of the
difference is at least that of as many requests failing by chance (`error_by_chance`). Two runs on a side may also agree
by chance in a quantile between two modes: their difference must also exceed the error within runs
(`error_within_runs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import fsum
from statistics import fmean, variance

from bench.statistics.student import NORMAL_QUANTILE, t_quantile, two_sided

ALPHA = 0.05
POWER = 0.8
MARGIN = 0.05
"""A smaller change counts as the same, however certain it is."""
BATCHES = 10
_KNOWN_DEGREES = 10_000.0
"""Degrees of freedom of an error that follows from chance alone, rather than from the spread of runs."""
LEAST_IN_BATCH = 5.0
"""A batch must be this many times as long as its values' dependence (`act`), or batches are not independent either."""


class Answer(StrEnum):
    """The answer of a comparison for one number."""

    DIFFERS = "differs"
    SAME = "same within the margin"
    NOT_SHOWN = "not shown"
    THESE_DIFFER = "these two differ"
    """One run each: they differ by more than chance within a run. So may any two runs of the same setup."""
    THESE_AGREE = "these two agree"
    """One run each: the same within the margin."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The change from A to B. For a ratio: B / A - 1; for a share: B - A. `low` and `high` bound it with 95%."""

    change: float
    low: float
    high: float
    p: float
    seen_from: float
    """The smallest change that four of five comparisons would detect."""
    degrees: float
    ratio: bool
    spread_known: bool = True
    """Whether the interval includes the spread between runs, so that it can show a change of the setup."""

    def answer(self, margin: float = MARGIN, p: float | None = None) -> Answer:
        """The answer; with one run each, only about these two runs. If given, `p` is corrected for several metrics and
        replaces the difference's own."""
        if (self.p if p is None else p) < ALPHA and abs(self.change) >= margin:
            return Answer.DIFFERS if self.spread_known else Answer.THESE_DIFFER
        if -margin < self.low and self.high < margin:
            return Answer.SAME if self.spread_known else Answer.THESE_AGREE
        return Answer.NOT_SHOWN

    def of_one_run_each(self) -> Difference:
        """The same, marked as without the spread between runs."""
        return replace(self, spread_known=False)

    def seen_at(self, alpha: float) -> float:
        """The smallest change that four of five comparisons would detect at a level other than `ALPHA`."""
        if math.isinf(self.degrees):
            return self.seen_from
        scaled, back = (math.log1p, math.expm1) if self.ratio else (float, float)
        error = (scaled(self.high) - scaled(self.low)) / 2 / t_quantile(1 - ALPHA / 2, self.degrees)
        return back((t_quantile(1 - alpha / 2, self.degrees) + t_quantile(POWER, self.degrees)) * error)

    def reversed(self) -> Difference:
        """The change from B to A."""
        back: Callable[[float], float] = (lambda x: 1 / (1 + x) - 1) if self.ratio else (lambda x: -x)
        return replace(self, change=back(self.change), low=back(self.high), high=back(self.low))


@dataclass(frozen=True, slots=True)
class RunShare:
    """The share of a run's `n` requests to which something happened; `act` of these zeros and ones, if both occur."""

    share: float
    n: int
    act: float | None = None


@dataclass(frozen=True, slots=True)
class RunInterval:
    """A number of a run, more than 0, with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Its standard error on the log scale, from the more distant end."""
        return max(math.log(self.high / self.value), math.log(self.value / self.low)) / NORMAL_QUANTILE


def events_act(runs: Sequence[RunShare]) -> float | None:
    """How strongly events depend on each other, over the runs that show it; None if none does."""
    telling = [(run.n, run.act) for run in runs if run.act is not None]
    return fsum(n for n, _ in telling) / fsum(n / act for n, act in telling) if telling else None


def error_by_chance(a: Sequence[RunShare], b: Sequence[RunShare]) -> float:
    """The least error of the difference of two mean shares: that of requests that fail by chance."""
    act = events_act([*a, *b]) or 1.0
    (share_a, n_a), (share_b, n_b) = (
        (fmean(run.share for run in side), fsum(run.n for run in side) / act) for side in (a, b)
    )
    return _error_of_shares(share_a, n_a, share_b, n_b)


def error_of_the_same(change: float, n: float) -> float:
    """The least error of the difference of two shares of the same n things, in case all changes went one way. One more
    of each kind is counted, so that no change also has an error."""
    share = (abs(change) * n + 1) / (n + 2)
    return math.sqrt(share * (1 - share) / (n + 2))


def error_within_runs(a: Sequence[RunInterval], b: Sequence[RunInterval]) -> float:
    """The error of the difference of two means over runs, on the log scale, if runs vary only by their requests."""
    return math.sqrt(fsum((run.error / len(side)) ** 2 for side in (a, b) for run in side))


def paired(a: Sequence[float], b: Sequence[float], *, ratio: bool = True, least_error: float = 0.0) -> Difference:
    """Alternating runs, as pairs. `least_error`: a lower bound of the error. Raises ValueError for fewer than two
    pairs, or sides of unequal length."""
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"pairs need as many runs on either side, at least two: there are {len(a)} and {len(b)}")
    differences = [after - before for before, after in zip(_scaled(a, ratio), _scaled(b, ratio), strict=True)]
    n = len(differences)
    return _difference(fmean(differences), math.sqrt(variance(differences) / n), n - 1, ratio, least_error=least_error)


def welch(
    a: Sequence[float], b: Sequence[float], *, ratio: bool = True, least_error: float = 0.0, within: float = 0.0
) -> Difference:
    """Existing runs, at least two a side; `least_error` as in `paired`. With an error `within` runs, a difference must
    exceed that too. Raises ValueError for fewer."""
    if len(a) < 2 or len(b) < 2:
        raise ValueError(f"Welch's t needs two runs a side: there are {len(a)} and {len(b)}")
    x, y = _scaled(a, ratio), _scaled(b, ratio)
    of_a, of_b = variance(x) / len(x), variance(y) / len(y)
    both = of_a + of_b
    degrees = both**2 / (of_a**2 / (len(x) - 1) + of_b**2 / (len(y) - 1)) if both > 0 else len(x) + len(y) - 2.0
    d = fmean(y) - fmean(x)
    between = _difference(d, math.sqrt(both), degrees, ratio, least_error=least_error)
    if not within:
        return between
    inside = _difference(d, within, _KNOWN_DEGREES, ratio)
    return replace(max(between, inside, key=lambda d: d.high - d.low), p=max(between.p, inside.p))


def batches(values: Sequence[float], statistic: Callable[[Sequence[float]], float], act: float) -> list[float] | None:
    """The statistic of ten contiguous batches of a run's values, in send order. Returns None if a batch is shorter than
    five times their dependence `act`: neighbouring batches would not be independent."""
    size = len(values) // BATCHES
    if size < LEAST_IN_BATCH * act:
        return None
    return [statistic(values[i * size : (i + 1) * size]) for i in range(BATCHES)]


def one_run_each(a: Sequence[float], b: Sequence[float], *, ratio: bool = True) -> Difference:
    """Two runs, by the statistic of their batches. The difference may be the spread between any two runs."""
    return welch(a, b, ratio=ratio).of_one_run_each()


def no_events(effective_a: float, effective_b: float) -> Difference:
    """Shares that are zero on both sides: with 3 / n no more than that can be hidden (Hanley and Lippman-Hand, JAMA
    1983), and no share exceeds 1. A run whose records were lost has no n."""
    least = min(effective_a, effective_b)
    reach = 3 / least if least > 3 else 1.0
    return Difference(0.0, -reach, reach, 1.0, reach, math.inf, ratio=False)


def two_shares(a: float, n_a: int, b: float, n_b: int) -> Difference:
    """Two shares, of n independent things each: Agresti and Caffo's interval (The American Statistician 54, 2000). It
    counts one more of each kind on either side, so that shares of 0 and 1 also have an error. Raises ValueError if a
    side is empty."""
    if n_a < 1 or n_b < 1:
        raise ValueError("a share needs something that it is of")
    return _difference(b - a, _error_of_shares(a, n_a, b, n_b), n_a + n_b, ratio=False)


def _error_of_shares(a: float, n_a: float, b: float, n_b: float) -> float:
    p, q = ((share * n + 1) / (n + 2) for share, n in ((a, n_a), (b, n_b)))
    return math.sqrt(p * (1 - p) / (n_a + 2) + q * (1 - q) / (n_b + 2))


def few_candidates(
    baseline: Sequence[float], candidate: Sequence[float], *, ratio: bool = True, least_error: float = 0.0
) -> Difference:
    """Fewer than three candidate runs, against the spread of the baseline's; `least_error` as in `paired`:

        t = d / (s sqrt(1 / m + 1 / B))    with B - 1 degrees of freedom

    Raises ValueError for fewer than two baseline runs or no candidate.
    """
    if len(baseline) < 2 or not candidate:
        raise ValueError("a spread needs two baseline runs, and a comparison a candidate")
    x, y = _scaled(baseline, ratio), _scaled(candidate, ratio)
    error = math.sqrt(variance(x) * (1 / len(y) + 1 / len(x)))
    return _difference(fmean(y) - fmean(x), error, len(x) - 1, ratio, least_error=least_error)


def mean_of_runs(values: Sequence[float], *, ratio: bool = True) -> float:
    """The mean whose ratio, or difference, is the tested change: geometric on the log scale."""
    return math.exp(fmean(_scaled(values, True))) if ratio else fmean(values)


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number varies between runs of one configuration. For a ratio, the mean is geometric and `sd` relative (0.02
    is 2%). `low` and `high` bound the mean with 95%; they are None for a single run."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


def spread(values: Sequence[float], *, ratio: bool = True) -> Spread:
    """The t interval over runs, on the log scale unless the values are shares. Raises ValueError without a value."""
    if not values:
        raise ValueError("a spread needs a run")
    x, back = _scaled(values, ratio), math.exp if ratio else float
    n, mean = len(x), fmean(x)
    if n < 2:
        return Spread(n, back(mean), None, None, None)
    sd = math.sqrt(variance(x))
    reach = t_quantile(1 - ALPHA / 2, n - 1) * sd / math.sqrt(n)
    return Spread(n, back(mean), sd, back(mean - reach), back(mean + reach))


def _scaled(values: Sequence[float], ratio: bool) -> list[float]:
    if not ratio:
        return list(values)
    if any(not value > 0 for value in values):
        raise ValueError("a ratio of numbers that are not positive does not exist")
    return [math.log(value) for value in values]


def _difference(d: float, error: float, degrees: float, ratio: bool, *, least_error: float = 0.0) -> Difference:
    back = math.expm1 if ratio else float
    # Runs of a deterministic server can agree exactly: a floor keeps t finite.
    error = max(error, 1e-12 * max(abs(d), 1e-3))
    if least_error > error:
        # The added part of the variance is known, and only the rest is estimated (Satterthwaite, Biometrics 2, 1946).
        degrees = min(_KNOWN_DEGREES, degrees * (least_error / error) ** 4)
        error = least_error
    reach = t_quantile(1 - ALPHA / 2, degrees) * error
    seen_from = (t_quantile(1 - ALPHA / 2, degrees) + t_quantile(POWER, degrees)) * error
    return Difference(
        back(d), back(d - reach), back(d + reach), two_sided(d / error, degrees), back(seen_from), degrees, ratio
    )
