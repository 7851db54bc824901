"""summary.json: the run over time. As the pages take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from bench.documents.numbers import QuantilesOverTime, Statistics


class Series(TypedDict):
    step_s: int
    end_s: float | None
    t_s: Sequence[float]
    planned: Sequence[float]
    sent: Sequence[float]
    completed: Sequence[float]
    failed: Sequence[float]
    failed_by_outcome: Mapping[str, Sequence[float]]
    in_flight: Sequence[float]
    ttft_ms: QuantilesOverTime
    tpot_ms: QuantilesOverTime
    e2el_ms: QuantilesOverTime
    tps: QuantilesOverTime
    output_tokens: Sequence[float]
    inputs: NotRequired[Sequence[float]]
    input_tokens: NotRequired[Sequence[float]]
    bytes_in: Sequence[float]
    bytes_out: Sequence[float]
    status: Mapping[str, Sequence[float]]


class DistributionsTraffic(TypedDict):
    bytes_in_per_s: Statistics
    bytes_out_per_s: Statistics


class DistributionsResponseTimeIntervalsRow(TypedDict):
    from_ms: float
    to_ms: float | None
    n: int
    share: float


class DistributionsResponseTimeQuantilesRow(TypedDict):
    q: float
    ms: float


class DistributionsTtft(TypedDict):
    p50_ms: Statistics


class DistributionsTpot(TypedDict):
    p50_ms: Statistics


class DistributionsTps(TypedDict):
    output_tokens_per_s: Statistics
    p50_of_requests: Statistics


class Distributions(TypedDict):
    requests_per_s: Statistics
    responses_per_s: Statistics
    traffic: DistributionsTraffic
    response_time_intervals: Sequence[DistributionsResponseTimeIntervalsRow]
    response_time_quantiles: Sequence[DistributionsResponseTimeQuantilesRow]
    status_codes: Mapping[str, int]
    ttft: DistributionsTtft
    tpot: DistributionsTpot
    tps: DistributionsTps
