"""summary.json: sessions and jobs. As the pages take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from bench.documents.numbers import Metric, Statistics


class Sessions(TypedDict):
    """The sessions of a run, by how they ended. Left out where no request belongs to one. docs/metrics.md."""

    offered_per_s: float | None
    held: int
    whole: int
    failed: int
    unfinished: int
    begun_in_middle: int
    turns_not_sent: int


class JobsCounts(TypedDict):
    """Jobs that have a step in the run, by how they ended. Only completed ones have job seconds."""

    completed: int
    failed: int
    cancelled: int
    cut: int
    begun_before: int


class JobsRates(TypedDict):
    """Jobs an hour: of one user (3600 / mean job seconds), of the run (ended: those that ended in it), of a GPU (null
    without --gpus)."""

    ended: int
    jobs_per_hour_per_user: float | None
    jobs_per_hour: float | None
    jobs_per_hour_per_gpu: float | None
    ci95: Mapping[str, Sequence[float] | None]


class JobsTimeModel(TypedDict):
    s: float
    share: float | None


class JobsTimeTools(TypedDict):
    s: float
    share: float | None


class JobsTimeOther(TypedDict):
    s: float
    share: float | None


class JobsTimeHuman(TypedDict):
    s: float
    share: float | None


class JobsTime(TypedDict):
    """Where the time of completed jobs went, with the pauses of their users before them."""

    model: JobsTimeModel
    tools: JobsTimeTools
    other: JobsTimeOther
    human: JobsTimeHuman


class JobsTokensCachedFrom(TypedDict):
    """Requests by who says how much of their input was cached."""

    server: int
    plan: int
    none: int


class JobsTokensPerS(TypedDict):
    all: float | None
    fresh: float | None


class JobsTokensPerJob(TypedDict):
    all: float | None
    fresh: float | None


class JobsTokens(TypedDict):
    """Tokens of successful requests. fresh: all but the cached input."""

    input: int
    cached: int
    output: int
    cached_from: JobsTokensCachedFrom
    per_s: JobsTokensPerS
    per_job: JobsTokensPerJob


class JobsTokensPerSPerUser(TypedDict):
    """1 / that quantile of TPOT."""

    p50: float | None
    p75: float | None
    p90: float | None
    p95: float | None
    p99: float | None


JobsTtftByContextRow = TypedDict(
    "JobsTtftByContextRow",
    {
        "from": "int",
        "to": "int",
        "ttft_ms": "Statistics",
    },
)


JobsTtftByTurnRow = TypedDict(
    "JobsTtftByTurnRow",
    {
        "from": "int",
        "to": "int",
        "ttft_ms": "Statistics",
    },
)


class Jobs(TypedDict):
    """The jobs of sessions. Left out where no request belongs to one."""

    counts: JobsCounts
    sessions: int
    job_s: Metric
    rates: JobsRates
    steps: Statistics
    time: JobsTime
    tokens: JobsTokens
    tokens_per_s_per_user: JobsTokensPerSPerUser
    ttft_by_context: Sequence[JobsTtftByContextRow]
    ttft_by_turn: Sequence[JobsTtftByTurnRow]


class Cancelled(TypedDict):
    """The requests whose users left, as planned (--cancel): what they received until then, which is in no latency and
    no throughput. Left out where there are none."""

    requests: int
    with_tokens: int
    token_chunks: int
    token_chunks_per_s: float | None
    bytes_received: int
    after_ms: Statistics
