"""summary.json: the whole, and the parts that occur only there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from bench.records import NO_FAILURE, Outcome
from bench.results.answers import CheckedAnswers
from bench.results.base import Amount, Between, Count, Interval, Number, Portion, Positive, Result, one_of
from bench.results.certificate import KnownCalibration, LedgerCalibration
from bench.results.load import Instrument, Load, Stalls, SteadyWindow
from bench.results.numbers import (
    ByOutcome,
    ByStatus,
    Compat,
    Goodput,
    Latency,
    PlanAgainstSent,
    RequestLatency,
    Statistics,
    Throughput,
)
from bench.results.run import RunOrigin
from bench.results.scaling import Scaling
from bench.results.series import Distributions, Series
from bench.results.server import Gpu, PrefixCache, Server, ServerReported
from bench.results.sessions import CancelledRequests, Jobs, Sessions
from bench.results.status import Status
from bench.results.tokens import InputCounts, MediaCounts, Tokens

SCHEMA: Final = "trueload/summary/1"
Percentile = Annotated[str, one_of("p50", "p90", "p95", "p99", "p999")]


class ObjectiveResult(Result, frozen=True, kw_only=True):
    """One objective of --slo, the measured value in its unit, and the result."""

    objective: str
    """As given."""
    metric: str
    stat: str | None
    """null for a number of the run, which has no statistic."""
    op: Annotated[str, one_of("<", "<=", ">", ">=")]
    limit: Number
    unit: str
    value: Number | None
    ci95: Interval | None
    between: Between | None
    """The uncertainty from the stamps, if the value is smaller than it: the worse end is judged. Otherwise null."""
    held: bool
    """Whether the value itself meets the limit."""
    shown: Annotated[str, one_of("held", "failed", "not shown")]
    """The result for the whole interval."""


class Slo(Result, frozen=True, kw_only=True):
    """The objectives of the run."""

    held: bool | None
    """Whether all objectives held; null: there are none, or no request was measured."""
    objectives: Sequence[ObjectiveResult]


class PartVerdict(Result, frozen=True, kw_only=True):
    """Whether the numbers of a traffic class are good: as for the run, with the failures of its own requests."""

    status: Status
    reasons: Sequence[str]
    """A sentence for each finding."""


class PartNumbers(Result, frozen=True, kw_only=True):
    """The numbers of a part of the requests: over the whole run, and rates per second of the whole run."""

    name: str
    sent: Count
    succeeded: Count
    failed: Count
    by_outcome: ByOutcome
    error_rate: Number | None
    """Failed requests divided by those that succeeded or failed."""
    error_rate_ci95: Interval | None
    latency: Latency
    throughput: Throughput
    goodput: Goodput | None


class ModelNumbers(PartNumbers, frozen=True, kw_only=True, rename={"name": "model"}):
    """The numbers of one model in a run that sends to several."""

    name: str


class ClassNumbers(PartNumbers, frozen=True, kw_only=True, rename={"name": "class"}):
    """The numbers of one traffic class, computed from the records."""

    name: str


class TargetGone(Result, frozen=True, kw_only=True):
    """Only lost connections occurred from the last answer to the end of the run."""

    since_s: Number | None
    """The end of the last answer, or the first byte of a broken one, in s from the start of the run; null: no answer."""
    requests: Positive


class SlowerTarget(Result, frozen=True, kw_only=True):
    """A latency of a replica compared with the others."""

    metric: Annotated[str, one_of("ttft_ms", "tpot_ms", "e2el_ms")]
    change: Number
    """0.2: 20% slower than the others (geometric means); below 0: faster."""
    ci95: Interval
    p: Portion
    """The probability of such a difference between equal replicas, corrected for the number of replicas and latencies
    (Holm)."""
    longer: Number | None = None
    """How much longer its prompts, or its replies, are than those of the others, if beyond chance; null: they are not."""


class TargetNumbers(PartNumbers, frozen=True, kw_only=True, rename={"name": "target"}):
    """The numbers of one replica."""

    name: str
    """Its address, or the replica named by replies."""
    share: Portion | None
    """Its share of the requests sent."""
    share_p: Portion | None
    """Behind a router: the probability of such a share, or a larger one, if each request, or session, goes to any
    replica with equal probability; corrected for the number of replicas (Holm)."""
    slower: Sequence[SlowerTarget]
    """Its latencies compared with those of the others; empty if requests are too few, or depend on each other for too
    long."""
    others_error_rate: Number | None
    """Failed requests of the other replicas together."""
    failures_p: Portion | None
    """The probability of so many failures here, whichever requests failed (Fisher's exact test, Holm)."""
    gone: TargetGone | None
    """It stopped answering before the run ended."""


class JudgedClass(ClassNumbers, frozen=True, kw_only=True):
    """The numbers of one traffic class of a run with --mix, and its verdict."""

    planned_share: Number | None
    """Its planned share of the requests; for classes with rates, its share of the rate. null: requests without a class."""
    slo_held: bool | None
    """Whether its own objectives held; null: it has none."""
    verdict: PartVerdict


class WarmupCounts(Result, frozen=True, kw_only=True):
    """The requests of the warm-up. They are not part of any other number."""

    requests: Count
    by_outcome: ByOutcome

    @property
    def failed(self) -> int:
        return sum(n for outcome, n in self.by_outcome.items() if outcome not in NO_FAILURE)


class Counts(Result, frozen=True, kw_only=True):
    """How many requests there were, and how they ended."""

    planned: Count | None
    """Requests that the run was to send; null: the number was not set."""
    sent: Count
    succeeded: Count
    failed: Count
    """All but ok, interrupted, dropped and cancelled."""
    failed_unsent: Count
    """Failed requests of which no byte was sent, because there was no connection."""
    target_gone: TargetGone | None
    interrupted: Count
    """Cut off by the end of the run."""
    dropped: Count
    """Due, but never sent."""
    cancelled: Count | None = None
    """Their users left, as planned (--cancel). Missing if there are none."""
    retried: Count
    """Requests that took a second attempt."""
    retried_late: Count | None = None
    """Of these, requests whose first attempt the server kept for over 10 ms before it closed the connection. Missing if
    there are none."""
    by_outcome: ByOutcome
    by_status: ByStatus
    warmup: WarmupCounts


class ErrorCount(Result, frozen=True, kw_only=True):
    """How often one error message was received. If a server puts an ID into each message, "(other messages)" collects
    the rest."""

    outcome: Outcome
    status: int | None
    error: str | None
    n: Positive
    """How often it was received."""

    @property
    def is_failure(self) -> bool:
        """Whether its requests failed. Requests cut off when the run stopped did not fail."""
        return self.outcome not in NO_FAILURE


class Steady(Result, frozen=True, kw_only=True):
    """The numbers of the steady window."""

    latency: Latency
    throughput: Throughput
    goodput: Goodput | None


class Segment(Result, frozen=True, kw_only=True):
    """One part of a load that changes over time."""

    first: Number
    last: Number
    start_s: Number
    end_s: Number
    measured_from_s: Number
    sent: Count
    succeeded: Count
    failed: Count
    plan: PlanAgainstSent | None
    concurrency_mean: Number | None
    latency: RequestLatency
    throughput: Throughput
    goodput: Goodput | None


class Change(Result, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One change of the load during the run: when, in s, from which load to which, and by whom."""

    at_s: Number
    from_: Number
    to: Number
    by: str


class Reach(Result, frozen=True, kw_only=True):
    """The percentiles that the run can give: those of `metric` that have a 95% interval, ascending, and the highest of
    them."""

    metric: Annotated[str, one_of("ttft", "e2el")]
    requests: Count
    """Requests that have a value of the metric."""
    independent: Amount
    """How many independent values these are worth."""
    percentiles: Sequence[Percentile]
    highest: Percentile | None


class Verdict(PartVerdict, frozen=True, kw_only=True):
    """Whether the measurement is good, and why not."""

    signs: Sequence[str] | None = None
    """The sign of each reason, in the same order. Files of version 0.1 lack it."""
    headline: str | None = None
    """The verdict in one line, with the percentiles that the run can give. Files of version 0.1 lack it."""
    reach: Reach | None = None
    """Files of version 0.1 lack it."""


class SummaryNumbers(Result, frozen=True, kw_only=True):
    """The numbers from the records and the client, without those added by bench/evaluate.py."""

    schema: Literal["trueload/summary/1"]
    slo: Slo
    models: Sequence[ModelNumbers] | None = None
    """The numbers of each model of a run that sends to several, by name: of the whole run, and rates per second of the
    whole run. Missing if there is only one model."""
    classes: Sequence[ClassNumbers] | None = None
    """The numbers of each traffic class of a run with --mix, in their order: of the whole run, and rates per second of
    the whole run. Missing without classes."""
    per_target: Sequence[TargetNumbers] | None = None
    """The numbers of each replica, by name: several addresses, or replicas named by replies. Missing if records name
    none. docs/replicas.md."""
    counts: Counts
    errors: Sequence[ErrorCount]
    load: Load
    latency: Latency
    throughput: Throughput
    goodput: Goodput | None
    sessions: Sessions | None = None
    """The sessions of a run, by how they ended. Missing if no request belongs to one. docs/metrics.md."""
    jobs: Jobs | None = None
    """The jobs of sessions. Missing if no request belongs to one."""
    server_requests: ServerReported | None = None
    """The server's data on requests in its replies, over the successful requests. Missing if no reply has times or
    drafts. docs/server-metrics.md."""
    answers: CheckedAnswers | None = None
    """The checked answers of a run with --check-answers. Missing in other runs. docs/quality.md."""
    scaling: Scaling | None = None
    """What was lost while the server was scaling, in a run with --watch-scale. Missing in other runs. docs/replicas.md."""
    cancelled: CancelledRequests | None = None
    """The requests whose users left, as planned (--cancel): what they received until then, which is not part of any
    latency or throughput. Missing if there are none."""
    latency_of_failures_ms: Statistics
    stalls: Stalls
    window: SteadyWindow
    steady: Steady | None
    segments: Sequence[Segment] | None
    """The parts of a load that changes over time (--steps; ten parts of a --ramp; between changes made during the run),
    in users or, in mode rate, requests per second. Numbers cover the time from measured_from_s to end_s. null: the load
    is constant."""
    changes: Sequence[Change]
    """The changes of the load during the run (by python -m bench set-load, the console, a script), in order of time."""
    series: Series
    distributions: Distributions
    tokens: Tokens
    inputs: InputCounts | None = None
    """The inputs of requests whose replies are not generated text. Missing if text is generated."""
    media: MediaCounts | None = None
    """Images, audio and video in the requests. Missing if there are none."""
    instrument: Instrument
    compat: Compat
    """What other tools would have printed for this run: docs/metrics.md, Compatible columns."""


class RunSummary(SummaryNumbers, frozen=True, kw_only=True):
    """Times are in ms or s as the names say; series and windows count from the start of the run. null means: did not
    happen, or cannot be known."""

    classes: Sequence[JudgedClass] | None = None
    """The numbers of each traffic class of a run with --mix, in their order: of the whole run, and rates per second of
    the whole run. Missing without classes."""
    run: RunOrigin
    verdict: Verdict
    calibration: LedgerCalibration | KnownCalibration | None
    """null: unknown. `from`: whether the source is the ledger of this run or an earlier certificate of this machine."""
    prefix_cache: PrefixCache | None
    server: Server | None
    """The server's own metrics, over the steady window; null if they were not read. docs/server-metrics.md."""
    gpu: Gpu | None
    """The GPUs over the steady window, and the cost of a token; null if nothing is known about them.
    docs/server-metrics.md, The GPU."""


def from_json(content: bytes) -> RunSummary:
    """The summary in a summary.json. Raises msgspec.MsgspecError if it is not one."""
    return msgspec.json.decode(content, type=RunSummary)
