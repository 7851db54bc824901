"""The numbers of a scope of time: the whole run, or its steady window.

Latencies are of the requests sent inside the scope. Rates are of what arrived inside it, and of successful requests
alone: output tokens by the arrival of their chunk, input tokens by that of the first token they led to, requests by
their end.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf
from typing import Any

from bench.metrics import bounds
from bench.metrics.arrivals import Arrivals
from bench.metrics.catalog import METRICS, REQUEST_METRICS, RequestMetric
from bench.metrics.columns import Columns, happened
from bench.metrics.histogram import RELATIVE_ERROR, LogHistogram
from bench.metrics.intervals import Interval, clustered_intervals, mean_interval, quantile_intervals
from bench.metrics.per_request import NS_PER_MS, NS_PER_S
from bench.metrics.quantile import QUANTILES, describe
from bench.metrics.tokens import TokenTimes
from bench.metrics.window import Window
from bench.rng import stream

RATES = ("requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s")


@dataclass(frozen=True, slots=True)
class RunData:
    """What a summary holds of a run: the numbers of its requests, the times of its tokens, its tokens over time."""

    columns: Columns
    tokens: TokenTimes
    arrivals: Arrivals
    good_arrivals: Arrivals
    seed: int


class Scope:
    """The numbers of the whole run (`window` None) or of a window; `name` keeps their resampling apart."""

    def __init__(self, data: RunData, window: Window | None, name: str = "steady") -> None:
        self._data = data
        self._name = "run" if window is None else name
        columns = data.columns
        sent = happened(columns.sent)
        self._start_ns: float | None = None
        self._end_ns: float | None = None
        self._rows: Sequence[int] = range(len(columns))
        # A window that begins with the first send cuts no slice of the token times.
        self._tokens_from_ns = None
        if window is not None:
            self._start_ns, self._end_ns = window.start_ns, window.end_ns
            self._rows = [row for row, at in enumerate(columns.sent) if window.start_ns <= at <= window.end_ns]
            self._tokens_from_ns = window.start_ns if window.start_ns > min(sent, default=0) else None
        elif sent and max(columns.end) > min(sent):
            self._start_ns, self._end_ns = min(sent), max(columns.end)

    @property
    def duration_s(self) -> float | None:
        """Length of the scope; None of a run in which nothing took time."""
        if self._start_ns is None or self._end_ns is None:
            return None
        return (self._end_ns - self._start_ns) / NS_PER_S

    def latency(self) -> dict[str, Any]:
        """Every metric of the catalog."""
        columns, tokens, from_ns = self._data.columns, self._data.tokens, self._tokens_from_ns
        sample = tokens.sample(from_ns)
        requests = sum(map(columns.ok.__getitem__, self._rows))
        of_tokens: dict[str, tuple[LogHistogram, list[array[float]]]] = {
            "itl": (tokens.itl(from_ns), [request.itl for request in sample]),
            "chunk_gap": (tokens.gaps(from_ns), [request.gaps for request in sample]),
        }
        between = {"itl": tokens.itl_between, "chunk_gap": tokens.gaps_between}
        result: dict[str, Any] = {}
        for metric in METRICS.values():
            if isinstance(metric, RequestMetric):
                result[metric.key] = self._request_metric(metric)
                continue
            found = self._of_tokens(metric.key, *of_tokens[metric.name], requests)
            lies = None
            if columns.bounded:
                least, most = between[metric.name](from_ns)
                lies = least.snapshot().describe(1 / NS_PER_MS), most.snapshot().describe(1 / NS_PER_MS)
            found["bounds"] = {} if lies is None else bounds.worth_saying(found, *lies, unit=metric.unit)
            result[metric.key] = found
        return result

    def of_requests(self) -> dict[str, Any]:
        """The metrics of whole requests alone: those of tokens are kept by slices, which a short scope would cut."""
        return {metric.key: self._request_metric(metric) for metric in REQUEST_METRICS.values()}

    def _request_metric(self, metric: RequestMetric) -> dict[str, Any]:
        columns = self._data.columns
        found = self._of_requests(metric.key, happened(list(map(columns.metrics[metric.key].__getitem__, self._rows))))
        ends = bounds.of_request_metric(columns, metric.key, self._rows)
        lies = None if ends is None else (describe(ends[0]), describe(ends[1]))
        found["bounds"] = {} if lies is None else bounds.worth_saying(found, *lies, unit=metric.unit)
        return found

    def _of_requests(self, key: str, values: list[float]) -> dict[str, Any]:
        ordered = sorted(values)
        rng = stream(self._data.seed, "bootstrap", self._name, key)
        ci95 = {"mean": mean_interval(values, rng), **quantile_intervals(ordered)}
        return describe(ordered) | _ci95(ci95, len(values)) | {"quantiles": "exact"}

    def _of_tokens(
        self, key: str, histogram: LogHistogram, clusters: list[array[float]], requests: int
    ) -> dict[str, Any]:
        snapshot = histogram.snapshot()
        ci95: dict[str, Interval | None] = dict.fromkeys(("mean", *QUANTILES))
        if snapshot.n:
            rng = stream(self._data.seed, "bootstrap", self._name, key)
            mean_ns = histogram.total / histogram.count
            found = clustered_intervals(clusters, requests, snapshot.quantile, mean_ns, rng)
            ci95 = {
                name: None if interval is None else (interval[0] / NS_PER_MS, interval[1] / NS_PER_MS)
                for name, interval in found.items()
            }
        how = "exact" if histogram.exact else f"log histogram, relative error <= {RELATIVE_ERROR:.2%}"
        return snapshot.describe(1 / NS_PER_MS) | _ci95(ci95, snapshot.n) | {"quantiles": how}

    def _ended_inside(self) -> list[int]:
        columns, start, end = self._data.columns, self._start_ns, self._end_ns
        if start is None or end is None:
            return []
        return [row for row, at in enumerate(columns.end) if start <= at <= end]

    def _amount(self, arrivals: Arrivals) -> float:
        """What arrived inside the scope: of the whole run all of it, so that no border cuts a slot."""
        if self._name == "run" or self._start_ns is None or self._end_ns is None:
            return arrivals.between(-inf, inf)
        return arrivals.between(self._start_ns, self._end_ns)

    def throughput(self) -> dict[str, Any]:
        """Requests and tokens per second, with intervals from the seconds of the scope."""
        columns, start, end, span = self._data.columns, self._start_ns, self._end_ns, self.duration_s
        if start is None or end is None or span is None:
            return {"duration_s": None, **dict.fromkeys(RATES), "ci95": dict.fromkeys(RATES)}
        done = [row for row in self._ended_inside() if columns.ok[row]]
        inputs = fsum(
            columns.input_tokens[row]
            for row, ok in enumerate(columns.ok)
            if ok and start <= columns.first_token_ns(row) <= end and columns.input_tokens[row] > 0
        )
        output = self._amount(self._data.arrivals)
        steps = int(span)
        ends = Counter(int((columns.end[row] - start) // NS_PER_S) for row in done)
        per_second = {
            "requests_per_s": [float(ends[step]) for step in range(steps)],
            "output_tokens_per_s": self._data.arrivals.per_step(int(start), NS_PER_S, steps),
        }
        intervals = {
            name: mean_interval(values, stream(self._data.seed, "bootstrap", self._name, name))
            for name, values in per_second.items()
        }
        return {
            "duration_s": span,
            "requests_per_s": len(done) / span,
            "input_tokens_per_s": inputs / span,
            "output_tokens_per_s": output / span,
            "total_tokens_per_s": (inputs + output) / span,
            "ci95": dict.fromkeys(RATES) | {name: None if i is None else list(i) for name, i in intervals.items()},
        }

    def goodput(self) -> dict[str, Any]:
        """What met every objective, per second, and its share in the requests that ended."""
        columns, start, end, span = self._data.columns, self._start_ns, self._end_ns, self.duration_s
        if start is None or end is None or span is None:
            return {"requests_per_s": None, "output_tokens_per_s": None, "share": None}
        ended = self._ended_inside()
        good = sum(map(columns.good.__getitem__, ended))
        return {
            "requests_per_s": good / span,
            "output_tokens_per_s": self._amount(self._data.good_arrivals) / span,
            "share": good / len(ended) if ended else None,
        }


def _ci95(intervals: dict[str, Interval | None], n: int) -> dict[str, Any]:
    """Intervals as lists, and the names of those for which there were too few values."""
    return {
        "ci95": {name: None if interval is None else list(interval) for name, interval in intervals.items()},
        "too_few": [name for name, interval in intervals.items() if interval is None] if n else [],
    }
