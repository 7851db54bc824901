"""Compares one run per side: Welch's t over ten contiguous batches of each run.

It sees the spread within the two runs, not the spread between runs, which is often larger and can make two runs of one
build differ. So every answer holds for these two runs only and carries that warning, and a gate refuses it. The
compared values are the means over the batches (geometric for ratios), so their ratio is the change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.comparison.numbers import ERRORS, INPUTS, OUTPUT, REQUESTS, Number
from bench.comparison.request_values import RequestValues
from bench.comparison.sides import MeasuredRun
from bench.metrics.quantile import quantile
from bench.results.numbers import QUANTILES
from bench.results.summary import RunSummary
from bench.statistics.autocorrelation import act
from bench.statistics.between_runs import BATCHES, LEAST_IN_BATCH, Difference, batches, one_run_each

SPREAD_UNKNOWN = (
    "one run each: the spread between runs is not known, and two runs of the same setup may differ as much; make several "
    "of each (run --repeats, or compare --run A.yaml B.yaml --pairs 5)"
)
TAIL_VALUES = 2
"""A batch must hold this many values beyond its quantile."""
NOT_OF_BATCHES = "needs several runs a side: one run has no batches of it"


@dataclass(frozen=True, slots=True)
class BatchComparison:
    """The value of each batch of both runs, and their difference."""

    a: list[float]
    b: list[float]
    difference: Difference


def compare(
    number: Number, run_a: MeasuredRun, run_b: MeasuredRun, a: RequestValues, b: RequestValues
) -> tuple[BatchComparison | None, str | None]:
    """Returns the difference of two runs, or the reason why there is none."""
    cuts = []
    for name, run, values in (("A", run_a, a), ("B", run_b, b)):
        series = _series(number, run.summary, values)
        if series is None:
            return None, NOT_OF_BATCHES
        cut, missing = _batches(number, series)
        if cut is None:
            return None, f"too few independent values: the run of {name} {missing}"
        cuts.append(cut)
    if not number.is_share and not all(value > 0 for cut in cuts for value in cut):
        return None, "a ratio of zero does not exist"
    of_a, of_b = cuts
    return BatchComparison(of_a, of_b, one_run_each(of_a, of_b, ratio=not number.is_share)), None


def _series(number: Number, summary: RunSummary, values: RequestValues) -> Sequence[float] | None:
    """The series to cut into batches, in order: a value per request, or a rate per step of the steady window."""
    if number is ERRORS:
        return values.failed
    of_inputs = number.metric == INPUTS.metric or (number is REQUESTS and summary.inputs is not None)
    if number is OUTPUT or of_inputs:
        series, window = summary.series, summary.window
        start_s, end_s = window.start_s, window.end_s
        if start_s is None or end_s is None:
            return []
        step = series.step_s
        amounts = series.output_tokens if number is OUTPUT else series.inputs
        if number is REQUESTS:
            amounts = series.completed
        inside = zip(series.t_s, amounts or (), strict=True)
        return [n / step for at, n in inside if start_s <= at and at + step <= end_s]
    return values.metrics.get(number.metric) if number.stat in ("mean", *QUANTILES) else None


def _batches(number: Number, series: Sequence[float]) -> tuple[list[float] | None, str]:
    known = act(series)
    least = max(LEAST_IN_BATCH * known, _least_values(number.stat))
    cut = batches(series, _statistic(number.stat), known) if len(series) >= BATCHES * least else None
    if cut is not None:
        return cut, ""
    needed = math.ceil(BATCHES * least)
    values = "1 value" if len(series) == 1 else f"{len(series):,} values" if series else "no values"
    longer = f"a run {math.ceil(needed / len(series))} times as long would do" if series else "make the run longer"
    return None, f"has {values}, and ten batches take {needed:,}: {longer}"


def _least_values(stat: str | None) -> float:
    return round(TAIL_VALUES / (1 - QUANTILES[stat]), 6) if stat in QUANTILES else 1.0


def _statistic(stat: str | None) -> Callable[[Sequence[float]], float]:
    if stat in QUANTILES:
        order = QUANTILES[stat]
        return lambda values: quantile(sorted(values), order)
    return fmean
