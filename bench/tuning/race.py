"""What a race does next, decided from the turns that it has made: rounds, arms that leave, finalists, the end.

The state is only the list of turns. So a race resumes from its file, and the same object drives a simulation in virtual
time and real servers (docs/dev/simulations.md has its performance).

1. Rounds: every remaining arm gets a turn, in a random order. So changes of the machine's speed are as likely to affect one
   arm as another, and the residuals show how strong they are (randomised complete blocks). A fixed order, even one that goes
   back and forth, favours the same arms whenever the speed swings in time with it, and the residuals do not show that.
2. After each pair of rounds (with two arms: after four): an arm leaves as *worse* if the leader exceeds it beyond doubt, at
   a level that is corrected for all pairs of arms and all looks; and as *same* if it surely lies within the margin of the
   leader. An arm that reaches less than half of the leader leaves after any round, the default not after the first. At the
   end an arm is called *worse* only if the noise of the whole race proves it against the best.
3. An arm that twice has no value (its server does not start, no load keeps the objectives) leaves as *failed*, and one whose
   answers are worse than the default's leaves at once. An arm with a lower bound (a search that found no edge) may be better
   than it looks: it is neither worse, nor far behind, nor the same.
4. Up to three remaining arms are the finalists. Arms do not return, and finalists race on in the same way.
5. End: one arm is left, or the budget has no room for another pair of rounds (with two arms: for another four).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from bench.results.tune import Place, TuneChange
from bench.rng import stream
from bench.statistics.racing import Gap, Noise, gap, level, noise

ALPHA = 0.05
MARGIN = 0.03
FINALISTS = 3
MOST_ROUNDS = 30
FAR_BEHIND = 0.5
FAILURES = 2
"""This many turns without a value make an arm a failed one: a single one may be an accident."""
_LATE = 1.05
"""A round begins only if it is expected to end within this factor of the budget."""


class Ending(StrEnum):
    """Why a race ended."""

    DECIDED = "decided"
    BUDGET = "budget"
    ROUNDS = "rounds"
    NOTHING_WORKS = "nothing works"


@dataclass(frozen=True, slots=True)
class Settings:
    """A race of `arms` arms, numbered from 0. `default`: the arm that gains are relative to. `turn_s`: the expected
    length of a turn before there is one. `seed` decides the orders."""

    arms: int
    default: int = 0
    budget_s: float = 3600.0
    turn_s: float = 60.0
    margin: float = MARGIN
    alpha: float = ALPHA
    finalists: int = FINALISTS
    seed: int = 0

    @property
    def block(self) -> int:
        """The number of rounds before each decision: each arm has more than one place in their orders."""
        return 4 if self.arms == 2 else 2


@dataclass(frozen=True, slots=True)
class Turn:
    """An arm's turn in a round, counted from 1: its value, larger is better, or None if it has none; and how long it
    took.

    `worse_answers`: whether the arm's answers are known to be worse than the default's. `at_least`: whether the value
    is only a lower bound.
    """

    arm: int
    round: int
    value: float | None
    seconds: float
    worse_answers: bool = False
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """The turn to make next."""

    arm: int
    round: int
    final: bool
    """Whether only finalists are left."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An arm at the end. `against_best`: how far it lies below the best; `left_after`: its last round if it left."""

    arm: int
    place: Place
    turns: int
    value: float | None
    against_best: TuneChange | None
    left_after: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a race. `best` is None if no arm has a value, `gain` if the default has none or is the best."""

    best: int | None
    standings: tuple[Standing, ...]
    gain: TuneChange | None
    noise: float | None
    """The standard deviation of a turn, relative."""

    @property
    def not_told_apart(self) -> tuple[int, ...]:
        """Arms that cannot be distinguished from the best, or are the same within the margin."""
        alike = (Place.NOT_TOLD_APART, Place.SAME)
        return tuple(standing.arm for standing in self.standings if standing.place in alike)


class Race:
    """A race, represented by its turns so far: `next()` is the turn to make, or why it ends."""

    def __init__(self, settings: Settings, turns: Sequence[Turn] = ()) -> None:
        self.settings = settings
        self.turns: list[Turn] = []
        self._alive = tuple(range(settings.arms))
        self._leaving: list[dict[int, Place]] = []
        """For each complete round, the arms that left after it."""
        self._same_as: dict[int, int] = {}
        """For each arm that left as the same, the leader at that time."""
        for turn in turns:
            self.add(turn)

    def add(self, turn: Turn) -> None:
        """Add the turn that `next()` asked for."""
        self.turns.append(turn)
        number = len(self._leaving) + 1
        if {*self._alive} <= {made.arm for made in self.turns if made.round == number}:
            leaving = self._leave_after(number)
            self._alive = tuple(arm for arm in self._alive if arm not in leaving)
            self._leaving.append(leaving)

    @property
    def seconds(self) -> float:
        """The spent part of the budget."""
        return math.fsum(turn.seconds for turn in self.turns)

    def next(self) -> Step | Ending:
        number = len(self._leaving) + 1
        final = number > 1 and len(self._alive) <= self.settings.finalists
        made = {turn.arm for turn in self.turns if turn.round == number}
        if made:
            return next(Step(arm, number, final) for arm in self._order(number) if arm not in made)
        valued = [turn.arm for turn in self.turns if turn.value is not None]
        if not self._alive:
            return Ending.DECIDED if valued else Ending.NOTHING_WORKS
        if len(self._alive) == 1 and valued.count(self._alive[0]) >= 2:
            return Ending.DECIDED
        if number > MOST_ROUNDS:
            return Ending.ROUNDS
        # Nothing is decided between the rounds of a block.
        rounds_s = math.fsum(map(self._turn_s, self._alive)) * (1 + self._rounds_after(number))
        if number > self.settings.block and self.seconds + rounds_s > _LATE * self.settings.budget_s:
            return Ending.BUDGET
        return Step(self._order(number)[0], number, final)

    @property
    def left(self) -> tuple[int, ...]:
        return self._alive

    def time_left_s(self) -> float:
        """About how long it takes at most: the rest of the budget, or of a block of rounds, which is always completed."""
        number = len(self._leaving) + 1
        made = {turn.arm for turn in self.turns if turn.round == number}
        after = self._rounds_after(number)
        arms = [arm for arm in self._alive if arm not in made] + [*self._alive] * after
        begun = number <= self.settings.block or made or after < self.settings.block - 1
        rest_s = math.fsum(map(self._turn_s, arms)) if begun else 0.0
        return max(rest_s, self.settings.budget_s - self.seconds)

    def _rounds_after(self, number: int) -> int:
        """How many rounds of its block come after a round."""
        return -number % self.settings.block

    def _order(self, number: int) -> list[int]:
        """A random order. No arm has the same place in both rounds of a pair: two orders that agree by chance would
        show no residual, whatever the speed did. Two arms alternate: ABBA or BAAB."""
        chance = stream(self.settings.seed, "order", (number - 1) // self.settings.block)
        arms = [*range(self.settings.arms)]
        chance.shuffle(arms)
        if self.settings.arms == 2 and number % 4 in (2, 3):
            arms.reverse()
        first = [arm for arm in arms if arm in self._alive]
        if number % 2 or self.settings.arms == 2:
            return first
        second = [*first]
        chance.shuffle(second)
        while len(first) > 2 and any(map(int.__eq__, first, second)):
            chance.shuffle(second)
        return second

    def _turn_s(self, arm: int) -> float:
        """About how long a turn of an arm takes: the mean of its own turns, or of all turns if it has none."""
        took = [turn for turn in self.turns if turn.seconds > 0]
        took = [turn for turn in took if turn.arm == arm] or took
        return fmean(turn.seconds for turn in took) if took else self.settings.turn_s

    def _leave_after(self, number: int) -> dict[int, Place]:
        missed = [
            sum(turn.arm == arm and turn.value is None for turn in self.turns) for arm in range(self.settings.arms)
        ]
        leaving = {arm: Place.FAILED for arm in self._alive if missed[arm] >= FAILURES}
        leaving |= {
            turn.arm: Place.WORSE_ANSWERS for turn in self.turns if turn.worse_answers and turn.arm in self._alive
        }
        values = _table(self.turns, number)
        racing = [arm for arm in self._alive if arm not in leaving and any(arm in row for row in values)]
        if len(racing) < 2:
            return leaving
        leader = max(racing, key=lambda arm: _mean(values, arm))
        half = _mean(values, leader) + math.log(FAR_BEHIND)
        bounds = self._lower_bounds()
        far = [arm for arm in racing if _mean(values, arm) < half and arm not in bounds]
        # A gain needs two rounds with the default.
        leaving |= {arm: Place.FAR_BEHIND for arm in far if number > 1 or arm != self.settings.default}
        spread = self._noise(number) if number % self.settings.block == 0 else None
        if spread is None:
            return leaving
        for arm in racing:
            lead = gap(values, leader, arm, spread)
            out = arm == leader or arm in bounds or leaving.get(arm) in (Place.FAILED, Place.WORSE_ANSWERS)
            if out or lead is None:
                continue
            if lead.p_above() < self._level(lead):
                leaving[arm] = Place.WORSE
            elif arm not in leaving and leader not in bounds and self._same(lead):
                leaving[arm] = Place.SAME
                self._same_as[arm] = leader
        return leaving

    def _lower_bounds(self) -> set[int]:
        """The arms that may be better than their values."""
        return {turn.arm for turn in self.turns if turn.at_least}

    def _noise(self, rounds: int) -> Noise | None:
        """The noise, without lower bounds, which vary less than the values that they bound."""
        return noise(_table([turn for turn in self.turns if not turn.at_least], rounds))

    def _same(self, lead: Gap) -> bool:
        low, high = lead.interval(2 * self._level(lead))
        return -math.log1p(self.settings.margin) < low and high < math.log1p(self.settings.margin)

    def _level(self, lead: Gap) -> float:
        """The one-sided level of a comparison. Any arm may lead and any other may leave, and each pair of rounds in
        which both took part was a look."""
        return level(self.settings.alpha, max(lead.rounds // 2, 1), self.settings.arms * (self.settings.arms - 1))

    def answer(self) -> Answer:
        """The answer from the turns so far, at the end or earlier."""
        left_after = {arm: number for number, leaving in enumerate(self._leaving, 1) for arm in leaving}
        places = {arm: place for leaving in self._leaving for arm, place in leaving.items()}
        rounds = max((turn.round for turn in self.turns), default=0)
        values, spread = _table(self.turns, rounds), self._noise(rounds)
        measured = {arm for row in values for arm in row}
        # If all remaining arms fail in the end, the best of the others is the best.
        places |= {turn.arm: Place.WORSE_ANSWERS for turn in self.turns if turn.worse_answers}
        out = (Place.FAILED, Place.WORSE_ANSWERS)
        valued = [arm for arm in self._alive if arm in measured and places.get(arm) not in out]
        valued = valued or [arm for arm in measured if places.get(arm) not in out]
        best = max(valued, key=lambda arm: _mean(values, arm), default=None)
        standings = []
        for arm in range(self.settings.arms):
            mine = [turn for turn in self.turns if turn.arm == arm]
            place = Place.BEST if arm == best else places.get(arm)
            if place is Place.SAME and self._same_as[arm] != best and not self._within(values, best, arm, spread):
                place = Place.NOT_TOLD_APART  # The same as a leader that another arm has since passed.
            if place in (Place.FAR_BEHIND, Place.WORSE):
                proven = self._proven(values, best, arm, spread)
                # Later rounds may have shown more noise, or another best.
                place = Place.WORSE if proven else Place.NOT_TOLD_APART if place is Place.WORSE else place
            if place is None:
                place = Place.NOT_TOLD_APART if arm in measured else Place.FAILED if mine else Place.UNTRIED
            standings.append(
                Standing(
                    arm, place, len(mine), _value(mine),
                    None if best in (None, arm) else self._change(values, arm, best, spread), left_after.get(arm),
                )
            )  # fmt: skip
        default = self.settings.default
        gain = None if best in (None, default) else self._change(values, best, default, spread)
        return Answer(best, tuple(standings), gain, None if spread is None else math.expm1(spread.sd))

    def _within(self, values: list[dict[int, float]], best: int | None, arm: int, spread: Noise | None) -> bool:
        if best is None or spread is None or best in self._lower_bounds():
            return False
        lead = gap(values, best, arm, spread)
        return lead is not None and self._same(lead)

    def _proven(self, values: list[dict[int, float]], best: int | None, arm: int, spread: Noise | None) -> bool:
        lead = None if best is None or spread is None else gap(values, best, arm, spread)
        return lead is not None and lead.p_above() < self._level(lead)

    def _change(
        self, values: list[dict[int, float]], arm: int, other: int | None, spread: Noise | None
    ) -> TuneChange | None:
        if other is None or spread is None or {arm, other} & self._lower_bounds():
            return None
        if (between := gap(values, arm, other, spread)) is None:
            return None
        low, high = between.interval(2 * self._level(between))
        return TuneChange(math.expm1(between.mean), math.expm1(low), math.expm1(high), between.rounds)


def _table(turns: Sequence[Turn], rounds: int) -> list[dict[int, float]]:
    table: list[dict[int, float]] = [{} for _ in range(rounds)]
    for turn in turns:
        if turn.value is not None and turn.value > 0:
            table[turn.round - 1][turn.arm] = math.log(turn.value)
    return table


def _mean(values: Sequence[dict[int, float]], arm: int) -> float:
    return fmean(row[arm] for row in values if arm in row)


def _value(turns: Sequence[Turn]) -> float | None:
    """The geometric mean of the values of an arm."""
    logs = [math.log(turn.value) for turn in turns if turn.value is not None and turn.value > 0]
    return math.exp(fmean(logs)) if logs else None
