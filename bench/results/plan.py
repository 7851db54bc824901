"""plan.json: how many replicas of a fitted server hold objectives over a day, and the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from bench.results.base import Amount, Count, Interval, Number, Portion, Positive, Result, Setting, one_of

SCHEMA: Final = "trueload/plan/1"


class PlannedObjective(Result, frozen=True, kw_only=True):
    """An objective at the busiest hour, with the planned replicas."""

    objective: str
    value: Number | None
    """In the unit of the metric: ms, or a share. null: no request had a value."""
    interval: Interval | None
    holds: Portion
    """The share of the draws in which it holds."""
    holds_interval: Interval | None = None
    """How often it holds on the fitted server, as far as this number of draws shows: 95%, Clopper-Pearson."""


class PlannedHour(Result, frozen=True, kw_only=True):
    """A part of the day."""

    start_s: Amount
    duration_s: Amount
    rate: Amount
    """Requests per second."""
    replicas: Positive | None = None
    """How many replicas hold it, with --cold-start."""
    breaks: Annotated[str, one_of("yes", "perhaps", "no")]
    """Whether it breaks with one replica fewer than planned; perhaps: in some draws."""


class LostReplica(Result, frozen=True, kw_only=True):
    """What happens if one of the replicas dies in the busiest hour."""

    requests_lost: Number
    """Requests in flight on it, which fail."""
    interval: Interval
    holds: Portion
    """The share of the draws in which the other replicas hold the objectives without it."""
    first_broken_s: Amount | None
    """The start of the first hour that the others do not hold; null: they hold all."""


class Autoscaling(Result, frozen=True, kw_only=True):
    """As many replicas as each hour needs, compared with the same number all day."""

    cold_start_s: Amount
    replica_hours: Number
    """Replicas start one cold start before the hour that needs them."""
    interval: Interval
    most_started: Count
    """The most replicas that start at once."""
    late_breaks: Portion | None
    """If replicas start only when the hour begins: the share of the requests during such a cold start that breaks a limit."""
    cost_a_day: Number | None = None
    cost_interval: Interval | None = None


class SearchedRate(Result, frozen=True, kw_only=True):
    """From a search: the requests per second up to which one replica keeps the objectives."""

    estimate: Number | None
    """null: no load of the search broke an objective, so only `low` is known."""
    low: Number
    """The low end of the search's interval (about 90%)."""
    high: Number | None


class PlanContent(Result, frozen=True, kw_only=True):
    """plan.json of python -m bench plan."""

    schema: Literal["trueload/plan/1"]
    date: str
    command: Sequence[str]
    server: str | None
    objectives: Sequence[str]
    router: Annotated[str, one_of("round_robin", "least_in_flight", "prefix")] | None
    """null: a search does not depend on a router."""
    least: Positive
    most: Positive
    """The range of replicas that was searched."""
    draws: Positive | None
    """Each draw has other coefficients within the fit's uncertainty, and other arrivals. null: the plan is from a search."""
    known: bool
    """Whether the fit, or the search, knows enough about the server for this answer."""
    unknown: Sequence[str]
    """Why the fit does not, and the run that would show it."""
    search: SearchedRate | None = None
    """The search from which the plan was made, instead of a fit."""
    not_shown: Sequence[str] = ()
    """What the plan cannot show."""
    replicas: Positive | None
    """The least number that holds all objectives in all hours in at least 90% of the draws, or at the low end of the
    search's interval; null: no number in the range."""
    broken_alone: Sequence[str] = ()
    """Objectives that requests break even if each has a replica for itself: no number of replicas holds them."""
    interval: Interval | None
    """Interval of the required number, over the draws or the search's interval. An end beyond the range is one more
    than its maximum."""
    headroom: Number | None
    """The multiple of this traffic that the same replicas hold. 0: they do not hold this traffic in this draw."""
    headroom_interval: Interval | None
    """Over the draws that strain the replicas least and most, like the intervals of hours and of scaling. null: they
    hold at least `headroom`, which is the highest multiple tried, or the highest covered by the runs of the fit."""
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
    """The price of one replica for one hour."""
    cost_a_day: Number | None = None
    cost_interval: Interval | None = None
    settings: Mapping[str, Setting]
    warnings: Sequence[str]
