"""Sessions and jobs, and requests whose users left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from bench.results.base import Count, Interval, Number, NumbersByName, Portion, Positive, Result, every_key
from bench.results.numbers import Metric, Statistics


class Sessions(Result, frozen=True, kw_only=True):
    """The sessions of a run, by how they ended. docs/metrics.md."""

    offered_per_s: Number | None
    """New sessions per second, if --rate decides."""
    held: Count
    whole: Count
    failed: Count
    unfinished: Count
    begun_in_middle: Count
    turns_not_sent: Count


class JobCounts(Result, frozen=True, kw_only=True):
    """Jobs with a step in the run, by how they ended. Only completed jobs have job seconds."""

    completed: Count
    failed: Count
    cancelled: Count
    cut: Count
    begun_before: Count


class JobRates(NumbersByName, frozen=True, kw_only=True):
    """Jobs per hour: of one user (3600 / mean job seconds), of the run (`ended`: jobs that ended in it), and of a GPU
    (null without --gpus)."""

    ended: Count
    jobs_per_hour_per_user: Number | None
    jobs_per_hour: Number | None
    jobs_per_hour_per_gpu: Number | None
    ci95: Annotated[
        Mapping[str, Interval | None], every_key("jobs_per_hour_per_user", "jobs_per_hour", "jobs_per_hour_per_gpu")
    ]


class TimeShare(Result, frozen=True, kw_only=True):
    """A part of the time of completed jobs."""

    s: Number
    share: Portion | None


class JobTime(Result, frozen=True, kw_only=True):
    """The parts of the time of completed jobs, with the pauses of their users before them."""

    model: TimeShare
    tools: TimeShare
    other: TimeShare
    human: TimeShare


class CachedFrom(Result, frozen=True, kw_only=True):
    """Requests by the source of their number of cached input tokens."""

    server: Count
    plan: Count
    none: Count


class AllAndFresh(Result, frozen=True, kw_only=True):
    """Tokens per second or per job: all tokens, and the tokens that no cache had."""

    all: Number | None
    fresh: Number | None


class JobTokens(Result, frozen=True, kw_only=True):
    """Tokens of successful requests. `fresh`: all but the cached input."""

    input: Count
    cached: Count
    output: Count
    cached_from: CachedFrom
    per_s: AllAndFresh
    per_job: AllAndFresh


class SpeedQuantiles(NumbersByName, frozen=True, kw_only=True):
    """Tokens per second of one user: 1 divided by that quantile of TPOT."""

    p50: Number | None
    p75: Number | None
    p90: Number | None
    p95: Number | None
    p99: Number | None


class TtftBin(Result, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The TTFT of requests whose context or turn is in one bin."""

    from_: Positive
    to: Positive
    """Inclusive, like `from`."""
    ttft_ms: Statistics


class Jobs(Result, frozen=True, kw_only=True):
    """The jobs of sessions. Missing if no request belongs to a job."""

    counts: JobCounts
    sessions: Count
    job_s: Metric
    """Job seconds, in s. `independent` counts sessions."""
    rates: JobRates
    steps: Statistics
    """Steps of a completed job."""
    time: JobTime
    tokens: JobTokens
    """Tokens of successful requests. `fresh`: all but the cached input."""
    tokens_per_s_per_user: SpeedQuantiles
    ttft_by_context: Sequence[TtftBin]
    """TTFT by input tokens; both ends of a bin are inclusive."""
    ttft_by_turn: Sequence[TtftBin]
    """TTFT by the turn of the session, from 1."""


class CancelledRequests(Result, frozen=True, kw_only=True):
    """The requests whose users left, as planned (--cancel): what they received until then. They are not part of any
    latency or throughput."""

    requests: Count
    with_tokens: Count
    token_chunks: Count
    token_chunks_per_s: Number | None
    bytes_received: Count
    after_ms: Statistics
    """From the send until the client closed the connection."""
