"""What to export during the load."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import BaseModel, BeforeValidator

from bench.config import fields, values
from bench.config.fields import checked, parsed

DEFAULT_HOST = "127.0.0.1"

option = partial(fields.option, group="telemetry")


class TelemetryOfRun(BaseModel):
    """The settings of the group `telemetry`."""

    otlp: Annotated[str | None, checked(values.otlp)] = option(
        None,
        "send metrics each second, and spans, to this OTLP/HTTP collector (needs the OpenTelemetry SDK); env: to that of "
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        metavar="URL|env",
    )
    trace_share: Annotated[float | None, parsed(values.part)] = option(
        None,
        "with --otlp: trace this share of the requests, such as 0.01: each has a span, and sends the server a traceparent",
        metavar="SHARE",
        otherwise="none",
    )
    metrics_port: Annotated[str | None, parsed(values.listening_address)] = option(
        None,
        f"serve the metrics as a page for Prometheus at this port of {DEFAULT_HOST}, or of HOST",
        metavar="[HOST:]PORT",
    )
    metrics_linger: Annotated[float, BeforeValidator(values.seconds)] = option(
        15.0,
        "with --metrics-port: how long the page waits after the load to be read once more; 0 ends it at once",
        metavar="S",
    )

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the page; None if there is no page."""
        if self.metrics_port is None:
            return None
        host, _, port = self.metrics_port.rpartition(":")
        return host or DEFAULT_HOST, int(port)
