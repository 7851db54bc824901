"""What a search does next, decided from what its visits brought back: scout, domain, visits, end.

The state is the list of results and nothing else. So a search resumes from its file, and the same object drives a
simulation in virtual time and a real server (docs/statistics.md has the method and what it reaches).

1. Scout: from the start, double until too many requests break an objective, or halve until they do not.
2. Domain: from 1/1.6 of the highest load that a scout held to 1.2 times the lowest that one failed; moved where the
   posterior piles up at an edge, since a scout is only a hint.
3. Visits: the median of the binding objective's posterior, 3% below and 3% above in turn.
4. End: the interval is narrow enough after four visits, or the budget is spent, or the limits of the search are reached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from bench.load_search.goals import KEEPS_UP, Goal
from bench.load_search.visits import EARLY_END_FROM, Phase, Result, Visit, jobs_per_s, pause_s, times
from bench.loads import KINDS
from bench.statistics.autocorrelation import Floats
from bench.statistics.capacity import (
    LEAST_D,
    SHALLOW,
    SIDE_ODDS,
    STEEP,
    Posterior,
    Share,
    Slopes,
    dispersion,
    grid,
    odds_times,
    of_means,
    of_shares,
)
from bench.statistics.keeps_up import InFlight
from bench.statistics.keeps_up import posterior as keeps_up_posterior

SPREAD = 0.03
LEAST_VISITS = 4
INVALID_IN_A_ROW = 3
SURE, UNSURE = 0.95, 0.05

_SCOUT_FAILS = 0.2
_SCOUT_MEAN = math.log(1.2)
_EARLY = 0.5
_MOVES = 6
_OVERLOADED = 0.5
_JUDGED_LIVES = 5.0
_JUDGED_FROM_S = {"scout": 10.0, "visit": 30.0, "again": 60.0}


class Ending(StrEnum):
    """Why a search ended: `stopped_by` of search.json."""

    PRECISION = "precision"
    BUDGET = "budget"
    CLIENT = "client"
    NOTHING_HOLDS = "nothing holds"
    NEVER_FAILS = "never fails"
    INTERRUPTED = "interrupted"
    TARGET = "target"
    """The server can no longer be measured."""
    MACHINE = "machine"
    """This machine refused to go on: open files, a full disk."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is searched for: `least` and `most` are loads that it never goes beyond. `load_kind` is one of `loads.KINDS`."""

    load_kind: str
    goals: tuple[Goal, ...]
    start: float = 1.0
    least: float = 0.1
    most: float = 100_000.0
    precision: float = 0.1
    budget_s: float = 900.0
    judged_after_s: float = 0.0
    """How long a job must have had before it is judged: a visit measures several times as long."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known so far: the capacity with its interval, and the objective that binds it."""

    estimate: float
    low: float
    high: float
    binding: str
    held: tuple[float, float] | None
    """The highest visited load that surely holds, and how sure that is."""
    failed: tuple[float, float] | None
    """The lowest visited load that surely does not hold, and P(it holds)."""


class Search:
    """A search, as its results so far: `next()` is a visit to make or the reason to end."""

    def __init__(self, settings: Settings, results: Sequence[Result] = ()) -> None:
        self.settings = settings
        self.results = list(results)
        self._resumed_at = len(self.results)

    def add(self, result: Result) -> None:
        """Take the result of the visit that `next()` asked for."""
        self.results.append(result)
        for cached in ("posteriors", "_least_for_early_end"):
            self.__dict__.pop(cached, None)

    @property
    def seconds(self) -> float:
        """What was spent of the budget."""
        return math.fsum(result.seconds for result in self.results)

    def next(self) -> Visit | Ending:
        """What to do now."""
        # Whoever resumes a search may have made room for the client.
        last = self.results[self._resumed_at :][-INVALID_IN_A_ROW:]
        if len(last) == INVALID_IN_A_ROW and not any(result.valid for result in last):
            return Ending.CLIENT
        if self.seconds >= self.settings.budget_s:
            # The last visit may have brought the answer.
            ending = self._ending(self._visits()) if self._next_scout() is None else None
            return Ending.BUDGET if ending is None else ending
        scouted = self._next_scout()
        if scouted is not None:
            return self._visit("scout", scouted)
        visits = self._visits()
        if visits and visits[-1].phase == "visit" and visits[-1].kept_up is False and self._else_good(visits[-1]):
            again = self._visit("again", visits[-1].load)
            return Ending.BUDGET if self._overruns(again) else again
        ending = self._ending(visits)
        if ending is not None:
            return ending
        visit = self._visit("visit", self._next_load(visits))
        return Ending.BUDGET if visits and self._overruns(visit) else visit

    def _overruns(self, visit: Visit) -> bool:
        """Whether more than half of a visit would be beyond the budget: such a visit is not begun."""
        expected_s = visit.settle_s + visit.measure_s + (self._e2el_s(visit.load) or 0.0)
        expected_s += pause_s(self.settings.budget_s)
        return self.seconds + expected_s / 2 > self.settings.budget_s

    def known(self) -> Known | None:
        """The answer so far; None while scouts have not found both a load that holds and one that does not."""
        if self._next_scout() is not None:
            return None
        binding, posterior = self._binding()
        loads = sorted({result.load for result in self._visits()})
        sure = [(load, posterior.holds(load)) for load in loads]
        held = [entry for entry in sure if entry[1] >= SURE]
        failed = [entry for entry in sure if entry[1] <= UNSURE]
        return Known(
            posterior.estimate, posterior.low, posterior.high, binding, held[-1] if held else None,
            failed[0] if failed else None,
        )  # fmt: skip

    def sure_of(self, load: float) -> float | None:
        """How sure it is that every objective holds at a load; None as long as nothing is known."""
        if self.known() is None:
            return None
        return min(posterior.holds(load) for posterior in self.posteriors.values())

    def time_left_s(self) -> float:
        """How much longer it will take: visits make the interval narrower as the root of their time."""
        left = max(0.0, self.settings.budget_s - self.seconds)
        known = self.known()
        if known is None or not self._visits():
            return left
        visited_s = math.fsum(result.seconds for result in self._visits())
        wanted_s = visited_s * ((known.high / known.low - 1) / self.settings.precision) ** 2
        return min(left, max(0.0, wanted_s - visited_s))

    @cached_property
    def posteriors(self) -> dict[str, Posterior]:
        """The posterior of each objective on one domain. `keeps up` takes part once a visit failed it."""
        low, high = self._domain()
        for _ in range(_MOVES):
            found = self._fit(low, high)
            edge = min(found.values(), key=lambda posterior: posterior.estimate).at_edge()
            if edge < 0 and low > self.settings.least / 1.6:
                low /= 1.6
            elif edge > 0 and high < self.settings.most * 1.2:
                high *= 1.6
            else:
                break
        return found

    def hopeless(self, goal: Goal, requests: int, violations: int) -> bool:
        """Whether a visit may end early: over half of its requests broke the objective, and that is no single wave.

        One wave of a queue can hold as many requests as D, so twice as many are waited for.
        """
        if goal.allowed is None or requests < self._least_for_early_end[goal.text]:
            return False
        return violations > max(_EARLY, odds_times(goal.allowed, SIDE_ODDS)) * requests

    @cached_property
    def _least_for_early_end(self) -> dict[str, float]:
        shares = [goal for goal in self.settings.goals if goal.allowed is not None]
        return {goal.text: max(EARLY_END_FROM, 2 * self._dispersion(goal)) for goal in shares}

    def kept_up(self, visit: Visit, flight: InFlight, drained_s: float) -> bool | None:
        """Whether the server kept up with a visit of an open loop, which took so long to drain; None: cannot be told.

        After twice the load that it can serve, a server drains for as long as it was sent to. Requests in flight say more
        at loads close to the edge, but only over a time in which they come and go several times.
        """
        expected = self._e2el_s(visit.load)
        alone_s = min((result.e2el_p90_s for result in self.results if result.e2el_p90_s is not None), default=0.0)
        if drained_s > _OVERLOADED * (visit.settle_s + visit.measure_s) + 3 * alone_s:
            return False
        if expected is None or visit.measure_s < max(_JUDGED_FROM_S[visit.phase], _JUDGED_LIVES * expected):
            return None
        return not flight.grows

    def _else_good(self, result: Result) -> bool:
        """Whether a visit kept every objective: only then does it matter whether the server kept up."""
        for goal in self.settings.goals:
            if goal.allowed is None:
                if goal.text in result.means and result.means[goal.text].log_ratio > 0:
                    return False
            elif (result.share(goal.text) or 0.0) > goal.allowed:
                return False
        return True

    def broke(self, result: Result) -> bool:
        """Whether a visit, by itself, breaks an objective."""
        return self._scout_fails(result) if result.phase == "scout" else not self._else_good(result)

    def _visits(self) -> list[Result]:
        return [result for result in self.results if result.valid and result.phase != "scout"]

    def _scouts(self) -> list[Result]:
        """Those that are a hint: of too few jobs nothing is learnt, and the load is scouted again, for longer."""
        return [result for result in self.results if result.valid and result.phase == "scout" and result.says_enough]

    def _scout_fails(self, result: Result) -> bool:
        if result.kept_up is False:
            return True
        for goal in self.settings.goals:
            if goal.allowed is None:
                mean = result.means.get(goal.text)
                if mean is not None and mean.log_ratio > _SCOUT_MEAN:
                    return True
            elif (result.share(goal.text) or 0.0) > max(_SCOUT_FAILS, odds_times(goal.allowed, 3)):
                return True
        return False

    def _next_scout(self) -> float | None:
        """The load to scout next; None when the domain is known."""
        scouts, settings = self._scouts(), self.settings
        if not scouts:
            return self._rounded(settings.start)
        failed = [result.load for result in scouts if self._scout_fails(result)]
        held = [result.load for result in scouts if not self._scout_fails(result)]
        if failed and held:
            return None
        if held:
            return None if max(held) >= settings.most else self._rounded(2 * max(held))
        return None if min(failed) <= settings.least else self._rounded(min(failed) / 2)

    def _domain(self) -> tuple[float, float]:
        scouts = self._scouts()
        failed = [result.load for result in scouts if self._scout_fails(result)]
        held = [result.load for result in scouts if not self._scout_fails(result)]
        low = max(held, default=self.settings.least) / 1.6
        if self.settings.judged_after_s:
            # A scout judges few jobs, and may have held by chance. What a visit broke does not lie below the domain.
            low = min([low, *(result.load / 1.6 for result in self._visits() if not self._else_good(result))])
        return low, 1.2 * max(2 * low, min(failed, default=self.settings.most))

    def _fit(self, low: float, high: float) -> dict[str, Posterior]:
        visits, capacities = self._visits(), grid(low, high)
        found = {goal.text: self._posterior(goal, visits, capacities) for goal in self.settings.goals}
        if any(result.phase == "again" and result.kept_up is False for result in visits):
            found[KEEPS_UP] = keeps_up_posterior(self._kept_up(visits), capacities)
        return found

    def _posterior(self, goal: Goal, visits: list[Result], capacities: Floats) -> Posterior:
        if goal.allowed is None:
            return of_means([result.means[goal.text] for result in visits if goal.text in result.means], capacities)
        d = self._dispersion(goal, capacities)
        return of_shares(self._shares(goal), goal.allowed, d, capacities, self._edge(goal))

    def _edge(self, goal: Goal) -> Slopes:
        """How steep the edge of an objective may be."""
        return SHALLOW if any(goal.text in result.jobs for result in self.results) else STEEP

    def _shares(self, goal: Goal) -> list[Share]:
        text = goal.text
        return [Share(result.load, result.judged(text), result.violations.get(text, 0)) for result in self._visits()]

    def _dispersion(self, goal: Goal, capacities: Floats | None = None) -> float:
        """D. Which visits are near the capacity depends on D, and D on these visits: twice is enough to settle."""
        assert goal.allowed is not None
        scouts, shares = self._scouts(), self._shares(goal)
        scouted = scouts[-1].load if scouts else 0.0
        tails = [
            (result.load, share, result.act[goal.text])
            for result in self._visits()
            if (share := result.share(goal.text)) is not None and goal.text in result.act
        ]
        d = max(LEAST_D, 2 * scouted)
        if tails:
            capacities = grid(*self._domain()) if capacities is None else capacities
            for _ in range(2):
                capacity = of_shares(shares, goal.allowed, d, capacities, self._edge(goal)).estimate
                d = dispersion(tails, capacity, goal.allowed, scouted)
        return d

    @staticmethod
    def _kept_up(visits: list[Result]) -> list[tuple[float, bool]]:
        """Each visit once: one that was repeated counts as its repetition says."""
        repeated = {i - 1 for i, result in enumerate(visits) if result.phase == "again"}
        return [(r.load, r.kept_up) for i, r in enumerate(visits) if i not in repeated and r.kept_up is not None]

    def _binding(self) -> tuple[str, Posterior]:
        return min(self.posteriors.items(), key=lambda entry: entry[1].estimate)

    def _ending(self, visits: list[Result]) -> Ending | None:
        if not visits:
            return None
        _, posterior = self._binding()
        settings = self.settings
        # At a limit of the search the answer may be that the capacity lies beyond it.
        by_chance = settings.judged_after_s > 0  # A scout of few jobs may have held so.
        none_held = by_chance or all(self._scout_fails(result) for result in self._scouts())
        if none_held and posterior.holds(settings.least) <= UNSURE:
            return Ending.NOTHING_HOLDS
        if not any(self._scout_fails(result) for result in self._scouts()) and posterior.holds(settings.most) >= SURE:
            return Ending.NEVER_FAILS
        if len(visits) >= LEAST_VISITS and posterior.width <= settings.precision:
            return Ending.PRECISION
        return None

    def _next_load(self, visits: list[Result]) -> float:
        """3% below and above the median in turn, so that both sides are tried in both orders."""
        below = len(visits) % 2 == 0
        if visits:
            middle = self._binding()[1].estimate
        else:
            low, high = self._domain()
            middle = math.sqrt(low * high)
        return self._rounded(middle * math.exp(-SPREAD if below else SPREAD), down=below)

    def _rounded(self, load: float, down: bool = True) -> float:
        """Within the limits; whole users."""
        load = min(max(load, self.settings.least), self.settings.most)
        if not KINDS[self.settings.load_kind].whole:
            return float(f"{load:.4g}")
        whole = math.floor(load) if down else math.ceil(load)
        return float(min(max(1, whole, math.ceil(self.settings.least)), math.floor(self.settings.most)))

    def _e2el_s(self, load: float) -> float | None:
        """p90 of E2EL to expect at a load: that of the closest load at or below it, else of the closest."""
        known = [(result.load, result.e2el_p90_s) for result in self.results if result.e2el_p90_s is not None]
        below = [entry for entry in known if entry[0] <= load * 1.05]
        return min(below or known, key=lambda entry: abs(math.log(entry[0] / load)))[1] if known else None

    def _visit(self, phase: Phase, load: float) -> Visit:
        rate = load if self.settings.load_kind == "rate" else None
        settings = self.settings
        after_s = settings.judged_after_s
        expected = jobs_per_s([result for result in self.results if result.valid], load, after_s) if after_s else None
        settle_s, measure_s = times(phase, rate, self._e2el_s(load), settings.budget_s, after_s, expected)
        if phase == "scout":
            tried = [r for r in self.results if r.phase == "scout" and r.load == load and not r.says_enough]
            measure_s *= 2 ** len(tried)
        return Visit(len(self.results) + 1, phase, load, settle_s, measure_s)
