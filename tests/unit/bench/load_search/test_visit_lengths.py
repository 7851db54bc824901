"""How long visits last, how many fit the budget, and which scouts still count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.load_search.decisions import Ending, Search
from bench.load_search.visits import Visit, first_p90_s, jobs_per_s, pause_s, times
from bench.statistics.capacity import Domain, Posterior, Share, of_shares
from tests.support.made_visits import MEAN, P99, in_turn, made_search, made_visit
from tests.unit.bench.load_search.test_conclusion import CALM, SCOUTS


def asked(search: Search) -> Visit:
    step = search.next()
    assert isinstance(step, Visit)
    return step


@pytest.mark.parametrize(("budget_s", "seconds"), [(450.0, 1.0), (900.0, 2.0), (3_600.0, 2.0)])
def test_the_pause_between_visits_is_two_seconds_and_shorter_in_a_small_budget(budget_s: float, seconds: float) -> None:
    assert pause_s(budget_s) == seconds


# Changes within a visit.


def test_the_first_requests_are_a_tenth_and_at_least_ten() -> None:
    took = np.array([1.0] * 10 + [60.0] * 90)
    assert first_p90_s(np.arange(100.0), took) == 1.0
    assert first_p90_s(np.arange(100.0)[::-1], took) == 60.0
    # The first tenth counts, at least ten: twenty of 200, ten of 50. The p90 of 1, 2, ... 10 is 9.1, of 1, 2, ... 20
    # 18.1.
    assert first_p90_s(np.arange(200.0), np.array([1.0] * 10 + [9.0] * 190)) == 9.0
    assert first_p90_s(np.arange(200.0), np.arange(1.0, 201.0)) == pytest.approx(18.1)
    assert first_p90_s(np.arange(50.0), np.arange(1.0, 51.0)) == pytest.approx(9.1)
    assert first_p90_s(np.arange(10.0), np.arange(1.0, 11.0)) == pytest.approx(9.1)
    assert first_p90_s(np.arange(9.0), np.ones(9)) is None


def test_a_reply_alone_takes_as_long_as_the_least_that_any_visit_saw_first() -> None:
    search = made_search(made_visit(1, 4.0, e2el_p90_s=30.0, e2el_first_s=8.0), made_visit(2, 2.0, e2el_p90_s=9.0,
                         e2el_first_s=None), made_visit(3, 2.0, e2el_p90_s=None, e2el_first_s=None))  # fmt: skip
    assert search._alone_s() == 8.0
    assert made_search()._alone_s() is None
    assert made_search(made_visit(1, 2.0, e2el_p90_s=9.0, e2el_first_s=None))._alone_s() == 9.0


def test_the_length_of_replies_is_that_of_the_closest_load_below_which_nothing_broke() -> None:
    search = made_search(
        made_visit(1, 8.0, e2el_p90_s=2.0), made_visit(2, 16.0, e2el_p90_s=4.0), made_visit(3, 12.0, 0.9, e2el_p90_s=60.0),
        made_visit(4, 14.0, e2el_p90_s=None),
    )  # fmt: skip
    expected = {4.0: 2.0, 8.0: 2.0, 12.0: 2.0, 15.0: 2.0, 15.3: 4.0, 16.0: 4.0, 90.0: 4.0}
    assert {load: search._e2el_s(load) for load in expected} == expected
    assert made_search(made_visit(3, 12.0, 0.9, e2el_p90_s=60.0))._e2el_s(12.0) is None
    # A visit at a twentieth above the load still counts.
    assert made_search(made_visit(1, 8.0, e2el_p90_s=2.0), made_visit(2, 21.0, e2el_p90_s=4.0))._e2el_s(20.0) == 4.0


# The budget.


def test_a_visit_shrinks_to_leave_room_for_two() -> None:
    def first(budget_s: float, spent_s: float, e2el_s: float | None = 1.0) -> Visit:
        scouts = in_turn(*SCOUTS, seconds=spent_s / 7, e2el_p90_s=e2el_s)
        return asked(made_search(*scouts, budget_s=budget_s))

    # A full visit takes 10 s to settle, 60 s to measure, 1 s for the last reply and 2 s of pause: 73 s.
    assert (first(900.0, 700.0).settle_s, first(900.0, 700.0).measure_s) == (10.0, 60.0)
    assert first(900.0, 900.0 - 146.0).measure_s == pytest.approx(60.0)
    assert first(900.0, 900.0 - 126.0).measure_s == pytest.approx(50.0)
    assert first(900.0, 900.0 - 100.0).measure_s == pytest.approx(37.0)
    # Not shorter than a third of that, or than a reply.
    assert first(900.0, 880.0).measure_s == pytest.approx(20.0)
    assert first(900.0, 880.0, 23.0).measure_s == pytest.approx(23.0)
    assert first(900.0, 880.0, 23.0).settle_s == pytest.approx(46.0)
    # A thirtieth of the usual times, and unknown replies: two visits of 1/3 + m + 1/15 s in 2.6 s.
    assert first(30.0, 27.4, None).measure_s == pytest.approx(0.9)


def after(visits: int, left_s: float) -> Visit | Ending:
    """The step after scouts and this many visits, with this much of the budget left."""
    rows = [("visit", 38.0 - 0.1 * n, 0.02 * (n % 2)) for n in range(visits)]
    seconds = (900.0 - left_s) / (len(SCOUTS) + visits)
    return made_search(*in_turn(*SCOUTS, *rows, seconds=seconds)).next()


def test_the_second_visit_has_all_that_is_left_and_the_third_its_full_length() -> None:
    for left_s, measure_s in ((70.0, 57.0), (60.0, 47.0), (74.0, 60.0)):
        second = after(1, left_s)
        assert isinstance(second, Visit)
        assert second.measure_s == pytest.approx(measure_s)
    third = after(2, 60.0)
    assert isinstance(third, Visit)
    assert third.measure_s == 60.0


def test_a_visit_of_which_more_than_half_is_beyond_the_budget_is_not_begun() -> None:
    assert isinstance(after(3, 36.6), Visit)
    assert after(3, 36.4) is Ending.BUDGET
    just_half = in_turn(*SCOUTS, ("visit", 38.0, 0.0), ("visit", 37.9, 0.02), ("visit", 37.8, 0.0), seconds=90.0)
    assert isinstance(made_search(*just_half, budget_s=900.0 + 73.0 / 2).next(), Visit)
    # The first visit is made anyway, because scouts alone give no answer.
    assert isinstance(after(0, 5.0), Visit)
    assert made_search(*in_turn(("scout", 8.0, 0.0), ("scout", 16.0, 0.9), seconds=450.0)).next() is Ending.BUDGET


def test_the_last_room_of_a_budget_is_for_a_visit_and_not_for_a_scout() -> None:
    def step(left_s: float, *rows: tuple[str, float, float]) -> tuple[str, float]:
        visit = asked(made_search(*in_turn(*rows, seconds=(900.0 - left_s) / len(rows))))
        return visit.phase, visit.load

    # A scout takes 3 + 10 + 1 + 2 s, the shortest visit 10 + 20 + 1 + 2 s.
    assert step(49.1, *CALM) == ("scout", 64.0)
    assert step(48.9, *CALM) == ("visit", 32.0)
    assert step(49.0, ("scout", 32.0, 0.0)) == ("scout", 64.0)
    # The visit goes to the highest load at which nothing broke.
    assert step(48.9, ("scout", 32.0, 0.0), ("scout", 4.0, 0.0)) == ("visit", 32.0)
    # After a visit, scouts continue.
    assert step(30.0, *CALM, ("visit", 50.0, 0.0)) == ("scout", 100.0)
    # Nothing held so far, so there is no load for a visit.
    assert step(30.0, ("scout", 64.0, 0.9))[0] == "scout"


def test_a_budget_that_is_spent_ends_a_search_with_the_answer_that_the_last_visit_brought() -> None:
    rows = [*SCOUTS, *[("visit", 30.0, 0.0)] * 2, *[("visit", 40.0, 0.3)] * 2]
    search = made_search(*in_turn(*rows, seconds=100.0), precision=1.0)
    assert search.next() is Ending.PRECISION
    assert made_search(*in_turn(*rows, seconds=100.0), precision=0.001).next() is Ending.BUDGET
    assert made_search(*in_turn(*SCOUTS, seconds=150.0)).next() is Ending.BUDGET
    # The budget is spent while the search still scouts, so there is no answer.
    never = [*CALM, ("visit", 64.0, 0.0)]
    assert made_search(*in_turn(*never, seconds=150.0)).next() is Ending.BUDGET


def test_a_search_ends_at_the_lowest_load_only_where_it_is_sure_that_it_broke() -> None:
    unsure = made_search(*in_turn(("scout", 1.0, 0.9), ("visit", 1.0, 0.0105)), least=1.0)
    assert unsure.sure_of(1.0) > 0.05
    assert asked(unsure).load == 1.0
    sure = made_search(*in_turn(("scout", 1.0, 0.9), ("visit", 1.0, 0.3)), least=1.0)
    assert sure.next() is Ending.NOTHING_HOLDS
    higher = made_search(*in_turn(("scout", 1.0, 0.9), ("visit", 1.001, 0.3)), least=1.0)
    assert asked(higher).load == 1.0
    held = made_search(*in_turn(("scout", 1.0, 0.9), ("visit", 1.0, 0.0), *[("visit", 1.0, 0.3)] * 3), least=1.0)
    assert isinstance(held.next(), Visit)


def test_a_search_ends_at_the_highest_load_only_where_it_is_sure_that_it_held() -> None:
    calm = in_turn(*CALM)
    assert asked(made_search(*calm, made_visit(7, 32.0, 0.0095), most=32.0)).load == 32.0
    assert made_search(*calm, *(made_visit(n, 32.0) for n in (7, 8, 9)), most=32.0).next() is Ending.NEVER_FAILS
    assert isinstance(made_search(*calm, *(made_visit(n, 31.0) for n in (7, 8, 9)), most=32.0).next(), Visit)
    lower = made_visit(10, 20.0)
    assert made_search(*calm, *(made_visit(n, 32.0) for n in (7, 8, 9)), lower, most=32.0).next() is Ending.NEVER_FAILS


def test_a_search_that_is_resumed_with_a_lower_limit_than_its_scouts_held_visits_the_limit() -> None:
    assert asked(made_search(*in_turn(("scout", 1_000.0, 0.0)), most=10.0)).load == 10.0


# Scouts against visits.


def test_a_scout_that_failed_where_a_visit_held_is_no_hint_any_more() -> None:
    wrong = [("scout", 4.0, 0.0), ("scout", 8.0, 0.9)]
    before = made_search(*in_turn(*wrong, ("visit", 5.0, 0.0)))
    assert [result.load for result in before.estimates.hints] == [4.0, 8.0]
    assert before.scout_broke
    after = made_search(*in_turn(*wrong, ("visit", 5.0, 0.0), ("visit", 8.0, 0.0)))
    assert [result.load for result in after.estimates.hints] == [4.0]
    assert not after.scout_broke
    # The search continues from there by doubling.
    step = asked(after)
    assert (step.phase, step.load) == ("scout", 16.0)


def test_a_visit_that_broke_leaves_the_scouts_their_say() -> None:
    search = made_search(*in_turn(("scout", 4.0, 0.0), ("scout", 8.0, 0.9), ("visit", 9.0, 0.9)))
    assert [result.load for result in search.estimates.hints] == [4.0, 8.0]
    # Once a visit broke, no more scouts are needed.
    assert asked(search).phase == "visit"


def test_a_failed_visit_is_a_hint_and_breaks_nothing() -> None:
    search = made_search(made_visit(1, 4.0, phase="scout"), made_visit(2, 8.0, 1.0, phase="scout", verdict="FAILED"))
    assert [result.load for result in search.estimates.hints] == [4.0, 8.0]
    assert not search.scout_broke
    assert asked(search).load < 8.0


def test_a_load_is_not_scouted_twice_among_whole_users() -> None:
    rows = [("scout", 1.0, 0.0), ("scout", 2.0, 0.0), ("scout", 6.0, 0.9)]
    search = made_search(*in_turn(*rows, kept_up=None), load_kind="concurrency", least=1.0)
    assert (asked(search).phase, asked(search).load) == ("scout", 3.0)
    search.add(made_visit(4, 3.0, phase="scout", kept_up=None))
    assert asked(search).phase == "visit"


def test_three_lost_visits_in_a_row_end_a_search_since_it_was_resumed() -> None:
    lost = [made_visit(n, 1.0, verdict="INVALID", phase="scout") for n in (1, 2, 3)]
    assert isinstance(made_search(*lost).next(), Visit)
    search = made_search()
    for result in lost[:2]:
        search.add(result)
    assert isinstance(search.next(), Visit)
    search.add(lost[2])
    assert search.next() is Ending.CLIENT


def test_scouts_that_failed_go_on_down_and_visits_that_failed_end_a_search() -> None:
    search = made_search(*in_turn(*CALM), start=1.0)
    for n in (7, 8, 9):
        search.add(made_visit(n, 40.0, 1.0, phase="scout", verdict="FAILED"))
    assert isinstance(search.next(), Visit)
    for n in (10, 11, 12):
        search.add(made_visit(n, 36.0, 1.0, verdict="FAILED"))
    assert search.next() is Ending.TARGET
    mixed = made_search(*in_turn(*CALM), start=1.0)
    for n, verdict in ((7, "FAILED"), (8, "INVALID"), (9, "FAILED")):
        mixed.add(made_visit(n, 36.0, 1.0, verdict=verdict))
    assert isinstance(mixed.next(), Visit)


def test_a_visit_in_which_requests_piled_up_is_repeated_once() -> None:
    piled = made_visit(8, 35.0, kept_up=False)
    again = asked(made_search(*in_turn(*SCOUTS), piled))
    assert (again.phase, again.load, again.measure_s) == ("again", 35.0, 120.0)
    for kept_up in (True, False):
        repeated = made_visit(9, 35.0, kept_up=kept_up, phase="again")
        assert asked(made_search(*in_turn(*SCOUTS), piled, repeated)).phase == "visit"
    # The visit is repeated again if its repetition gave no evidence, and never if the first broke an objective.
    assert asked(made_search(*in_turn(*SCOUTS), piled, replace(repeated, verdict="INVALID"))).phase == "again"
    assert asked(made_search(*in_turn(*SCOUTS), made_visit(8, 35.0, 0.5, kept_up=False))).phase == "visit"


def test_a_bracket_needs_a_visit_that_held_and_two_visits() -> None:
    def bracketed(*rows: tuple[str, float, float]) -> bool:
        return made_search(*in_turn(*rows)).bracketed

    held, broke = ("visit", 35.0, 0.0), ("visit", 40.0, 0.3)
    assert bracketed(*SCOUTS, held, broke)
    assert bracketed(*SCOUTS, held, held)
    assert not bracketed(*SCOUTS, held)
    assert not bracketed(*SCOUTS, broke, broke)
    assert not bracketed(*CALM, held, held)
    assert not bracketed(*SCOUTS)


def test_before_a_visit_shows_its_dependence_d_is_twice_the_last_scouted_load() -> None:
    def estimate(*rows: tuple[str, float, float]) -> Posterior:
        return made_search(*in_turn(*rows, act={})).estimates.posteriors[P99.text]

    visits = [("visit", 35.0, 0.002), ("visit", 40.0, 0.02)]
    domain = Domain(32 / 1.6, 1.2 * 64)
    capacities = domain.grid(0.1, 100_000.0)
    shares = [Share(35.0, 4_000, 8), Share(40.0, 4_000, 80)]
    expected = of_shares(shares, 0.01, 128.0, capacities, domain=domain)
    assert estimate(*SCOUTS, *visits).mass == pytest.approx(expected.mass)
    few = of_shares(shares, 0.01, 64.0, capacities, domain=domain)
    assert estimate(*SCOUTS[:-2], SCOUTS[-1], SCOUTS[-2], *visits).mass == pytest.approx(few.mass)


# The time left.


def test_time_left_is_the_budget_until_there_is_a_bracket() -> None:
    search = made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0)))
    assert search.time_left_s() == pytest.approx(900.0 - 8 * 72.0)
    assert made_search(*in_turn(*SCOUTS, seconds=200.0)).time_left_s() == 0.0
    close = [("visit", 35.0, 0.0), ("visit", 42.0, 0.05), ("visit", 37.0, 0.004), ("visit", 40.0, 0.03)]
    search = made_search(*in_turn(*SCOUTS, *close), precision=0.04, budget_s=3_600.0)
    known = search.known()
    assert known is not None
    width = known.high / known.low - 1
    # Four visits of 72 s. The interval narrows with the root of their time.
    assert search.time_left_s() == pytest.approx(288.0 * ((width / 0.04) ** 2 - 1))
    assert made_search(*in_turn(*SCOUTS, *close), precision=0.5).time_left_s() == 0.0
    assert made_search(*in_turn(*SCOUTS, *close), precision=0.001).time_left_s() == pytest.approx(900.0 - 11 * 72.0)


# Certain loads.


def test_the_highest_sure_load_held_its_own_visit_and_the_lowest_that_is_not_held_broke_in_its_own() -> None:
    broke = [("visit", 42.0, 0.3)] * 2
    lucky = made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0), *broke), made_visit(11, 41.0, requests=50))
    known = lucky.known()
    assert known is not None
    assert lucky.sure_of(41.0) < 0.05
    assert (known.held and known.held[0], known.failed and known.failed[0]) == (35.0, 42.0)
    held = [("visit", 35.0, 0.0)] * 4
    unlucky = made_search(*in_turn(*SCOUTS, *held, *broke), made_visit(14, 35.5, 0.012, requests=500))
    known = unlucky.known()
    assert known is not None
    assert unlucky.sure_of(35.5) > 0.95
    assert (known.held and known.held[0], known.failed and known.failed[0]) == (35.0, 42.0)


# Jobs at the edges of a visit.


def test_jobs_that_can_be_judged_in_a_second_rise_with_the_sessions() -> None:
    first = made_visit(1, 4.0, measure_s=100.0, jobs={"a": 40, "b": 30})
    assert jobs_per_s([first], 4.0, 40.0) == pytest.approx(4 * 30 / (4 * 60))
    assert jobs_per_s([first, replace(first, load=8.0)], 12.0, 40.0) == pytest.approx(12 * 60 / (4 * 60 + 8 * 60))
    assert jobs_per_s([first, made_visit(2, 50.0)], 4.0, 40.0) == pytest.approx(4 * 30 / (4 * 60))
    assert jobs_per_s([first], 4.0, 100.0) is None
    assert jobs_per_s([replace(first, jobs={"a": 0})], 4.0, 40.0) is None
    assert jobs_per_s([made_visit(1, 4.0)], 4.0, 40.0) is None


def test_an_invalid_visit_does_not_say_how_many_jobs_come() -> None:
    lost = made_visit(1, 4.0, phase="scout", verdict="INVALID", measure_s=100.0, jobs={P99.text: 40})
    search = made_search(lost, load_kind="sessions", start=4.0, budget_s=7_200.0, judged_after_s=20.0)
    # Twice the time that a job needs to be judged. For 40 jobs in 80 s it would be 20 + 80 s.
    assert asked(search).measure_s == 40.0


def test_a_visit_of_jobs_lasts_until_enough_can_be_judged_within_an_eighth_of_the_budget() -> None:
    # At 0.5/s a scout needs 80 s for 40 jobs, after 20 s until the first can be judged. A visit needs 400 s for 200.
    assert times("scout", None, None, 7_200.0, 20.0, 0.5) == (3.0, 100.0)
    assert times("visit", None, None, 7_200.0, 20.0, 0.5) == (10.0, 420.0)
    assert times("visit", None, None, 1_600.0, 20.0, 0.5) == (10.0, 200.0)
    assert times("visit", None, None, 90.0, 1.0, 40.0)[1] == pytest.approx(6.0)
    # In proportion to the budget 200 jobs become 20, but at least 40.
    assert times("visit", None, None, 90.0, 1.0, 5.0)[1] == pytest.approx(9.0)
    assert times("visit", None, None, 450.0, 10.0, 1.0)[1] == pytest.approx(56.25)
    assert times("visit", None, 400.0, 900.0, 500.0) == (500.0, 1_500.0)


def test_whether_a_visit_broke_an_objective() -> None:
    search = made_search(goals=(P99, MEAN))
    assert not search.broke(made_visit(1, 8.0, 0.01))
    assert search.broke(made_visit(1, 8.0, 0.02))
    assert not search.broke(made_visit(1, 8.0, 0.02, requests=500, phase="scout"))
    assert search.broke(made_visit(1, 8.0, kept_up=False))


def test_a_load_that_held_is_tried_again_once_three_visits_since_then_have_broken() -> None:
    def step(*rows: tuple[str, float, float]) -> float:
        visit = made_search(*in_turn(*SCOUTS, *rows, seconds=20.0), precision=0.001).next()
        assert isinstance(visit, Visit)
        return visit.load

    held = [("visit", 29.0, 0.0), ("visit", 30.0, 0.0), ("visit", 28.0, 0.0)]
    broke = [("visit", load, 0.3) for load in (42.0, 41.0, 40.0)]
    assert step(*held, *broke) == 30.0
    assert step(*held, *broke, ("visit", 39.0, 0.3)) == 30.0
    assert step(*held, *broke[:2]) != 30.0
    assert step(*held, *broke, ("visit", 30.0, 0.0)) != 30.0
    assert step(*broke) not in (30.0, 29.0, 28.0)


@pytest.mark.parametrize(("requests", "broke"), [(29, False), (30, True)])
def test_a_scout_of_thirty_requests_shows_what_breaks(requests: int, broke: bool) -> None:
    scouts = [made_visit(1, 16.0, phase="scout"), made_visit(2, 32.0, 0.9, phase="scout", requests=requests)]
    search = made_search(*scouts)
    assert [result.load for result in search.estimates.hints] == [16.0, 32.0]
    assert search.scout_broke is broke
