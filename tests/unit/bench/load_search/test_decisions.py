"""The next step of a search (scouts, domain, visits, ends), on servers that are formulas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from bench.errors import UsageError
from bench.load_search.conclusion import Conclusion, Kind, conclude
from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.goals import KEEPS_UP, Goal
from bench.load_search.search_file import from_json, required, to_json
from bench.load_search.visits import Result, Visit, times
from bench.results.search import RequiredLoad
from bench.statistics.capacity import Mean
from bench.statistics.keeps_up import InFlight
from tests.support.made_visits import in_turn, made_search, made_visit
from tests.support.searched_server import logistic

P99 = Goal("ttft:p99<500ms", 0.01)
TPOT = Goal("tpot:p90<50ms", 0.1)


def result_of(visit: Visit, shares: dict[Goal, Callable[[float], float]], **changes: object) -> Result:
    """The result of a visit to a server whose violations are exactly as frequent as expected."""
    n = max(40, round(visit.load * visit.measure_s))
    values: dict[str, object] = {
        "n": visit.n, "phase": visit.phase, "load": visit.load, "verdict": "VALID", "settle_s": visit.settle_s,
        "measure_s": visit.measure_s, "seconds": visit.settle_s + visit.measure_s + 3.0, "requests": n,
        "violations": {goal.text: round(share(visit.load) * n) for goal, share in shares.items()},
        "act": {goal.text: 20.0 for goal in shares}, "kept_up": True, "e2el_p90_s": 1.0,
    }  # fmt: skip
    return Result(**(values | changes))  # type: ignore[arg-type]


def play(search: Search, shares: dict[Goal, Callable[[float], float]], **changes: object) -> Ending:
    while not isinstance(step := search.next(), Ending):
        search.add(result_of(step, shares, **changes))
    return step


def settings(*goals: Goal, **changes: object) -> Settings:
    return Settings(**({"load_kind": "rate", "goals": goals or (P99,)} | changes))  # type: ignore[arg-type]


def test_scouts_double_until_one_fails_and_visits_close_in_on_the_capacity() -> None:
    search = Search(settings())
    assert play(search, {P99: logistic(38.0)}) in (Ending.PRECISION, Ending.BUDGET)
    assert [r.load for r in search.results if r.phase == "scout"] == [1, 2, 4, 8, 16, 32, 64]
    known = search.known()
    assert known is not None
    assert known.low < 38.0 < known.high
    assert known.estimate == pytest.approx(38.0, rel=0.03)
    assert known.binding == P99.text


def test_scouts_halve_from_a_start_that_fails() -> None:
    search = Search(settings(start=100.0))
    play(search, {P99: logistic(20.0)})
    assert [r.load for r in search.results if r.phase == "scout"] == [100, 50, 25, 12.5]


def test_visits_go_below_and_above_the_median_in_turn() -> None:
    search = Search(settings(precision=0.001, budget_s=3_000))
    play(search, {P99: logistic(38.0)})
    loads = [r.load for r in search.results if r.phase == "visit"][3:]
    sides = [load < 38.0 for load in loads]
    assert len(sides) > 6
    assert all(a != b for a, b in zip(sides[-6:], sides[-5:], strict=False))


def test_a_search_ends_by_precision_after_four_visits_at_the_earliest() -> None:
    search = Search(settings(precision=10.0))
    assert play(search, {P99: logistic(38.0)}) is Ending.PRECISION
    assert len([r for r in search.results if r.phase == "visit"]) == 4


def test_a_search_ends_within_its_budget_and_half_a_visit() -> None:
    search = Search(settings(precision=0.0001, budget_s=900))
    assert play(search, {P99: logistic(38.0)}) is Ending.BUDGET
    assert 820 < search.seconds < 950


def test_the_objective_with_the_lowest_capacity_binds() -> None:
    search = Search(settings(P99, TPOT))
    play(search, {P99: logistic(50.0), TPOT: logistic(30.0, 0.1)})
    known = search.known()
    assert known is not None
    assert known.binding == TPOT.text
    assert known.estimate == pytest.approx(30.0, rel=0.05)


def test_held_and_failed_are_visited_loads_that_are_sure() -> None:
    search = Search(settings(precision=0.02, budget_s=3_600))
    play(search, {P99: logistic(38.0)})
    known = search.known()
    assert known is not None
    assert known.held is not None
    assert known.failed is not None
    assert known.held[0] < 38.0 < known.failed[0]
    assert known.held[1] >= 0.95
    assert known.failed[1] <= 0.05


def test_whole_users_are_tried_on_either_side_of_a_small_capacity() -> None:
    search = Search(settings(load_kind="concurrency", least=1.0, precision=0.01))
    play(search, {P99: logistic(5.4, slope=60)}, kept_up=None)
    tried = {r.load for r in search.results if r.phase == "visit"}
    assert {5.0, 6.0} <= tried
    assert all(load.is_integer() for load in tried)


def test_nothing_that_holds_at_the_lowest_load_ends_the_search() -> None:
    search = Search(settings(start=4.0, least=1.0))
    assert play(search, {P99: lambda load: 0.9}) is Ending.NOTHING_HOLDS
    assert min(r.load for r in search.results) == 1.0
    assert "visit" in {r.phase for r in search.results}


def test_a_load_that_never_fails_ends_the_search_at_its_limit() -> None:
    search = Search(settings(most=50.0))
    assert play(search, {P99: lambda load: 0.0}) is Ending.NEVER_FAILS
    known = search.known()
    assert known is not None
    assert known.held is not None
    assert known.held[0] == 50.0
    assert max(r.load for r in search.results) == 50.0


@pytest.mark.parametrize(("kind", "most", "top"), [("rate", 1234.5, 1234.5), ("concurrency", 48.5, 48.0)])
def test_a_limit_between_two_numbers_of_users_ends_the_search_as_well(kind: str, most: float, top: float) -> None:
    search = Search(settings(load_kind=kind, least=1.0, most=most))
    assert play(search, {P99: lambda load: 0.0}) is Ending.NEVER_FAILS
    assert [r.load for r in search.results if r.phase == "visit"] == [top] * 2


def test_a_limit_that_surely_holds_ends_the_search_though_a_visit_broke_before() -> None:
    visits = [*in_turn(("scout", 20.0, 0.0)), made_visit(2, 40.0, 0.0105), *(made_visit(n, 40.0) for n in range(3, 9))]
    search = made_search(*visits, most=40.0, budget_s=9_000.0)
    assert search.bracketed
    assert search.next() is Ending.NEVER_FAILS
    assert conclude(search) == Conclusion(Kind.AT_LEAST, at_least=40.0)
    assert isinstance(made_search(*visits, most=80.0, budget_s=9_000.0).next(), Visit)


def test_three_invalid_visits_in_a_row_are_the_limit_of_the_client() -> None:
    search = Search(settings())
    for _ in range(3):
        step = search.next()
        assert isinstance(step, Visit)
        assert step.load == 1.0
        search.add(result_of(step, {P99: logistic(38.0)}, verdict="INVALID"))
    assert search.next() is Ending.CLIENT


def test_an_invalid_visit_counts_for_nothing_and_is_made_again() -> None:
    search = Search(settings())
    while isinstance(step := search.next(), Visit) and step.phase == "scout":
        search.add(result_of(step, {P99: logistic(38.0)}))
    search.add(result_of(step, {P99: lambda load: 1.0}, verdict="INVALID"))  # type: ignore[arg-type]
    again = search.next()
    assert isinstance(again, Visit)
    assert isinstance(step, Visit)
    assert (again.load, again.n) == (step.load, step.n + 1)


def test_a_wrong_scout_heals() -> None:
    """A scout at 8/s failed by bad luck; the server holds 38/s."""
    search = Search(settings(budget_s=1_800))
    for load, bad in ((1.0, False), (2.0, False), (4.0, False), (8.0, True)):
        step = search.next()
        assert isinstance(step, Visit)
        assert step.load == load
        search.add(result_of(step, {P99: (lambda _: 1.0) if bad else logistic(38.0)}))
    play(search, {P99: logistic(38.0)})
    known = search.known()
    assert known is not None
    assert known.low < 38.0 < known.high * 1.01


def test_a_visit_whose_requests_in_flight_grow_is_made_again_twice_as_long() -> None:
    search = Search(settings(TPOT))
    while isinstance(step := search.next(), Visit) and step.phase == "scout":
        search.add(result_of(step, {TPOT: logistic(90.0, 0.1)}))
    assert isinstance(step, Visit)
    search.add(result_of(step, {TPOT: logistic(90.0, 0.1)}, kept_up=False))
    again = search.next()
    assert isinstance(again, Visit)
    assert (again.phase, again.load, again.measure_s) == ("again", step.load, 2 * step.measure_s)
    assert KEEPS_UP not in search.estimates.posteriors
    search.add(result_of(again, {TPOT: logistic(90.0, 0.1)}, kept_up=False))
    known = search.known()
    assert known is not None
    assert known.binding == KEEPS_UP
    assert known.estimate < step.load * 1.05


def test_a_growing_backlog_is_not_tried_again_beyond_the_budget() -> None:
    search = Search(settings(TPOT))
    while isinstance(step := search.next(), Visit) and step.phase == "scout":
        search.add(result_of(step, {TPOT: logistic(90.0, 0.1)}))
    assert isinstance(step, Visit)
    left = search.settings.budget_s - search.seconds
    # With 5 s left, a visit of two minutes is not begun.
    search.add(result_of(step, {TPOT: logistic(90.0, 0.1)}, kept_up=False, seconds=left - 5.0))
    assert search.next() is Ending.BUDGET


def test_a_growing_backlog_is_not_tried_again_where_an_objective_failed_anyway() -> None:
    search = Search(settings())
    while isinstance(step := search.next(), Visit) and step.phase == "scout":
        search.add(result_of(step, {P99: logistic(38.0)}))
    assert isinstance(step, Visit)
    search.add(result_of(step, {P99: lambda load: 0.3}, kept_up=False))
    after = search.next()
    assert isinstance(after, Visit)
    assert after.phase == "visit"


@pytest.mark.parametrize(
    ("measure_s", "drained_s", "kept_up"),
    [(60.0, 2.0, True), (60.0, 60.0, False), (20.0, 2.0, None), (60.0, 30.0, True)],
)
def test_keeping_up_is_judged_over_a_time_that_can_show_it(
    measure_s: float, drained_s: float, kept_up: bool | None
) -> None:
    search = Search(settings())
    search.add(result_of(Visit(1, "scout", 1.0, 3.0, 30.0), {P99: logistic(38.0)}))
    visit = Visit(2, "visit", 30.0, 10.0, measure_s)
    assert search.kept_up(visit, InFlight((50.0, 51.0, 50.0), 1_800), drained_s, 2.0) is kept_up
    if kept_up:
        assert search.kept_up(visit, InFlight((50.0, 100.0, 190.0), 1_800), drained_s, 1.0) is False


def test_a_long_drain_is_a_pile_up_only_where_replies_got_slower() -> None:
    search = Search(settings())
    first = search.next()
    assert isinstance(first, Visit)
    steady = InFlight((50.0, 51.0, 50.0), 100)
    # The lengths of replies are unknown so far: they may be as long as the drain.
    assert search.kept_up(first, steady, 40.0, 1.1) is None
    assert search.kept_up(first, steady, 40.0, None) is None
    assert search.kept_up(first, steady, 40.0, 1.6) is False
    search.add(result_of(first, {P99: logistic(38.0)}, e2el_first_s=20.0, e2el_p90_s=60.0))
    # A drain of 40 s is normal after replies of 20 s. The limit is half of the sending time plus three replies.
    second = Visit(2, "scout", 2.0, 3.0, 10.0)
    assert search.kept_up(second, steady, 66.0, 1.6) is None
    assert search.kept_up(second, steady, 67.0, 1.6) is False


def test_a_scout_behind_which_a_backlog_grows_has_failed() -> None:
    search = Search(settings(TPOT))
    for kept_up in (True, True, True, False):
        step = search.next()
        assert isinstance(step, Visit)
        search.add(result_of(step, {TPOT: lambda load: 0.0}, kept_up=kept_up))
    step = search.next()
    assert isinstance(step, Visit)
    assert step.phase == "visit"
    assert 4.0 / 1.6 < step.load < 8.0 * 1.2


def test_an_objective_on_a_mean_is_found_too() -> None:
    goal = Goal("ttft:mean<200ms", None)
    search = Search(settings(goal, precision=0.05))
    while not isinstance(step := search.next(), Ending):
        ratio = 4 * math.log(step.load / 25.0)
        search.add(result_of(step, {}, means={goal.text: Mean(step.load, ratio, 0.03)}))
    known = search.known()
    assert known is not None
    assert known.low < 25.0 < known.high
    assert known.estimate == pytest.approx(25.0, rel=0.02)


def test_time_left_falls_with_the_width_and_never_exceeds_the_budget() -> None:
    search = Search(settings(precision=0.02))
    assert search.time_left_s() == 900.0
    play(search, {P99: logistic(38.0)})
    assert 0.0 <= search.time_left_s() <= 900.0 - search.seconds + 50


def test_time_left_is_that_of_the_budget_until_there_is_a_bracket() -> None:
    calm = in_turn(("scout", 32.0, 0.0), *[("visit", 32.0, 0.0)] * 3)
    search = made_search(*calm, most=32.0, budget_s=1_000.0)
    known = search.known()
    assert known is not None
    assert known.low == known.high
    assert search.time_left_s() == 1_000.0 - 4 * 72.0
    assert made_search(*calm, budget_s=200.0).time_left_s() == 0.0


def test_scouts_alone_say_nothing() -> None:
    search = Search(settings())
    assert search.known() is None
    for _ in range(7):
        step = search.next()
        assert isinstance(step, Visit)
        assert step.phase == "scout"
        search.add(result_of(step, {P99: logistic(38.0)}))
    assert search.known() is None
    assert required(search, conclude(search), 1.0) == RequiredLoad(load=1.0, probability=None, held=False)
    visit = search.next()
    assert isinstance(visit, Visit)
    search.add(result_of(visit, {P99: logistic(38.0)}))
    assert search.known() is not None


@pytest.mark.parametrize("cut", [0, 3, 9, 12])
def test_a_search_goes_on_from_its_file_as_if_it_had_never_stopped(cut: int) -> None:
    shares = {P99: logistic(38.0), TPOT: logistic(45.0, 0.1)}
    whole = Search(settings(P99, TPOT, precision=0.03))
    ending = play(whole, shares)
    begun = Search(whole.settings, whole.results[:cut])
    kept = json.loads(json.dumps(to_json(begun, "abc")))
    resumed = from_json(kept, "abc")
    assert resumed.results == begun.results
    assert play(resumed, shares) is ending
    assert resumed.results == whole.results


def test_the_file_holds_the_answer_for_other_programs() -> None:
    search = Search(settings(precision=0.03, budget_s=3_600))
    ending = play(search, {P99: logistic(38.0)})
    kept = to_json(search, "abc", ending)
    known = search.known()
    assert known is not None
    assert kept["capacity"] == {"estimate": known.estimate, "low": known.low, "high": known.high}
    assert kept["binding"] == P99.text
    assert kept["stopped_by"] == str(ending)
    assert kept["objectives"] == [{"text": P99.text, "allowed": 0.01}]
    assert kept["held"]["probability"] >= 0.95
    assert {"n", "load", "run_dir", "requests", "violations", "act", "verdict", "settle_s", "measure_s"} <= set(
        kept["visits"][0]
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 99}, "start afresh"),
        ({"config_sha256": "other"}, "another configuration"),
        ({"visits": [{"n": 1}]}, "damaged"),
        ({"settings": {"speed": 3}}, "damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(change: dict[str, object], says: str) -> None:
    kept = to_json(Search(settings()), "abc") | change
    with pytest.raises(UsageError, match=says):
        from_json(kept, "abc")


@pytest.mark.parametrize(
    ("phase", "rate", "e2el_s", "budget_s", "settle_s", "measure_s"),
    [
        ("scout", 1.0, None, 900.0, 3.0, 20.0),
        ("scout", 0.1, None, 900.0, 3.0, 40.0),
        ("scout", None, None, 900.0, 3.0, 10.0),
        ("scout", 0.1, None, 450.0, 1.5, 20.0),
        ("scout", 1.0, None, 450.0, 1.5, 10.0),
        ("scout", 100.0, None, 450.0, 1.5, 5.0),
        ("scout", 100.0, None, 9.0, 0.03, 0.1),
        ("scout", 100.0, 4.0, 900.0, 4.0, 10.0),
        ("scout", 100.0, 30.0, 900.0, 30.0, 15.0),
        ("visit", 40.0, 1.0, 900.0, 10.0, 60.0),
        ("visit", 40.0, 40.0, 900.0, 80.0, 100.0),
        ("visit", 1.0, 1.0, 900.0, 10.0, 200.0),
        ("visit", 0.1, 1.0, 900.0, 10.0, 300.0),
        ("again", 40.0, 1.0, 900.0, 10.0, 120.0),
        ("visit", None, 1.0, 900.0, 10.0, 60.0),
        ("visit", 40.0, 0.1, 90.0, 1.0, 6.0),
        ("visit", 40.0, 4.0, 90.0, 8.0, 10.0),
        ("visit", 40.0, 1.0, 3_600.0, 10.0, 60.0),
    ],
)
def test_visits_last_as_long_as_their_rules_say(
    phase: str, rate: float | None, e2el_s: float | None, budget_s: float, settle_s: float, measure_s: float
) -> None:
    assert times(phase, rate, e2el_s, budget_s) == pytest.approx((settle_s, measure_s))  # type: ignore[arg-type]
