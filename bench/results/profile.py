"""profile.json, which `python -m bench fit` writes for a server: the behaviour of the mock, and how far to trust it.

The mock reads `engine`, `model`, `step_cost` or `sampled_times`, and `settings`; the rest documents how the numbers
were obtained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta

from bench.results.base import Amount, Count, Number, Portion, Positive, Result, Setting, every_key, needs, one_of

SCHEMA: Final = "trueload/profile/1"
REQUIRED = ("b0", "b1", "b2", "b3", "a0", "a1")
"""The coefficients that every profile has."""


class VariationLevel(Result, frozen=True):
    """Deviations of successive steps, and the mean decode tokens of these steps."""

    decodes: Amount
    shares: Sequence[Number]


class StepVariation(Result, frozen=True, kw_only=True):
    """How steps vary: a step of cost T takes T + share x at_us x (T / at_us)^power."""

    power: Portion
    at_us: Amount
    block: Amount
    """The mean number of successive deviations that the mock draws together."""
    levels: Sequence[VariationLevel]
    """One entry, or one for each load if loads vary differently."""


class StepCost(Result, frozen=True, kw_only=True):
    """The mock's --step-cost: us, and limits. Missing limits have the mock's defaults."""

    b0: Amount
    """Cost of a step."""
    b1: Amount
    """Cost of a prefill token."""
    b2: Amount
    """Cost of a decode token; beyond the table `decode`, if there is one."""
    b3: Amount
    """Cost of a context token."""
    b4: Amount | None = None
    """Cost of a prompt, in the step that ends it. Missing: a prompt costs its tokens."""
    a0: Amount
    """Cost of a request."""
    a1: Amount
    """Cost of a prompt token."""
    w0: Amount | None = None
    """What an idle server adds. 0 if missing, as in profiles from before it was known."""
    decode: Sequence[tuple[Positive, Amount]] | None = None
    """The total cost of this many decode tokens in a step: [tokens, us], rising; beyond the last, b2 per token.
    Missing: b2 per token."""
    max_num_seqs: Positive | None = None
    max_num_batched_tokens: Positive | None = None
    kv_blocks: Positive | None = None
    """In blocks of 16 tokens."""
    variation: StepVariation | None = None
    """How steps vary around their cost. Missing: too few steps were observed, or an older version made the profile."""


class ProfileSettings(Result, frozen=True, kw_only=True):
    """Settings of the mock that are visible in the chunks."""

    num_speculative_tokens: Count | None = None
    acceptance_rate: Portion | None = None
    stream_interval: Positive | None = None


class FittedCoefficient(Result, frozen=True, kw_only=True):
    """A coefficient with its 95% interval."""

    value: Number
    low: Number | None
    high: Number | None
    """null: no bound."""
    told: bool
    """Whether the loads could determine it."""
    unit: str


class FittedDecode(Result, frozen=True):
    """The total cost of this many decode tokens in a step, in us, with its 95% interval."""

    tokens: Positive
    us: Number
    low: Number
    high: Number


class FittedLimit(Result, frozen=True):
    """A limit of the server."""

    value: Positive | None
    """null: unknown."""
    at_least: Count
    """The observed value."""
    source: Annotated[str, one_of("waiting", "steps", "server", "given", "unknown")]
    """How it was found: requests began to wait, steps were full, the server's own page, or a flag."""


class FittedLimits(Result, frozen=True):
    """The limits of the server."""

    max_num_seqs: FittedLimit
    max_num_batched_tokens: FittedLimit
    kv_blocks: FittedLimit

    def by_name(self) -> dict[str, FittedLimit]:
        """The three limits by name."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Residuals(Result, frozen=True):
    """The steps of one range of batch sizes: measured minus fitted, as a share of the fitted step."""

    least_decodes: Count
    most_decodes: Count
    rows: Count
    p10: Number
    p50: Number
    p90: Number


class FittedFrontEnd(Result, frozen=True, kw_only=True):
    """Which requests determined a0, a1 and w0."""

    how: Annotated[str, one_of("idle", "busy", "both", "none")]
    requests: Count


class DrawnCost(Result, frozen=True, kw_only=True):
    """A step cost that the server could equally have: one resample of its steps."""

    b0: Amount
    b1: Amount
    b2: Amount
    b3: Amount
    b4: Amount | None = None
    decode: Sequence[tuple[Positive, Amount]] | None = None


class FittedSteps(Result, frozen=True, kw_only=True):
    """How well the coefficients describe the steps."""

    rows: Count
    steps: Count
    scale_us: Amount
    """The standard deviation of a row."""
    left_out: Portion
    """The share of rows that are far off."""
    chunks: Annotated[str, one_of("single", "interval", "drafts")]
    residuals: Sequence[Residuals]
    front_end: FittedFrontEnd
    mean_error: Amount | None = None
    """The possible error of the mean of a step (95%), as a share. Missing if unknown."""
    draws: Sequence[DrawnCost] | None = None
    """Resamples, for intervals of values computed from the cost. Missing in profiles of older versions."""


class SampledTimes(Result, frozen=True, kw_only=True):
    """Quantiles at equal shares, at the least load, and what shifts them."""

    ttft_ms: Sequence[Number]
    """TTFT without the time of its prompt."""
    ttft_per_input_token_us: Number
    gap_ms: Sequence[Number]
    between: Number
    """The share of the variance of gaps that is between requests."""
    follows: Number
    """The correlation of neighbouring gaps in the rest."""
    load: Sequence[Annotated[Sequence[Number], Meta(min_length=3, max_length=3)]]
    """Requests in progress, and how much longer TTFT and gaps are then."""


class SeenTimes(Result, frozen=True, kw_only=True):
    """The data from which the times were fitted."""

    requests: Count
    gaps: Count
    requests_by_load: Sequence[Count]


DRIFT, REFUSED = "steady steps", "failed requests"
"""What remains unknown about a server whose behaviour the model lacks."""


class Unknown(Result, frozen=True, kw_only=True):
    """What the loads cannot show, and the run that would."""

    what: str
    why: str
    command: str


class RunOfProfile(Result, frozen=True, kw_only=True):
    """A run that was fitted."""

    run_id: str
    name: str
    started: str
    endpoint: str
    requests: Count
    most_in_flight: Count
    longest_prompt: Count | None = None
    """In tokens. Missing in profiles of older versions, like the next field."""
    longest_context: Count | None = None
    """The most tokens of a prompt with its reply."""
    load: Mapping[str, Setting]
    """The settings that define how much was sent."""
    trueload: str | None
    """The version that made it."""


class Provenance(Result, frozen=True, kw_only=True):
    """The origin of a profile."""

    server: str | None
    trueload: str | None
    date: str
    runs: Sequence[RunOfProfile]


class ReplayedNumber(Result, frozen=True, kw_only=True):
    """A quantile of a run in ms, and the same with the mock and this profile."""

    number: str
    quantile: str
    measured: Number
    replayed: Number
    off: Number | None
    """The difference as a share of the measured value; null if that is 0."""
    apart: bool | None = None
    """Whether the two 95% intervals are disjoint. Missing if one of them is missing, and in files of older versions."""


class ReplayedCurve(Result, frozen=True, kw_only=True):
    """Both distributions of a number: quantiles at equal shares, in ms."""

    number: str
    measured: Sequence[Number]
    replayed: Sequence[Number]


class Replay(Result, frozen=True, kw_only=True):
    """A load that was sent again, to the mock with this profile."""

    name: str
    held_out: bool
    """Whether the run was kept out of the fit."""
    numbers: Sequence[ReplayedNumber]
    curves: Sequence[ReplayedCurve] | None = None
    """Missing in profiles of older versions."""


class Profile(Result, frozen=True, kw_only=True):
    """A mock fitted to a server (docs/fit.md). Times are us, shares are numbers: 0.05 is 5%."""

    schema: Literal["trueload/profile/1"]
    engine: Annotated[
        str,
        needs(
            batching=("step_cost", "coefficients", "limits", "fit"),
            sampled=("sampled_times", "seen"),
        ),
    ]
    model: str | None
    step_cost: StepCost | None = None
    """This key, and the other keys about steps, belong to engine batching."""
    sampled_times: SampledTimes | None = None
    """Belongs to engine sampled, like `seen`."""
    settings: ProfileSettings
    coefficients: Annotated[Mapping[str, FittedCoefficient], every_key(*REQUIRED, optional=("b4", "w0"))] | None = None
    decode: Sequence[FittedDecode] | None = None
    """The points of step_cost.decode with their 95% intervals, in us; empty if b2 is enough."""
    limits: FittedLimits | None = None
    fit: FittedSteps | None = None
    seen: SeenTimes | None = None
    warnings: Sequence[str]
    unknown: Sequence[Unknown]
    provenance: Provenance
    replay: Sequence[Replay] | None = None
    """Missing if no load was replayed."""
