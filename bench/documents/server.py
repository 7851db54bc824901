"""summary.json: what the server says. As the pages take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from bench.documents.numbers import BucketAndValue, ServerAndClient, Statistics


class ServerRequestsCached(TypedDict):
    replies: int
    tokens: int
    of: int
    share: float | None


class ServerRequestsDraftsPositionsRow(TypedDict):
    position: int
    accepted: int
    share: float | None


class ServerRequestsDraftsStepsByTokensRow(TypedDict):
    tokens: int
    steps: int
    share: float | None


class ServerRequestsDrafts(TypedDict):
    replies: int
    steps: int | None
    tokens: int
    accepted: int
    acceptance_rate: float | None
    tokens_per_step: float | None
    positions: Sequence[ServerRequestsDraftsPositionsRow]
    steps_by_tokens: Sequence[ServerRequestsDraftsStepsByTokensRow]


class ServerRequests(TypedDict):
    """What the server says of requests in its replies, over the successful ones. Left out where no reply says its
    times or drafts. docs/metrics.md."""

    queue_ms: Statistics
    prefill_ms: Statistics
    decode_ms: Statistics
    ttft_ms: Statistics
    outside_ms: Statistics
    cached: ServerRequestsCached | None
    drafts: ServerRequestsDrafts | None


class ServerWindow(TypedDict):
    start_s: float
    end_s: float
    of: str
    covered: bool


class ServerLevelsValue(TypedDict):
    mean: float
    max: float


class ServerCountersValue(TypedDict):
    total: float
    per_s: float | None


class ServerLatencyValue(TypedDict):
    n: float
    mean: float | None
    p50: Sequence[float | None] | None
    p90: Sequence[float | None] | None
    p99: Sequence[float | None] | None


class ServerReconciliationCountsRow(TypedDict):
    what: str
    server: float
    client: float | None
    agree: bool | None
    sentence: str


class ServerReconciliationTtftQuantilesMs(TypedDict):
    p50: BucketAndValue
    p90: BucketAndValue
    p99: BucketAndValue


class ServerReconciliationTtft(TypedDict):
    requests: ServerAndClient
    same_requests: bool
    mean_ms: ServerAndClient
    quantiles_ms: ServerReconciliationTtftQuantilesMs
    queue_mean_ms: float | None
    difference_ms: float
    sentence: str


class ServerReconciliation(TypedDict):
    counts: Sequence[ServerReconciliationCountsRow]
    ttft: ServerReconciliationTtft | None
    mismatch: str | None
    off: float


class Server(TypedDict):
    """What the server's own metrics say, over the steady window; null where they were not read. docs/metrics.md, The
    server's own metrics."""

    kind: str | None
    urls: Sequence[str]
    scrapes: int
    failed_scrapes: int
    restarts: int
    error: str | None
    window: ServerWindow
    levels: Mapping[str, ServerLevelsValue]
    counters: Mapping[str, ServerCountersValue]
    latency: Mapping[str, ServerLatencyValue]
    limits: Sequence[str]
    reconciliation: ServerReconciliation | None


class GpuLevelsValue(TypedDict):
    mean: float
    max: float


class Gpu(TypedDict):
    """What the GPUs did over the steady window, and what a token cost; null where nothing is known of them.
    docs/metrics.md, The GPU."""

    source: str | None
    gpus: int | None
    levels: Mapping[str, GpuLevelsValue]
    energy_j: float | None
    joules_per_output_token: float | None
    output_tokens_per_s_per_gpu: float | None
    cost_per_million_output_tokens: float | None
    cost_per_million_tokens: float | None


class PrefixCache(TypedDict):
    said_share: float | None
    counted_by: str | None
    off_share: float | None
    rounding_share: float | None
    planned_share: float | None
    measured_share: float | None
    queried_tokens: float | None
    hit_tokens: float | None
