"""The metrics that a result reports, one line each.

A new metric is a function in request_metrics.py and a line here: the summary, the objectives, the report and the JSON pick
it up from this dict. Request metrics give one value a request, NaN where it has none; token metrics, of token_gaps.py, many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.metrics import request_metrics, token_gaps
from bench.metrics.request_metrics import Bounds
from bench.metrics.token_gaps import Pauses
from bench.records.record_table import Floats, RecordTable


@dataclass(frozen=True, slots=True)
class RequestMetric:
    """A metric with one value a request. `key` is its name in summary.json, `name` the one objectives use. `bounds` is told
    its values."""

    key: str
    name: str
    unit: str
    title: str
    description: str
    of: Callable[[RecordTable], Floats]
    bounds: Callable[[RecordTable, Floats], Bounds]


@dataclass(frozen=True, slots=True)
class TokenMetric:
    """A metric with many values a request, in ns in `of`, in `unit` in results."""

    key: str
    name: str
    unit: str
    title: str
    description: str
    of: Callable[[RecordTable], Pauses]


Metric = RequestMetric | TokenMetric


# fmt: off
_ALL: tuple[Metric, ...] = (
    RequestMetric("ttft_ms", "ttft", "ms", "TTFT", "Time to first token: from sending the request until its first generated text arrives.", request_metrics.ttft_ms, request_metrics.first_token_bounds),  # noqa: E501
    RequestMetric("tpot_ms", "tpot", "ms", "TPOT", "Time per output token of a request after its first, averaged over the request.", request_metrics.tpot_ms, request_metrics.tpot_bounds),  # noqa: E501
    TokenMetric("itl_ms", "itl", "ms", "ITL", "Inter-token latency: the pause before each single token after the first.", token_gaps.itl_ns),  # noqa: E501
    RequestMetric("e2el_ms", "e2el", "ms", "E2EL", "End-to-end latency: from sending the request until its last generated text arrives.", request_metrics.e2el_ms, request_metrics.last_token_bounds),  # noqa: E501
    RequestMetric("tps", "tps", "tokens/s", "TPS", "Speed at which one request's text flows once it has begun: 1 / TPOT.", request_metrics.tps, request_metrics.tps_bounds),  # noqa: E501
    RequestMetric("ttft_from_intended_ms", "ttft_from_intended", "ms", "TTFT from due", "TTFT counted from the moment the request was due: a client's or a cap's delay is in it.", request_metrics.ttft_from_intended_ms, request_metrics.first_token_bounds),  # noqa: E501
    RequestMetric("e2el_from_intended_ms", "e2el_from_intended", "ms", "E2EL from due", "E2EL counted from the moment the request was due.", request_metrics.e2el_from_intended_ms, request_metrics.last_token_bounds),  # noqa: E501
    RequestMetric("ttfo_ms", "ttfo", "ms", "TTFO", "Time to first output: like TTFT, but reasoning does not count.", request_metrics.ttfo_ms, request_metrics.first_output_bounds),  # noqa: E501
    TokenMetric("chunk_gap_ms", "chunk_gap", "ms", "Chunk gap", "The pause between two neighbouring chunks of text, however many tokens they carry.", token_gaps.chunk_gap_ns),  # noqa: E501
)
# fmt: on

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric, by the name that objectives use; in the order in which results show them."""

REQUEST_METRICS: dict[str, RequestMetric] = {n: m for n, m in METRICS.items() if isinstance(m, RequestMetric)}

WHOLE_RESPONSE = frozenset({"e2el", "e2el_from_intended"})
"""The metrics that a response has which did not come as a stream."""


def request_values(table: RecordTable) -> dict[str, Floats]:
    """Every request metric by its key, of each request of a table."""
    return {metric.key: metric.of(table) for metric in REQUEST_METRICS.values()}
