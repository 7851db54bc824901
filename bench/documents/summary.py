"""summary.json: the whole, and its parts. As the pages take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from bench.documents.load import Instrument, Load, Stalls, Window
from bench.documents.numbers import Goodput, Metric, Plan, Statistics, Throughput, Tool
from bench.documents.series import Distributions, Series
from bench.documents.server import Gpu, PrefixCache, Server, ServerRequests
from bench.documents.sessions import Cancelled, Jobs, Sessions
from bench.documents.tokens import Inputs, Tokens


class VerdictReach(TypedDict):
    """What the numbers can bear: the percentiles of metric that have a 95% interval, ascending, and the highest of
    them. requests have a value of it and are worth independent ones. Files of version 0.1 lack it."""

    metric: str
    requests: int
    independent: float
    percentiles: Sequence[str]
    highest: str | None


class Verdict(TypedDict):
    status: str
    reasons: Sequence[str]
    signs: NotRequired[Sequence[str]]
    headline: NotRequired[str]
    reach: NotRequired[VerdictReach]


class SloObjectivesRow(TypedDict):
    objective: str
    metric: str
    stat: str | None
    op: str
    limit: float
    unit: str
    value: float | None
    ci95: Sequence[float] | None
    between: Sequence[float | None] | None
    held: bool
    shown: str


class Slo(TypedDict):
    held: bool | None
    objectives: Sequence[SloObjectivesRow]


class CountsTargetGone(TypedDict):
    """From the last answer to the end of the run nothing but lost connections came. null: the target was there at the
    end."""

    since_s: float | None
    requests: int


class CountsWarmup(TypedDict):
    requests: int
    by_outcome: Mapping[str, int]


class Counts(TypedDict):
    planned: int | None
    sent: int
    succeeded: int
    failed: int
    failed_unsent: int
    target_gone: CountsTargetGone | None
    interrupted: int
    cancelled: NotRequired[int]
    dropped: int
    retried: int
    retried_late: NotRequired[int]
    by_outcome: Mapping[str, int]
    by_status: Mapping[str, int]
    warmup: CountsWarmup


class ErrorsRow(TypedDict):
    outcome: str
    status: int | None
    error: str | None
    n: int


class Steady(TypedDict):
    latency: Mapping[str, Metric]
    throughput: Throughput
    goodput: Goodput | None


class ModelsRow(TypedDict):
    model: str
    sent: int
    succeeded: int
    failed: int
    by_outcome: Mapping[str, int]
    error_rate: float | None
    error_rate_ci95: Sequence[float] | None
    latency: Mapping[str, Metric]
    throughput: Throughput
    goodput: Goodput | None


class ClassesRowVerdict(TypedDict):
    """As of the run, with the failures of its own requests."""

    status: str
    reasons: Sequence[str]


ClassesRow = TypedDict(
    "ClassesRow",
    {
        "class": "str",
        "planned_share": "float | None",
        "sent": "int",
        "succeeded": "int",
        "failed": "int",
        "by_outcome": "Mapping[str, int]",
        "error_rate": "float | None",
        "error_rate_ci95": "Sequence[float] | None",
        "latency": "Mapping[str, Metric]",
        "throughput": "Throughput",
        "goodput": "Goodput | None",
        "slo_held": "bool | None",
        "verdict": "ClassesRowVerdict",
    },
)


class SegmentsRow(TypedDict):
    first: float
    last: float
    start_s: float
    end_s: float
    measured_from_s: float
    sent: int
    succeeded: int
    failed: int
    plan: Plan | None
    concurrency_mean: float | None
    latency: Mapping[str, Metric]
    throughput: Throughput
    goodput: Goodput | None


ChangesRow = TypedDict(
    "ChangesRow",
    {
        "at_s": "float",
        "from": "float",
        "to": "float",
        "by": "str",
    },
)


class NumbersDocument(TypedDict):
    """The numbers of the records and of the client."""

    schema: str
    slo: Slo
    counts: Counts
    errors: Sequence[ErrorsRow]
    load: Load
    latency: Mapping[str, Metric]
    latency_of_failures_ms: Statistics
    stalls: Stalls
    throughput: Throughput
    goodput: Goodput | None
    window: Window
    steady: Steady | None
    server_requests: NotRequired[ServerRequests]
    sessions: NotRequired[Sessions]
    jobs: NotRequired[Jobs]
    cancelled: NotRequired[Cancelled]
    models: NotRequired[Sequence[ModelsRow]]
    classes: NotRequired[Sequence[ClassesRow]]
    segments: Sequence[SegmentsRow] | None
    changes: Sequence[ChangesRow]
    series: Series
    distributions: Distributions
    inputs: NotRequired[Inputs]
    tokens: Tokens
    instrument: Instrument
    compat: Mapping[str, Tool]


class SummaryDocument(NumbersDocument):
    """Times are in ms or s as the names say; series and windows count from the start of the run. null means: did not
    happen, or cannot be known."""

    run: Mapping[str, Any]
    verdict: Verdict
    prefix_cache: PrefixCache | None
    gpu: Gpu | None
    server: Server | None
    calibration: Mapping[str, Any] | None
