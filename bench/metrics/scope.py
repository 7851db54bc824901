"""The numbers of a scope of time: the whole run, or its steady window.

Latencies cover the requests sent inside the scope. Rates count what arrived inside it, for successful requests only:
output tokens by the arrival of their chunk, input tokens by the first token of the reply, requests by their end.
Intervals come from sureness.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, inf
from operator import add
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics import arrays, bounds, sureness
from bench.metrics.arrays import per_bin, view
from bench.metrics.arrivals import Arrivals
from bench.metrics.catalog import METRICS, REQUEST_METRICS, RequestMetric
from bench.metrics.columns import Columns
from bench.metrics.histogram import RELATIVE_ERROR, LogHistogram
from bench.metrics.quantile import describe
from bench.metrics.sureness import Sureness
from bench.metrics.tokens import TokenTimes
from bench.metrics.window import Window
from bench.records import REQUESTS
from bench.records.record_table import Floats, Ints
from bench.results.numbers import Goodput, Metric, Statistics, Throughput
from bench.statistics.intervals import Whole

if TYPE_CHECKING:
    Amounts = tuple[Floats, Floats]
    """When something came, in ns from the start of the run, and how much of it."""

RATES = ("requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s")
LEAST_STEPS, SHORTEST_STEP_S = 64, 0.15
"""The interval of a rate is computed from the amounts of each second. If there are fewer seconds, it uses this many
steps, none of them shorter than this."""
RATES_OF_INPUTS = ("requests_per_s", "inputs_per_s", "input_tokens_per_s")
"""The rates of an endpoint that generates no text. Its other rates are None."""


@dataclass(frozen=True, slots=True)
class RunData:
    """A run's data for its summary: the numbers of its requests, the times of its tokens, its tokens over time."""

    columns: Columns
    tokens: TokenTimes
    arrivals: Arrivals
    good_arrivals: Arrivals
    inputs_are: str | None = None
    """The input type of the requests, if replies are not generated text."""
    measures: tuple[str, ...] = ()
    """The metrics of this run that only a few endpoints have."""
    piles_up: bool = False
    """Whether a longer run would have longer latencies (`load.piles_up`)."""

    @property
    def of_inputs(self) -> bool:
        """Whether replies are something other than generated text."""
        return self.inputs_are is not None


class Scope:
    """The numbers of the whole run (`window` None) or of a window."""

    def __init__(self, data: RunData, window: Window | None, over: tuple[float, float] | None = None) -> None:
        """`over`: the time of the whole run, if `data` is only a part of its requests."""
        self._data = data
        self._whole = window is None

        columns = data.columns
        first_ns = float(arrays.known(arrays.view(columns.sent)).min(initial=inf))
        start_ns, end_ns = first_ns, max(columns.end, default=-inf)
        self._rows = in_send_order(columns)
        # A window that begins with the first send does not cut a slice of the token times.
        self._tokens_from_ns = None
        if window is not None:
            start_ns, end_ns = window.start_ns, window.end_ns
            at = arrays.view(columns.sent)[self._rows]
            self._rows = self._rows[(start_ns <= at) & (at <= end_ns)]
            self._tokens_from_ns = window.start_ns if start_ns > first_ns else None
        if over is not None:
            start_ns, end_ns = over
        self.span = (start_ns, end_ns) if start_ns < end_ns else None
        """Start and end, in ns. None if nothing in the run took time."""

    @property
    def duration_s(self) -> float | None:
        """The length of the scope. Returns None if nothing in the run took time."""
        return None if self.span is None else (self.span[1] - self.span[0]) / NS_PER_S

    @property
    def _scales_from_s(self) -> float | None:
        """The length from which the length of a sufficient run is extrapolated. None if a longer run would be another
        load."""
        return None if self._data.piles_up else self.duration_s

    def latency(self) -> dict[str, Metric]:
        """Every metric of the catalog."""
        columns, tokens, from_ns = self._data.columns, self._data.tokens, self._tokens_from_ns
        sample = tokens.sample(from_ns)
        of_tokens: dict[str, tuple[LogHistogram, list[tuple[array[float], array[int] | None]]]] = {
            "itl": (tokens.itl(from_ns), [(request.itl, request.tokens) for request in sample]),
            "chunk_gap": (tokens.gaps(from_ns), [(request.gaps, None) for request in sample]),
        }
        between = {"itl": tokens.itl_between, "chunk_gap": tokens.gaps_between}
        result = self.of_requests()
        for metric in METRICS.values():
            if isinstance(metric, RequestMetric):
                continue
            histogram, values = of_tokens[metric.name]
            stats = histogram.snapshot().describe(1 / NS_PER_MS)
            lies = None
            if columns.bounded:
                least, most = between[metric.name](from_ns)
                lies = least.snapshot().describe(1 / NS_PER_MS), most.snapshot().describe(1 / NS_PER_MS)
            how = "exact" if histogram.exact else f"log histogram, relative error <= {RELATIVE_ERROR:.2%}"
            result[metric.key] = _metric(stats, self._sure_of_tokens(histogram, values), how, lies, unit=metric.unit)
        return {metric.key: result[metric.key] for metric in METRICS.values() if metric.key in result}

    def of_requests(self) -> dict[str, Metric]:
        """Only the metrics of whole requests. Token metrics are stored in slices, which a short scope would cut."""
        return {
            metric.key: self._request_metric(metric)
            for metric in REQUEST_METRICS.values()
            if not metric.of_few or metric.name in self._data.measures
        }

    def _request_metric(self, metric: RequestMetric) -> Metric:

        columns = self._data.columns
        values = arrays.known(arrays.view(columns.metrics[metric.key])[self._rows])
        ordered = arrays.ascending(values)
        sure = sureness.of_requests(values, ordered, self._scales_from_s)
        ends = bounds.of_request_metric(columns, metric.key, self._rows)
        lies = None if ends is None else (describe(ends[0]), describe(ends[1]))
        return _metric(describe(ordered), sure, "exact", lies, unit=metric.unit)

    def _sure_of_tokens(
        self, histogram: LogHistogram, sample: list[tuple[array[float], array[int] | None]]
    ) -> Sureness:

        snapshot = histogram.snapshot()
        # Requests with a TPOT have gaps.
        requests = len(arrays.known(arrays.view(self._data.columns.metrics["tpot_ms"])[self._rows]))
        mean_ns = histogram.total / histogram.count if histogram.count else 0.0
        whole = Whole(requests, mean_ns, snapshot.quantile)
        return sureness.of_tokens(sample, whole, 1 / NS_PER_MS, self._scales_from_s)

    def _ended_inside(self, start: float, end: float) -> Ints:

        at = arrays.view(self._data.columns.end)
        rows: Ints = ((start <= at) & (at <= end)).nonzero()[0]
        return rows

    def _amount(self, arrivals: Arrivals, start: float, end: float) -> float:
        """The amount that arrived inside the scope; for the whole run the total amount, so that no border cuts a slot."""
        return arrivals.between(-inf, inf) if self._whole else arrivals.between(start, end)

    def throughput(self) -> Throughput:
        """Requests and tokens per second, with intervals from the steps of the scope."""
        columns = self._data.columns
        if self.span is None:
            none = dict.fromkeys((*RATES, *RATES_OF_INPUTS) if self._data.of_inputs else RATES)
            return Throughput(duration_s=None, **none, ci95={**none}, too_few={})

        start, end = self.span
        span = (end - start) / NS_PER_S
        rows = self._ended_inside(start, end)
        rows = rows[arrays.view(columns.ok)[rows]]
        requests = arrays.view(columns.end)[rows], np.ones(len(rows))
        tokens, first = arrays.view(columns.input_tokens), columns.first_tokens_ns()
        read = arrays.view(columns.ok) & (tokens > 0) & (start <= first) & (first <= end)
        prompts = first[read], tokens[read]
        inputs, output = fsum(prompts[1].tolist()), self._amount(self._data.arrivals, start, end)
        rates = {
            "requests_per_s": len(rows) / span,
            "input_tokens_per_s": inputs / span,
            "output_tokens_per_s": output / span,
            "total_tokens_per_s": (inputs + output) / span,
        }
        if self._data.of_inputs:
            return self._throughput_of_inputs(rows, prompts, start, span)
        if columns.no_input_tokens_known:
            del rates["input_tokens_per_s"], rates["total_tokens_per_s"]
        step_ns, steps = _steps(span)
        input_of, output_of = (
            _per_step(prompts, start, step_ns, steps),
            self._data.arrivals.per_step(int(start), step_ns, steps),
        )
        amounts = {
            "requests_per_s": _per_step(requests, start, step_ns, steps),
            "input_tokens_per_s": input_of,
            "output_tokens_per_s": output_of,
            "total_tokens_per_s": list(map(add, input_of, output_of)),
        }
        return _throughput(span, rates, amounts, step_ns)

    def _throughput_of_inputs(self, rows: Ints, tokens: Amounts, start: float, span: float) -> Throughput:
        """The rates of requests, inputs and input tokens, all by the end of their request; no output tokens."""
        columns = self._data.columns
        ends = arrays.view(columns.end)[rows]
        inputs = ends, arrays.view(columns.inputs)[rows]
        sums = dict(zip(RATES_OF_INPUTS, ((ends, np.ones(len(rows))), inputs, tokens), strict=True))
        if self._data.inputs_are == REQUESTS or columns.no_input_tokens_known:
            del sums["input_tokens_per_s"]
        rates = {name: fsum(amounts.tolist()) / span for name, (_, amounts) in sums.items()}
        step_ns, steps = _steps(span)
        amounts = {name: _per_step(of, start, step_ns, steps) for name, of in sums.items()}
        return _throughput(span, rates, amounts, step_ns)

    def goodput(self) -> Goodput:
        """The requests per second that met every objective, and their share of the requests that ended."""
        columns = self._data.columns
        if self.span is None:
            return Goodput(requests_per_s=None, output_tokens_per_s=None, share=None)

        start, end = self.span
        span = (end - start) / NS_PER_S
        rows = self._ended_inside(start, end)
        rows = rows[columns.judged[rows]]
        good = int(arrays.view(columns.good)[rows].sum())
        return Goodput(
            requests_per_s=good / span,
            output_tokens_per_s=None
            if self._data.of_inputs
            else self._amount(self._data.good_arrivals, start, end) / span,
            share=good / len(rows) if len(rows) else None,
        )


def _metric(
    statistics: Statistics, sure: Sureness, how: str, between: tuple[Statistics, Statistics] | None, *, unit: str
) -> Metric:
    """The statistics of a metric with everything known about them; `between`: of the least and of the greatest values."""
    lies = {} if between is None else bounds.worth_saying(statistics, *between, unit=unit)
    return metric_of(statistics, sure, how, lies)


def metric_of(statistics: Statistics, sure: Sureness, how: str, lies: Mapping[str, Sequence[float]]) -> Metric:
    """Statistics with their certainty, the source of the quantiles, and their bounds."""
    return Metric(
        **structs.asdict(statistics),
        independent=sure.independent,
        ci95=sure.ci95,
        too_few=sure.too_few,
        quantiles=how,
        bounds=lies,
    )


def in_send_order(columns: Columns) -> Ints:
    """The rows by time of sending; rows never sent by their end."""
    sent = view(columns.sent)
    return np.argsort(np.where(sent == sent, sent, view(columns.end)), kind="stable")


def _throughput(
    span_s: float, rates: Mapping[str, float], amounts: Mapping[str, Sequence[float]], step_ns: int
) -> Throughput:
    """Rates with the intervals that follow from the amounts of each step. Rates that are not among them are None."""
    sure = sureness.of_rates(rates, {name: amounts[name] for name in rates}, step_ns / NS_PER_S)
    none = dict.fromkeys(name for name in RATES if name not in rates)
    return Throughput(duration_s=span_s, **rates, **none, ci95={**sure.ci95, **none}, too_few=sure.too_few)


def _steps(span_s: float) -> tuple[int, int]:
    """The length of the steps for the intervals of rates, in ns, and their number."""
    step_ns = int(NS_PER_S * min(1.0, max(SHORTEST_STEP_S, span_s / LEAST_STEPS)))
    return step_ns, int(span_s * NS_PER_S / step_ns)


def _per_step(amounts: Amounts, start_ns: float, step_ns: int, steps: int) -> list[float]:
    """Amounts by their step after the start; amounts after the last whole step are left out."""
    at_ns, of = amounts
    step = ((at_ns - start_ns) // step_ns).astype("q")
    inside = step < steps
    return per_bin(step[inside], of[inside], steps)
