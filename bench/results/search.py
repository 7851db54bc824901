"""search.json: the visits of a search, and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from bench.results.base import Amount, Count, FromOne, Number, Portion, Positive, Result, one_of

LoadAmount = Annotated[Number, Meta(extra_json_schema={"exclusiveMinimum": 0})]


class SearchObjective(Result, frozen=True, kw_only=True):
    """An objective of the search."""

    text: str
    """As it was given to --slo."""
    allowed: Annotated[Number, Meta(extra_json_schema={"exclusiveMinimum": 0, "exclusiveMaximum": 1})] | None
    """The share of requests that may break it; null of an objective on a mean."""


class SearchLimits(Result, frozen=True, kw_only=True):
    """Where the search looks, and for how long."""

    start: LoadAmount
    least: LoadAmount
    most: LoadAmount
    precision: LoadAmount
    """The width of the interval at which the search ends: upper end over lower end, less 1."""
    budget_s: LoadAmount
    judged_after_s: Amount
    """How long a job must have had before the end of a visit to be judged; 0: no objective speaks of jobs."""


class VisitMean(Result, frozen=True, kw_only=True):
    """What a visit says of an objective on a mean."""

    load: LoadAmount
    log_ratio: Number
    """ln(mean / limit)."""
    error: LoadAmount
    """Its standard error."""


class SearchVisit(Result, frozen=True, kw_only=True):
    """One visit of a load."""

    n: Positive
    phase: Annotated[str, one_of("scout", "visit", "again")]
    load: LoadAmount
    verdict: Annotated[str, one_of("VALID", "SUSPECT", "INVALID", "FAILED")]
    settle_s: Amount
    measure_s: Amount
    seconds: Amount
    """All that it took of the budget."""
    requests: Count
    """Sent while it measured."""
    violations: Mapping[str, Count]
    """By objective on a share: how many of the requests broke it."""
    jobs: Mapping[str, Count]
    """By objective on jobs: how many jobs were judged; its violations are of these."""
    about: Mapping[str, Count]
    """By objective that speaks of a class or a model alone: how many of the requests are of it."""
    act: Mapping[str, FromOne]
    """By objective: for how many requests an excursion of its tail lasts."""
    means: Mapping[str, VisitMean]
    """By objective on a mean: ln(mean / limit) and its standard error."""
    kept_up: bool | None
    """false if requests in flight kept rising; null where that cannot be told."""
    e2el_p90_s: Amount | None
    e2el_first_s: Amount | None
    """p90 of E2EL of the first requests of the visit."""
    run_dir: str
    """The run directory, inside that of the search."""


class CapacityInterval(Result, frozen=True, kw_only=True):
    """Median and interval (about 90%) of the load up to which every objective holds."""

    estimate: LoadAmount
    low: LoadAmount
    high: LoadAmount


class SureLoad(Result, frozen=True, kw_only=True):
    """A visited load, and the probability that it is held."""

    load: LoadAmount
    probability: Portion


class RequiredLoad(Result, frozen=True, kw_only=True):
    """The load of --require, and whether it is held: with a probability of at least 0.95."""

    load: LoadAmount
    probability: Portion | None
    held: bool


class SearchContent(Result, frozen=True, kw_only=True):
    """A search as it is kept, rewritten after each visit."""

    schema: Literal[1]
    load_kind: Annotated[str, one_of("rate", "concurrency", "sessions")]
    """What is varied: requests per second, users of a closed loop, or live sessions."""
    objectives: Annotated[Sequence[SearchObjective], Meta(extra_json_schema={"minItems": 1})]
    config_sha256: Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9a-f]{64}$"})]
    """Of what all visits have in common: a search is resumed with the same."""
    settings: SearchLimits
    visits: Sequence[SearchVisit]
    capacity: CapacityInterval | None
    """null unless a visit kept every objective and another broke one. No number is above the highest load that was
    tried."""
    held: SureLoad | None
    """The highest visited load that is held with a probability of at least 0.95."""
    failed: SureLoad | None
    """The lowest visited load that is held with a probability of at most 0.05."""
    binding: str | None
    """The objective with the lowest capacity, or `keeps up`."""
    conclusion: Annotated[str, one_of("up to", "at least", "below", "no load held", "the server changed", "none")]
    """What kind of answer it is: the load up to which it holds; a load that is held, where nothing broke; the load
    below which it lies, where nothing held; no load held; the server changed while it was measured; or none yet."""
    at_least: LoadAmount | None
    """The highest load of a visit that held, if no visit shows where the capacity ends."""
    below: LoadAmount | None
    """The lowest load of a visit that broke, if no visit held."""
    required: RequiredLoad | None
    stopped_by: (
        Annotated[
            str,
            one_of(
                "precision",
                "budget",
                "client",
                "nothing holds",
                "never fails",
                "interrupted",
                "target",
                "machine",
            ),
        ]
        | None
    )
    """null while it runs, and of a search that was killed."""
    seconds: Amount
    """Spent of the budget."""
