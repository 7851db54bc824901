"""Every exported metric. `gen_ai.*` follows OpenTelemetry's conventions for generative AI (semantic-conventions-genai,
status Development, names of its version 0.1); `trueload.*` has the definitions of the report
(bench/metrics/catalog.py).

Names on the Prometheus page follow OpenTelemetry's own translation, so that a dashboard works with both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

Bounds = tuple[float, ...]

DURATIONS: Bounds = tuple(round(0.01 * 2**n, 2) for n in range(14))
"""The bounds that the conventions require for a client's durations: 0.01 s, doubling to 81.92 s."""
TOKENS: Bounds = tuple(float(4**n) for n in range(14))
"""The bounds for tokens: 1, 4, 16 ... 67,108,864."""
FIRST_TOKEN: Bounds = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0
)  # fmt: skip
"""The bounds for a server's time to first token, extended: an overloaded server makes clients wait."""
EACH_TOKEN: Bounds = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5,
)  # fmt: skip
"""The bounds for a server's time per output token, finer below 50 ms, where most servers are."""
LATENESS: Bounds = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

Kind = Literal["histogram", "counter", "gauge"]
_SUFFIXES = {"s": "_seconds", "1": "_ratio"}
"""Units as Prometheus writes them; units in braces are not part of a name."""


class Metric(NamedTuple):
    """One metric; only histograms have bounds."""

    name: str
    kind: Kind
    unit: str
    description: str
    bounds: Bounds = ()

    @property
    def prometheus(self) -> str:
        """Its name on the page, where a counter's samples end in `_total`."""
        return prometheus_name(self.name) + _SUFFIXES.get(self.unit, "")


def prometheus_name(name: str) -> str:
    """The name of a metric or of an attribute in Prometheus."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


# fmt: off
_ALL = (
    Metric("gen_ai.client.inference.duration", "histogram", "s", "From sending a request until its response has ended or failed.", DURATIONS),  # noqa: E501
    Metric("gen_ai.client.operation.duration", "histogram", "s", "The same of requests whose replies are no generated text, such as embeddings.", DURATIONS),  # noqa: E501
    Metric("gen_ai.client.inference.time_to_first_chunk", "histogram", "s", "From sending a request until the first event of its stream.", DURATIONS),  # noqa: E501
    Metric("gen_ai.client.inference.time_per_output_chunk", "histogram", "s", "Between two neighbouring events with text of a stream.", DURATIONS),  # noqa: E501
    Metric("gen_ai.client.inference.operation.input_tokens", "histogram", "{token}", "Input tokens of each request.", TOKENS),
    Metric("gen_ai.client.inference.operation.output_tokens", "histogram", "{token}", "Output tokens of each request.", TOKENS),  # noqa: E501
    Metric("gen_ai.client.inference.usage.input_tokens", "counter", "{token}", "Input tokens of all requests that succeeded."),  # noqa: E501
    Metric("gen_ai.client.inference.usage.output_tokens", "counter", "{token}", "Output tokens of all requests that succeeded."),  # noqa: E501
    Metric("gen_ai.client.inference.usage.cache_read.input_tokens", "counter", "{token}", "Input tokens that came from the server's cache."),  # noqa: E501
    Metric("gen_ai.client.inference.usage.reasoning.output_tokens", "counter", "{token}", "Output tokens of reasoning."),
    Metric("trueload.ttft", "histogram", "s", "TTFT: from sending a request until its first generated text.", FIRST_TOKEN),
    Metric("trueload.tpot", "histogram", "s", "TPOT: time per output token after the first, of each request.", EACH_TOKEN),
    Metric("trueload.itl", "histogram", "s", "ITL: the pause before each token after the first.", EACH_TOKEN),
    Metric("trueload.e2el", "histogram", "s", "E2EL: from sending a request until its last generated text.", DURATIONS),
    Metric("trueload.client.lateness", "histogram", "s", "How late the client sent each request.", LATENESS),
    Metric("trueload.requests.ended", "counter", "{request}", "Requests that ended, by outcome."),
    Metric("trueload.requests.failed", "counter", "{request}", "Requests that failed, by error."),
    Metric("trueload.requests.planned", "counter", "{request}", "Requests that were due."),
    Metric("trueload.requests.sent", "counter", "{request}", "Requests that were sent."),
    Metric("trueload.requests.dropped", "counter", "{request}", "Requests that were due and never sent."),
    Metric("trueload.requests.in_flight", "gauge", "{request}", "Requests in flight."),
    Metric("trueload.load", "gauge", "", "The load as planned now, with its unit (users, requests/s) as an attribute."),
    Metric("trueload.output_tokens.arrived", "counter", "{token}", "Output tokens that arrived, of requests in flight too."),
    Metric("trueload.progress", "gauge", "1", "The share of the load that is done."),
    Metric("trueload.client.loop_lag", "gauge", "s", "The longest delay of the client's own event loop in the last second."),
    Metric("trueload.client.cpu", "gauge", "1", "The share of a processor that the client used in the last second."),
)
# fmt: on

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}

_OPERATIONS = {
    "chat": "chat", "completions": "text_completion", "messages": "chat", "responses": "chat", "gemini": "generate_content",
}  # fmt: skip
_PROVIDERS = {
    "messages": "anthropic", "gemini": "gcp.gemini", "rerank": "cohere", "tei-rerank": "tei",
    **dict.fromkeys(
        ("chat", "completions", "responses", "embeddings", "transcriptions", "speech", "realtime", "images"), "openai"
    ),
}  # fmt: skip


def operation_of(endpoint: str) -> str:
    """`gen_ai.operation.name` of an endpoint: the conventions' name, else its own."""
    return _OPERATIONS.get(endpoint, Path(endpoint).stem)


def provider_of(endpoint: str) -> str:
    """`gen_ai.provider.name`: the provider of the API, not of the model."""
    return _PROVIDERS.get(endpoint, Path(endpoint).stem)
