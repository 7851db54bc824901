"""How certain the numbers of a result are: 95% intervals, and the number of independent values behind them.

Requests sent one after the other meet the same queue, so an interval is based on n / D values and not on n
(docs/dev/simulations.md, `bench/statistics/`). If there are too few for an interval, the result states how long a run
would have to be.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from bench.results.numbers import QUANTILES, TooFewValues
from bench.statistics.autocorrelation import Dependence, Floats, Values, dependence
from bench.statistics.gate import objective as judge_objective
from bench.statistics.intervals import (
    Interval,
    TooFew,
    Whole,
    grouped_dependence,
    grouped_intervals,
    mean_interval,
    quantile_interval,
    rate_interval,
    share_interval,
)

Mask = npt.NDArray[np.bool_]

Intervals = dict[str, Interval | TooFew]
Ends = list[float] | None
"""The two ends of a 95% interval; None if there are too few values."""


@dataclass(frozen=True, slots=True)
class Sureness:
    """How certain the statistics of a metric, or rates, are: the number of independent values, the 95% interval of
    each, and what is missing for an interval."""

    independent: float
    ci95: dict[str, Ends]
    too_few: dict[str, TooFewValues]


def of_requests(values: Values, ordered: Sequence[float], duration_s: float | None) -> Sureness:
    """Intervals of a metric with one value per request: `values` in send order, and the same values in ascending order."""
    values = np.asarray(values, dtype=np.float64)
    known = dependence(values)
    intervals: Intervals = {"mean": mean_interval(values)}
    for name, p in QUANTILES.items():
        intervals[name] = quantile_interval(ordered, p, known)
    return _sureness(known.effective if len(values) else 0.0, intervals, len(values), duration_s)


def of_tokens(
    sample: Sequence[tuple[array[float], array[int] | None]], whole: Whole, scale: float, duration_s: float | None
) -> Sureness:
    """Intervals of a metric with many values per request, from the values of a `sample` of requests, in send order, out
    of the `whole`.

    Each request has values, and the number of times each value occurs (None for once). `independent` counts requests.
    The ends of intervals are multiplied by `scale`.
    """
    sizes = [len(values) for values, _ in sample]
    flat = np.concatenate([np.frombuffer(values) for values, _ in sample if len(values)] or [np.empty(0)])
    times = np.concatenate(
        [
            np.ones(len(values)) if many is None else np.frombuffer(many, np.int64)
            for values, many in sample
            if len(values)
        ]
        or [np.empty(0)]
    )
    intervals = {
        name: interval if isinstance(interval, TooFew) else Interval(interval.low * scale, interval.high * scale)
        for name, interval in grouped_intervals(flat, sizes, QUANTILES, whole, times).items()
    }
    known = grouped_dependence(flat, sizes, whole.groups, times)
    return _sureness(known.effective, intervals, sum(size > 0 for size in sizes), duration_s)


def of_groups(groups: Sequence[Sequence[float]], duration_s: float | None) -> Sureness:
    """Intervals of values in groups, each of which is one piece of evidence. `groups` are in order of their start.

    `independent` counts groups.
    """
    sizes = list(map(len, groups))
    flat = array("d", chain.from_iterable(groups))
    known = grouped_dependence(flat, sizes)
    intervals = grouped_intervals(flat, sizes, QUANTILES)
    return _sureness(known.effective, intervals, len(groups), duration_s)


def of_rates(rates: Mapping[str, float], per_step: Mapping[str, Sequence[float]], step_s: float = 1.0) -> Sureness:
    """Intervals of rates, from the amounts in each step of `step_s` seconds."""
    intervals: Intervals = {}
    steps = 0
    for name, values in per_step.items():
        interval, steps = rate_interval(values, rates[name] * step_s), len(values)
        intervals[name] = (
            Interval(interval.low / step_s, interval.high / step_s) if isinstance(interval, Interval) else interval
        )
    return _sureness(float(steps), intervals, steps, steps * step_s)


def of_error_rate(failed: Sequence[int] | Mask, latencies: Sequence[float] | Floats) -> list[float] | None:
    """The interval of the share of failed requests (1) among all (0), in send order. Returns None if there are too few.
    It also works for other shares of the requests, such as goodput.

    `latencies` are the latencies of answered requests. If none or all failed, failures are assumed to be as dependent
    as the latencies.
    """
    interval = share_interval(failed, dependence(latencies) if len(latencies) else Dependence(len(failed), 1.0))
    return None if isinstance(interval, TooFew) else [interval.low, interval.high]


def shown(interval: Sequence[float] | None, limit: float, upper: bool) -> str:
    """Whether the whole interval shows that an objective is held or failed; otherwise "not shown"."""
    ends = None if interval is None else Interval(interval[0], interval[1])
    return str(judge_objective(ends, limit, upper))


def _sureness(independent: float, intervals: Intervals, n: int, duration_s: float | None) -> Sureness:
    """No number of a result can be negative, so intervals are cut off at 0."""
    return Sureness(
        independent,
        {
            name: None if isinstance(interval, TooFew) else [max(0.0, interval.low), interval.high]
            for name, interval in intervals.items()
        },
        {
            name: TooFewValues(
                independent=interval.effective, needed=interval.needed, run_s=_run_s(interval, n, duration_s)
            )
            for name, interval in intervals.items()
            if isinstance(interval, TooFew) and n
        },
    )


def _run_s(missing: TooFew, n: int, duration_s: float | None) -> float | None:
    """How long a sufficient run would be: longer in proportion to the values required."""
    return None if not n or duration_s is None else math.ceil(duration_s * (n + missing.more) / n)
