"""The run over time, and the distributions for the report.

Steps are one second long; in a run over 4,096 s they double in length until there are no more than 4,096. Amounts are
per step, `in_flight` is the time-weighted mean of the step, latencies are quantiles over the step's requests: TTFT by
the arrival of the first token, the rest by the end of the request.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics.arrays import ascending, grouped, known, per_bin, view
from bench.metrics.arrivals import MAX_SLOTS, Arrivals
from bench.metrics.columns import NEVER_ASKED, NO_RESPONSE, Columns
from bench.metrics.quantile import describe, quantile
from bench.records.record_table import Floats, Ints
from bench.results.numbers import QuantilesOverTime, Statistics
from bench.results.series import (
    Distributions,
    MedianOverTime,
    Series,
    SpeedOverTime,
    TimeInterval,
    TimeQuantile,
    Traffic,
)

_INTERVALS = 12
_OVER_TIME = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
RESPONSE_QUANTILES = (*range(1, 100), 99.5, 99.9, 100)


class Steps:
    """The steps of a run: `count` steps of `ns`, from the start of the run (or earlier, if there are earlier events)."""

    def __init__(self, first_ns: float, last_ns: float, widest_ns: int = 0, most: int = MAX_SLOTS) -> None:
        """At most `most` steps, none narrower than `widest_ns`."""
        self.ns = NS_PER_S
        while self.ns < widest_ns or self._from_to(first_ns, last_ns)[1] > most:
            self.ns *= 2
        self.first, self.count = self._from_to(first_ns, last_ns)

    def _from_to(self, first_ns: float, last_ns: float) -> tuple[int, int]:
        first = min(math.floor(first_ns / self.ns), 0)
        return first, math.floor(last_ns / self.ns) - first + 1

    @property
    def start_ns(self) -> int:
        return self.first * self.ns

    def all_of(self, times_ns: Iterable[float]) -> Ints:
        """The step of each time. Raises FloatingPointError for impossible times, as in a damaged file."""
        with np.errstate(invalid="raise"):
            return np.floor(np.asarray(times_ns, dtype=np.float64) / self.ns).astype(np.int64) - self.first

    def counts(self, times_ns: Iterable[float]) -> list[int]:
        """How many of the times fall into each step. Requests due before the first step that never came are not counted."""
        steps = self.all_of(times_ns)
        inside = steps[(steps >= 0) & (steps < self.count)]
        totals: list[int] = np.bincount(inside, minlength=self.count).tolist()
        return totals

    def in_flight(self, begins: Sequence[float] | Floats, ends: Sequence[float] | Floats) -> list[float]:
        """Time-weighted mean number of [begin, end] spans in each step.

        Up to a time t, the total time of the spans is sum(t - begin over begins before t) - sum(t - end over ends
        before t).
        """
        borders = self.start_ns + self.ns * np.arange(self.count + 1, dtype=np.float64)
        spent = np.zeros(len(borders))
        for of_spans, sign in ((begins, 1), (ends, -1)):
            times = np.sort(np.asarray(of_spans, dtype=np.float64))
            sums = np.append(0.0, np.cumsum(times))
            befores = np.searchsorted(times, borders, side="right")
            spent += sign * (befores * borders - sums[befores])
        means: list[float] = (np.diff(spent) / self.ns).tolist()
        return means

    def quantiles(self, times_ns: Floats, values_of: Floats) -> QuantilesOverTime:
        """The mean and quantiles of the values in each step, by their times. NaN is not a value; a step without values
        has None."""
        is_value = values_of == values_of
        groups = grouped(self.all_of(times_ns[is_value]), values_of[is_value])
        result: dict[str, list[float | None]] = {"mean": [], **{name: [] for name in _OVER_TIME}}
        for step in range(self.count):
            values = groups.get(step, [])
            result["mean"].append(math.fsum(values) / len(values) if values else None)
            for name, p in _OVER_TIME.items():
                result[name].append(quantile(values, p) if values else None)
        return QuantilesOverTime(**result)


def steps_of(columns: Columns, widest_ns: int, most: int = MAX_SLOTS) -> Steps:
    """The steps that contain every request. A run without requests has no steps."""
    if not len(columns):
        return Steps(0, -1, widest_ns, most)

    sent, end = known(view(columns.sent)), view(columns.end)
    return Steps(min(sent.min(initial=math.inf), end.min()), float(end.max()), widest_ns, most)


def over_time(columns: Columns, tokens: Arrivals, bytes_in: Arrivals, steps: Steps | None = None) -> Series:
    """`series` of a summary, or the same over other steps."""
    sent, end = known(view(columns.sent)), view(columns.end)
    if steps is None:
        steps = steps_of(columns, max(tokens.width_ns, bytes_in.width_ns))
    sent_ends = end[~np.isnan(view(columns.sent))]
    status = view(columns.status)
    inputs, input_tokens = _inputs(columns, steps)
    return Series(
        step_s=steps.ns // NS_PER_S,
        t_s=[(steps.first + step) * steps.ns / NS_PER_S for step in range(steps.count)],
        end_s=max(columns.end) / NS_PER_S if len(columns) else None,
        planned=steps.counts(columns.intended),
        sent=steps.counts(sent),
        completed=steps.counts(end[view(columns.ok)]),
        failed=steps.counts(end[view(columns.failed)]),
        failed_by_outcome={
            str(outcome): steps.counts(end[failed]) for outcome, failed in columns.failed_rows().items()
        },
        in_flight=steps.in_flight(sent, sent_ends),
        ttft_ms=steps.quantiles(
            view(columns.sent) + view(columns.metrics["ttft_ms"]) * NS_PER_MS, view(columns.metrics["ttft_ms"])
        ),
        tpot_ms=steps.quantiles(end, view(columns.metrics["tpot_ms"])),
        e2el_ms=steps.quantiles(end, view(columns.metrics["e2el_ms"])),
        tps=steps.quantiles(end, view(columns.metrics["tps"])),
        output_tokens=tokens.per_step(steps.start_ns, steps.ns, steps.count),
        inputs=inputs,
        input_tokens=input_tokens,
        bytes_in=bytes_in.per_step(steps.start_ns, steps.ns, steps.count),
        bytes_out=_amounts(steps, columns.sent, columns.bytes_sent),
        status={
            status_name(code): steps.counts(end[status == code])
            for code in sorted(set(columns.status))
            if code != NEVER_ASKED
        },
    )


def _inputs(columns: Columns, steps: Steps) -> tuple[list[float] | None, list[float] | None]:
    """The inputs and input tokens of the successful requests that ended in each step, if no text is generated."""
    if not any(columns.inputs):
        return None, None
    ends = array("d", (end if ok else math.nan for end, ok in zip(columns.end, columns.ok, strict=True)))
    inputs = _amounts(steps, ends, columns.inputs)
    if columns.no_input_tokens_known:
        return inputs, None
    return inputs, _amounts(steps, ends, array("d", (0.0 if n != n else n for n in columns.input_tokens)))


def _amounts(steps: Steps, times: array[float], amounts: array[float]) -> list[float]:

    at, of = view(times), view(amounts)
    return per_bin(steps.all_of(at[at == at]), of[at == at], steps.count)


def status_name(status: int) -> str:
    """A status as the key of a table: `none` without a response."""
    return "none" if status == NO_RESPONSE else str(status)


def by_status(columns: Columns) -> dict[str, int]:
    """Number of requests with each status; dropped requests are left out."""
    counted = Counter(columns.status)
    return {status_name(status): counted[status] for status in sorted(counted) if status != NEVER_ASKED}


def distributions(columns: Columns, series: Series) -> Distributions:
    """`distributions` of a summary: the nine in a report.

    The ones over time are drawn from `series`; here they are the statistics of their rates over the steps of the run.
    """
    times = ascending(view(columns.metrics["e2el_ms"]))

    def rates(amounts: Sequence[float]) -> Statistics:
        return describe(sorted(amount / series.step_s for amount in amounts))

    return Distributions(
        requests_per_s=rates(series.sent),
        responses_per_s=rates(series.completed),
        traffic=Traffic(bytes_in_per_s=rates(series.bytes_in), bytes_out_per_s=rates(series.bytes_out)),
        response_time_intervals=intervals(times),
        response_time_quantiles=[
            TimeQuantile(q=q / 100, ms=quantile(times, q / 100)) for q in RESPONSE_QUANTILES if times
        ],
        status_codes=by_status(columns),
        ttft=MedianOverTime(p50_ms=_medians(series.ttft_ms)),
        tpot=MedianOverTime(p50_ms=_medians(series.tpot_ms)),
        tps=SpeedOverTime(output_tokens_per_s=rates(series.output_tokens), p50_of_requests=_medians(series.tps)),
    )


def _medians(quantiles: QuantilesOverTime) -> Statistics:
    return describe(sorted(x for x in quantiles.p50 if x is not None))


def intervals(ordered_ms: Sequence[float]) -> list[TimeInterval]:
    """Shares of the response times in about a dozen intervals with round borders; the last has no upper limit.

    Each interval includes its lower border but not its upper one.
    """
    if not ordered_ms:
        return []
    low, high = ordered_ms[0], quantile(ordered_ms, 0.99)
    width = _round_width(max(high - low, high * 1e-3, 1e-6) / _INTERVALS)
    first, last = math.floor(low / width), math.floor(high / width) + 1
    rows: list[TimeInterval] = []
    counted = 0
    for k in range(first, last):
        below = bisect_left(ordered_ms, (k + 1) * width)
        rows.append(_interval(k * width, (k + 1) * width, below - counted, len(ordered_ms)))
        counted = below
    if counted < len(ordered_ms):
        rows.append(_interval(last * width, None, len(ordered_ms) - counted, len(ordered_ms)))
    return rows


def _interval(from_ms: float, to_ms: float | None, n: int, of: int) -> TimeInterval:
    return TimeInterval(from_ms=from_ms, to_ms=to_ms, n=n, share=n / of)


def _round_width(width: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not less than the width."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9))
