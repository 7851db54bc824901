"""The metrics of a run so far, cumulative: records and lines of live.jsonl go in, points come out.

A series of a metric is identified by its attributes. Each bucket of a histogram keeps its last traced request as an
exemplar.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.clock import NS_PER_S
from bench.metrics.request_metrics import e2el_ms, send_lateness_ms, tpot_ms, ttft_ms
from bench.metrics.token_gaps import TokenGaps
from bench.records import NO_FAILURE, Outcome, RequestRecord
from bench.records.record_table import RecordTable
from bench.telemetry.declared import METRICS, Metric, operation_of, provider_of
from bench.telemetry.task import Subject
from bench.workload.tracing import ids_of

MS_PER_S = 1_000.0

Attributes = tuple[tuple[str, str | int], ...]
"""The attributes of a series, in a fixed order."""


class Exemplar(NamedTuple):
    """A traced request that fell into a bucket."""

    value: float
    at_ns: int
    trace_id: str
    span_id: str


@dataclass(slots=True)
class Distribution:
    """A histogram so far. Bucket i holds values up to and including its bound; the last one has no bound."""

    counts: list[int]
    total: float = 0.0
    least: float = inf
    most: float = -inf
    exemplars: dict[int, Exemplar] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(self.counts)


class Point(NamedTuple):
    """The current value of a metric's series."""

    metric: Metric
    attributes: Attributes
    value: float | Distribution


def error_type(record: RequestRecord) -> str | None:
    """`error.type` of a request: the status with which the server refused it, else our outcome; None if it succeeded."""
    if record.outcome is Outcome.OK:
        return None
    if record.outcome is Outcome.HTTP_ERROR and record.status is not None:
        return str(record.status)
    return str(record.outcome)


def attributes_of(record: RequestRecord, subject: Subject) -> Attributes:
    """The common attributes of every series and span of a request."""
    endpoint = record.endpoint or subject.endpoint
    model = record.model or subject.model
    return (
        ("gen_ai.operation.name", operation_of(endpoint)),
        ("gen_ai.provider.name", provider_of(endpoint)),
        *(() if model is None else (("gen_ai.request.model", model),)),
        ("server.address", subject.host),
        ("server.port", subject.port),
    )


class Totals:
    """See the module docstring."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._series: dict[tuple[str, Attributes], float | Distribution] = {}

    def points(self) -> Iterator[Point]:
        """Every current series, in the declared order of metrics; later records do not change it."""
        order = list(METRICS)
        for (name, attributes), value in sorted(
            self._series.items(), key=lambda row: (order.index(row[0][0]), row[0][1])
        ):
            if isinstance(value, Distribution):
                value = replace(value, exemplars={**value.exemplars})
            yield Point(METRICS[name], attributes, value)

    def add(self, records: Sequence[RequestRecord]) -> None:
        """Requests that have ended."""
        groups: dict[Attributes, list[RequestRecord]] = {}
        for record in records:
            attributes = (*attributes_of(record, self._subject), ("trueload.phase", record.phase))
            groups.setdefault(attributes, []).append(record)
        for attributes, group in groups.items():
            self._add_group(attributes, RecordTable(group))

    def _add_group(self, attributes: Attributes, table: RecordTable) -> None:
        self._count(attributes, table.records)
        self._durations(attributes, table)
        traced = [row for row, record in enumerate(table.records) if record.traceparent is not None]
        of_requests: tuple[tuple[str, Callable[[RecordTable], npt.NDArray[np.float64]]], ...] = (
            ("trueload.ttft", ttft_ms),
            ("trueload.tpot", tpot_ms),
            ("trueload.e2el", e2el_ms),
            ("trueload.client.lateness", send_lateness_ms),
        )
        for name, metric in of_requests:
            values = metric(table) / MS_PER_S
            self._observe(name, attributes, values, ((row, values[row]) for row in traced), table)
        gaps = TokenGaps(table)
        for name, pauses in (("trueload.itl", gaps.itl), ("gen_ai.client.inference.time_per_output_chunk", gaps.gaps)):
            seconds = pauses.ns / NS_PER_S
            starts = pauses.starts(len(table)).tolist()
            longest = (
                (row, seconds[starts[row] : starts[row + 1]].max()) for row in traced if starts[row] < starts[row + 1]
            )
            self._observe(name, attributes, seconds, longest, table)

    def _durations(self, attributes: Attributes, table: RecordTable) -> None:
        generates = self._subject.generates
        name = "gen_ai.client.inference.duration" if generates else "gen_ai.client.operation.duration"
        by_error: dict[str | None, list[int]] = {}
        for row, record in enumerate(table.records):
            if record.sent_ns is not None:
                by_error.setdefault(error_type(record), []).append(row)
        for error, rows in by_error.items():
            with_error = attributes if error is None else (*attributes, ("error.type", error))
            values = {row: duration_s(table.records[row]) for row in rows}
            exemplars = ((row, value) for row, value in values.items() if table.records[row].traceparent is not None)
            self._observe(name, with_error, np.array([*values.values()]), exemplars, table)
        streams = {
            row: (record.chunk_ns[0] - record.sent_ns) / NS_PER_S
            for row, record in enumerate(table.records)
            if record.sent_ns is not None and record.chunk_ns and generates
        }
        exemplars = ((row, value) for row, value in streams.items() if table.records[row].traceparent is not None)
        first = "gen_ai.client.inference.time_to_first_chunk"
        self._observe(first, attributes, np.array([*streams.values()]), exemplars, table)

    def _count(self, attributes: Attributes, records: Sequence[RequestRecord]) -> None:
        for record in records:
            self._increase("trueload.requests.ended", (*attributes, ("trueload.outcome", str(record.outcome))))
            if record.outcome not in NO_FAILURE and (error := error_type(record)) is not None:
                self._increase("trueload.requests.failed", (*attributes, ("error.type", error)))
            if record.outcome is not Outcome.OK or not self._subject.generates:
                continue
            for name, tokens in (
                ("usage.input_tokens", record.input_tokens),
                ("usage.output_tokens", record.output_tokens),
                ("usage.cache_read.input_tokens", record.cached_tokens),
                ("usage.reasoning.output_tokens", record.reasoning_tokens),
                ("operation.input_tokens", record.input_tokens),
                ("operation.output_tokens", record.output_tokens),
            ):
                if tokens is None:
                    continue
                if name.startswith("usage"):
                    self._increase(f"gen_ai.client.inference.{name}", attributes, tokens)
                else:
                    self._observe(f"gen_ai.client.inference.{name}", attributes, np.array([float(tokens)]))

    def live(self, line: Mapping[str, Any]) -> None:
        """A line of live.jsonl: the state of requests before they end, and of the client."""
        for key in ("planned", "sent", "dropped"):
            self._series[(f"trueload.requests.{key}", ())] = line[key]
        self._increase("trueload.output_tokens.arrived", (), line["second"]["output_tokens"])
        client, unit = line["client"], self._subject.load_unit
        lag_ms = client["loop_lag_ms"]
        gauges = (
            ("trueload.requests.in_flight", (), line["in_flight"]),
            ("trueload.load", (("trueload.load.unit", unit),), line["load"]),
            ("trueload.progress", (), line["share_done"]),
            ("trueload.client.loop_lag", (), None if lag_ms is None else lag_ms / MS_PER_S),
            ("trueload.client.cpu", (), client["cpu"]),
        )
        for name, attributes, value in gauges:
            if value is not None:
                self._series[(name, attributes)] = value

    def _increase(self, name: str, attributes: Attributes, by: float = 1) -> None:
        before = self._series.get((name, attributes), 0)
        assert not isinstance(before, Distribution)
        self._series[(name, attributes)] = before + by

    def _observe(
        self,
        name: str,
        attributes: Attributes,
        values: npt.NDArray[Any],
        traced: Iterable[tuple[int, float]] = (),
        table: RecordTable | None = None,
    ) -> None:
        """Values of a histogram; NaN is ignored. `traced`: rows of the table that may become exemplars, with their
        values."""
        values = values[~np.isnan(values)]
        if not len(values):
            return
        bounds = METRICS[name].bounds
        series = self._series.setdefault((name, attributes), Distribution([0] * (len(bounds) + 1)))
        assert isinstance(series, Distribution)
        counts = np.bincount(np.searchsorted(bounds, values, side="left"), minlength=len(bounds) + 1)
        series.counts = [had + new for had, new in zip(series.counts, counts.tolist(), strict=True)]
        series.total += float(values.sum())
        series.least = min(series.least, float(values.min()))
        series.most = max(series.most, float(values.max()))
        for row, value in traced:
            record = None if table is None else table.records[row]
            if record is not None and record.traceparent is not None and not np.isnan(value):
                trace_id, span_id = ids_of(record.traceparent)
                exemplar = Exemplar(float(value), record.end_ns, trace_id, span_id)
                series.exemplars[bisect_left(bounds, value)] = exemplar


def duration_s(record: RequestRecord) -> float:
    """How long a sent request took, as in its span."""
    assert record.sent_ns is not None
    return (record.end_ns - record.sent_ns) / NS_PER_S
