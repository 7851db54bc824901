"""certificate.json, and `calibration` in summary.json: the errors of a run's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from msgspec import UNSET, UnsetType

from bench.results.base import Between, Count, Number, NumbersByName, Positive, Result, keys, one_of
from bench.results.run import RunOrigin
from bench.results.status import Status

SCHEMA: Final = "trueload/certificate/1"
STATS = ("mean", "p50", "p75", "p90", "p95", "p99", "p999", "max")
OF_FEW = {"rtf": "", "ttfi_ms": "ms", "ttfa_ms": "ms", "playback_stall_ms": "ms", "playback_stalls": ""}
"""The METRICS that only a few endpoints have. A metric without a unit is a ratio."""
METRICS = {
    "ttft_ms": "ms",
    "tpot_ms": "ms",
    "itl_ms": "ms",
    "e2el_ms": "ms",
    "tps": "tokens/s",
    "ttft_from_intended_ms": "ms",
    "e2el_from_intended_ms": "ms",
    "ttfo_ms": "ms",
    "chunk_gap_ms": "ms",
    "ttfb_ms": "ms",
    **OF_FEW,
}
"""The metrics that are compared with the ledger, by their keys in summary.json, with their units."""
FROM_SENT = (
    "ttft_ms",
    "e2el_ms",
    "ttft_from_intended_ms",
    "e2el_from_intended_ms",
    "ttfo_ms",
    "ttfb_ms",
    "ttfa_ms",
    "ttfi_ms",
    "rtf",
)
"""The METRICS that begin on the client's side: without a shared clock, their errors include the network."""
RATES = ("requests_per_s", "output_tokens_per_s", "input_tokens_per_s", "total_tokens_per_s", "inputs_per_s")

MetricName = Annotated[str, one_of(*METRICS)]
NumberName = Annotated[str, one_of(*METRICS, "job_ms", *RATES)]
Stat = Annotated[str, one_of(*STATS)]
Unit = Annotated[str, one_of("ms", "tokens/s", "1/s", "")]
Clock = Literal["shared", "other"]


class LoadShape(Result, frozen=True, kw_only=True):
    """The load as it was measured, which determines the later runs that the certificate covers."""

    loop: Annotated[str, one_of("open loop", "closed loop")]
    transport: str
    workers: Positive
    stream: Annotated[str, one_of("streamed", "whole")]
    tls: bool
    endpoint: str
    clock: Annotated[str, one_of("kernel", "user", "mixed")]
    """The usual source of its time stamps."""
    streams: Number | None
    """Most requests in flight at once."""
    requests_per_s: Number | None
    chunks_per_s: Number | None
    """Chunks with text."""


class CertifiedVerdict(Result, frozen=True, kw_only=True):
    """Whether the measurement is good, and why not."""

    status: Status
    reasons: Sequence[str]
    """A sentence for each finding."""


class NumberRow(Result, frozen=True, kw_only=True):
    """One number of the report, measured and true, in its unit."""

    metric: NumberName
    stat: Stat
    unit: Unit
    measured: Number
    true: Number
    error: Number
    """Measured minus true."""
    allowed: Between | None
    """The range that the time stamps, and the histogram of token times, allow (null: no limit); null if all are exact."""
    error_share: Number | None
    """The error as a share of the true value."""
    share_of_spread: Number | None
    """The error as a share of the true p99 - p50."""


class Spread(NumbersByName, frozen=True, kw_only=True):
    """Statistics in ms. Without values there is only `n`; p99.9 needs at least 1,000 values."""

    n: Count
    min: Number | None = None
    mean: Number | None = None
    p50: Number | None = None
    p75: Number | None = None
    p90: Number | None = None
    p95: Number | None = None
    p99: Number | None = None
    p999: Number | None = None
    max: Number | None = None


class Deviation(Result, frozen=True, kw_only=True):
    """A number of the mock compared with what its configuration promises."""

    metric: str
    stat: str
    unit: Annotated[str, one_of("ms", "tokens")]
    expected: Number
    done: Number
    difference: Number
    noise: Number | None
    """What chance exceeds in at most 5 of 100 runs; null: unknown."""


class MockAccuracy(Result, frozen=True, kw_only=True):
    """What the mock did, compared with what it planned and what its configuration promises."""

    done_minus_planned_ms: Spread
    closed_form: Sequence[Deviation]


class JoinCounts(Result, frozen=True, kw_only=True):
    """How much was compared, how much of it differs, and how many chunks waited in the mock for a slow client."""

    requests: Count
    unmatched: Count
    differing: Count
    blocked: Count


class Agreement(Result, frozen=True, kw_only=True):
    """One sum on both sides: in the records, and in the ledger."""

    what: str
    here: Count
    there: Count


class CauseRow(Result, frozen=True, kw_only=True):
    """The likely cause of a metric's error; `size` is the error, in the unit of the metric."""

    metric: str
    stat: str
    size: Number
    unit: str
    cause: str


class RequestError(Result, frozen=True, kw_only=True, order=True):
    """The error of one metric of one request: measured minus true."""

    id: str
    metric: MetricName
    measured: Number
    true: Number
    error: Number


class ErrorsOverTime(Result, frozen=True, kw_only=True):
    """Quantiles of errors in ms in each step; null in steps without a value."""

    p50: Sequence[Number | None]
    p99: Sequence[Number | None]
    max: Sequence[Number | None]


class OverTime(Result, frozen=True, kw_only=True):
    """Errors over the run, in steps of `step_s` seconds. A metric without values is left out."""

    step_s: Number
    t_s: Sequence[Number]
    ttft_ms: ErrorsOverTime | None = None
    tpot_ms: ErrorsOverTime | None = None
    e2el_ms: ErrorsOverTime | None = None
    lag_ms: ErrorsOverTime | None = None
    """The observation lag of chunks."""


class TrueAndMeasured(Result, frozen=True, kw_only=True):
    """Quantiles of the same orders."""

    true: Sequence[Number]
    measured: Sequence[Number]


class LagCount(Result, frozen=True, kw_only=True):
    """The number of chunks with a lag from `from_ms` up to `to_ms`; null: open."""

    from_ms: Number | None
    to_ms: Number | None
    n: Count


class TargetErrors(Result, frozen=True, kw_only=True, rename={"name": "target"}):
    """The numbers of one replica, compared with the lines that it wrote to the ledger."""

    name: str
    """Its address."""
    requests: Count
    """Requests that it served in full, according to the ledger."""
    metrics: Sequence[NumberRow]


class Plots(Result, frozen=True, kw_only=True):
    """The data of the plots."""

    over_time: OverTime
    qq: Annotated[Mapping[str, TrueAndMeasured], keys(*METRICS)]
    lag: Sequence[LagCount]


class LedgerCalibration(Result, frozen=True, kw_only=True, tag_field="from", tag="ledger"):
    """The errors of this run by the mock's ledger: like certificate.json, without its plots."""

    clock: Clock
    """Whether the mock's times are on the client's clock. If not, durations are compared."""
    metrics: Sequence[NumberRow]
    throughput: Sequence[NumberRow]
    observation_lag_ms: Spread
    """The client's stamp of a chunk minus the mock's write of it."""
    way_in_ms: Spread
    """The mock's receipt of a request minus the client's send."""
    network_ms: Number | None
    """Without a shared clock: the least time of the network, both ways."""
    mock: MockAccuracy
    counts: JoinCounts
    agreement: Sequence[Agreement]
    problems: Sequence[str]
    causes: Sequence[CauseRow]
    worst: Sequence[RequestError]
    per_target: Sequence[TargetErrors] | UnsetType = UNSET
    """With several replicas: each separately."""


class KnownErrorRow(Result, frozen=True, kw_only=True):
    """The error of one number in an earlier calibration."""

    metric: str
    stat: str
    unit: str
    error: Number
    """Measured minus true, in the earlier calibration."""
    measured: Number
    """The measured value of this run."""
    error_share: Number | None
    """The error as a share of this run's value."""


class KnownCalibration(Result, frozen=True, kw_only=True, tag_field="from", tag="certificate"):
    """The result of an earlier calibration on this machine at a similar load."""

    date: str
    version: str
    shape: LoadShape
    observation_lag_ms: Spread
    way_in_ms: Spread
    problems: Sequence[str]
    status: str
    """The verdict on its errors alone."""
    age_s: Number
    metrics: Sequence[KnownErrorRow]


class Certificate(Result, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The errors of a run's numbers, measured against the ledger of a mock. Times are in ms unless the name says
    otherwise; an error is measured minus true. null means: did not happen, or cannot be known."""

    schema: Literal["trueload/certificate/1"]
    date: str
    """When the run ended, ISO 8601."""
    version: str
    """The version of Trueload."""
    shape: LoadShape
    verdict: CertifiedVerdict
    accuracy: Status
    """The verdict on the errors alone, whatever else was wrong with the run."""
    run: RunOrigin
    """As in summary.json: command, versions, host, configuration."""
    from_: Literal["ledger"]
    clock: Clock
    """Whether the mock's times are on the client's clock. If not, durations are compared."""
    metrics: Sequence[NumberRow]
    throughput: Sequence[NumberRow]
    observation_lag_ms: Spread
    """The client's stamp of a chunk minus the mock's write of it."""
    way_in_ms: Spread
    """The mock's receipt of a request minus the client's send."""
    network_ms: Number | None
    """Without a shared clock: the least time of the network, both ways."""
    mock: MockAccuracy
    counts: JoinCounts
    agreement: Sequence[Agreement]
    problems: Sequence[str]
    causes: Sequence[CauseRow]
    worst: Sequence[RequestError]
    per_target: Sequence[TargetErrors] | UnsetType = UNSET
    """With several replicas: each separately."""
    plots: Plots
