"""Searches over servers whose share of broken requests is a formula of load, time and chance: shapes that the one-edge
model lacks. A visit draws independent groups of requests, and takes no time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.goals import Goal
from bench.load_search.visits import Result, Visit, pause_s
from bench.statistics.capacity import Mean
from tests.support.searched_server import logistic

P99, ERRORS, MEAN = Goal("ttft:p99<500ms", 0.01), Goal("error_rate<1%", 0.01), Goal("ttft:mean<200ms", None)
_ACT, _GROUP = 5.0, 7.5
"""The dependence of requests that a visit reports, and how many of them break an objective together."""
_E2EL_S, _PARTS = 2.0, 20


@dataclass(frozen=True, slots=True)
class Moment:
    """A part of a visit: its load, its time (s), a number from 0 to 1 fixed for the search, and the visit's random
    number."""

    load: float
    at_s: float
    phase: float
    chance: float


Share = Callable[[Moment], float]


@dataclass(frozen=True, slots=True)
class Shape:
    """A server. `capacity`: the highest load at which the objective holds; 0 if it never holds, None if this changes.

    `share`: of the requests that break the objective; for an objective on a mean, the mean divided by its limit.
    """

    share: Share
    capacity: float | None
    goal: Goal = P99


def _heavy(uniform: float) -> float:
    """A heavy-tailed deviate from a uniform number: Student's t with two degrees of freedom."""
    a = 2 * min(max(uniform, 1e-6), 1 - 1e-6) - 1
    return a * math.sqrt(2 / (1 - a * a))


def _queue(capacity: float) -> Callable[[float], float]:
    """The mean divided by its limit, for a queue that reaches the limit at this load, half of what it can serve."""
    return lambda load: 0.5 / (1 - min(load / (2 * capacity), 0.98))


SHAPES: Mapping[str, Shape] = {
    "an edge at 20/s": Shape(lambda m: logistic(20)(m.load), 20.0),
    "refuses what is beyond 20/s": Shape(lambda m: max(0.0, 1 - 20 / m.load), 20 / 0.99, ERRORS),
    "a cliff at 20/s, of 3%": Shape(lambda m: 0.03 if m.load > 20 else 0.0, 20.0),
    "steps of 10 to 14/s are slow, an edge at 25/s": Shape(
        lambda m: 0.5 if 10 <= m.load < 14 else logistic(25)(m.load), 10.0
    ),
    "0.8% break at any load, an edge at 30/s": Shape(lambda m: max(0.008, logistic(30)(m.load)), 30.0),
    "1.2% break at any load, an edge at 30/s": Shape(lambda m: max(0.012, logistic(30)(m.load)), 0.0),
    "1.5% break at any load, an edge at 30/s": Shape(lambda m: max(0.015, logistic(30)(m.load)), 0.0),
    "restarts after 400 s, for 30 s": Shape(lambda m: 1.0 if 400 <= m.at_s < 430 else logistic(20)(m.load), 20.0),
    "every sixth visit 5% more break": Shape(lambda m: logistic(20)(m.load) + 0.05 * (m.chance < 1 / 6), 20.0),
    "the edge of each visit moves by 10%, heavy tails": Shape(
        lambda m: logistic(20 * math.exp(0.1 * _heavy(m.chance)))(m.load), None
    ),
    "holds 20/s and 10/s in turn, 150 s each": Shape(
        lambda m: logistic((10, 20)[int(m.at_s / 150 + 2 * m.phase) % 2])(m.load), 10.0
    ),
    "a mean that reaches its limit at 20/s": Shape(lambda m: _queue(20)(m.load), 20.0, MEAN),
    "the same, restarts after 400 s, for 30 s": Shape(
        lambda m: 10.0 if 400 <= m.at_s < 430 else _queue(20)(m.load), 20.0, MEAN
    ),
    "the same, each visit's edge moves by 10%, heavy tails": Shape(
        lambda m: _queue(20 * math.exp(0.1 * _heavy(m.chance)))(m.load), None, MEAN
    ),
    "a mean that reaches it at 20/s and 10/s in turn, 150 s each": Shape(
        lambda m: _queue((10, 20)[int(m.at_s / 150 + 2 * m.phase) % 2])(m.load), 10.0, MEAN
    ),
}  # fmt: skip


def searched(shape: Shape, seed: int, start: float, budget_s: float = 900.0) -> Search:
    """Run a whole search."""
    search = Search(Settings("rate", (shape.goal,), start=start, budget_s=budget_s))
    phase = float(np.random.default_rng([seed, 0]).random())
    while not isinstance(visit := search.next(), Ending):
        search.add(_visited(shape, search, visit, phase, np.random.default_rng([seed, visit.n])))
    return search


def _visited(shape: Shape, search: Search, visit: Visit, phase: float, rng: np.random.Generator) -> Result:
    begin_s, chance = search.seconds + visit.settle_s, float(rng.random())
    moments = (
        Moment(visit.load, begin_s + visit.measure_s * (part + 0.5) / _PARTS, phase, chance) for part in range(_PARTS)
    )
    found = sum(map(shape.share, moments)) / _PARTS
    requests = int(rng.poisson(visit.load * visit.measure_s))
    groups = max(1, round(requests / _GROUP))
    text = shape.goal.text
    violations, means = {}, {}
    if shape.goal.allowed is None:
        error = 1 / math.sqrt(groups)
        means[text] = Mean(visit.load, math.log(found) + float(rng.normal(0.0, error)), error)
    else:
        violations[text] = round(int(rng.binomial(groups, min(1.0, found))) / groups * requests)
    return Result(
        n=visit.n, phase=visit.phase, load=visit.load, verdict="VALID", settle_s=visit.settle_s, measure_s=visit.measure_s,
        seconds=visit.settle_s + visit.measure_s + _E2EL_S + pause_s(search.settings.budget_s), requests=requests,
        violations=violations, means=means, act={text: _ACT}, kept_up=True, e2el_p90_s=_E2EL_S, e2el_first_s=_E2EL_S,
    )  # fmt: skip
