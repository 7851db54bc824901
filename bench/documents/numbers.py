"""summary.json: numbers that stand in several places. As the pages take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict


class Plan(TypedDict):
    planned_rps: float | None
    sent_rps: float | None
    rate_difference: float | None
    span_difference_ms: float | None
    dispersion_planned: float | None
    dispersion_sent: float | None
    dispersion_ratio: float | None


class ServerAndClient(TypedDict):
    server: float
    client: float


class BucketAndValue(TypedDict):
    server: Sequence[float | None] | None
    client: float


class Printed(TypedDict):
    n: int
    mean: float | None
    p50: float | None
    p99: float | None


class Tool(TypedDict):
    title: str
    version: str
    ttft_ms: Printed | None
    e2el_ms: Printed | None
    tpot_ms: Printed | None
    itl_ms: Printed | None
    output_tokens: int
    requests_per_s: float | None
    output_tokens_per_s: float | None
    missing: Mapping[str, str]
    differences: Sequence[str]


class Statistics(TypedDict):
    n: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    p50: float | None
    p75: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None


class TooFew(TypedDict):
    """Why there is no interval: how many independent values there are, how many it takes, and how long a run would
    do."""

    independent: float
    needed: int
    run_s: float | None


class Metric(TypedDict):
    bounds: Mapping[str, Sequence[float | None]]
    n: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    p50: float | None
    p75: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    ci95: Mapping[str, Sequence[float] | None]
    independent: float
    too_few: Mapping[str, TooFew]
    quantiles: str


class Throughput(TypedDict):
    duration_s: float | None
    requests_per_s: float | None
    inputs_per_s: NotRequired[float | None]
    input_tokens_per_s: float | None
    output_tokens_per_s: float | None
    total_tokens_per_s: float | None
    ci95: Mapping[str, Sequence[float] | None]
    too_few: Mapping[str, TooFew]


class Goodput(TypedDict):
    requests_per_s: float | None
    output_tokens_per_s: float | None
    share: float | None


class QuantilesOverTime(TypedDict):
    mean: Sequence[float | None]
    p50: Sequence[float | None]
    p90: Sequence[float | None]
    p99: Sequence[float | None]


class Kind(TypedDict):
    chunks: int
    tokens: int


class BothSides(TypedDict):
    input: int | None
    output: int | None


class Comparison(TypedDict):
    compared: int
    differ: int
    share: float | None
