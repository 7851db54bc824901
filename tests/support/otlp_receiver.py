"""A collector of OTLP over HTTP that keeps everything it receives: the messages of opentelemetry-proto, decoded by
protobuf.

`python -m tests.support.otlp_receiver PORT` starts one for manual measurements.
"""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.joined_server import JoinedServer


def plain(attributes: Any) -> dict[str, Any]:
    """The attributes of a message as Python values."""

    def value(one: Any) -> Any:
        kind = one.WhichOneof("value")
        return tuple(map(value, one.array_value.values)) if kind == "array_value" else getattr(one, kind)

    return {pair.key: value(pair.value) for pair in attributes}


class Collector:
    """Everything received. `open`: while it is not set, an export waits for its answer. `asked`: an export has arrived."""

    def __init__(self) -> None:
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.traces: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        self.status = 200
        self.kind = "application/x-protobuf"
        self.answer: bytes | None = None
        """In place of the usual one."""
        self.url = ""

    @property
    def spans(self) -> list[Any]:
        """Every span."""
        return [
            span
            for request in self.traces
            for one in request.resource_spans
            for scope in one.scope_spans
            for span in scope.spans
        ]

    @property
    def last(self) -> dict[str, Any]:
        """The metrics of the last export, by name."""
        scopes = (scope for one in self.metrics[-1].resource_metrics for scope in one.scope_metrics)
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    @property
    def resource(self) -> dict[str, Any]:
        """The resource attributes of the last metrics."""
        return plain(self.metrics[-1].resource_metrics[0].resource.attributes)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Handle a request; returns the body of the answer."""
        self.headers.append(headers)
        if path == "/v1/metrics":
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))
            return bytes(ExportMetricsServiceResponse().SerializeToString())
        assert path == "/v1/traces"
        self.traces.append(ExportTraceServiceRequest.FromString(body))
        return bytes(ExportTraceServiceResponse().SerializeToString())


@contextmanager
def otlp_receiver(port: int = 0) -> Iterator[Collector]:
    """A collector at this port; 0: any free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.asked.set()
            collector.open.wait()
            answer = b""
            if collector.status == 200:
                answer = collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            if collector.answer is not None:
                answer = collector.answer
            self.send_response(collector.status)
            self.send_header("content-type", collector.kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = JoinedServer(("127.0.0.1", port), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.open.set()
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    with otlp_receiver(int(sys.argv[1])) as running:
        print(f"ready at {running.url}", flush=True)
        threading.Event().wait()
