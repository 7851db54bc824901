"""The next step of a race, as a table of turns; and its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import pytest

from bench.results.tune import Place
from bench.statistics.racing import Noise, gap, level, noise
from bench.tuning.race import MOST_ROUNDS, Answer, Ending, Race, Settings, Step, Turn


def race_of(
    value: Callable[[int, int], float | None], arms: int, *, budget_s: float = 1e9, seconds: float = 10.0
) -> tuple[Race, Ending]:
    """A race whose arms show these values, by arm and round."""
    race = Race(Settings(arms, budget_s=budget_s, turn_s=seconds))
    while isinstance(step := race.next(), Step):
        race.add(Turn(step.arm, step.round, value(step.arm, step.round), seconds))
    return race, step


def order(race: Race) -> list[tuple[int, ...]]:
    rounds = max(turn.round for turn in race.turns)
    return [tuple(turn.arm for turn in race.turns if turn.round == number) for number in range(1, rounds + 1)]


def wobble(arm: int, round_: int, size: float = 0.01) -> float:
    """Reproducible noise."""
    return size * math.sin(7.3 * arm + 3.1 * round_)


@pytest.mark.parametrize("arms", [2, 3, 6])
def test_the_order_of_a_round_is_random_and_a_pair_of_rounds_never_agrees_in_a_place(arms: int) -> None:
    seen = set[tuple[int, ...]]()
    for seed in range(40):
        race = Race(Settings(arms, seed=seed))
        while isinstance(step := race.next(), Step) and step.round <= 4:
            race.add(Turn(step.arm, step.round, math.exp(wobble(step.arm, step.round, 0.2)), 1.0))
        rounds = order(race)
        for first, second in zip(rounds[::2], rounds[1::2], strict=True):
            assert all(a != b for a, b in zip(first, second, strict=True))
        assert arms > 2 or rounds[0] == rounds[3] != rounds[1] == rounds[2]
        seen |= {*rounds}
    assert all(sorted(made) == [*range(arms)] for made in seen)
    assert len(seen) >= min(math.factorial(arms), 120)


SWINGS = [(arms, period, size) for arms in (2, 3, 4, 8) for period, size in ((3, 0.05), (6, 0.1), (12, 0.1), (24, 0.1))]
TELLING = {(2, 3), (2, 6), (3, 3), (3, 6), (4, 6), (4, 12), (8, 12)}
"""Arms and periods with which a fixed order, one that goes there and back, or an uncorrected level has false alarms; `long`
tests repeat it with the others."""


@pytest.mark.parametrize(
    ("arms", "period", "size"),
    [pytest.param(*swing, marks=[] if swing[:2] in TELLING else pytest.mark.long) for swing in SWINGS],
)
def test_a_speed_that_swings_makes_an_equal_arm_worse_in_5_of_100_races_at_most(
    arms: int, period: int, size: float
) -> None:
    told_apart = 0
    for seed in range(100):
        chance = Random(seed)
        phase = chance.random()
        race = Race(Settings(arms, budget_s=40.0 * arms, turn_s=10.0, seed=seed))
        while isinstance(step := race.next(), Step):
            speed = size * math.sin(2 * math.pi * (len(race.turns) / period + phase)) + chance.gauss(0.0, 0.01)
            race.add(Turn(step.arm, step.round, math.exp(speed), 10.0))
        told_apart += any(standing.place is Place.WORSE for standing in race.answer().standings)
    assert told_apart <= 9  # At most 5 are expected, plus two standard deviations.


def test_an_arm_that_left_as_worse_is_not_told_apart_if_later_rounds_vary_more() -> None:
    race = Race(Settings(4, turn_s=1.0))
    while isinstance(step := race.next(), Step) and step.round <= 4:
        size = 0.02 if step.round <= 2 else 1.0
        shift = -0.3 if step.arm == 0 else 0.0
        race.add(Turn(step.arm, step.round, math.exp(shift + wobble(step.arm, step.round, size)), 1.0))
        if len(race.turns) == 2 * 4:
            assert race.answer().standings[0].place is Place.WORSE
    standing = race.answer().standings[0]
    assert (standing.place, standing.left_after) == (Place.NOT_TOLD_APART, 2)


def test_an_arm_is_worse_where_its_interval_excludes_0() -> None:
    # Two arms, four rounds: t with three degrees of freedom, at 5% / 6 for the second look, is 6.2; the error is 0.0029.
    for behind, place in ((0.0125, Place.NOT_TOLD_APART), (0.0135, Place.WORSE)):
        rows = ((0.0, -behind), (0.0, -behind - 0.01)) * 2
        turns = [Turn(arm, r, math.exp(rows[r - 1][arm]), 1.0) for r in (1, 2, 3, 4) for arm in (0, 1)]
        standing = Race(Settings(2), turns).answer().standings[1]
        assert standing.against_best is not None
        assert (standing.place, standing.against_best.high < 0) == (place, place is Place.WORSE)


def test_an_arm_that_is_worse_beyond_doubt_leaves_after_a_pair_of_rounds() -> None:
    speed = {0: 100.0, 1: 99.5, 2: 70.0, 3: 98.0, 4: 101.0}
    race, _ = race_of(lambda arm, r: speed[arm] * math.exp(wobble(arm, r)), 5, budget_s=400)
    rounds = order(race)
    assert 2 in rounds[1]
    assert all(2 not in later for later in rounds[2:])
    answer = race.answer()
    assert answer.standings[2].place is Place.WORSE
    assert answer.standings[2].left_after == 2
    change = answer.standings[2].against_best
    assert change is not None
    assert change.low < 70 / 101 - 1 < change.high < -0.2


def test_an_arm_at_less_than_half_leaves_after_the_first_round() -> None:
    race, _ = race_of(lambda arm, r: (49.0 if arm == 1 else 100.0) * math.exp(wobble(arm, r)), 3, budget_s=200)
    assert {*order(race)[1]} == {0, 2}
    assert race.answer().standings[1].place is Place.WORSE
    race, _ = race_of(lambda arm, r: (52.0 if arm == 1 else 100.0) * math.exp(wobble(arm, r)), 3, budget_s=200)
    assert {*order(race)[1]} == {0, 1, 2}


def test_an_arm_far_behind_is_called_worse_only_if_the_noise_proves_it() -> None:
    for size, place in ((0.001, Place.WORSE), (0.5, Place.FAR_BEHIND)):
        race = Race(Settings(4, budget_s=100.0, turn_s=10.0))
        while isinstance(step := race.next(), Step):
            noisy = size if (step.arm, step.round) == (0, 2) else 0.0
            race.add(Turn(step.arm, step.round, (20.0 if step.arm == 1 else 100.0) * math.exp(noisy), 10.0))
        standing = race.answer().standings[1]
        assert (standing.place, standing.left_after) == (place, 1)


def test_the_default_stays_for_a_second_round_so_that_the_gain_is_known() -> None:
    race, _ = race_of(lambda arm, r: (100.0 if arm else 20.0) * math.exp(wobble(arm, r)), 3, budget_s=200)
    assert {*order(race)[1]} == {0, 1, 2}
    answer = race.answer()
    assert answer.gain is not None
    assert 3 < answer.gain.low < 4 < answer.gain.high < 5


def test_an_arm_with_worse_answers_leaves_and_is_not_the_best() -> None:
    race = Race(Settings(3))
    speed = (90.0, 100.0, 95.0)
    while isinstance(step := race.next(), Step):
        value = speed[step.arm] * math.exp(wobble(step.arm, step.round, 0.001))
        race.add(Turn(step.arm, step.round, value, 1.0, worse_answers=step.arm == 1))
        assert race.answer().best != 1
    assert {*order(race)[1]} == {0, 2}
    assert (race.answer().best, race.answer().standings[1].place) == (2, Place.WORSE_ANSWERS)


def test_an_arm_is_not_worse_because_the_server_gets_slower_with_each_turn() -> None:
    made = 0

    def value(arm: int, r: int) -> float:
        nonlocal made
        made += 1
        return 100 * math.exp(wobble(arm, r, 0.001) - 0.02 * made)

    race, _ = race_of(value, 4, budget_s=240)
    assert {standing.place for standing in race.answer().standings} <= {Place.BEST, Place.NOT_TOLD_APART, Place.SAME}


def test_arms_within_the_margin_leave_as_the_same_and_end_the_race() -> None:
    race, ending = race_of(lambda arm, r: 100 * math.exp(wobble(arm, r, 0.002)), 4)
    assert ending is Ending.DECIDED
    answer = race.answer()
    assert sorted(standing.place for standing in answer.standings) == [Place.BEST, *[Place.SAME] * 3]
    assert set(answer.not_told_apart) | {answer.best} == {0, 1, 2, 3}


def test_an_arm_is_the_same_as_the_best_and_not_as_a_leader_that_was_passed() -> None:
    rows = [(100.0, 99.9, 98.6), (100.3, 100.1, 98.4), (100.0, 0.0, 109.0), (100.0, 0.0, 109.0)]
    race = Race(Settings(3, turn_s=1.0))
    while isinstance(step := race.next(), Step) and step.round <= len(rows):
        race.add(Turn(step.arm, step.round, rows[step.round - 1][step.arm], 1.0))
        if len(race.turns) == 2 * 3:
            assert race.answer().standings[1].place is Place.SAME
    assert race.left == (0, 2)
    answer = race.answer()
    assert (answer.best, answer.standings[1].place) == (2, Place.NOT_TOLD_APART)


def after_arm_1_left_as_the_same(rounds: Sequence[Sequence[float | None]], bounded: int | None = None) -> Answer:
    """The answer after these rounds, of which the second makes arm 1 leave as the same as arm 0."""
    race = Race(Settings(len(rounds[0]), turn_s=1.0))
    while isinstance(step := race.next(), Step) and step.round <= len(rounds):
        value = rounds[step.round - 1][step.arm]
        race.add(Turn(step.arm, step.round, value, 1.0, at_least=step.arm == bounded))
        if len(race.turns) == 2 * len(rounds[0]):
            assert [standing.place for standing in race.answer().standings[:2]] == [Place.BEST, Place.SAME]
    answer = race.answer()
    assert answer.best == 2
    assert answer.standings[1].left_after == 2
    return answer


def test_an_arm_that_left_as_the_same_is_the_same_as_another_best_within_the_margin() -> None:
    # The arms are 0.75% apart, and a difference of 1.5% is not known well enough. Then arm 0 fails twice.
    rows = [(100.83, 100.0, 99.17), (100.67, 100.0, 99.33), (None, 0.0, 99.0), (None, 0.0, 99.0)]
    answer = after_arm_1_left_as_the_same(rows)
    assert [standing.place for standing in answer.standings] == [Place.FAILED, Place.SAME, Place.BEST]


def test_no_arm_is_the_same_as_a_best_that_may_be_better_than_its_values() -> None:
    # Arm 2 is 1% behind arm 1 in their common rounds, which is within the margin of 3%, and passes arm 0 later.
    rows = [(100.0, 99.98, 99.0), (100.0, 100.01, 99.0), (100.0, 0.0, 103.0), (100.0, 0.0, 103.0)]
    assert after_arm_1_left_as_the_same(rows, bounded=2).standings[1].place is Place.NOT_TOLD_APART


def test_no_arm_is_the_same_as_the_best_while_the_noise_is_unknown() -> None:
    # The two first rounds leave one degree of freedom. The rounds of arm 3, which no other arm shares, use it up.
    rows = [(100.0, 100.0, 98.0, 0.0), (100.0, 99.974, 0.0, 0.0), (None, 0.0, None, 80.0), (None, 0.0, 0.0, 80.0)]
    answer = after_arm_1_left_as_the_same(rows)
    assert (answer.standings[1].place, answer.standings[1].against_best) == (Place.NOT_TOLD_APART, None)
    assert answer.noise is None


def test_one_failure_is_an_accident_and_two_make_a_failed_arm() -> None:
    race, _ = race_of(lambda arm, r: None if arm == 1 or (arm == 2 and r == 1) else 90.0 + arm + wobble(arm, r), 3,
                      budget_s=300)  # fmt: skip
    places = {standing.arm: standing.place for standing in race.answer().standings}
    assert places[1] is Place.FAILED
    assert places[2] is not Place.FAILED
    assert sum(turn.arm == 1 for turn in race.turns) == 2


def test_nothing_works() -> None:
    race, ending = race_of(lambda arm, r: None, 2)
    assert ending is Ending.NOTHING_WORKS
    assert race.answer().best is None


def test_if_the_last_arm_breaks_down_the_best_of_the_others_is_the_best() -> None:
    race, _ = race_of(lambda arm, r: 40.0 if arm else (None if r > 1 else 100.0), 2)
    assert (race.answer().best, race.answer().standings[0].place) == (1, Place.FAILED)


def test_a_single_arm_is_visited_twice() -> None:
    race, ending = race_of(lambda arm, r: 10.0, 1)
    assert (order(race), ending, race.answer().gain) == ([(0,), (0,)], Ending.DECIDED, None)


def test_it_ends_where_the_budget_has_no_room_for_a_pair_of_rounds() -> None:
    noisy = {0: 100.0, 1: 104.0}
    race, ending = race_of(lambda arm, r: noisy[arm] * math.exp(wobble(arm, r, 0.1)), 2, budget_s=100)
    assert (ending, race.seconds) == (Ending.BUDGET, 80.0)
    race, ending = race_of(lambda arm, r: noisy[arm] * math.exp(wobble(arm, r, 0.1)), 2)
    assert (ending, len(order(race))) == (Ending.ROUNDS, MOST_ROUNDS)


def test_the_first_two_rounds_are_made_whatever_the_budget() -> None:
    race, ending = race_of(lambda arm, r: 100 * math.exp(wobble(arm, r, 0.1)), 5, budget_s=1)
    assert (len(order(race)), ending) == (2, Ending.BUDGET)


def test_a_race_goes_on_from_its_turns() -> None:
    whole, _ = race_of(lambda arm, r: (100 - 7 * arm) * math.exp(wobble(arm, r)), 5, budget_s=500)
    for made in range(len(whole.turns)):
        step = Race(whole.settings, whole.turns[:made]).next()
        assert isinstance(step, Step)
        assert (step.arm, step.round) == (whole.turns[made].arm, whole.turns[made].round)
    assert Race(whole.settings, whole.turns).answer() == whole.answer()


def test_the_gain_is_over_the_default() -> None:
    race, _ = race_of(lambda arm, r: (100 + 20 * arm) * math.exp(wobble(arm, r, 0.002)), 3)
    answer = race.answer()
    assert answer.best == 2
    assert answer.gain is not None
    assert answer.gain.low < 0.4 < answer.gain.high
    assert answer.gain.high - answer.gain.low < 0.1


def test_the_noise_is_what_arms_and_rounds_do_not_explain() -> None:
    additive = [{arm: 1.0 * arm + 0.5 * r for arm in range(4)} for r in range(3)]
    found = noise(additive)
    assert found is not None
    assert (found.sd < 1e-5, found.degrees) == (True, 6)
    # One value moved by e: its residual variance is e^2 (1 - leverage) over the degrees of freedom.
    moved = [dict(row) for row in additive]
    moved[1][2] += 0.6
    found = noise(moved)
    assert found is not None
    assert found.sd**2 == pytest.approx(0.36 * (1 - (4 + 3 - 1) / 12) / 6, rel=1e-6)
    assert noise([{0: 1.0, 1: 2.0}]) is None


def test_an_unsteady_arm_counts_with_its_own_spread() -> None:
    rows: Sequence[dict[int, float]] = [{0: 0.0, 1: 0.4 * (-1) ** r} for r in range(6)]
    lead = gap(rows, 0, 1, Noise(0.01, 30))
    assert lead is not None
    assert (lead.degrees, lead.error) == (5, pytest.approx(0.4 * math.sqrt(6 / 5 / 6)))
    few = gap(rows[:3], 0, 1, Noise(0.01, 30))
    assert few is not None
    assert (few.degrees, few.error) == (30, pytest.approx(0.4 * math.sqrt(4 / 3 / 3)))


def test_levels_add_up_to_alpha_over_any_number_of_looks() -> None:
    assert math.fsum(level(0.05, look, 1) for look in range(1, 10_000)) == pytest.approx(0.05, rel=1e-3)
    assert level(0.05, 1, 20) == pytest.approx(0.05 / 40)


def test_a_default_that_is_far_behind_leaves_after_its_second_round() -> None:
    race = Race(Settings(4, budget_s=400.0, turn_s=10.0))
    while isinstance(step := race.next(), Step) and step.round < 4:
        noisy = 0.5 if (step.arm, step.round) == (2, 2) else 0.0
        race.add(Turn(step.arm, step.round, (100.0 if step.arm else 20.0) * math.exp(noisy), 10.0))
    assert [0 in turns for turns in order(race)] == [True, True, False]


def test_the_value_of_an_arm_is_the_geometric_mean_of_its_values_above_0() -> None:
    values = ((0, 1, 0.25), (1, 1, 0.2), (1, 2, 0.0), (0, 2, 1.0))
    race = Race(Settings(2), [Turn(arm, round_, value, 1.0) for arm, round_, value in values])
    answer = race.answer()
    assert [standing.value for standing in answer.standings] == pytest.approx([0.5, 0.2])
    assert answer.best == 0


def test_an_arm_without_a_turn_was_not_tried_and_one_without_a_value_has_failed() -> None:
    race = Race(Settings(3), [Turn(0, 1, 100.0, 1.0), Turn(1, 1, None, 1.0)])
    assert [standing.place for standing in race.answer().standings] == [Place.BEST, Place.FAILED, Place.UNTRIED]


@pytest.mark.parametrize(
    ("arms", "budget_s", "rounds"),
    [(3, 114.2, 2), (3, 114.3, 4), (3, 171.4, 4), (3, 171.5, 6), (2, 1.0, 4), (2, 152.3, 4), (2, 152.4, 8)],
)
def test_a_block_of_rounds_may_end_five_percent_late(arms: int, budget_s: float, rounds: int) -> None:
    # A pair of rounds with three arms takes 60 s. Two pairs end at 120 s, which is 1.05 x 114.29 s, and three at 180 s,
    # 1.05 x 171.43 s. With two arms, four rounds take 80 s, and eight 1.05 x 152.38 s.
    speed = (100.0, 104.0, 102.0)
    race, ending = race_of(lambda arm, r: speed[arm] * math.exp(wobble(arm, r, 0.1)), arms, budget_s=budget_s)
    assert (len(order(race)), ending) == (rounds, Ending.BUDGET)


def test_how_long_a_round_takes_is_what_turns_took_so_far() -> None:
    def next_after(seconds: float) -> Step | Ending:
        turns = [
            Turn(arm, round_, 100.0 + 9 * arm * (-1) ** round_, seconds)
            for round_, arm in ((1, 0), (1, 1), (2, 1), (2, 0), (3, 1), (3, 0), (4, 0), (4, 1))
        ]
        return Race(Settings(2, budget_s=200.0, turn_s=30.0), turns).next()

    assert isinstance(next_after(10.0), Step)
    assert next_after(20.0) is Ending.BUDGET
    # Turns from older files have no length. Then four rounds of two arms take 240 s.
    assert next_after(0.0) is Ending.BUDGET


def test_finalists_are_three_at_most_and_none_before_the_second_round() -> None:
    for arms, finals in ((3, [False, True, True]), (4, [False, False, False])):
        race, found = Race(Settings(arms)), list[bool]()
        while isinstance(step := race.next(), Step) and step.round < 4:
            if len(found) < step.round:
                found.append(step.final)
            race.add(Turn(step.arm, step.round, 100 * math.exp(wobble(step.arm, step.round, 0.2)), 1.0))
        assert found == finals


def test_the_time_that_is_left_is_that_of_the_budget_or_of_a_block_of_rounds() -> None:
    turns = [Turn(0, 1, 1.0, 30.0)]
    assert Race(Settings(3, budget_s=200.0), turns).time_left_s() == 170
    # A block of rounds is always completed: with three arms, two turns are left in this round and three in the next;
    # with two arms, one and six.
    assert Race(Settings(3, budget_s=20.0), turns).time_left_s() == 5 * 30
    assert Race(Settings(2, budget_s=20.0), turns).time_left_s() == 7 * 30
    assert Race(Settings(2, budget_s=20.0)).time_left_s() == 8 * 60
    assert Race(Settings(2)).time_left_s() == 3_600
    ended = [Turn(arm, round_, 1.0 + round_ * arm, 30.0) for round_ in (1, 2, 3, 4) for arm in (0, 1)]
    assert Race(Settings(2, budget_s=20.0), ended[:7]).time_left_s() == 30
    assert Race(Settings(2, budget_s=20.0), ended).time_left_s() == 0
    alike = [Turn(arm, n, 100 * math.exp(wobble(arm, n, 0.1)), 30.0) for n in range(1, 7) for arm in (0, 1)]
    assert Race(Settings(2, budget_s=20.0), alike).time_left_s() == 4 * 30  # The fifth and sixth rounds form a block.


def test_after_a_single_round_nothing_is_proven() -> None:
    answer = Race(Settings(3), [Turn(arm, 1, value, 1.0) for arm, value in enumerate((90.0, 100.0, 20.0))]).answer()
    assert [standing.place for standing in answer.standings] == [Place.NOT_TOLD_APART, Place.BEST, Place.FAR_BEHIND]
    assert [standing.against_best for standing in answer.standings] == [None, None, None]
    assert (answer.gain, answer.noise) == (None, None)


@pytest.mark.parametrize(
    ("values", "bounded", "places"),
    [
        # An arm without a found edge may hold more than the best, or as much as an equal arm.
        ((20.0, 26.0, 15.0), {0}, (Place.NOT_TOLD_APART, Place.BEST, Place.WORSE)),
        ((40.0, 40.0, 38.0), {0, 1}, (Place.BEST, Place.NOT_TOLD_APART, Place.NOT_TOLD_APART)),
        ((8.0, 26.1, 26.0), {0}, (Place.NOT_TOLD_APART, Place.BEST, Place.SAME)),
        ((20.0, 26.0, 15.0), set(), (Place.WORSE, Place.BEST, Place.WORSE)),
    ],
)
def test_an_arm_with_a_lower_bound_is_neither_worse_nor_the_same(
    values: Sequence[float], bounded: set[int], places: Sequence[Place]
) -> None:
    race = Race(Settings(3, budget_s=240.0, turn_s=10.0))
    while isinstance(step := race.next(), Step):
        at_least = step.arm in bounded
        value = values[step.arm] * math.exp(0.0 if at_least else wobble(step.arm, step.round, 0.001))
        race.add(Turn(step.arm, step.round, value, 10.0, at_least=at_least))
    answer = race.answer()
    assert tuple(standing.place for standing in answer.standings) == places
    changes = [standing.against_best for standing in answer.standings]
    best = places.index(Place.BEST)
    assert all(changes[arm] is None for arm in bounded)
    assert best not in bounded or changes == [None] * 3
    if bounded and best:
        assert answer.gain is None, "the default may hold more"
