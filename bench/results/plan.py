"""plan.json: how many replicas of a fitted server hold objectives over a day, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from bench.results.base import Amount, Count, Interval, Number, Portion, Positive, Result, Setting, one_of

SCHEMA: Final = "trueload/plan/1"


class PlannedObjective(Result, frozen=True, kw_only=True):
    """An objective at the busiest hour, with the replicas that the plan says."""

    objective: str
    value: Number | None
    """In the unit of the metric: ms, or a share. null: no request had one."""
    interval: Interval | None
    holds: Portion
    """The share of the draws in which it holds."""
    holds_interval: Interval | None = None
    """How often it holds on the fitted server, as far as so few draws tell: 95%, Clopper-Pearson."""


class PlannedHour(Result, frozen=True, kw_only=True):
    """A part of the day."""

    start_s: Amount
    duration_s: Amount
    rate: Amount
    """Requests a second."""
    replicas: Positive | None = None
    """How many hold it, with --cold-start."""
    breaks: Annotated[str, one_of("yes", "perhaps", "no")]
    """Whether one replica fewer than planned does not hold it; perhaps: in some draws."""


class LostReplica(Result, frozen=True, kw_only=True):
    """What happens if one of the replicas dies in the busiest hour."""

    requests_lost: Number
    """In flight on it: they fail."""
    interval: Interval
    holds: Portion
    """The share of the draws in which the others hold the objectives without it."""
    first_broken_s: Amount | None
    """The start of the first hour that the others do not hold; null: they hold all."""


class Autoscaling(Result, frozen=True, kw_only=True):
    """As many replicas as each hour needs, against the same number all day."""

    cold_start_s: Amount
    replica_hours: Number
    """Started one cold start ahead of the hour that needs them."""
    interval: Interval
    most_started: Count
    """Replicas that start at once, at most."""
    late_breaks: Portion | None
    """Of the requests during such a cold start the share that breaks a limit, if replicas start only when the hour begins."""
    cost_a_day: Number | None = None
    cost_interval: Interval | None = None


class SearchedRate(Result, frozen=True, kw_only=True):
    """Requests a second up to which one replica keeps the objectives, of a search."""

    estimate: Number | None
    """null: no load of the search broke an objective, so `low` is all that is known."""
    low: Number
    """Of the search's interval (about 90%)."""
    high: Number | None


class PlanContent(Result, frozen=True, kw_only=True):
    """plan.json of python -m bench plan."""

    schema: Literal["trueload/plan/1"]
    date: str
    command: Sequence[str]
    server: str | None
    objectives: Sequence[str]
    router: Annotated[str, one_of("round_robin", "least_in_flight", "prefix")] | None
    """null: a search says nothing of a router."""
    least: Positive
    most: Positive
    """The range of replicas that was looked at."""
    draws: Positive | None
    """null: the plan is of a search. Each with other coefficients within the fit's uncertainty, and other arrivals."""
    known: bool
    """Whether the fit knows enough of the server for this answer."""
    unknown: Sequence[str]
    """Why not, and the run that would tell."""
    search: SearchedRate | None = None
    """The search that the plan is of, in place of a fit."""
    not_shown: Sequence[str] = ()
    """What the plan cannot say."""
    replicas: Positive | None
    """The least number that holds all objectives in all hours in at least 90% of the draws, or at the low end of the search's
    interval; null: none in the range."""
    broken_alone: Sequence[str] = ()
    """Objectives that requests break even where each has a replica for itself: no number of replicas holds them."""
    interval: Interval | None
    """Of the number that is needed, over the draws or the search's interval. An end beyond the range is one more than its
    most."""
    headroom: Number | None
    """The same replicas hold so many times this traffic. 0: they do not hold this traffic in this draw."""
    headroom_interval: Interval | None
    """In the draws that strain them the least and the most; so are the intervals of hours and of scaling. null: they hold at
    least `headroom`, which is the most that was tried, or that the runs of the fit show."""
    at_peak: Sequence[PlannedObjective]
    hours: Sequence[PlannedHour]
    breaks_first_s: Amount | None
    """The start of the first hour that breaks with one replica fewer."""
    breaks_first_interval: Interval | None
    lost: LostReplica | None
    """null: the plan has one replica, or none."""
    autoscaling: Autoscaling | None = None
    """With --cold-start."""
    price: Amount | None = None
    """Of a replica and hour."""
    cost_a_day: Number | None = None
    cost_interval: Interval | None = None
    settings: Mapping[str, Setting]
    warnings: Sequence[str]
