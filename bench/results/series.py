"""The run over time, and the distributions for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from bench.records import Outcome
from bench.results.base import Count, Number, Portion, Positive, Result, keys
from bench.results.numbers import ByStatus, QuantilesOverTime, Statistics


class Series(Result, frozen=True, kw_only=True):
    """The run over time, in steps of `step_s` seconds. Amounts are per step; `in_flight` is the mean of the step."""

    step_s: Positive
    t_s: Sequence[Number]
    """Beginning of each step, in s from the start of the run."""
    end_s: Number | None
    planned: Sequence[Number]
    sent: Sequence[Number]
    completed: Sequence[Number]
    failed: Sequence[Number]
    failed_by_outcome: Annotated[Mapping[str, Sequence[Number]], keys(*Outcome)]
    in_flight: Sequence[Number]
    ttft_ms: QuantilesOverTime
    tpot_ms: QuantilesOverTime
    e2el_ms: QuantilesOverTime
    tps: QuantilesOverTime
    output_tokens: Sequence[Number]
    inputs: Sequence[Number] | None = None
    """Only if replies are not generated text."""
    input_tokens: Sequence[Number] | None = None
    """Only if replies are not generated text."""
    bytes_in: Sequence[Number]
    bytes_out: Sequence[Number]
    status: Annotated[Mapping[str, Sequence[Number]], keys(pattern=r"^([1-9][0-9]{2}|none)$")]


class Traffic(Result, frozen=True, kw_only=True):
    """Bytes of bodies per second."""

    bytes_in_per_s: Statistics
    bytes_out_per_s: Statistics


class TimeInterval(Result, frozen=True, kw_only=True):
    """Response times from `from_ms` up to but not including `to_ms`. null: open."""

    from_ms: Number
    to_ms: Number | None
    n: Count
    share: Portion


class TimeQuantile(Result, frozen=True, kw_only=True):
    """A quantile of the response times."""

    q: Portion
    ms: Number


class MedianOverTime(Result, frozen=True, kw_only=True):
    """The medians of the steps."""

    p50_ms: Statistics


class SpeedOverTime(Result, frozen=True, kw_only=True):
    """Output tokens per second of the whole run, and of the median request, over its steps."""

    output_tokens_per_s: Statistics
    p50_of_requests: Statistics


class Distributions(Result, frozen=True, kw_only=True):
    """Statistics of the rates over the steps of the run, and of the response times."""

    requests_per_s: Statistics
    responses_per_s: Statistics
    traffic: Traffic
    response_time_intervals: Sequence[TimeInterval]
    response_time_quantiles: Sequence[TimeQuantile]
    status_codes: ByStatus
    ttft: MedianOverTime
    tpot: MedianOverTime
    tps: SpeedOverTime
