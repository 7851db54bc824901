"""Finds the likely cause of a wrong number from its pattern: pure decisions over statistics.

Three sources are compared: the report, the ledger, and the number recomputed here from the client's own stamps
(`recounted`). If the stamps give the truth and the report does not, the metric is defined wrongly. If the stamps
themselves are off, they were taken at the wrong moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from bench.results.certificate import CauseRow, NumberRow

Stats = Mapping[str, float]

NOTICED_MS = 0.1
"""A smaller error needs no cause: it is within the accuracy of the time stamps."""
CLOSE_SHARE = 0.1
"""A cause explains an error if it leaves less than this share of it, in every statistic."""
CLOSE_MS = 0.02
_ROUNDING = 1e-6
"""Results are rounded to twelve digits."""

BODY = ("mean", "p50", "p75", "p90", "p95", "p99")
"""A cause must explain these statistics: p99.9 and the maximum may be single requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """One metric as reported, its true value, and the values that mistakes would give. `mistaken`: keys are mistakes
    (the end of a sentence). `allowed`: the range that the stamps allow if they are bounds; inside it, no other cause is
    needed.

    `extra`: groups of requests that must not be among the values, with their sizes ("failed requests": 7).
    """

    unit: str
    n: int
    true_n: int
    measured: Stats
    true: Stats
    allowed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    recounted: Stats = field(default_factory=dict)
    mistaken: Mapping[str, Stats] = field(default_factory=dict)
    extra: Mapping[str, int] = field(default_factory=dict)
    step_ms: float | None = None
    """The shift of all stamps from one moment on; None if there is no such shift."""


def cause_of(metric: str, comparison: MetricComparison) -> CauseRow | None:
    """The likely cause of a metric's error; None if the error lies within the accuracy of the stamps."""
    if not comparison.true:
        return None
    errors = {s: comparison.measured[s] - comparison.true[s] for s in BODY if s in comparison.measured}
    noticed = [s for s in errors if _noticed(s, comparison)]
    if not errors or (comparison.n == comparison.true_n and not noticed):
        return None
    stat = max(noticed or errors, key=lambda s: abs(errors[s]))
    sentence = next((cause for pattern in PATTERNS if (cause := pattern(comparison, errors)) is not None), UNKNOWN)
    return CauseRow(metric=metric, stat=stat, size=errors[stat], unit=comparison.unit, cause=sentence)


UNKNOWN = "no known mistake gives this number"


def _noticed(stat: str, comparison: MetricComparison) -> bool:
    """Whether an error exceeds what the stamps allow. The error of a speed is converted to a time per token."""
    measured, true = comparison.measured[stat], comparison.true[stat]
    if stat in comparison.allowed:
        low, high = comparison.allowed[stat]
        if low - _ROUNDING <= min(measured, true) and max(measured, true) <= high + _ROUNDING:
            return False
    if comparison.unit == "ms":
        return abs(measured - true) > NOTICED_MS
    return measured > 0 and true > 0 and abs(1000 / measured - 1000 / true) > NOTICED_MS


def _left(comparison: MetricComparison, other: Stats) -> float | None:
    """The largest difference between the report and another explanation; None if they cannot be compared."""
    shared = [s for s in BODY if s in other and s in comparison.measured]
    return max((abs(comparison.measured[s] - other[s]) for s in shared), default=None) if shared else None


def _explains(comparison: MetricComparison, errors: Mapping[str, float], other: Stats) -> float | None:
    """The error that an explanation leaves; None if it is too large."""
    left = _left(comparison, other)
    worst = max(abs(e) for e in errors.values())
    return left if left is not None and left <= max(CLOSE_MS, CLOSE_SHARE * worst) and left < worst / 2 else None


def too_many(comparison: MetricComparison, errors: Mapping[str, float]) -> str | None:
    """More values than allowed: names the group of exactly that size."""
    more = comparison.n - comparison.true_n
    for group, count in comparison.extra.items():
        if more and more == count:
            return f"{group} are included: there are {more:,} values too many, as many as there were {group}"
    return None


def another_definition(comparison: MetricComparison, errors: Mapping[str, float]) -> str | None:
    """The mistake that gives the reported number; if there are several, the closest one, then the first."""
    fits = {
        mistake: left
        for mistake, other in comparison.mistaken.items()
        if (left := _explains(comparison, errors, other)) is not None
    }
    return min(fits, key=lambda mistake: round(fits[mistake], 3)) if fits else None


def whole_ms(comparison: MetricComparison, errors: Mapping[str, float]) -> str | None:
    """Whole milliseconds: the maximum, which is a measured value, is whole, and so are all quantiles but one."""
    if comparison.unit != "ms":
        return None
    values = [comparison.measured[s] for s in ("p50", "p90", "max") if s in comparison.measured]
    whole = [abs(v - round(v)) < 1e-6 for v in values]
    truly = [
        abs(comparison.true[s] - round(comparison.true[s])) < 1e-6
        for s in ("p50", "p90", "max")
        if s in comparison.true
    ]
    if not values or not whole[-1] or sum(whole) < len(values) - 1 or all(truly):
        return None
    if any(abs(e) > 1.0 for e in errors.values()):
        return None
    cut = errors.get("mean", 0.0) < -0.25
    return f"values are {'cut' if cut else 'rounded'} to whole milliseconds"


def late_stamps(comparison: MetricComparison, errors: Mapping[str, float]) -> str | None:
    """The client's own stamps give the same wrong number."""
    if not comparison.recounted or _explains(comparison, errors, comparison.recounted) is None:
        return None
    shift = shifted(comparison, errors)
    when = "late" if errors.get("p50", 0.0) > 0 or errors.get("p99", 0.0) > 0 else "early"
    if shift is not None:
        return f"the time stamps are {when}: {shift}"
    return f"the time stamps are {when}, most of all in the tail: the client was busy, or looked at the clock after its work"


def clock_set(comparison: MetricComparison, errors: Mapping[str, float]) -> str | None:
    """The stamps are right until one moment, and off by the same amount from then on."""
    if comparison.step_ms is None:
        return None
    return f"the clock was set by {comparison.step_ms:+,.1f} ms while the load went on: the stamps jump with it"


def step_of(lags_ms: Sequence[float | None]) -> float | None:
    """The jump of the stamps' lag, if the lag is constant before and after one moment; None if there is no such jump.

    `lags_ms` are medians of slices of the run, in order; None if a slice has no stamps.
    """
    lags = [lag for lag in lags_ms if lag is not None]
    if len(lags) < 4:
        return None
    jumps = [b - a for a, b in pairwise(lags)]
    at = max(range(len(jumps)), key=lambda i: abs(jumps[i]))
    before, after = median(lags[: at + 1]), median(lags[at + 1 :])
    step = after - before
    # The slice with the jump contains both lags, so the adjacent slices are left out.
    uneven = (
        max(abs(lag - before) for lag in lags[:at] or [before]),
        max(abs(x - after) for x in lags[at + 2 :] or [after]),
    )
    return step if abs(step) > NOTICED_MS and max(uneven) <= CLOSE_SHARE * abs(step) else None


def shifted(comparison: MetricComparison, errors: Mapping[str, float]) -> str | None:
    """The same error in all statistics."""
    if not _even(list(errors.values())) <= CLOSE_SHARE:
        return None
    return f"all quantiles are shifted by {errors['p50']:+.3f} {comparison.unit}"


def scaled(comparison: MetricComparison, errors: Mapping[str, float]) -> str | None:
    """The same factor in all statistics, more evenly than a shift would be."""
    ratios = [comparison.measured[s] / comparison.true[s] for s in errors if comparison.true[s]]
    uneven = _even([ratio - 1 for ratio in ratios])
    if not uneven <= CLOSE_SHARE or _even(list(errors.values())) < uneven:
        return None
    return f"all quantiles are {ratios[0]:.4g} times the truth"


def _even(values: Sequence[float]) -> float:
    """The range of the values as a share of the largest; infinite if they lie on both sides of zero."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return (high - low) / max(abs(low), abs(high)) if low * high > 0 else math.inf


def tail_alone(comparison: MetricComparison, errors: Mapping[str, float]) -> str | None:
    """The median is right and the tail is wrong, although the stamps are right: the quantiles are computed wrongly."""
    worst = max(errors.values(), key=abs)
    if abs(errors.get("p50", worst)) > CLOSE_SHARE * abs(worst):
        return None
    return "the median is right and the tail is not: the values are right and their quantiles are computed wrongly"


RATE_NOTICED = 0.002
"""A smaller share needs no cause: it comes from the ends of the span."""


def rate_cause(rate: NumberRow, others: Mapping[str, float]) -> CauseRow | None:
    """The likely cause of a wrong rate. `others`: the rate that each mistake gives."""
    if not rate.true or abs(rate.error) < RATE_NOTICED * rate.true:
        return None
    fits = [m for m, value in others.items() if abs(rate.measured - value) <= CLOSE_SHARE * abs(rate.error)]
    sentence = fits[0] if fits else UNKNOWN
    return CauseRow(metric=rate.metric, stat=rate.stat, size=rate.error, unit=rate.unit, cause=sentence)


def causes_of_outcomes(confused: Mapping[tuple[str, str, str], int]) -> list[CauseRow]:
    """Outcomes that the client confused, with their counts. Keys: outcome here, outcome there, the fault that struck."""
    causes = []
    for (here, there, fault), n in confused.items():
        if here == "ok":
            subject = "an error inside a 200 stream" if there == "stream_error" else f"a reply that ended as {there}"
            sentence = f"{subject} is counted as a success"
        elif there == "ok" and fault == "u2028":
            sentence = f"events are cut at U+2028, which ends no line: such replies are counted as {here}"
        elif there == "ok" and fault:
            sentence = f"good replies that came with the fault {fault} are counted as {here}"
        else:
            sentence = f"{there} is counted as {here}"
        causes.append(CauseRow(metric="requests", stat="number", size=float(n), unit="requests", cause=sentence))
    return causes


PATTERNS: tuple[Callable[[MetricComparison, Mapping[str, float]], str | None], ...] = (
    too_many,
    clock_set,
    late_stamps,
    another_definition,
    whole_ms,
    scaled,
    shifted,
    tail_alone,
)
"""In order: the first pattern that fits is the likely cause."""
