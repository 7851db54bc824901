"""What a single visit shows: evidence, hints, and where scouts go next."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.load_search.evidence import counts, hint_fails, hints, judge, kept_objectives, visits
from bench.load_search.goals import Goal
from bench.load_search.scouting import domain, lower, next_load
from bench.statistics.capacity import Mean
from tests.support.made_visits import ERRORS, MEAN, P99, TPOT, in_turn, made_visit


def scout(load: float = 8.0, share: float = 0.0, **changes: Any) -> Any:
    return made_visit(1, load, share, **({"phase": "scout"} | changes))


@pytest.mark.parametrize("verdict", ["INVALID", "FAILED"])
def test_invalid_and_failed_visits_are_no_evidence(verdict: str) -> None:
    lost = made_visit(1, 40.0, 1.0, verdict=verdict)
    assert not counts(lost)
    assert visits([lost]) == []
    assert judge((P99,), [lost]) == []


def test_suspect_visits_are_evidence() -> None:
    assert visits([seen := made_visit(1, 40.0, verdict="SUSPECT")]) == [seen]


def test_scouts_are_hints_and_no_evidence() -> None:
    one, again = scout(), made_visit(2, 8.0, phase="again")
    assert visits([one, again]) == [again]
    assert hints([one, again]) == [one]
    assert judge((P99,), [one]) == []


def test_a_failed_visit_is_a_hint_to_look_lower_and_an_invalid_one_is_none() -> None:
    failed, invalid = made_visit(1, 8.0, verdict="FAILED"), scout(verdict="INVALID")
    assert hints([failed, invalid]) == [failed]
    assert hint_fails((P99,), failed)
    assert hint_fails((P99,), scout(verdict="FAILED"))


def test_a_scout_that_judged_too_few_jobs_is_no_hint() -> None:
    goal = Goal("job:p90<60s", 0.1)
    few = scout(goal=goal, jobs={goal.text: 9})
    assert hints([few]) == []
    assert hints([scout(goal=goal, jobs={goal.text: 10})]) != []
    two = {goal.text: 10, "job:p50<9s": 9}
    assert hints([scout(jobs=two, violations=two)]) == []


@pytest.mark.parametrize(
    ("goal", "requests", "violations", "fails"),
    [
        # More than 20%, however few requests; for a median, more than three times the odds, which is 75%.
        (P99, 40, 8, False),
        (P99, 40, 9, True),
        (Goal("ttft:p50<1s", 0.5), 40, 30, False),
        (Goal("ttft:p50<1s", 0.5), 40, 31, True),
        (TPOT, 40, 10, False),  # 25% are three times the odds of a tenth.
        (TPOT, 40, 11, True),
        # Certainly more than allowed: a deviance of 9 x 15, with D = 3 x 5. For 90 of 2,000 it is 133.2, for 91 136.3.
        (P99, 2_000, 90, False),
        (P99, 2_000, 91, True),
        (P99, 2_000, 0, False),
        (P99, 0, 0, False),
    ],
)
def test_a_scout_fails_where_clearly_more_is_broken_than_is_allowed(
    goal: Goal, requests: int, violations: int, fails: bool
) -> None:
    seen = scout(goal=goal, requests=requests, violations={goal.text: violations}, act={goal.text: 5.0})
    assert hint_fails((goal,), seen) is fails


def test_dependence_makes_a_share_less_significant_and_d_is_ten_at_least() -> None:
    # 76 of 2,000, with 20 allowed: a deviance of 2 (76 ln 3.8 + 1,924 ln(0.962 / 0.99)) = 92.5. For 75 it is 89.8.
    def fails(violations: int, act: dict[str, float]) -> bool:
        return hint_fails((P99,), scout(requests=2_000, violations={P99.text: violations}, act=act))

    for little in ({}, {P99.text: 1.0}, {P99.text: 3.3}):
        assert (fails(75, little), fails(76, little)) == (False, True)
    assert not fails(76, {P99.text: 3.5})


def test_a_scout_fails_where_requests_pile_up_or_a_mean_is_a_fifth_over_its_limit() -> None:
    assert hint_fails((P99,), scout(kept_up=False))
    assert not hint_fails((P99,), scout(kept_up=None))

    def mean(ratio: float) -> bool:
        return hint_fails((MEAN, P99), scout(means={MEAN.text: Mean(8.0, ratio, 0.02)}))

    assert (mean(0.18), mean(math.log(1.2)), mean(0.19)) == (False, False, True)  # ln 1.2 = 0.182
    assert hint_fails((MEAN, P99), scout(share=0.5, means={MEAN.text: Mean(8.0, 0.0, 0.02)}))
    assert not hint_fails((MEAN,), scout())


def test_one_broken_objective_of_several_is_enough() -> None:
    seen = scout(0.5, violations={P99.text: 0, ERRORS.text: 4_000})
    assert hint_fails((P99, ERRORS), seen)
    assert hint_fails((ERRORS, P99), seen)
    assert not kept_objectives((P99, ERRORS), seen)
    assert not kept_objectives((ERRORS, P99), seen)
    assert kept_objectives((P99,), seen)


def test_a_visit_keeps_an_objective_of_which_just_as_much_is_broken_as_is_allowed() -> None:
    assert kept_objectives((P99,), made_visit(1, 8.0, 0.01))
    assert not kept_objectives((P99,), made_visit(1, 8.0, 0.01025))
    assert kept_objectives((P99,), made_visit(1, 8.0, requests=0))
    means = {MEAN.text: Mean(8.0, 0.0, 0.02)}
    assert kept_objectives((MEAN,), made_visit(1, 8.0, means=means))
    assert not kept_objectives((MEAN,), made_visit(1, 8.0, means={MEAN.text: Mean(8.0, 1e-6, 0.02)}))
    assert kept_objectives((MEAN,), made_visit(1, 8.0))


def test_a_visit_in_which_requests_piled_up_is_judged_by_its_repetition() -> None:
    piled, again = made_visit(1, 30.0, kept_up=False), made_visit(2, 30.0, phase="again")
    assert judge((P99,), [piled]) == []
    assert judge((P99,), [piled, again]) == [(again, True)]
    twice = made_visit(2, 30.0, phase="again", kept_up=False)
    assert judge((P99,), [piled, twice]) == [(twice, False)]
    # A visit that also broke an objective needs no repetition.
    broken = made_visit(1, 30.0, 0.3, kept_up=False)
    assert judge((P99,), [broken]) == [(broken, False)]
    closed = made_visit(1, 30.0, kept_up=None)
    assert judge((P99,), [closed]) == [(closed, True)]


def test_visits_keep_the_order_of_time() -> None:
    results = in_turn(("scout", 1, 0), ("visit", 9, 0.3), ("visit", 4, 0.0), ("again", 4, 0.0))
    assert [(result.n, held) for result, held in judge((P99,), results)] == [(2, False), (3, True), (4, True)]


# Where scouts go.


def test_the_next_load_doubles_while_nothing_breaks() -> None:
    assert next_load({}, [1.0, 4.0, 2.0], 0.1, 100.0) == 8.0
    assert next_load({}, [99.0], 0.1, 100.0) == 198.0  # The search keeps it within its limits.
    assert next_load({}, [100.0], 0.1, 100.0) is None
    assert next_load({}, [], 0.1, 100.0) is None


def test_the_next_load_halves_while_all_breaks_down_to_the_lowest() -> None:
    failed = {load: scout(load, 1.0, seconds=0.0) for load in (4.0, 8.0)}
    assert next_load(failed, [], 0.1, 100.0) == 2.0
    assert next_load(failed, [9.0, 16.0], 0.1, 100.0) == 2.0  # A load that held does not count if a lower load failed.
    assert next_load(failed, [], 4.0, 100.0) is None
    assert next_load(failed, [], 3.9, 100.0) == 2.0


def test_a_wide_gap_is_scouted_in_its_middle() -> None:
    assert next_load({2.5: scout(2.5)}, [1.0], 0.1, 100.0) is None
    assert next_load({2.56: scout(2.56)}, [0.5, 1.0], 0.1, 100.0) == pytest.approx(1.6)
    assert next_load({100.0: scout(100.0)}, [1.0], 0.1, 100.0) == 2.0


def test_below_an_overload_a_search_looks_at_what_the_server_delivered() -> None:
    def seconds(taken: float) -> float:
        return lower(scout(80.0, settle_s=5.0, measure_s=15.0, seconds=taken))

    assert seconds(22.0) == 40.0
    assert seconds(0.0) == 40.0
    # 20 s at 80/s took 80 s.
    assert seconds(80.0) == 20.0
    assert seconds(1_000.0) == 5.0
    assert lower(scout(80.0, settle_s=0.1, measure_s=0.3, seconds=1.0)) == pytest.approx(32.0)


def test_the_domain_is_from_a_load_that_held_to_one_that_failed() -> None:
    def of(*rows: tuple[float, float]) -> tuple[float, float]:
        return domain((P99,), [scout(load, share) for load, share in rows], 0.5)

    assert of((8.0, 0.0), (16.0, 0.0), (32.0, 0.9)) == pytest.approx((10.0, 38.4))
    assert of((32.0, 0.9), (64.0, 0.9), (16.0, 0.0)) == pytest.approx((10.0, 38.4))
    # At least twice the low end.
    assert of((16.0, 0.0), (17.0, 0.9)) == pytest.approx((10.0, 24.0))
    # No lower load held, so the domain starts at the least load.
    assert of((4.0, 0.9), (8.0, 0.0)) == pytest.approx((0.3125, 4.8))
    # Nothing failed, so the domain ends far above.
    assert of((8.0, 0.0)) == pytest.approx((5.0, 48.0))
    assert of() == pytest.approx((0.3125, 3.0))
