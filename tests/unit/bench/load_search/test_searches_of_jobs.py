"""Whole searches with sessions, on a model of agents with known capacity: what they find, and what they claim.

Agents think, exponentially, and each works on a job of lognormal length, whose median rises with the number of agents
as 1 + (n / capacity)^sharpness. The limit is the p90 at the capacity. A job is judged if it was due early enough, as in
a visit.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.goals import Goal
from bench.load_search.visits import LEAST_JOBS, Result, Visit
from bench.statistics.capacity import Mean

GOAL = Goal("job:p90", 0.1)
MEDIAN_S, THINK_S, SIGMA = 10.0, 20.0, 0.5
Z90 = 1.2816
LIMIT_S = 2 * MEDIAN_S * math.exp(Z90 * SIGMA)


@dataclass(frozen=True)
class Agents:
    capacity: float
    sharpness: float

    def visit(self, visit: Visit, chance: random.Random) -> Result:
        median_s = MEDIAN_S * (1 + (visit.load / self.capacity) ** self.sharpness)
        seconds: list[float] = []
        for _ in range(int(visit.load)):
            at_s = -chance.expovariate(1 / THINK_S)
            while (at_s := at_s + chance.expovariate(1 / THINK_S)) + LIMIT_S <= visit.measure_s:
                took_s = median_s * chance.lognormvariate(0, SIGMA)
                seconds += [took_s] if at_s >= 0 else []
                at_s += took_s
        judged, broken = len(seconds), sum(s > LIMIT_S for s in seconds)
        return Result(
            n=visit.n, phase=visit.phase, load=visit.load, verdict="VALID", settle_s=visit.settle_s,
            measure_s=visit.measure_s, seconds=visit.settle_s + visit.measure_s + 10.0, requests=5 * judged,
            violations={GOAL.text: broken}, jobs={GOAL.text: judged}, act={GOAL.text: 1.0} if judged >= 20 else {},
            e2el_p90_s=sorted(seconds)[int(0.9 * judged)] if seconds else None,
        )  # fmt: skip


def searched(agents: Agents, seed: int, budget_s: float, start: float = 4.0) -> tuple[Search, Ending]:
    settings = Settings(
        "sessions", (GOAL,), start=start, least=1.0, most=200.0, budget_s=budget_s, judged_after_s=LIMIT_S
    )
    search, chance = Search(settings), random.Random(seed)
    while not isinstance(step := search.next(), Ending):
        search.add(agents.visit(step, chance))
    return search, step


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
@pytest.mark.parametrize(("capacity", "budget_s"), [(3.0, 7200.0), (8.0, 3600.0), (30.0, 3600.0)])
def test_a_search_holds_the_capacity_in_its_interval_and_claims_no_more(
    capacity: float, budget_s: float, sharpness: float
) -> None:
    inside = claimed = 0
    for seed in range(12):
        known = searched(Agents(capacity, sharpness), seed, budget_s)[0].known()
        assert known is not None
        inside += known.low <= capacity <= known.high
        claimed += known.held is not None and known.held[0] > 1.02 * capacity
    assert inside >= 10
    assert claimed <= 1


def test_what_no_load_holds_is_said_though_a_scout_held_by_chance() -> None:
    endings = [searched(Agents(0.4, 1.0), seed, 14_400.0)[1] for seed in range(4)]
    assert endings == [Ending.NOTHING_HOLDS] * 4


def test_a_scout_that_judged_too_few_jobs_is_made_again_for_longer() -> None:
    search = Search(Settings("sessions", (GOAL,), start=2.0, budget_s=3600.0, judged_after_s=30.0))

    def scouted(visit: Visit, judged: int) -> Visit:
        said: dict[str, Any] = {"jobs": {GOAL.text: judged}, "violations": {GOAL.text: 0}}
        search.add(Result(visit.n, "scout", visit.load, "VALID", 1.0, visit.measure_s, 70.0, requests=9, **said))
        step = search.next()
        assert isinstance(step, Visit)
        return step

    first = search.next()
    assert isinstance(first, Visit)
    again = scouted(first, 0)
    assert (again.phase, again.load, again.measure_s) == ("scout", first.load, 2 * first.measure_s)
    third = scouted(again, LEAST_JOBS - 1)
    assert (third.phase, third.load) == ("scout", first.load)
    assert third.measure_s >= 2 * again.measure_s
    assert scouted(third, LEAST_JOBS).load == 2 * first.load


def test_a_scout_of_too_few_jobs_for_a_mean_is_no_hint() -> None:
    one = Result(1, "scout", 2.0, "VALID", 1.0, 60.0, 70.0, requests=9, jobs={"job:mean": 15})
    assert not one.says_enough
    assert replace(one, means={"job:mean": Mean(2.0, -0.1, 0.1)}).says_enough
    assert replace(one, jobs={}).says_enough
