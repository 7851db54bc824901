"""Races in virtual time over arms with a known truth: how well `bench.tuning.race` does.

A turn shows what a run or a search over the batching model shows. A pool of turns of each kind is made once, each with
fresh lengths and arrivals, and races draw from it. In addition to what virtual time can model, there are a restart that
makes a server faster or slower (`RESTART`), and a machine whose speed changes from turn to turn (`DRIFTS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Settings as Search
from bench.results.tune import Place
from bench.tuning.race import Ending, Race, Settings, Step, Turn
from tests.support.batching_model import S2, S3, Server, closed_loop
from tests.support.search_model import run_search, ttft
from tests.support.statistics_claims import FAST

SETTLE_S, MEASURE_S, RESTART_S = 10.0, 60.0, 20.0
RESTART = 0.01
"""The relative standard deviation of a server's speed over restarts."""
POOL = 40
Speeds = Callable[[np.random.Generator], Callable[[int, int, int], float]]
"""Makes, for one race, the relative speed at each turn (from 0), of an arm, at a place in the round (from 0)."""


def swings(turns: float, size: float) -> Speeds:
    """The speed is a sine with this period in turns and a random phase."""

    def of_race(rng: np.random.Generator) -> Callable[[int, int, int], float]:
        phase = rng.random()
        return lambda turn, arm, place: 1 + size * math.sin(2 * math.pi * (turn / turns + phase))

    return of_race


def _walk(rng: np.random.Generator) -> Callable[[int, int, int], float]:
    steps = [0.0]

    def speed(turn: int, arm: int, place: int) -> float:
        while len(steps) <= turn:
            steps.append(steps[-1] + float(rng.normal(0.0, 0.01)))
        return math.exp(steps[turn])

    return speed


SLOWER = "0.3% slower with each turn, up to 10%"
DRIFTS: dict[str, Speeds] = {
    "none": lambda _: lambda turn, arm, place: 1.0,
    SLOWER: lambda _: lambda turn, arm, place: 1 - min(0.003 * turn, 0.1),
    "a random walk of 1% a turn": _walk,
    **{
        f"a sine of {turns} turns, {size:.0%}": swings(turns, size)
        for size in (0.02, 0.05, 0.1)
        for turns in (3, 6, 12, 24)
    },
}


def unsteady(size: float) -> Speeds:
    """The first arm also varies by `size`."""
    return lambda rng: lambda turn, arm, place: 1.0 if arm else math.exp(float(rng.normal(0.0, size)))


UNEVEN: dict[str, Speeds] = {
    **{f"one arm varies by {size:.0%}": unsteady(size) for size in (0.05, 0.1)},
    "one arm is 10% slower in one turn of 20": lambda rng: (
        lambda turn, arm, place: 0.9 if arm == 0 and rng.random() < 0.05 else 1.0
    ),
    "the first turn of each round is 3% slower": lambda _: lambda turn, arm, place: 1.0 if place else 0.97,
    "the first turn of each round is 10% slower": lambda _: lambda turn, arm, place: 1.0 if place else 0.9,
    **{f"a sine of {turns} turns, 10%": swings(turns, 0.1) for turns in (4, 8)},
}
"""Noise that differs between arms or places."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Arms with their true values, and the values that turns show for each. `turn_s`: the duration of a turn."""

    truth: tuple[float, ...]
    shown: tuple[tuple[float, ...], ...]
    turn_s: float

    @property
    def best(self) -> float:
        return max(self.truth)

    def alike(self, arms: int) -> Arms:
        """`arms` copies of the best of these."""
        best = self.truth.index(self.best)
        return Arms((self.best,) * arms, (self.shown[best],) * arms, self.turn_s)


def even(arms: int) -> Arms:
    """Equal arms whose turns show the truth, apart from restarts and speeds."""
    return Arms((1.0,) * arms, ((1.0,),) * arms, RESTART_S + SETTLE_S + MEASURE_S)


@lru_cache
def throughput(name: str) -> Arms:
    """Tokens per second of a closed loop, over arms that differ in a flag."""
    servers = _SERVERS[name]
    shown = tuple(tokens_per_s(server, users, seed) for seed, (server, users) in enumerate(servers))
    # The mean of the pool is the rate of forty minutes.
    truth = tuple(float(np.mean(values)) for values in shown)
    return Arms(truth, shown, RESTART_S + SETTLE_S + MEASURE_S)


def _limited(server: Server, seqs: int, tokens: int) -> Server:
    return replace(server, cost=replace(server.cost, max_num_seqs=seqs, max_num_batched_tokens=tokens))


_SERVERS: dict[str, list[tuple[Server, int]]] = {
    "8 values of max-num-seqs": [(_limited(S3, seqs, 2048), 64) for seqs in (4, 8, 12, 16, 24, 32, 48, 64)],
    "12 of max-num-seqs and max-num-batched-tokens": [
        (_limited(S2, seqs, tokens), 96) for seqs in (16, 32, 64, 96) for tokens in (512, 2048, 8192)
    ],
}


def tokens_per_s(server: Server, users: int, seed: int, visits: int = POOL) -> tuple[float, ...]:
    """The results of `visits` runs of a minute."""
    end_s = SETTLE_S + MEASURE_S
    values = []
    for visit in range(visits):
        served = closed_loop(server, users, end_s, np.random.default_rng([seed, visit]), ramp_s=SETTLE_S / 2)
        values.append(float(served.tokens_per_s(SETTLE_S, end_s).mean()))
    return tuple(values)


HELD_TRUTH, SEARCH_S = 247.7, 180.0


@lru_cache
def held_load(arms: int = 8, apart: float = 0.06) -> Arms:
    """Loads that searches of three minutes find. The capacities of the arms are `apart`, and the best is the model's.
    Each arm shows its capacity with the error of a search."""
    limit = ttft("p99", 60, 0.01)
    settings = Search("rate", (limit.goal,), start=200.0, precision=0.02, budget_s=SEARCH_S)
    found = [conclude(run_search(FAST, (limit,), settings, seed).search).known for seed in range(POOL)]
    errors = [known.estimate / HELD_TRUTH for known in found if known is not None]
    # The average error of searches applies to every arm.
    usual = math.exp(float(np.mean(np.log(errors))))
    truth = tuple(HELD_TRUTH / (1 + apart) ** arm for arm in range(arms))
    shown = tuple(tuple(value * error for error in errors) for value in truth)
    return Arms(tuple(value * usual for value in truth), shown, RESTART_S + SEARCH_S)


@dataclass(slots=True)
class Reached:
    """The results of races."""

    races: int = 0
    right: int = 0
    """Races whose winner is the best, or within 3% of it."""
    kept: int = 0
    """Races in which the truly best arm did not leave as worse."""
    alike: int = 0
    """Races that told no arms apart."""
    decided: int = 0
    gain_holds: int = 0
    gains: int = 0
    seconds: float = 0.0
    even_seconds: float = 0.0
    """The time to give every arm as many turns as the finalists had."""
    least_seconds: float = 0.0
    """The lower bound for a race of as many rounds: a turn of every arm, and two arms in each further round."""


def run_race(
    arms: Arms, settings: Settings, seed: int, speeds: Speeds = DRIFTS[SLOWER], restart: float = RESTART
) -> tuple[Race, Ending]:
    """One race."""
    rng = np.random.default_rng([seed, 11])
    race = Race(replace(settings, seed=seed))
    speed = speeds(np.random.default_rng([seed, 12]))
    while isinstance(step := race.next(), Step):
        value = float(rng.choice(arms.shown[step.arm])) * math.exp(float(rng.normal(0.0, restart)))
        value *= speed(len(race.turns), step.arm, sum(turn.round == step.round for turn in race.turns))
        race.add(Turn(step.arm, step.round, value, arms.turn_s))
    return race, step


def try_races(
    arms: Arms,
    seeds: Sequence[int],
    *,
    budget_s: float = 1e9,
    default: int | None = None,
    speeds: Speeds = DRIFTS[SLOWER],
    restart: float = RESTART,
) -> Reached:
    """Races of these arms. The gain is over the default arm, which is the last one unless given."""
    number = len(arms.truth)
    base = Settings(number, default=number - 1 if default is None else default, budget_s=budget_s, turn_s=arms.turn_s)
    seen = Reached()
    for seed in seeds:
        race, ending = run_race(arms, base, seed, speeds, restart)
        answer = race.answer()
        assert answer.best is not None
        rounds = max(turn.round for turn in race.turns)
        seen.races += 1
        seen.right += arms.truth[answer.best] >= arms.best / 1.03
        worse = [standing.arm for standing in answer.standings if standing.place is Place.WORSE]
        seen.kept += all(arms.truth[arm] < arms.best for arm in worse)
        seen.alike += not worse
        seen.decided += ending is Ending.DECIDED
        seen.seconds += race.seconds
        seen.even_seconds += rounds * number * arms.turn_s
        seen.least_seconds += (number + 2 * (rounds - 1)) * arms.turn_s
        if answer.gain is not None:
            true = arms.truth[answer.best] / arms.truth[base.default] - 1
            seen.gains += 1
            seen.gain_holds += answer.gain.low <= true <= answer.gain.high
    return seen
