"""Estimates from the visits so far, for each objective: its posterior, how well one edge explains them, and where to
look.

They are computed once, from the list of results alone. A search makes new estimates after each visit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bench.load_search import evidence, scouting
from bench.load_search.goals import KEEPS_UP, Goal
from bench.load_search.visits import Result
from bench.statistics.autocorrelation import Floats
from bench.statistics.capacity import (
    LEAST_D,
    SHALLOW,
    STEEP,
    Domain,
    Mean,
    Posterior,
    Share,
    Slopes,
    dispersion,
    grid,
    of_means,
    of_shares,
)
from bench.statistics.capacity_fit import Fit, check, contradicts, contradicts_of_means, drift, drift_of_means
from bench.statistics.keeps_up import posterior as keeps_up_posterior

_SETTLED_LIVES = 2.0
FINE = 0.004
"""The step of ln(capacity) in the search for an edge that explains all visits. The steepest edges rise within 0.9%."""
_LEAST_OWN_D = 3.0


@dataclass(frozen=True)
class Estimates:
    """Estimates for `goals` from `results`. `least` and `most` are the limits of the search; `of_jobs`: a goal is on jobs."""

    goals: tuple[Goal, ...]
    results: tuple[Result, ...]
    least: float
    most: float
    of_jobs: bool

    @cached_property
    def visits(self) -> list[Result]:
        """The visits that are evidence."""
        return evidence.visits(self.results)

    @cached_property
    def judged(self) -> list[tuple[Result, bool]]:
        """Each visit that is evidence, and whether it kept every objective."""
        return evidence.judge(self.goals, self.results)

    @cached_property
    def hints(self) -> list[Result]:
        """Results that only show where to look. A scout that failed at a load where a longer visit held does not count."""
        highest = max((result.load for result, held in self.judged if held), default=0.0)
        return [r for r in evidence.hints(self.results) if r.load > highest or not evidence.hint_fails(self.goals, r)]

    @cached_property
    def posteriors(self) -> dict[str, Posterior]:
        """The posterior of each objective, all on one domain. `keeps up` is included once a visit failed it."""
        domain, capacities = self.domain, self.domain.grid(self.least, self.most)
        by_goal = {goal.text: self._posterior(goal, capacities, domain) for goal in self.goals}
        if any(result.phase == "again" and result.kept_up is False for result in self.visits):
            by_goal[KEEPS_UP] = keeps_up_posterior(_kept_up(self.visits), capacities, domain)
        return by_goal

    def binding(self) -> tuple[str, Posterior]:
        """The objective with the lowest capacity."""
        return min(self.posteriors.items(), key=lambda entry: entry[1].estimate)

    @cached_property
    def fits(self) -> dict[str, Fit]:
        """For each objective on a share, how well all visits and scouts agree with one edge."""
        tried, capacities = self._tried()
        return {
            goal.text: check(_as_sent(goal, tried), goal.allowed, self._dispersion(goal), capacities, self._edge(goal))
            for goal in self.goals
            if goal.allowed is not None and tried
        }

    @cached_property
    def drifts(self) -> dict[str, float]:
        """For each objective whose edge is shown to have moved during the search, ln of the factor by which it moved."""
        tried, capacities = self._tried()
        moved: dict[str, float | None] = {}
        for goal in self.goals:
            if goal.allowed is None:
                moved[goal.text] = drift_of_means(_means(goal, tried), capacities)
            else:
                d = self._dispersion(goal)
                moved[goal.text] = drift(_as_sent(goal, tried), goal.allowed, d, capacities, self._edge(goal))
        return {text: change for text, change in moved.items() if change is not None}

    @cached_property
    def contradicted(self) -> str | None:
        """An objective whose visits contradict each other, so that no steady server explains them; None if there is none."""
        tried, _ = self._tried()
        for goal in self.goals:
            if goal.allowed is None:
                contradiction = contradicts_of_means(_means(goal, tried))
            else:
                contradiction = contradicts(_as_sent(goal, tried), goal.allowed, self._dispersion(goal))
            if contradiction:
                return goal.text
        return None

    def _tried(self) -> tuple[list[Result], Floats]:
        """All evidence in order of time, including scouts, and the range in which the edge may be."""
        tried = [result for result in self.results if evidence.counts(result)]
        loads = [result.load for result in tried] or [1.0]
        low, high = min(loads) / 4, 4 * max(loads)
        return tried, grid(low, high, round(math.log(high / low) / FINE))

    @cached_property
    def domain(self) -> Domain:
        """The range in which the hints place the capacity."""
        goals = self.goals
        low, high = scouting.domain(goals, self.hints, self.least)
        if self.of_jobs:
            # A scout judges few jobs, and may have held by chance. Loads that a visit broke must not lie below the
            # domain.
            broken = [r.load / scouting.WIDER for r in self.visits if not evidence.kept_objectives(goals, r)]
            low = min([low, *broken])
        return Domain(low, high)

    def _posterior(self, goal: Goal, capacities: Floats, domain: Domain) -> Posterior:
        visits = self.visits
        if goal.allowed is None:
            return of_means(_means(goal, visits), capacities, domain)
        spread = self.fits[goal.text].spread if goal.text in self.fits else 0.0
        d = self._dispersion(goal) * max(1.0, spread)
        return of_shares(_shares(goal, visits), goal.allowed, d, capacities, self._edge(goal), domain)

    def _edge(self, goal: Goal) -> Slopes:
        """How steep the edge of an objective may be. When a server sheds load, the share that fails rises slowly."""
        return SHALLOW if goal.text.startswith("error_rate") else self._usual_edge(goal)

    def _usual_edge(self, goal: Goal) -> Slopes:
        return SHALLOW if any(goal.text in result.jobs for result in self.results) else STEEP

    def _dispersion(self, goal: Goal) -> float:
        """The dispersion D. D depends on which visits are near the capacity, and that depends on D; two rounds are
        enough to converge."""
        assert goal.allowed is not None
        hints, visits = self.hints, self.visits
        scouted = hints[-1].load if hints else 0.0
        tails = [
            (result.load, share, result.act[goal.text])
            for result in visits
            if (share := result.share(goal.text)) is not None and goal.text in result.act
        ]
        d = max(LEAST_D, 2 * scouted)
        if tails:
            # Visits near a steep edge have a relevant D, even if the failures do not depend on the load.
            domain, edge = self.domain, self._usual_edge(goal)
            capacities = domain.grid(self.least, self.most)
            for _ in range(2):
                posterior = of_shares(_shares(goal, visits), goal.allowed, d, capacities, edge, domain)
                d = dispersion(tails, posterior.estimate, goal.allowed, scouted)
        return d


def _kept_up(visits: Sequence[Result]) -> list[tuple[float, bool]]:
    """Each visit once. The repetition of a visit replaces it."""
    repeated = {i - 1 for i, result in enumerate(visits) if result.phase == "again"}
    return [(r.load, r.kept_up) for i, r in enumerate(visits) if i not in repeated and r.kept_up is not None]


def _means(goal: Goal, results: Sequence[Result]) -> list[Mean]:
    """The mean in each visit, for an objective on a mean."""
    return [result.means[goal.text] for result in results if goal.text in result.means]


def _as_sent(goal: Goal, results: Sequence[Result]) -> list[Share]:
    text = goal.text
    return [
        Share(r.load, r.judged(text), r.violations.get(text, 0), max(_LEAST_OWN_D, 3 * r.act.get(text, 1.0)))
        for r in results
    ]


def _shares(goal: Goal, results: Sequence[Result]) -> list[Share]:
    """The shares, weighted by how much each visit shows about the capacity."""
    weighted = zip(_as_sent(goal, results), (_weight(goal, result) for result in results), strict=True)
    return [replace(s, requests=weight * s.requests, violations=weight * s.violations) for s, weight in weighted]


def _weight(goal: Goal, result: Result) -> float:
    """The weight of a visit. A visit that held counts less if it began to measure before requests had come and gone twice."""
    assert goal.allowed is not None
    if not result.e2el_p90_s or (result.share(goal.text) or 0.0) > goal.allowed:
        return 1.0
    return min(1.0, result.settle_s / (_SETTLED_LIVES * result.e2el_p90_s))
