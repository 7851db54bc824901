"""Decides what a search does next from the results of its visits: scout, domain, visits, end.

The list of results is the whole state. So a search can resume from its file, and the same object drives a simulation in
virtual time and a real server (docs/dev/simulations.md has the method and its accuracy).

1. Scout: from the start, double until too many requests break an objective, or halve until they do not.
2. Domain: from 1/1.6 of the highest load that a scout held to 1.2 times the lowest that one failed. It is a prior and no
   wall, since a scout is only a hint.
3. Visits: the median of the binding objective's posterior, 3% below and 3% above in turn.
4. End: the interval is narrow enough after four visits, or the budget is spent, or the limits of the search are reached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from bench.load_search import evidence, scouting
from bench.load_search.estimates import Estimates
from bench.load_search.goals import Goal
from bench.load_search.visits import Phase, Result, Visit, jobs_per_s, pause_s, times
from bench.loads import KINDS
from bench.statistics.keeps_up import GROWN, LONG_DRAIN, InFlight

SPREAD = 0.03
LEAST_VISITS = 4
IN_A_ROW = 3
SURE, UNSURE = 0.95, 0.05

_LEAST_OF_BRACKET = 2
_LEAST_OF_SCOUT = 30
"""A scout with fewer requests does not show anything."""
_LONGEST_OVERRUN = 1.5
"""A visit is not started if the search would then take this many times its budget."""
_BROKEN_SINCE = 3
_JUDGED_LIVES = 5.0
_JUDGED_FROM_S = {"scout": 10.0, "visit": 30.0, "again": 60.0}


class Ending(StrEnum):
    """Why a search ended; `stopped_by` in search.json."""

    PRECISION = "precision"
    BUDGET = "budget"
    CLIENT = "client"
    NOTHING_HOLDS = "nothing holds"
    NEVER_FAILS = "never fails"
    INTERRUPTED = "interrupted"
    TARGET = "target"
    """The server can no longer be measured."""
    MACHINE = "machine"
    """This machine cannot continue, for example because of open files or a full disk."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The search to make. It never goes below the load `least` or above `most`. `load_kind` is one of `loads.KINDS`."""

    load_kind: str
    goals: tuple[Goal, ...]
    start: float = 1.0
    least: float = 0.1
    most: float = 100_000.0
    precision: float = 0.1
    budget_s: float = 900.0
    judged_after_s: float = 0.0
    """How long ago a job must have been due before it is judged: a visit measures several times as long."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known so far: the capacity with its interval, and the binding objective."""

    estimate: float
    low: float
    high: float
    top: float
    """The highest load tried. `estimate`, `low` and `high` are cut off there."""
    binding: str
    held: tuple[float, float] | None
    """The highest visited load that surely holds, and the probability that it does."""
    failed: tuple[float, float] | None
    """The lowest visited load that surely does not hold, and the probability that it does."""


class Search:
    """A search, defined by its results so far. `next()` returns a visit to make or the reason to end."""

    def __init__(self, settings: Settings, results: Sequence[Result] = ()) -> None:
        self.settings = settings
        self.results = list(results)
        self._resumed_at = len(self.results)

    def add(self, result: Result) -> None:
        """Add the result of the visit that `next()` returned."""
        self.results.append(result)
        self.__dict__.pop("estimates", None)

    @cached_property
    def estimates(self) -> Estimates:
        """The estimates from the results so far."""
        s = self.settings
        return Estimates(s.goals, tuple(self.results), s.least, s.most, of_jobs=bool(s.judged_after_s))

    @property
    def visits(self) -> list[Result]:
        return self.estimates.visits

    @property
    def judged(self) -> list[tuple[Result, bool]]:
        """Each visit that is evidence, and whether it kept every objective."""
        return self.estimates.judged

    @property
    def begun(self) -> bool:
        """Whether a visit has told something, so that the start is behind."""
        return any(evidence.hints(self.results))

    @property
    def seconds(self) -> float:
        """The part of the budget that is spent."""
        return math.fsum(result.seconds for result in self.results)

    def next(self) -> Visit | Ending:
        lost = self._lost()
        if lost is not None:
            return lost
        scouted = self._next_scout()
        if self.seconds >= self.settings.budget_s:
            # The last visit may have brought the answer.
            ending = self._ending() if scouted is None else None
            return Ending.BUDGET if ending is None else ending
        if scouted is not None:
            return self._scout(scouted)
        visits = self.visits
        if self._piled_up(visits):
            again = self._visit("again", visits[-1].load)
            return Ending.BUDGET if self._overruns(again) else again
        ending = self._ending()
        if ending is not None:
            return ending
        visit = self._fitted(self._visit("visit", self._next_load()))
        return Ending.BUDGET if (self._overruns(visit) if visits else self._far_over(visit)) else visit

    def _lost(self) -> Ending | None:
        """The reason to end if three visits in a row, since the search was resumed, brought no result."""
        last = self.results[self._resumed_at :][-IN_A_ROW:]
        if len(last) < IN_A_ROW:
            return None
        if not any(result.valid for result in last):
            return Ending.CLIENT
        if all(result.verdict == "FAILED" and result.phase != "scout" for result in last):
            return Ending.TARGET if any(evidence.counts(result) for result in self.results) else Ending.NOTHING_HOLDS
        return None

    def _piled_up(self, visits: Sequence[Result]) -> bool:
        """Whether requests piled up in the last visit although it kept every objective. A single such visit may be chance."""
        if not visits or visits[-1].phase != "visit" or visits[-1].kept_up is not False:
            return False
        return evidence.kept_objectives(self.settings.goals, visits[-1])

    def _scout(self, load: float) -> Visit | Ending:
        """The scout; or a visit if the budget has room for only one of them, because a scout is only a hint."""
        scout = self._visit("scout", load)
        hints = self.estimates.hints
        loads = [result.load for result in hints if not evidence.hint_fails(self.settings.goals, result)]
        if loads and not self.visits:
            visit = self._fitted(self._visit("visit", max(loads)))
            left = self.settings.budget_s - self.seconds
            if self._lasts_s(scout) + self._lasts_s(visit) > left:
                return Ending.BUDGET if self._far_over(visit) else visit
        return Ending.BUDGET if hints and self._far_over(scout) else scout

    def _fitted(self, visit: Visit) -> Visit:
        """The visit, shortened if the budget has no room for the two visits that a bracket takes."""
        missing = _LEAST_OF_BRACKET - len(self.visits)
        if missing <= 0:
            return visit
        over_s = self._lasts_s(visit) - (self.settings.budget_s - self.seconds) / missing
        least_s = max(self._e2el_s(visit.load) or 0.0, visit.measure_s / 3)
        return replace(visit, measure_s=min(visit.measure_s, max(visit.measure_s - over_s, least_s)))

    def _overruns(self, visit: Visit) -> bool:
        """Whether more than half of a visit would exceed the budget. Such a visit is not started."""
        return self.seconds + self._lasts_s(visit) / 2 > self.settings.budget_s

    def _far_over(self, visit: Visit) -> bool:
        """Whether a visit would exceed the budget by far. Such a visit is not started even if nothing is known yet."""
        return self.seconds + self._lasts_s(visit) > _LONGEST_OVERRUN * self.settings.budget_s

    def _lasts_s(self, visit: Visit) -> float:
        """The expected total time of a visit."""
        drain_s = self._e2el_s(visit.load) or 0.0
        return visit.settle_s + visit.measure_s + drain_s + pause_s(self.settings.budget_s)

    def known(self) -> Known | None:
        """What the visits show about the capacity, cut off at the highest load tried; None before the first visit.

        This is not an answer yet: `conclusion.py` decides what can be concluded from it.
        """
        if not self.visits:
            return None
        binding, posterior = self.estimates.binding()
        top = min(self.settings.most, max(result.load for result in self.results if evidence.counts(result)))
        sure = [(result.load, kept, posterior.holds(result.load)) for result, kept in self.judged]
        held = [(load, p) for load, kept, p in sure if kept and p >= SURE]
        failed = [(load, p) for load, kept, p in sure if not kept and p <= UNSURE]
        return Known(
            min(posterior.estimate, top), min(posterior.low, top), min(posterior.high, top), top, binding,
            max(held, default=None), min(failed, default=None),
        )  # fmt: skip

    def sure_of(self, load: float) -> float:
        """The probability that every objective holds at a load. Before the first visit it does not depend on the server."""
        return min(posterior.holds(load) for posterior in self.estimates.posteriors.values())

    def time_left_s(self) -> float:
        """How much longer the search will take: the interval narrows with the square root of the time of visits."""
        left = max(0.0, self.settings.budget_s - self.seconds)
        known = self.known() if self.bracketed else None
        if known is None:
            return left
        visited_s = math.fsum(result.seconds for result in self.visits)
        wanted_s = visited_s * ((known.high / known.low - 1) / self.settings.precision) ** 2
        return min(left, max(0.0, wanted_s - visited_s))

    def kept_up(self, visit: Visit, flight: InFlight, drained_s: float, growth: float | None) -> bool | None:
        """Whether the server kept up with an open-loop visit that took `drained_s` to drain; None if unknown.

        `growth` is the median E2EL of the last third of the requests, divided by that of the first third
        (`statistics.keeps_up`). After twice the load that it can serve, a server drains for as long as it received
        requests, and each request took longer than the one before. But long replies alone also drain for long. At loads
        close to the edge, requests in flight show more, but only over a time in which they come and go several times.
        """
        alone_s = self._alone_s()
        long_drain = drained_s > LONG_DRAIN * (visit.settle_s + visit.measure_s) + 3 * (alone_s or 0.0)
        if long_drain and growth is not None and growth > GROWN:
            return False
        expected = self._e2el_s(visit.load)
        if expected is None or visit.measure_s < max(_JUDGED_FROM_S[visit.phase], _JUDGED_LIVES * expected):
            return None
        return not flight.grows

    def broke(self, result: Result) -> bool:
        """Whether a visit by itself breaks an objective."""
        goals = self.settings.goals
        if result.phase == "scout":
            return evidence.hint_fails(goals, result)
        return result.kept_up is False or not evidence.kept_objectives(goals, result)

    def _next_scout(self) -> float | None:
        """The load to scout next; None if the domain is known."""
        settings, hints = self.settings, self.estimates.hints
        if not self.begun:
            return self._rounded(settings.start)
        if not all(held for _, held in self.judged):
            return None  # From here on, visits choose the loads themselves.
        failed = {result.load: result for result in hints if evidence.hint_fails(settings.goals, result)}
        tried = [*(result.load for result in hints), *(result.load for result, held in self.judged if held)]
        load = scouting.next_load(failed, tried, settings.least, settings.most)
        if load is None:
            return None
        rounded = self._rounded(load)
        # There is no whole number between two neighbouring numbers of users.
        return None if rounded in {result.load for result in self.results if evidence.counts(result)} else rounded

    @property
    def scout_broke(self) -> bool:
        """Whether a scout clearly broke an objective. A full visit would break more, so this much is sure."""
        goals = self.settings.goals
        hints = [
            result for result in self.estimates.hints if evidence.counts(result) and result.requests >= _LEAST_OF_SCOUT
        ]
        return any(evidence.hint_fails(goals, result) for result in hints)

    @property
    def bracketed(self) -> bool:
        """Whether a visit kept every objective, and another visit or a scout broke one."""
        kept = [kept for _, kept in self.judged]
        return len(kept) >= _LEAST_OF_BRACKET and any(kept) and (not all(kept) or self.scout_broke)

    @property
    def sure_of_most(self) -> bool:
        """Whether a visit held at the highest allowed load, and this load is surely held."""
        most = self._rounded(self.settings.most)
        return any(kept and r.load >= most for r, kept in self.judged) and self.sure_of(most) >= SURE

    def _ending(self) -> Ending | None:
        visits = self.visits
        if not visits:
            return None
        _, posterior = self.estimates.binding()
        settings = self.settings
        kept = {kept for _, kept in self.judged}
        # At a limit of the search, the answer may be that the capacity lies beyond it.
        if kept == {False} and posterior.holds(settings.least) <= UNSURE and self._tried_lowest():
            return Ending.NOTHING_HOLDS
        if self.sure_of_most:
            return Ending.NEVER_FAILS
        if any(fit.flat is not None for fit in self.estimates.fits.values()) and len(visits) >= LEAST_VISITS:
            return Ending.NOTHING_HOLDS
        if self.bracketed and len(visits) >= LEAST_VISITS and posterior.width <= settings.precision:
            return Ending.PRECISION
        return None

    def _tried_lowest(self) -> bool:
        return min(result.load for result in self.visits) <= self.settings.least * (1 + 1e-9)

    def _next_load(self) -> float:
        """A load 3% below or above the median in turn, so that both sides are tried in both orders.

        If one side of the bracket is still missing, the load is further out on that side.
        """
        visits = self.visits
        below = len(visits) % 2 == 0
        if not visits:
            domain = self.estimates.domain
            return self._rounded(math.sqrt(domain.low * domain.high) * math.exp(-SPREAD), down=True)
        retest = self._retest()
        if retest is not None:
            return retest
        _, posterior = self.estimates.binding()
        load = posterior.estimate * math.exp(-SPREAD if below else SPREAD)
        kept = {kept for _, kept in self.judged}
        if len(kept) == 1:
            below = kept == {False}
            load = min(load, posterior.quantile(0.25)) if below else max(load, posterior.quantile(0.75))
        return self._rounded(load, down=below)

    def _retest(self) -> float | None:
        """The highest load that held, if the three visits since then have all broken: the server may have changed
        meanwhile."""
        judged = self.judged
        positions = [i for i, (_, kept) in enumerate(judged) if kept]
        if not positions or len(judged) - positions[-1] <= _BROKEN_SINCE:
            return None
        return max(result.load for result, kept in judged if kept)

    def _rounded(self, load: float, down: bool = True) -> float:
        """The load within the limits, with whole users."""
        if not KINDS[self.settings.load_kind].whole:
            return min(max(float(f"{load:.4g}"), self.settings.least), self.settings.most)
        load = min(max(load, self.settings.least), self.settings.most)
        whole = math.floor(load) if down else math.ceil(load)
        return float(min(max(1, whole, math.ceil(self.settings.least)), math.floor(self.settings.most)))

    def _e2el_s(self, load: float) -> float | None:
        """The p90 of E2EL to expect at a load: the value of the closest load at or below it, else of the closest load.

        None before the first visit without overload: an overloaded visit only shows how long the backlog was.
        """
        goals = self.settings.goals
        calm = [
            (result.load, result.e2el_p90_s)
            for result in self.results
            if result.e2el_p90_s is not None and not evidence.hint_fails(goals, result)
        ]
        below = [entry for entry in calm if entry[0] <= load * 1.05]
        return min(below or calm, key=lambda entry: abs(math.log(entry[0] / load)))[1] if calm else None

    def _alone_s(self) -> float | None:
        """The longest time of a request when nothing piles up: the least that any visit measured for its first requests."""
        first = [r.e2el_p90_s if r.e2el_first_s is None else r.e2el_first_s for r in self.results]
        return min((seconds for seconds in first if seconds is not None), default=None)

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
