"""baseline.json: the runs with which later runs are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta

from bench.results.base import Amount, Count, Number, Portion, Result, Setting, one_of

SCHEMA: Final = "trueload/baseline/1"
KEPT = 20
"""How many runs a baseline keeps: the newest."""

Digest = Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9a-f]{64}$"})]


class BaselineLoad(Result, frozen=True, kw_only=True):
    """The load of a run."""

    mode: str
    offered_rps: Number | None
    achieved_rps: Number | None
    concurrency: int | None


class BaselineStats(Result, frozen=True, kw_only=True):
    """Quantiles of a run's metric, in its unit."""

    p50: Number | None
    p90: Number | None
    p99: Number | None
    n: Count
    act: Annotated[Number, Meta(extra_json_schema={"minimum": 1})] | None
    """The autocorrelation time of the values: docs/metrics.md."""


class BaselineRun(Result, frozen=True, kw_only=True):
    """The few numbers of a run that a gate needs."""

    id: str
    started: str
    verdict: Annotated[str, one_of("VALID", "SUSPECT")]
    load: BaselineLoad
    seconds: Number | None
    requests: Count
    """Requests that succeeded or failed, after the warm-up."""
    independent_requests: Amount
    """The number of independent requests that they are worth: n / D."""
    error_rate: Portion | None
    failures_act: Annotated[Number, Meta(extra_json_schema={"minimum": 1})] | None = None
    """The autocorrelation time of failures, if some requests failed and some did not."""
    output_tokens_per_s: Number | None
    tokens_by: str | None = None
    """How the tokens of most replies were counted."""
    inputs_per_s: Number | None = None
    """Only if replies are not generated text."""
    inputs_are: str | None = None
    """The input type of the requests, if replies are not generated text."""
    input_tokens_per_s: Number | None = None
    """Only if inputs have tokens."""
    stats: Annotated[
        Mapping[str, BaselineStats], Meta(extra_json_schema={"required": ["ttft_ms", "tpot_ms", "e2el_ms"]})
    ]
    """Statistics of each request metric."""


class BaselineTarget(Result, frozen=True, kw_only=True):
    """The server of the first run."""

    model: str | None
    server: str
    gpus: int | None


class BaselineOrigin(Result, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Where the errors of the first run's numbers come from: the ledger of its mock, or a certificate with this status."""

    from_: str | None
    status: str | None


class Baseline(Result, frozen=True, kw_only=True):
    """The runs with which a gate compares later runs: of one workload, at most 20, the newest last."""

    schema: Literal["trueload/baseline/1"]
    created: str
    """When the first run of the file began."""
    tool_version: str
    config_sha256: Digest
    workload_sha256: Digest
    """Digest of the settings that must be equal, and the model."""
    workload: Annotated[Mapping[str, Setting], Meta(extra_json_schema={"required": ["model", "mode", "endpoint"]})]
    data_sha256: Mapping[str, Digest] = {}
    """Of each file of data, by its path as the settings name it."""
    target: BaselineTarget
    machine: Mapping[str, str | int]
    certificate: BaselineOrigin | None
    runs: Annotated[Sequence[BaselineRun], Meta(extra_json_schema={"maxItems": KEPT})]
