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
    """As given to --slo."""
    allowed: Annotated[Number, Meta(extra_json_schema={"exclusiveMinimum": 0, "exclusiveMaximum": 1})] | None
    """The share of requests that may break it; null for an objective on a mean."""


class SearchLimits(Result, frozen=True, kw_only=True):
    """Where and how long the search looks."""

    start: LoadAmount
    least: LoadAmount
    most: LoadAmount
    precision: LoadAmount
    """The width of the interval at which the search ends: upper end divided by lower end, minus 1."""
    budget_s: LoadAmount
    judged_after_s: Amount
    """How long before the end of a visit a job must be due to be judged; 0: no objective is on jobs."""


class VisitMean(Result, frozen=True, kw_only=True):
    """The result of a visit for an objective on a mean."""

    load: LoadAmount
    log_ratio: Number
    """ln(mean / limit)."""
    error: LoadAmount
    """The standard error of log_ratio."""


class SearchVisit(Result, frozen=True, kw_only=True):
    """One visit to a load."""

    n: Positive
    phase: Annotated[str, one_of("scout", "visit", "again")]
    load: LoadAmount
    verdict: Annotated[str, one_of("VALID", "SUSPECT", "INVALID", "FAILED")]
    settle_s: Amount
    measure_s: Amount
    seconds: Amount
    """The part of the budget that it took."""
    requests: Count
    """Requests sent while it measured."""
    violations: Mapping[str, Count]
    """For each objective on a share: how many of the requests broke it."""
    jobs: Mapping[str, Count]
    """For each objective on jobs: how many jobs were judged; its violations are among these."""
    about: Mapping[str, Count]
    """For each objective that judges only some of the requests (those of a class or model, or with a value): how many."""
    act: Mapping[str, FromOne]
    """For each objective: how many requests an excursion of its tail lasts."""
    means: Mapping[str, VisitMean]
    """For each objective on a mean: ln(mean / limit) and its standard error."""
    kept_up: bool | None
    """false if requests in flight kept rising; null if unknown."""
    e2el_p90_s: Amount | None
    e2el_first_s: Amount | None
    """p90 of E2EL of the first requests of the visit."""
    run_dir: str
    """The run directory, inside the directory of the search."""


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
    """A search as stored, rewritten after each visit."""

    schema: Literal[1]
    load_kind: Annotated[str, one_of("rate", "concurrency", "sessions")]
    """What is varied: requests per second, users of a closed loop, or live sessions."""
    objectives: Annotated[Sequence[SearchObjective], Meta(extra_json_schema={"minItems": 1})]
    config_sha256: Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9a-f]{64}$"})]
    """Digest of the settings that all visits share: a search must be resumed with the same."""
    settings: SearchLimits
    visits: Sequence[SearchVisit]
    capacity: CapacityInterval | None
    """null unless a visit kept every objective and another broke one. No number is above the highest load that was tried."""
    held: SureLoad | None
    """The highest visited load that is held with a probability of at least 0.95."""
    failed: SureLoad | None
    """The lowest visited load that is held with a probability of at most 0.05."""
    binding: str | None
    """The objective with the lowest capacity, or `keeps up`."""
    conclusion: Annotated[str, one_of("up to", "at least", "below", "no load held", "the server changed", "none")]
    """The kind of answer: the load up to which it holds; a load that is held, if nothing broke; a load below which the
    capacity lies, if nothing held; no load held; the server changed while it was measured; or none yet."""
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
    """null while the search runs, and for a search that was killed."""
    seconds: Amount
    """Spent of the budget."""
