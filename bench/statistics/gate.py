"""May it ship: the rules of a gate, for an objective and for a change against a baseline.

The one complaint of gate users is alarms on unchanged code. So a gate fails only on what is shown.

*Objective*: fails if the whole interval lies beyond the limit, holds if all of it lies within, otherwise it is not
shown.

*Baseline*: fails if a metric got worse, and that is significant after Holm over the metrics that decide, and the change
is at least the margin, and above an absolute floor. With fewer than three candidate runs the spread comes from the
baseline alone, and at least five baseline runs are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.statistics.between_runs import MARGIN, Difference, few_candidates, mean_of_runs, no_events, welch
from bench.statistics.intervals import Interval
from bench.statistics.multiple import holm

ALPHA = 0.02
"""Two-sided over all metrics that decide, so that unchanged code fails in at most 1% of gates whose runs vary normally,
however the metrics of a run are correlated. (At 5% it was 2% for four independent ones.) If single runs are outliers,
one such candidate run fails: docs/dev/simulations.md has the figures."""
LEAST_CANDIDATES = 3
LEAST_BASELINE = 5
LEAST_RUNS = 2


class Verdict(StrEnum):
    """The verdict of a gate on one objective or metric."""

    FAILED = "failed"
    HELD = "held"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric on both sides: one number per run. `higher_is_worse` for latencies and error rates."""

    baseline: Sequence[float]
    candidate: Sequence[float]
    higher_is_worse: bool
    ratio: bool = True
    floor: float = 0.0
    """An absolute change below which it counts as the same."""
    margin: float | None = None
    """Its own margin. None: the margin of the gate."""
    independent: tuple[float, float] | None = None
    """For a share: the independent requests of both sides, which bound it if neither side had a failure."""
    least_error: float = 0.0
    """A lower bound of the error of the difference."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a metric, and the change behind it; `p` is Holm's. The change is the ratio of the means `before`
    and `now`, or for a share their difference. `seen_from`: the smallest change for the worse that four of five such
    gates would fail, at the level of Holm's first step."""

    verdict: Verdict
    difference: Difference
    p: float
    before: float
    now: float
    seen_from: float


def objective(interval: Interval | None, limit: float, upper: bool = True) -> Verdict:
    """The verdict on a limit that the number must stay below (`upper`) or above; None: too few independent values."""
    if interval is None:
        return Verdict.NOT_SHOWN
    low, high = (interval.low, interval.high) if upper else (-interval.high, -interval.low)
    limit = limit if upper else -limit
    return Verdict.FAILED if low > limit else Verdict.HELD if high < limit else Verdict.NOT_SHOWN


def missing_runs(baseline: int, candidate: int) -> str | None:
    """A sentence on the runs that a comparison lacks. Returns None if there are enough."""
    if candidate < 1:
        return "there is no candidate run: give the run, or the runs, that the gate is to judge"
    if candidate < LEAST_CANDIDATES and baseline < LEAST_BASELINE:
        return (
            f"{candidate} candidate run{'s' if candidate > 1 else ''} against {baseline} of the baseline cannot be told "
            f"from chance: make {LEAST_CANDIDATES} candidate runs, or keep {LEAST_BASELINE} baseline runs (--update)"
        )
    if baseline < LEAST_RUNS:
        return (
            f"the baseline has {baseline} run{'' if baseline == 1 else 's'}, and a spread needs two: add one (--update)"
        )
    return None


def judge(metrics: Mapping[str, Metric], margin: float = MARGIN, alpha: float = ALPHA) -> dict[str, Judged]:
    """The verdict on each metric that decides, corrected for their number. Raises ValueError if runs are missing."""
    differences: dict[str, Difference] = {}
    for name, metric in metrics.items():
        lacks = missing_runs(len(metric.baseline), len(metric.candidate))
        if lacks is not None:
            raise ValueError(lacks)
        differences[name] = _difference(metric)
    corrected = holm([difference.p for difference in differences.values()])
    judged = {}
    for (name, difference), p in zip(differences.items(), corrected, strict=True):
        metric = metrics[name]
        allowed = margin if metric.margin is None else metric.margin
        before, now = (mean_of_runs(values, ratio=metric.ratio) for values in (metric.baseline, metric.candidate))
        verdict = _verdict(metric, difference, p, allowed, alpha, before, now)
        detectable = _seen_from(metric, difference, allowed, alpha / len(metrics))
        judged[name] = Judged(verdict, difference, p, before, now, detectable)
    return judged


def _seen_from(metric: Metric, difference: Difference, margin: float, alpha: float) -> float:
    detectable = difference.seen_at(alpha)
    if metric.ratio and not metric.higher_is_worse:
        detectable = detectable / (1 + detectable)  # Symmetric on the log scale.
    return max(margin, detectable)


def _difference(metric: Metric) -> Difference:
    if metric.independent is not None and not any((*metric.baseline, *metric.candidate)):
        return no_events(*metric.independent)
    test = welch if len(metric.candidate) >= LEAST_CANDIDATES else few_candidates
    return test(metric.baseline, metric.candidate, ratio=metric.ratio, least_error=metric.least_error)


def _verdict(
    metric: Metric, difference: Difference, p: float, margin: float, alpha: float, before: float, now: float
) -> Verdict:
    sign = 1 if metric.higher_is_worse else -1
    if sign * difference.change >= margin and p < alpha and abs(now - before) >= metric.floor:
        return Verdict.FAILED
    worst = difference.high if metric.higher_is_worse else -difference.low
    worst_absolute = worst * before if metric.ratio else worst
    return Verdict.HELD if worst < margin or worst_absolute < metric.floor else Verdict.NOT_SHOWN
