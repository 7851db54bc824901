"""Statistics, latencies and rates: numbers that occur in several places of a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import UNSET, UnsetType

from bench.records import Outcome
from bench.results.base import (
    Amount,
    Between,
    Count,
    Interval,
    Number,
    NumbersByName,
    Portion,
    Positive,
    Result,
    every_key,
    keys,
)

QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
"""The quantiles of every metric, by the names in reports."""
RATES = ("requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s")
FIRST_METRICS = (
    "ttft_ms",
    "tpot_ms",
    "itl_ms",
    "e2el_ms",
    "tps",
    "ttft_from_intended_ms",
    "e2el_from_intended_ms",
    "ttfo_ms",
    "chunk_gap_ms",
)
"""The metrics of version 0.1, which every summary.json has. Older files lack the metrics added later."""
LATENCIES = ("ttft_ms", "e2el_ms", "tpot_ms", "itl_ms")
"""The latencies that other tools print."""

ByOutcome = Annotated[Mapping[str, Count], keys(*Outcome)]
ByStatus = Annotated[Mapping[str, Count], keys(pattern=r"^([1-9][0-9]{2}|none)$")]
"""By status of the response; `none`: there was no response."""


def may_break(quantile: str, op: str) -> float:
    """The share of the requests that may break an objective on a quantile: `p99 <` allows 1% to be slower, `p99 >`
    allows 99% to be lower."""
    return round(1 - QUANTILES[quantile], 6) if op.startswith("<") else QUANTILES[quantile]


class TooFewValues(Result, frozen=True, kw_only=True):
    """Why there is no interval: the number of independent values, the number required, and the length of a run that
    would be enough."""

    independent: Amount
    needed: Positive
    run_s: Number | None


class Statistics(NumbersByName, frozen=True, kw_only=True):
    """Number, mean, standard deviation (n - 1), minimum, maximum and quantiles. All but `n` are null without values."""

    n: Count
    """The number of values."""
    mean: Number | None
    std: Number | None
    """The standard deviation of a sample: divided by n - 1."""
    min: Number | None
    max: Number | None
    p50: Number | None
    p75: Number | None
    p90: Number | None
    p95: Number | None
    p99: Number | None
    p999: Number | None
    """The quantile of order 0.999."""


class Metric(Statistics, frozen=True, kw_only=True):
    """The statistics of one metric, and how certain they are. The unit is in the name of the metric; `tps` is in tokens
    per second."""

    independent: Amount
    """How many independent values the n values are worth; for token metrics, how many independent requests."""
    ci95: Annotated[Mapping[str, Interval | None], every_key("mean", *QUANTILES)]
    """95% intervals of the mean and of quantiles. null: too few independent values."""
    too_few: Annotated[Mapping[str, TooFewValues], keys(pattern=r"^(mean|p50|p75|p90|p95|p99|p999)$")]
    """What is missing, for each statistic without an interval."""
    quantiles: str
    """`exact`, or the histogram from which they were read."""
    bounds: Annotated[Mapping[str, Between], keys(pattern=r"^(mean|min|max|p50|p75|p90|p95|p99|p999)$")]
    """Statistics that the stamps leave uncertain by over 1% and 0.1 ms: the lower and the upper limit of each (null: no
    limit)."""


class Throughput(NumbersByName, frozen=True, kw_only=True):
    """What arrived per second, over the whole run or the steady window."""

    duration_s: Number | None
    """In s: from the first send to the last end, or the length of the window."""
    requests_per_s: Number | None
    inputs_per_s: Number | UnsetType | None = UNSET
    """Only if replies are not generated text."""
    input_tokens_per_s: Number | None
    output_tokens_per_s: Number | None
    total_tokens_per_s: Number | None
    ci95: Annotated[Mapping[str, Interval | None], every_key(*RATES, optional=("inputs_per_s",))]
    too_few: Annotated[
        Mapping[str, TooFewValues], keys(pattern=r"^(requests|inputs|input_tokens|output_tokens|total_tokens)_per_s$")
    ]


class Goodput(NumbersByName, frozen=True, kw_only=True):
    """The requests that met every limit on a latency. Only runs with such objectives have it."""

    requests_per_s: Number | None
    output_tokens_per_s: Number | None
    share: Portion | None
    """Share of the requests that ended by themselves or were dropped."""


class PlanAgainstSent(Result, frozen=True, kw_only=True):
    """The drawn arrivals compared with the sends. Rates are per second; the dispersion is that of counts per ten mean
    gaps: 1 for Poisson, 0 for a metronome."""

    planned_rps: Number | None
    sent_rps: Number | None
    rate_difference: Number | None
    """Sent / planned - 1."""
    span_difference_ms: Number | None
    """How much longer the sends took than planned, in ms."""
    dispersion_planned: Number | None
    dispersion_sent: Number | None
    dispersion_ratio: Number | None


class Printed(NumbersByName, frozen=True, kw_only=True):
    """One latency in ms, as another tool would print it."""

    n: Count
    mean: Number | None
    """null here and below: tokens shared reads, so the value is unknown; `differences` explains it."""
    p50: Number | None
    p99: Number | None


class ToolColumn(NumbersByName, frozen=True, kw_only=True):
    """What another tool would have printed for this run."""

    title: str
    version: str
    ttft_ms: Printed | None
    e2el_ms: Printed | None
    tpot_ms: Printed | None
    itl_ms: Printed | None
    output_tokens: Count
    requests_per_s: Number | None
    output_tokens_per_s: Number | None
    missing: Annotated[Mapping[str, str], keys(*LATENCIES)]
    """Why a latency is null."""
    differences: Sequence[str]
    """What the tool defines differently from Trueload."""


class QuantilesOverTime(Result, frozen=True, kw_only=True):
    """Mean and quantiles of a latency in each step; null in steps without values."""

    mean: Sequence[Number | None]
    p50: Sequence[Number | None]
    p90: Sequence[Number | None]
    p99: Sequence[Number | None]


Latency = Annotated[Mapping[str, Metric], every_key(*FIRST_METRICS, of="metrics")]
"""Every metric, by its key."""
RequestLatency = Annotated[Mapping[str, Metric], every_key(*FIRST_METRICS, of="request metrics")]
"""The metrics of whole requests."""
Compat = Annotated[Mapping[str, ToolColumn], every_key(of="tools")]
"""What other tools would have printed, by the key of the tool."""
