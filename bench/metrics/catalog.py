"""The metrics that a result reports, one line each.

A new metric is a function in per_request.py and a line here: the summary, the objectives, the report and the JSON pick
it up from this dict. Request metrics give one value a request, or None; token metrics are those of tokens.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.metrics import per_request
from bench.records import RequestRecord


@dataclass(frozen=True, slots=True)
class RequestMetric:
    """A metric with one value a request. `key` is its name in summary.json, `name` the one objectives use."""

    key: str
    name: str
    unit: str
    title: str
    description: str
    of: Callable[[RequestRecord], float | None]


@dataclass(frozen=True, slots=True)
class TokenMetric:
    """A metric with many values a request, in ns in `of`, in `unit` in results."""

    key: str
    name: str
    unit: str
    title: str
    description: str
    of: Callable[[RequestRecord], list[float]]


Metric = RequestMetric | TokenMetric


def _gaps(record: RequestRecord) -> list[float]:
    return list(map(float, per_request.chunk_gaps_ns(record)))


# fmt: off
_ALL: tuple[Metric, ...] = (
    RequestMetric("ttft_ms", "ttft", "ms", "TTFT", "Time to first token: from sending the request until its first generated text arrives.", per_request.ttft_ms),  # noqa: E501
    RequestMetric("tpot_ms", "tpot", "ms", "TPOT", "Time per output token of a request after its first, averaged over the request.", per_request.tpot_ms),  # noqa: E501
    TokenMetric("itl_ms", "itl", "ms", "ITL", "Inter-token latency: the pause before each single token after the first.", per_request.itl_ns),  # noqa: E501
    RequestMetric("e2el_ms", "e2el", "ms", "E2EL", "End-to-end latency: from sending the request until its last generated text arrives.", per_request.e2el_ms),  # noqa: E501
    RequestMetric("tps", "tps", "tokens/s", "TPS", "Speed at which one request's text flows once it has begun: 1 / TPOT.", per_request.tps),  # noqa: E501
    RequestMetric("ttft_from_intended_ms", "ttft_from_intended", "ms", "TTFT from due", "TTFT counted from the moment the request was due: a client's or a cap's delay is in it.", per_request.ttft_from_intended_ms),  # noqa: E501
    RequestMetric("e2el_from_intended_ms", "e2el_from_intended", "ms", "E2EL from due", "E2EL counted from the moment the request was due.", per_request.e2el_from_intended_ms),  # noqa: E501
    RequestMetric("ttfo_ms", "ttfo", "ms", "TTFO", "Time to first output: like TTFT, but reasoning does not count.", per_request.ttfo_ms),  # noqa: E501
    TokenMetric("chunk_gap_ms", "chunk_gap", "ms", "Chunk gap", "The pause between two neighbouring chunks of text, however many tokens they carry.", _gaps),  # noqa: E501
)
# fmt: on

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric, by the name that objectives use; in the order in which results show them."""

REQUEST_METRICS: dict[str, RequestMetric] = {n: m for n, m in METRICS.items() if isinstance(m, RequestMetric)}

WHOLE_RESPONSE = frozenset({"e2el", "e2el_from_intended"})
"""The metrics that a response has which did not come as a stream."""
