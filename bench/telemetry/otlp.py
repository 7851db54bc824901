"""Metrics and spans sent by the OpenTelemetry SDK, over OTLP/HTTP, by a thread that may be late.

The SDK reads its environment: OTEL_EXPORTER_OTLP_* (headers, certificates, time-out, compression), OTEL_SERVICE_NAME
and OTEL_RESOURCE_ATTRIBUTES. Points are cumulative, so a failed export loses nothing once a later one arrives.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.secrets import shown_url
from bench.telemetry.declared import METRICS, Metric
from bench.telemetry.spans import ClientSpan
from bench.telemetry.task import Exported, Subject
from bench.telemetry.totals import Distribution, Exemplar, Point

FROM_ENVIRONMENT = "env"
MOST_WAITING = 8_192
"""The most spans that wait to be sent; beyond that, the oldest are lost."""
AT_ONCE = 512
GIVEN_UP_WITHIN_S = 1.0
"""How long the end of a load waits for a collector that did not accept the last export."""
_PROTOCOL = "http/protobuf"


def environment_problems() -> list[str]:
    """A sentence for each environment variable that requests something unsupported."""
    names = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    return [
        f"{name}={os.environ[name]}: --otlp speaks {_PROTOCOL} alone: unset it, and give the collector's HTTP port (4318)"
        for name in names
        if os.environ.get(name, _PROTOCOL) != _PROTOCOL
    ]


def disabled() -> bool:
    """Whether the environment switches the SDK off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


class _LastError(logging.Handler):
    """Keeps the SDK's message about a failed export: its result does not give the reason."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text: str | None = None
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.set()
        # An endpoint from the environment may have a key in its query.
        text = re.sub(r"(url: [^\s?]*)\?\S*", r"\1?***", " ".join(record.getMessage().split()))
        if "due to timeout" in text or "shutdown" in text.lower():
            return  # It follows the actual reason.
        reason = re.search(r"\[Errno -?\d+\] ([^\"')]+)", text) or re.search(r"Transient error (.*) encountered", text)
        self.text = (text if reason is None else reason[1])[:200]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a collector accepted nothing, or (`rejected`) not all: the SDK treats any status below 400 as success."""

    why: str
    rejected: int | None = None


def _refusal(response: Any) -> _Refusal | None:  # noqa: ANN401 - of requests, which comes with the SDK
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    kind = response.headers.get("content-type", "").lower()
    if 300 <= response.status_code < 400:
        to = shown_url(response.headers.get("location", "no place"))
        return _Refusal(f"status {response.status_code} redirects to {to}: give the collector's own URL")
    if response.status_code >= 400:
        return None  # The SDK reports it.
    if "html" in kind:
        return _Refusal("an HTML page answered, not a collector")
    if "protobuf" not in kind:
        return None
    try:
        # The answer to traces has the same fields: how many were rejected, and why.
        partial = ExportMetricsServiceResponse.FromString(response.content).partial_success
    except DecodeError:
        return _Refusal("the answer is not OTLP")
    rejected = partial.rejected_data_points
    if rejected <= 0:
        return None
    return _Refusal(f"the collector rejected {rejected}: {partial.error_message}"[:200], rejected)


def _own_session() -> bool:
    """Whether the environment leaves the choice of requests' session to us."""
    return not any(
        name.endswith("CREDENTIAL_PROVIDER") and name.startswith("OTEL_PYTHON_EXPORTER_OTLP_HTTP")
        for name in os.environ
    )


class Otlp:
    """Sends the latest metrics and the spans, in a separate thread."""

    def __init__(self, url: str, subject: Subject, offset_ns: int, start_ns: int) -> None:
        """`offset_ns` converts a time of the records to Unix time. `start_ns`: when counting began."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._errors = _LastError()
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self._errors)
        logger.propagate = False
        base = None if url == FROM_ENVIRONMENT else re.sub(r"(/v1/(metrics|traces|logs))?/*$", "", url)
        self._refusal: _Refusal | None = None
        self._metrics = OTLPMetricExporter(
            endpoint=None if base is None else f"{base}/v1/metrics", session=self._session()
        )
        self._traces = OTLPSpanExporter(endpoint=None if base is None else f"{base}/v1/traces", session=self._session())
        attributes = {
            "service.name": "trueload",
            "service.version": subject.version,
            "service.instance.id": subject.run_id,
            "trueload.run.name": subject.name,
        }
        self._resource = Resource(attributes).merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("trueload", subject.version)
        self._offset_ns, self._start_ns = offset_ns, start_ns
        self._points: tuple[int, Sequence[Point]] | None = None
        self._spans: deque[ClientSpan] = deque()
        self._lock, self._news = threading.Lock(), threading.Event()
        self._over = False
        self._exports = self._failed = self._sent = self._lost = 0
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    def _session(self) -> Any:  # noqa: ANN401
        """A session whose answers are checked. Returns None if the environment provides one."""
        if not _own_session():
            return None
        import requests

        def look(response: Any, **_: object) -> None:  # noqa: ANN401
            self._refusal = _refusal(response)

        session = requests.Session()
        session.hooks["response"].append(look)
        return session

    def _taken(self, good: bool) -> tuple[bool, int | None]:
        """Whether an export that the SDK considers good was accepted. If not, the reason is kept, and the rejected
        number is returned if the rest was accepted."""
        if not good or self._refusal is None:
            return good, None
        self._errors.text = self._refusal.why
        self._errors.seen.set()
        return False, self._refusal.rejected

    def tell(self, at_ns: int, points: Sequence[Point], spans: Sequence[ClientSpan]) -> None:
        """Set the current metrics, which replace unsent ones, and add new spans."""
        with self._lock:
            self._points = at_ns, points
            self._spans.extend(spans)
            while len(self._spans) > MOST_WAITING:
                self._spans.popleft()
                self._lost += 1
        self._news.set()

    def finish(self, within_s: float) -> Exported:
        """Send what is left, if a collector accepts it in time."""
        self._over = True
        self._news.set()
        if self._failed == self._exports:
            # No export ever succeeded: after an error the SDK would retry for longer than a user waits.
            if self._errors.seen.wait(within_s):
                self._metrics.shutdown()
                self._traces.shutdown()  # type: ignore[no-untyped-call]
            self._thread.join(GIVEN_UP_WITHIN_S)
        else:
            self._thread.join(within_s)
        with self._lock:
            return Exported(
                exports=self._exports,
                failed=self._failed,
                spans=self._sent,
                lost_spans=self._lost + len(self._spans),
                error=self._errors.text,
                unfinished=self._thread.is_alive(),
            )

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            over = self._over  # Everything told before this point is sent below.
            with self._lock:
                points, self._points = self._points, None
            if points is not None:
                self._count(self._send_metrics(*points))
            while self._spans and not (over and self._failed == self._exports):
                self._send_spans()
            if over:
                self._errors.seen.set()  # Release anyone who waits for an error.
                return

    def _count(self, good: bool) -> None:
        with self._lock:
            self._exports += 1
            self._failed += not good

    def _send_metrics(self, at_ns: int, points: Sequence[Point]) -> bool:
        from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, ResourceMetrics, ScopeMetrics

        metrics = [
            self._metric(name, [*group], at_ns) for name, group in groupby(points, lambda point: point.metric.name)
        ]
        scope = ScopeMetrics(self._scope, metrics, "")
        data = MetricsData([ResourceMetrics(self._resource, [scope], "")])
        self._refusal = None
        return self._taken(self._metrics.export(data) is MetricExportResult.SUCCESS)[0]

    def _metric(self, name: str, points: Sequence[Point], at_ns: int) -> Any:  # noqa: ANN401 - of a package that is not always there
        from opentelemetry.sdk.metrics.export import (
            AggregationTemporality,
            Gauge,
            Histogram,
            HistogramDataPoint,
            NumberDataPoint,
            Sum,
        )
        from opentelemetry.sdk.metrics.export import (
            Metric as SdkMetric,
        )

        metric: Metric = METRICS[name]
        begin, now = self._start_ns + self._offset_ns, at_ns + self._offset_ns
        numbers, histograms = [], []
        for point in points:
            attributes, value = dict(point.attributes), point.value
            if isinstance(value, Distribution):
                histograms.append(
                    HistogramDataPoint(
                        attributes, begin, now, value.count, value.total, [*value.counts], metric.bounds, value.least,
                        value.most, [*self._exemplars(value)],
                    )
                )  # fmt: skip
            else:
                numbers.append(NumberDataPoint(attributes, begin, now, value))
        cumulative = AggregationTemporality.CUMULATIVE
        data = (
            Histogram(histograms, cumulative)
            if metric.kind == "histogram"
            else Sum(numbers, cumulative, is_monotonic=True)
            if metric.kind == "counter"
            else Gauge(numbers)
        )
        return SdkMetric(name, metric.description, metric.unit, data)

    def _exemplars(self, values: Distribution) -> Iterator[Any]:
        from opentelemetry.sdk.metrics import Exemplar as SdkExemplar

        def made(exemplar: Exemplar) -> Any:  # noqa: ANN401
            return SdkExemplar(
                {},
                exemplar.value,
                exemplar.at_ns + self._offset_ns,
                int(exemplar.span_id, 16),
                int(exemplar.trace_id, 16),
            )

        return map(made, values.exemplars.values())

    def _send_spans(self) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.export import SpanExportResult
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        with self._lock:
            batch = [self._spans.popleft() for _ in range(min(AT_ONCE, len(self._spans)))]
        spans = [
            ReadableSpan(
                span.name,
                SpanContext(int(span.trace_id, 16), int(span.span_id, 16), False, TraceFlags(TraceFlags.SAMPLED)),
                resource=self._resource,
                attributes=span.attributes,
                kind=SpanKind.CLIENT,
                status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
                start_time=span.begin_ns + self._offset_ns,
                end_time=span.end_ns + self._offset_ns,
                instrumentation_scope=self._scope,
            )
            for span in batch
        ]
        self._refusal = None
        good, rejected = self._taken(self._traces.export(spans) is SpanExportResult.SUCCESS)
        self._count(good)
        lost = 0 if good else len(batch) if rejected is None else min(rejected, len(batch))
        with self._lock:
            self._sent += len(batch) - lost
            self._lost += lost
