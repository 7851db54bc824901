"""Data from the server: in its replies, its metrics, its GPUs and its prefix cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import fields

from bench.results.base import (
    Amount,
    Between,
    Count,
    FromOne,
    Number,
    NumbersByName,
    Portion,
    Positive,
    Result,
    keys,
    one_of,
)
from bench.results.numbers import Statistics


class ReportedCached(Result, frozen=True, kw_only=True):
    """Prompt tokens from the cache, as a share of the prompt tokens in replies that report it."""

    replies: Count
    """Replies with both numbers."""
    tokens: Count
    """Cached tokens."""
    of: Count
    """Prompt tokens."""
    share: Portion | None
    """Cached tokens divided by prompt tokens."""


class DraftPosition(Result, frozen=True, kw_only=True):
    """Drafts at one position; the first is 0."""

    position: Count
    accepted: Count
    share: Portion | None


class StepsByTokens(Result, frozen=True, kw_only=True):
    """Steps that produced this number of tokens."""

    tokens: Count
    steps: Count
    share: Portion | None


class ReportedDrafts(Result, frozen=True, kw_only=True):
    """Speculative decoding, according to the replies."""

    replies: Count
    steps: Count | None
    tokens: Count
    accepted: Count
    """Accepted drafts."""
    acceptance_rate: Portion | None
    """Accepted drafts divided by drafts."""
    tokens_per_step: FromOne | None
    """1 + accepted drafts divided by steps: a step adds one token of the model's own. null without a count of steps
    (llama.cpp)."""
    positions: Sequence[DraftPosition]
    """For each position, the steps that accepted its draft. A step with fewer drafts counts in all shares."""
    steps_by_tokens: Sequence[StepsByTokens]
    """The steps that produced exactly 1, 2, 3 ... tokens."""


class ServerReported(Result, frozen=True, kw_only=True):
    """The server's data on requests in its replies, over the successful requests. docs/server-metrics.md."""

    # The title of a time is its name in the report. `X_ms` has the values of `server_X_ms` in the records;
    # bench/metrics/server_requests.py computes the others.
    queue_ms: Annotated[
        Statistics, Meta(title="Queue", description="By the replies: from its queue to the first step.")
    ]
    prefill_ms: Annotated[
        Statistics, Meta(title="Prefill", description="By the replies: from the first step to the first token.")
    ]
    ttft_ms: Annotated[
        Statistics,
        Meta(
            title="TTFT",
            description="The server's own TTFT: queue and prefill of each request. A missing queue time counts as 0.",
        ),
    ]
    decode_ms: Annotated[
        Statistics, Meta(title="Decode", description="By the replies: from the first token to the last.")
    ]
    outside_ms: Annotated[
        Statistics,
        Meta(
            title="TTFT outside",
            description="The client's TTFT minus the server's, of streamed replies: network, HTTP, and the server's "
            "front end.",
        ),
    ]
    cached: ReportedCached | None
    drafts: ReportedDrafts | None

    def times(self) -> dict[str, Statistics]:
        """The times reported in replies, by their keys."""
        times: dict[str, Statistics | None] = {key: getattr(self, key) for key in SAID_TIMES}
        return {key: row for key, row in times.items() if row is not None and row.n}


SAID_TIMES: Mapping[str, Meta] = {
    field.name: meta for field in fields(ServerReported) for meta in getattr(field.type, "__metadata__", ())
}
"""The times of `ServerReported` with their titles, in the order of the report."""


class PrefixCache(Result, frozen=True, kw_only=True):
    """The prefix cache: its planned content compared with its actual content. Shares are of the prompt tokens."""

    said_share: Portion | None
    """The share according to replies."""
    counted_by: Literal["replies", "metrics"] | None
    """The source of the cached tokens that are compared with the plan of each request: replies, else the server's
    metrics. null: there is no source, or no such plan."""
    off_share: Number | None
    """Counted minus planned, for the same requests."""
    rounding_share: Number | None
    """The part that rounding to blocks of 16 tokens may cause."""
    planned_share: Portion | None
    measured_share: Portion | None
    queried_tokens: Amount | None
    hit_tokens: Amount | None


class ServerWindow(Result, frozen=True, kw_only=True):
    """The time that the server's numbers cover, in s from the start of the run."""

    start_s: Number
    end_s: Number
    of: Literal["the steady window", "the whole run"]
    covered: bool
    """Scrapes exist on both sides of it."""


class Level(Result, frozen=True, kw_only=True):
    """A level of a server or a GPU over the window."""

    mean: Number
    max: Number


class Counter(Result, frozen=True, kw_only=True):
    """The increase of a server's counter over the window."""

    total: Number
    per_s: Number | None


class ServerLatency(Result, frozen=True, kw_only=True):
    """A histogram of the server over the window, in ms. Quantiles are given as the two bounds of their bucket."""

    n: Number
    mean: Number | None
    p50: Between | None
    p90: Between | None
    p99: Between | None


class ReconciledCount(Result, frozen=True, kw_only=True):
    """One count of the server compared with the client's."""

    what: Annotated[
        str,
        one_of(
            "requests",
            "prompt_tokens",
            "generation_tokens",
            "cached_tokens",
            "draft_steps",
            "draft_tokens",
            "accepted_tokens",
            "aborted",
        ),
    ]
    server: Number
    client: Number | None
    agree: bool | None
    sentence: str


class ServerAndClient(Result, frozen=True, kw_only=True):
    """The same number from both sides."""

    server: Number
    client: Number


class BucketAndValue(Result, frozen=True, kw_only=True):
    """The bucket of the server's quantile, and the client's value."""

    server: Between | None
    client: Number


class BucketQuantiles(Result, frozen=True, kw_only=True):
    """Quantiles of TTFT in ms from both sides."""

    p50: BucketAndValue
    p90: BucketAndValue
    p99: BucketAndValue


class ReconciledTtft(Result, frozen=True, kw_only=True):
    """The server's TTFT compared with the client's, in ms."""

    requests: ServerAndClient
    same_requests: bool
    mean_ms: ServerAndClient
    quantiles_ms: BucketQuantiles
    queue_mean_ms: Number | None
    difference_ms: Number
    sentence: str


class Reconciliation(Result, frozen=True, kw_only=True):
    """The server's numbers compared with the client's."""

    counts: Sequence[ReconciledCount]
    ttft: ReconciledTtft | None
    mismatch: str | None
    off: Amount


class ServerPart(Result, frozen=True, kw_only=True):
    """The data of one page, or of one of its data-parallel ranks, for the same time."""

    url: str
    rank: str | None
    """The label `engine` (vLLM) or `dp_rank` (SGLang); null: the page has none."""
    finished: Amount | None
    """Requests that finished."""
    generation_tokens: Amount | None
    running: Amount | None
    """Requests running, on average."""
    waiting: Amount | None
    """Requests waiting, on average."""
    kv_cache_used: Amount | None
    ttft_ms: Amount | None
    """The mean."""
    itl_ms: Amount | None
    """The mean."""


class Server(Result, frozen=True, kw_only=True):
    """The server's own metrics, over the steady window. docs/server-metrics.md."""

    kind: str | None
    """The kind of server to which the metrics belong."""
    urls: Sequence[str]
    """The pages."""
    scrapes: Count
    """How often reading them succeeded."""
    failed_scrapes: Count
    """How often it failed."""
    restarts: Count
    """How often a server's counters restarted."""
    window: ServerWindow
    """The time that the numbers cover: the steady window, or the whole run if there is none."""
    error: str | None
    """Why the last scrape failed."""
    levels: Annotated[Mapping[str, Level], keys("running", "waiting", "kv_cache_used", "prefix_hit_rate")]
    """Requests and shares from 0 to 1. Ranks and replicas add up; shares have their mean."""
    counters: Annotated[
        Mapping[str, Counter],
        keys(
            "prompt_tokens",
            "generation_tokens",
            "prefix_queries",
            "prefix_hits",
            "external_hits",
            "draft_steps",
            "draft_tokens",
            "accepted_tokens",
            "preemptions",
            "finished",
            "aborted",
        ),
    ]
    """`external_hits`: a KV cache outside the server. `draft_...` and `accepted_tokens`: speculative decoding."""
    latency: Annotated[
        Mapping[str, ServerLatency],
        keys("ttft_ms", "itl_ms", "tpot_ms", "e2el_ms", "queue_ms", "prefill_ms", "decode_ms"),
    ]
    """The server's histograms. The mean is exact; a quantile lies between the bounds of a bucket (null above the last)."""
    parts: Sequence[ServerPart] | None = None
    """Each page (a replica, a prefill or decode server) and each data-parallel rank. Missing if there is only one."""
    limits: Sequence[str]
    """What limited the server, in sentences with their evidence."""
    reconciliation: Reconciliation | None
    """The server's counts compared with the client's; null if the page was not read both before the load and after all
    requests had ended."""


class Gpu(NumbersByName, frozen=True, kw_only=True):
    """The GPUs over the steady window, and the cost of a token; null if nothing is known about them.
    docs/server-metrics.md, The GPU."""

    source: str | None
    """NVML, AMD SMI, or the name of an exporter; null if no GPU was read."""
    gpus: Positive | None
    """`--gpus`."""
    levels: Annotated[
        Mapping[str, Level],
        keys(
            "gpu_power_w", "gpu_memory_bytes", "gpu_utilisation", "gpu_clock_mhz", "gpu_temperature_c", "gpu_throttled"
        ),
    ]
    """Power and memory of all GPUs together; the others are means. `gpu_throttled`: time with lowered clocks, as a share."""
    energy_j: Number | None
    """The area under the power."""
    joules_per_output_token: Number | None
    """Energy divided by the output tokens of the window."""
    output_tokens_per_s_per_gpu: Number | None
    """Output tokens per second divided by `--gpus`."""
    cost_per_million_output_tokens: Number | None
    """`--gpu-hour-cost` times `--gpus`, divided by the output tokens of an hour."""
    cost_per_million_tokens: Number | None
    """The same for all tokens."""
