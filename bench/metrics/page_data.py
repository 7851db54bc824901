"""The data of a run's page beyond its summary: series of at most 400 steps, histograms of each step, single requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics.arrays import view
from bench.metrics.arrivals import Arrivals
from bench.metrics.chosen_requests import ChosenRequests, ShownRequests
from bench.metrics.columns import Columns
from bench.metrics.series import over_time, steps_of
from bench.metrics.step_histograms import MOST_STEPS, StepHistograms, quantile, representative
from bench.records.record_table import Floats, Ints
from bench.results.base import Result
from bench.results.numbers import QuantilesOverTime
from bench.results.series import Series

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class NamedSeries(Result, frozen=True, kw_only=True):
    """One name in the server's metrics over the steps of a chart, with all labels and pages combined; per second if
    `rising`."""

    name: str
    rising: bool
    values: Sequence[float | None]


class PageData(Result, frozen=True, kw_only=True):
    """The data of a run's page beyond its summary.

    `series` is the summary's if that is short enough. `histograms` contains, by metric, the counts by bin for each
    step. `server` and `gpu` contain, by name, a value for each step.
    """

    series: Series
    itl_ms: QuantilesOverTime
    histograms: Mapping[str, Sequence[Mapping[int, int]]]
    requests: ShownRequests
    server: Mapping[str, Sequence[float | None]] = {}
    gpu: Mapping[str, Sequence[float | None]] = {}
    server_named: Sequence[NamedSeries] = ()


def page_data(
    columns: Columns,
    tokens: Arrivals,
    bytes_in: Arrivals,
    itl: StepHistograms,
    chosen: ChosenRequests,
    summary_series: Series,
) -> PageData:
    """The page data of a run, without the server's metrics."""
    steps = steps_of(columns, max(tokens.width_ns, bytes_in.width_ns, itl.width_ns), MOST_STEPS)
    same = summary_series.step_s * NS_PER_S == steps.ns
    series = summary_series if same else over_time(columns, tokens, bytes_in, steps)
    histograms = {"itl_ms": itl.per_step(steps.start_ns, steps.ns, steps.count)}
    for metric in ("ttft_ms", "tpot_ms", "e2el_ms"):
        histogram = StepHistograms()
        histogram.extend(*_times_and_values(columns, metric))
        histograms[metric] = histogram.per_step(steps.start_ns, steps.ns, steps.count)
    itl_ms = _quantiles(histograms["itl_ms"])
    return PageData(series=series, itl_ms=itl_ms, histograms=histograms, requests=chosen.describe())


def _times_and_values(columns: Columns, metric: str) -> tuple[Ints, Floats]:
    """Times and values, in ns: TTFT at the arrival of the first token, the other metrics at the end of the request."""
    values = view(columns.metrics[metric])
    at = view(columns.sent) + values * NS_PER_MS if metric == "ttft_ms" else view(columns.end)
    is_value = values == values
    return np.floor(at[is_value]).astype(np.int64), values[is_value] * NS_PER_MS


def _quantiles(steps: Sequence[Mapping[int, int]]) -> QuantilesOverTime:
    result: dict[str, list[float | None]] = {"mean": [], **{name: [] for name in _QUANTILES}}
    for counts in steps:
        n = sum(counts.values())
        total = sum(representative(number) * count for number, count in counts.items())
        result["mean"].append(total / n / NS_PER_MS if n else None)
        for name, p in _QUANTILES.items():
            result[name].append(quantile(counts, p) / NS_PER_MS if n else None)
    return QuantilesOverTime(**result)
