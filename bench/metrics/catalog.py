"""The metrics that a result reports, one line each.

To add a metric, write a function in request_metrics.py, a line here, and its title (bench/results/metric_titles.py):
the summary, the objectives, the report, the JSON and the tables of docs/metrics.md are made from them. Request metrics
have one value per request, NaN if there is none; token metrics, from token_gaps.py, have many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.metrics import audio_metrics, request_metrics, token_gaps
from bench.metrics.request_metrics import Bounds
from bench.metrics.token_gaps import Pauses
from bench.records.record_table import Floats, RecordTable
from bench.results.metric_titles import TITLES


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """The definition of a metric. `key` is its name in summary.json, `name` its name in objectives. `formula` is for
    docs/metrics.md."""

    key: str
    name: str
    unit: str
    description: str
    formula: str

    @property
    def title(self) -> str:
        return TITLES[self.key]


@dataclass(frozen=True, slots=True)
class RequestMetric(MetricDefinition):
    """A metric with one value per request. `bounds` is called with the values of the metric."""

    of: Callable[[RecordTable], Floats]
    bounds: Callable[[RecordTable, Floats], Bounds]
    of_few: bool = False
    """Whether only endpoints that list it in `Endpoint.measures` have it."""


@dataclass(frozen=True, slots=True)
class TokenMetric(MetricDefinition):
    """A metric with many values per request: in ns from `of`, in `unit` in results."""

    of: Callable[[RecordTable], Pauses]


Metric = RequestMetric | TokenMetric


# fmt: off
_ALL: tuple[Metric, ...] = (
    RequestMetric("ttft_ms", "ttft", "ms", "Time to first token: from sending the request until its first generated text arrives.", "first token chunk − sent", request_metrics.ttft_ms, request_metrics.first_token_bounds),  # noqa: E501
    RequestMetric("tpot_ms", "tpot", "ms", "Time per output token of a request after its first, averaged over the request.", "(last token chunk − first token chunk) / (n − k1)", request_metrics.tpot_ms, request_metrics.tpot_bounds),  # noqa: E501
    TokenMetric("itl_ms", "itl", "ms", "Inter-token latency: the pause before each single token after the first.", "the gap before a token chunk, shared evenly by the chunk's tokens: one value per token", token_gaps.itl_ns),  # noqa: E501
    RequestMetric("e2el_ms", "e2el", "ms", "End-to-end latency: from sending the request until its last generated text arrives.", "last token chunk − sent; for a response that is not a stream: end − sent", request_metrics.e2el_ms, request_metrics.last_token_bounds),  # noqa: E501
    RequestMetric("tps", "tps", "tokens/s", "Speed at which one request's text flows once it has begun: 1 / TPOT.", "1 / TPOT", request_metrics.tps, request_metrics.tps_bounds),  # noqa: E501
    RequestMetric("ttft_from_intended_ms", "ttft_from_intended", "ms", "TTFT counted from the moment the request was due: a client's or a cap's delay is in it.", "first token chunk − intended", request_metrics.ttft_from_intended_ms, request_metrics.first_token_bounds),  # noqa: E501
    RequestMetric("e2el_from_intended_ms", "e2el_from_intended", "ms", "E2EL counted from the moment the request was due.", "last token chunk − intended", request_metrics.e2el_from_intended_ms, request_metrics.last_token_bounds),  # noqa: E501
    RequestMetric("ttfo_ms", "ttfo", "ms", "Time to first output: like TTFT, but reasoning does not count.", "first token chunk that is not reasoning − sent", request_metrics.ttfo_ms, request_metrics.first_output_bounds),  # noqa: E501
    TokenMetric("chunk_gap_ms", "chunk_gap", "ms", "The pause between two neighbouring chunks of text, however many tokens they carry.", "between neighbouring token chunks: one value per gap", token_gaps.chunk_gap_ns),  # noqa: E501
    RequestMetric("ttfb_ms", "ttfb", "ms", "Time to first byte: from sending the request until the first byte of the response arrives.", "first byte − sent", request_metrics.ttfb_ms, request_metrics.exact_bounds),  # noqa: E501
    RequestMetric("ttfa_ms", "ttfa", "ms", "Time to first audio: from sending the request until its first bytes of audio arrive.", "first chunk of audio − sent", audio_metrics.ttfa_ms, audio_metrics.ttfa_bounds, of_few=True),  # noqa: E501
    RequestMetric("rtf", "rtf", "", "Real-time factor: E2EL as a share of the length of the audio. Below 1, the server is faster than the speaker.", "E2EL / length of the audio received, or sent if replies have none", audio_metrics.rtf, audio_metrics.rtf_bounds, of_few=True),  # noqa: E501
    RequestMetric("playback_stall_ms", "playback_stall", "ms", "How long a player that starts --play-after after the first audio waits for more, in all.", "the most by which a chunk of audio is later than the player needs it", audio_metrics.playback_stall_ms, audio_metrics.playback_stall_bounds, of_few=True),  # noqa: E501
    RequestMetric("playback_stalls", "playback_stalls", "", "In how many pauses that player waits.", "chunks of audio that the player waits for", audio_metrics.playback_stalls, audio_metrics.playback_stalls_bounds, of_few=True),  # noqa: E501
    RequestMetric("audio_s", "audio", "s", "Length of the audio of a request: of the reply, or of the clip that was sent.", "bytes of audio / bytes a second", audio_metrics.audio_s, request_metrics.exact_bounds, of_few=True),  # noqa: E501
    RequestMetric("wer", "wer", "", "Word error rate of a transcript against its reference, without case and punctuation.", "(substitutions + deletions + insertions) / words of the reference", audio_metrics.wer, request_metrics.exact_bounds, of_few=True),  # noqa: E501
    RequestMetric("ttfi_ms", "ttfi", "ms", "Time to first image: from sending the request until the first image of a stream arrives, a partial one included.", "first image chunk − sent", request_metrics.ttfi_ms, request_metrics.first_image_bounds, of_few=True),  # noqa: E501
)
# fmt: on

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric, by its name in objectives, in the order of the results."""

REQUEST_METRICS: dict[str, RequestMetric] = {n: m for n, m in METRICS.items() if isinstance(m, RequestMetric)}

OF_FEW = frozenset(name for name, metric in REQUEST_METRICS.items() if metric.of_few)
"""The metrics that only a few endpoints have."""
WHOLE_RESPONSE = frozenset({"e2el", "e2el_from_intended"})
"""The metrics that describe the content of a response that is not a stream."""
OF_ANY_RESPONSE = WHOLE_RESPONSE | {"ttfb"}
"""The metrics of a response of which nothing is read."""


def request_values(table: RecordTable) -> dict[str, Floats]:
    """Every request metric by its key, for each request of a table."""
    return {metric.key: metric.of(table) for metric in REQUEST_METRICS.values()}
