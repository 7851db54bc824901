"""The metrics of a running load as a page for Prometheus: its text format, or OpenMetrics with exemplars on request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Exemplar

from bench.clock import NS_PER_S
from bench.telemetry.declared import METRICS, Metric, prometheus_name
from bench.telemetry.task import Subject
from bench.telemetry.totals import Distribution, Point


class Families:
    """The collector from which prometheus-client gets the current metrics."""

    def __init__(self) -> None:
        self.points: Sequence[Point] = ()
        self.offset_ns = 0
        """Converts a time of the records to Unix time."""

    def collect(self) -> Iterator[Family]:
        for name, group in groupby(self.points, lambda point: point.metric.name):
            yield self._family(METRICS[name], [*group])

    def _family(self, metric: Metric, points: Sequence[Point]) -> Family:
        names = [*dict.fromkeys(key for point in points for key, _ in point.attributes)]
        labels = [prometheus_name(key) for key in names]
        rows = [([str(dict(point.attributes).get(key, "")) for key in names], point.value) for point in points]
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.prometheus, metric.description, labels=labels)
            for row, value in rows:
                assert isinstance(value, Distribution)
                histogram.add_metric(row, self._buckets(metric, value), value.total)
            return histogram
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.prometheus, metric.description, labels=labels)
        for row, value in rows:
            assert not isinstance(value, Distribution)
            family.add_metric(row, value)
        return family

    def _buckets(self, metric: Metric, values: Distribution) -> Sequence[tuple[str, float, Exemplar]]:
        buckets: list[Any] = []
        up_to = 0
        for number, bound in enumerate((*metric.bounds, None)):
            up_to += values.counts[number]
            chosen = values.exemplars.get(number)
            bucket = "+Inf" if bound is None else str(bound), float(up_to)
            if chosen is None:
                buckets.append(bucket)
            else:
                ids = {"trace_id": chosen.trace_id, "span_id": chosen.span_id}
                buckets.append((*bucket, Exemplar(ids, chosen.value, (chosen.at_ns + self.offset_ns) / NS_PER_S)))
        return buckets


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    wbufsize = 1 << 20
    """Status, headers and page are sent in one write. If the process ended after the status alone, a scraper would read
    an empty page."""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the terminal is the run's."""


class _Read:
    """A page being sent: `close` is called when it was sent."""

    def __init__(self, content: Sequence[bytes], close: Callable[[], None]) -> None:
        self._content = content
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._content)

    def __len__(self) -> int:
        """Makes the server send the length, so that a scraper notices a truncated page."""
        return len(self._content)


class Page:
    """Serves the page from separate threads. Raises OSError if the address cannot be opened."""

    def __init__(self, host: str, port: int) -> None:
        self._families = Families()
        self._registry = CollectorRegistry()
        self._registry.register(self._families)
        self._over = False
        self.read_at_end = threading.Event()
        """Set once the page has been read after the end of the load."""
        server = make_server(host, port, self._answer, _Server, _Silent)
        self.url = f"http://{host}:{server.server_port}/metrics"
        threading.Thread(target=server.serve_forever, name="metrics page", daemon=True).start()

    def begins(self, subject: Subject, offset_ns: int) -> None:
        """Set the identity of the run."""
        self._families.offset_ns = offset_ns
        info = {"service_name": "trueload", "service_version": subject.version, "service_instance_id": subject.run_id}
        self._registry.set_target_info(info)

    def tell(self, points: Sequence[Point], *, over: bool = False) -> None:
        """Set the current metrics. `over`: no more will follow."""
        self._families.points = points
        self._over = over

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's own
        at_end = self._over
        content: Sequence[bytes] = make_wsgi_app(self._registry)(environ, start_response)
        return _Read(content, self.read_at_end.set if at_end else lambda: None)
