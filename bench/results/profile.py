"""profile.json, which `python -m bench fit` writes of a server: what the mock serves, and how far to trust it.

The mock reads `engine`, `model`, `step_cost` or `sampled_times`, and `settings`; the rest says how the numbers came about.
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
    """The mean number of successive deviations that the mock takes together."""
    levels: Sequence[VariationLevel]
    """One, or one for each load if loads vary differently."""


class StepCost(Result, frozen=True, kw_only=True):
    """What the mock's --step-cost takes: us, and limits. Without a limit the mock takes its own."""

    b0: Amount
    """A step."""
    b1: Amount
    """A prefill token."""
    b2: Amount
    """A decode token; behind the table `decode`, if there is one."""
    b3: Amount
    """A context token."""
    b4: Amount | None = None
    """A prompt, in the step that ends it. Left out: a prompt costs its tokens."""
    a0: Amount
    """A request."""
    a1: Amount
    """A prompt token."""
    w0: Amount | None = None
    """What an idle server adds. Profiles of before it was known lack it: 0."""
    decode: Sequence[tuple[Positive, Amount]] | None = None
    """What so many decode tokens of a step cost together: [tokens, us], rising; b2 goes on behind the last. Left out: b2
    each."""
    max_num_seqs: Positive | None = None
    max_num_batched_tokens: Positive | None = None
    kv_blocks: Positive | None = None
    """Of 16 tokens."""
    variation: StepVariation | None = None
    """How steps vary around their cost. Left out: too few steps were seen, or an older version made the profile."""


class ProfileSettings(Result, frozen=True, kw_only=True):
    """Settings of the mock that show in the chunks."""

    num_speculative_tokens: Count | None = None
    acceptance_rate: Portion | None = None
    stream_interval: Positive | None = None


class FittedCoefficient(Result, frozen=True, kw_only=True):
    """A coefficient with its 95% interval."""

    value: Number
    low: Number | None
    high: Number | None
    """null: without bound."""
    told: bool
    """Whether the loads could tell it."""
    unit: str


class FittedDecode(Result, frozen=True):
    """What so many decode tokens of a step cost together, in us, with its 95% interval."""

    tokens: Positive
    us: Number
    low: Number
    high: Number


class FittedLimit(Result, frozen=True):
    """A limit of the server."""

    value: Positive | None
    """null: unknown."""
    at_least: Count
    """What was seen."""
    source: Annotated[str, one_of("waiting", "steps", "server", "given", "unknown")]
    """Where requests began to wait, steps that were full, the server's own page, or a flag."""


class FittedLimits(Result, frozen=True):
    """The limits of the server."""

    max_num_seqs: FittedLimit
    max_num_batched_tokens: FittedLimit
    kv_blocks: FittedLimit

    def by_name(self) -> dict[str, FittedLimit]:
        """The three by their names."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Residuals(Result, frozen=True):
    """The steps of one range of batch sizes: measured less fitted, as a share of the fitted step."""

    least_decodes: Count
    most_decodes: Count
    rows: Count
    p10: Number
    p50: Number
    p90: Number


class FittedFrontEnd(Result, frozen=True, kw_only=True):
    """Which requests showed a0, a1 and w0."""

    how: Annotated[str, one_of("idle", "busy", "both", "none")]
    requests: Count


class DrawnCost(Result, frozen=True, kw_only=True):
    """A step cost that may as well be the server's: one resample of its steps."""

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
    """The rows that lie far off."""
    chunks: Annotated[str, one_of("single", "interval", "drafts")]
    residuals: Sequence[Residuals]
    front_end: FittedFrontEnd
    mean_error: Amount | None = None
    """How far the mean of a step may be off (95%), as a share. Left out where it is not known."""
    draws: Sequence[DrawnCost] | None = None
    """Resamples, for intervals of what is computed from the cost. Profiles of older versions lack them."""


class SampledTimes(Result, frozen=True, kw_only=True):
    """Quantiles at even shares, at the least load, and what moves them."""

    ttft_ms: Sequence[Number]
    """TTFT without its prompt."""
    ttft_per_input_token_us: Number
    gap_ms: Sequence[Number]
    between: Number
    """The share of the variance of gaps that lies between requests."""
    follows: Number
    """The correlation of neighbouring gaps in the rest."""
    load: Sequence[Annotated[Sequence[Number], Meta(min_length=3, max_length=3)]]
    """Requests under way, and by how much TTFT and gaps are longer then."""


class SeenTimes(Result, frozen=True, kw_only=True):
    """What the times rest on."""

    requests: Count
    gaps: Count
    requests_by_load: Sequence[Count]


DRIFT, REFUSED = "steady steps", "failed requests"
"""What is unknown of a server that does what the model lacks."""


class Unknown(Result, frozen=True, kw_only=True):
    """What the loads cannot tell, and the run that would."""

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
    """In tokens. Profiles of older versions lack it, and the next."""
    longest_context: Count | None = None
    """The most tokens of a prompt and its reply."""
    load: Mapping[str, Setting]
    """The settings that say how much was sent."""
    trueload: str | None
    """The version that made it."""


class Provenance(Result, frozen=True, kw_only=True):
    """Where a profile comes from."""

    server: str | None
    trueload: str | None
    date: str
    runs: Sequence[RunOfProfile]


class ReplayedNumber(Result, frozen=True, kw_only=True):
    """A quantile of a run in ms, and the same against the mock with this profile."""

    number: str
    quantile: str
    measured: Number
    replayed: Number
    off: Number | None
    """The difference as a share of the measured value; null if that is 0."""
    apart: bool | None = None
    """Whether the 95% intervals of both lie apart. Left out if one of them has none, and by older versions."""


class ReplayedCurve(Result, frozen=True, kw_only=True):
    """Both distributions of a number: quantiles at even shares, in ms."""

    number: str
    measured: Sequence[Number]
    replayed: Sequence[Number]


class Replay(Result, frozen=True, kw_only=True):
    """A load, sent again to the mock with this profile."""

    name: str
    held_out: bool
    """Whether the run was not fitted."""
    numbers: Sequence[ReplayedNumber]
    curves: Sequence[ReplayedCurve] | None = None
    """Profiles of older versions lack them."""


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
    """This, and the other keys of a step, are those of engine batching."""
    sampled_times: SampledTimes | None = None
    """Of engine sampled, like `seen`."""
    settings: ProfileSettings
    coefficients: Annotated[Mapping[str, FittedCoefficient], every_key(*REQUIRED, optional=("b4", "w0"))] | None = None
    decode: Sequence[FittedDecode] | None = None
    """The points of step_cost.decode with their 95% intervals, in us; empty if b2 says it all."""
    limits: FittedLimits | None = None
    fit: FittedSteps | None = None
    seen: SeenTimes | None = None
    warnings: Sequence[str]
    unknown: Sequence[Unknown]
    provenance: Provenance
    replay: Sequence[Replay] | None = None
    """Left out if no load was replayed."""
