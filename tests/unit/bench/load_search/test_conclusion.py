"""The conclusions from visits, which never go beyond the evidence."""

from __future__ import annotations

import pytest

from bench.load_search.conclusion import Conclusion, Kind, apart_in_time, conclude, holds
from bench.load_search.decisions import Search
from bench.load_search.goals import Goal
from bench.load_search.visits import Result, Visit
from bench.statistics.capacity import Mean
from bench.statistics.capacity_fit import Flat
from tests.support.made_visits import ERRORS, MEAN, P99, in_turn, made_search, made_visit

CALM = [("scout", load, 0.0) for load in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)]
SCOUTS = [*CALM, ("scout", 64.0, 0.9)]
CLOSE = [("visit", 35.0, 0.0), ("visit", 42.0, 0.05), ("visit", 37.0, 0.004), ("visit", 40.0, 0.03)]


def test_up_to_needs_a_visit_that_held_and_one_that_broke() -> None:
    found = conclude(made_search(*in_turn(*SCOUTS, *CLOSE)))
    assert (found.kind, found.answers) == (Kind.UP_TO, True)
    assert found.known is not None
    assert 35 < found.known.low < 38 < found.known.estimate < found.known.high < 40
    assert (found.at_least, found.below, found.flat, found.change) == (None, None, None, None)


def test_a_share_of_failures_that_rises_slowly_has_its_capacity() -> None:
    # A server that sheds load: above 20/s, the failures rise by 0.5% per request/s, to 5% at 30/s.
    shed = Goal("error_rate<5%", 0.05)
    search = made_search(goals=(shed,), start=2.0)
    while isinstance(visit := search.next(), Visit):
        requests = round(visit.load * visit.measure_s)
        share = min(max(visit.load - 20, 0.0) / 200, 1.0)
        search.add(
            made_visit(
                visit.n, visit.load, share, goal=shed, requests=requests, phase=visit.phase, act={shed.text: 1.0}
            )
        )
    found = conclude(search)
    assert found.known is not None
    assert found.known.low < 30 < found.known.high < 1.2 * found.known.low


def test_two_visits_that_held_below_a_scout_that_broke_are_a_bracket() -> None:
    search = made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0), ("visit", 40.0, 0.0)))
    found = conclude(search)
    assert found.kind is Kind.UP_TO
    assert found.known is not None
    assert found.known.high <= 64


def test_one_visit_below_a_scout_that_broke_must_be_sure_by_itself() -> None:
    unsure = made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0)))
    assert unsure.sure_of(35.0) < 0.95
    assert conclude(unsure) == Conclusion(Kind.NONE)
    assert not conclude(unsure).answers
    sure = made_search(*in_turn(*SCOUTS, ("visit", 20.0, 0.0)))
    assert sure.sure_of(20.0) >= 0.95
    assert conclude(sure) == Conclusion(Kind.AT_LEAST, at_least=20.0)


def test_at_least_is_the_highest_load_of_a_visit_that_held() -> None:
    found = conclude(made_search(*in_turn(*CALM, ("visit", 64.0, 0.0), ("visit", 40.0, 0.0), ("scout", 128.0, 0.0))))
    assert found == Conclusion(Kind.AT_LEAST, at_least=64.0)
    assert found.answers


def test_an_interval_above_every_load_that_was_tried_is_at_least() -> None:
    """One of seven visits to the highest allowed load broke the objective by chance."""
    visits = [*in_turn(("scout", 20.0, 0.0)), *(made_visit(n, 40.0) for n in range(2, 8)), made_visit(8, 40.0, 0.0105)]
    search = made_search(*visits, most=40.0)
    assert search.bracketed
    known = search.known()
    assert known is not None
    assert known.low == known.high == 40.0
    assert conclude(search) == Conclusion(Kind.AT_LEAST, at_least=40.0)


def test_a_median_above_every_load_that_was_tried_is_no_capacity() -> None:
    """Every visit to the highest allowed load broke a tenth by a little. Only one visit below it held."""
    goal = Goal("ttft:p90<200ms", 0.1)
    rows = [
        ("scout", 5.0, 0.0),
        ("scout", 40.0, 0.1),
        ("visit", 40.0, 0.12),
        ("visit", 37.5, 0.08),
        ("visit", 40.0, 0.13),
    ]
    visits = [
        made_visit(n, load, share, goal=goal, phase=phase, requests=120)
        for n, (phase, load, share) in enumerate(rows, 1)
    ]
    search = made_search(*visits, goals=(goal,), most=40.0)
    assert search.bracketed
    assert search.estimates.posteriors[goal.text].estimate > 40.0
    assert conclude(search) == Conclusion(Kind.NONE)


def test_below_is_the_lowest_load_of_a_visit_that_broke() -> None:
    found = conclude(made_search(*in_turn(*SCOUTS, ("visit", 45.0, 0.9), ("visit", 35.0, 0.5), ("visit", 40.0, 0.8))))
    assert found == Conclusion(Kind.BELOW, below=35.0)
    assert not found.answers
    # With so many requests the remaining chance rounds to zero.
    search = made_search(*in_turn(*SCOUTS), made_visit(8, 35.0, 0.9, requests=10**9))
    assert (search.sure_of(35.0), conclude(search).kind) == (0.0, Kind.BELOW)


def test_no_load_held_where_the_lowest_allowed_broke() -> None:
    rows = [("scout", 1.0, 0.9), ("visit", 1.0, 0.4), ("visit", 2.0, 0.5)]
    assert conclude(made_search(*in_turn(*rows), least=1.0)) == Conclusion(Kind.NO_LOAD_HELD, below=1.0)
    assert conclude(made_search(*in_turn(*rows), least=0.9)) == Conclusion(Kind.BELOW, below=1.0)


def test_a_share_that_does_not_depend_on_the_load_is_no_capacity() -> None:
    loads = (1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    visits = [
        made_visit(n, load, 0.1, goal=ERRORS, phase="scout" if n < 4 else "visit") for n, load in enumerate(loads)
    ]
    found = conclude(made_search(*visits, goals=(ERRORS,)))
    assert found == Conclusion(Kind.NO_LOAD_HELD, below=1.0, flat=(ERRORS.text, Flat(0.1, 1.0, 8.0, 7)))
    assert not found.answers


CHANGES = [
    (30.0, 0.0),
    (38.0, 0.0),
    (40.0, 0.001),
    (40.0, 0.01),
    (38.0, 0.04),
    (36.0, 0.05),
    (34.0, 0.06),
    (32.0, 0.08),
]


def changing(*rows: tuple[float, float]) -> Search:
    return made_search(*in_turn(*(("visit", load, share) for load, share in rows)))


@pytest.mark.parametrize(("rows", "sign"), [(CHANGES, -1), (CHANGES[::-1], 1)], ids=["slower", "faster"])
def test_a_server_that_changed_has_no_capacity(rows: list[tuple[float, float]], sign: int) -> None:
    found = conclude(changing(*rows))
    assert (found.kind, found.answers, found.known) == (Kind.CHANGED, False, None)
    assert found.change is not None
    assert found.change[0] == P99.text
    assert found.change[1] * sign > 0


def test_the_objective_that_changed_most_is_named() -> None:
    """The loads of the objective on a share fall by a fifth, or by a twentieth."""
    for step, lowest, most in ((0.05, 32.0, P99), (0.4, 38.0, MEAN)):
        means = [{MEAN.text: Mean(30.0, step * (n - 3.5), 0.03)} for n in range(8)]
        rows = [(40 - (40 - load) * (40 - lowest) / 8, share) for load, share in CHANGES]
        visits = [made_visit(n + 1, *rows[n], means=means[n]) for n in range(8)]
        search = made_search(*visits, goals=(P99, MEAN))
        assert set(search.estimates.drifts) == {P99.text, MEAN.text}
        assert conclude(search).change == (most.text, min(search.estimates.drifts.values()))


def test_without_a_visit_that_counts_nothing_is_concluded() -> None:
    assert conclude(made_search()) == Conclusion(Kind.NONE)
    assert conclude(made_search(*in_turn(*SCOUTS))) == Conclusion(Kind.NONE)
    lost = [made_visit(1, 8.0, 1.0, verdict="FAILED"), made_visit(2, 8.0, verdict="INVALID")]
    assert conclude(made_search(*lost)) == Conclusion(Kind.NONE)
    assert conclude(made_search(made_visit(1, 8.0, kept_up=False))) == Conclusion(Kind.NONE)


def test_a_visit_of_which_nothing_is_known_judged_no_request() -> None:
    empty = Result(1, "visit", 8.0, "VALID", 1.0, 10.0, 12.0)
    assert (empty.requests, empty.judged(P99.text), empty.share(P99.text)) == (0, 0, None)


def test_a_failed_visit_in_the_middle_changes_nothing() -> None:
    rows = in_turn(*SCOUTS, *CLOSE)
    failed = made_visit(12, 36.0, 1.0, verdict="FAILED")
    with_it, without = conclude(made_search(*rows, failed)), conclude(made_search(*rows))
    assert with_it == without


# --require.


def test_a_load_is_as_sure_as_the_objective_that_is_least_sure() -> None:
    both = {P99.text: 0, ERRORS.text: 1_200}
    search = made_search(*in_turn(*SCOUTS), made_visit(8, 35.0, violations=both), goals=(P99, ERRORS))
    sure = search.sure_of(35.0)
    assert sure == search.estimates.posteriors[ERRORS.text].holds(35.0)
    assert sure < search.estimates.posteriors[P99.text].holds(35.0)


def shown(search: Search, load: float) -> bool:
    return holds(search, conclude(search), load)


def test_a_load_is_held_where_a_visit_at_or_above_it_surely_held() -> None:
    search = made_search(*in_turn(*SCOUTS, *CLOSE))
    assert [shown(search, load) for load in (1.0, 34.0, 35.0, 35.1, 37.0, 40.0)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert search.sure_of(35.1) > 0.95


def test_no_broken_visit_is_needed_for_a_load_that_is_required() -> None:
    search = made_search(*in_turn(*CALM[:5], *[("visit", 32.0, 0.0)] * 3), most=32.0)
    assert (shown(search, 32.0), shown(search, 31.0), shown(search, 32.5)) == (True, True, False)


def test_a_visit_that_held_must_be_sure() -> None:
    search = made_search(*in_turn(*CALM[:5], ("scout", 32.0, 0.0), ("visit", 64.0, 0.0), ("visit", 120.0, 0.0)))
    assert conclude(search).kind is Kind.AT_LEAST
    assert search.sure_of(120.0) < 0.95 < search.sure_of(64.0)
    assert (shown(search, 120.0), shown(search, 64.0)) == (False, True)


def test_a_visit_of_one_request_far_above_what_broke_shows_nothing() -> None:
    search = made_search(*in_turn(*SCOUTS, *CLOSE), made_visit(12, 20_000.0, requests=1), most=20_000.0)
    assert (search.sure_of(20_000.0), conclude(search).kind) == (0.0, Kind.UP_TO)
    assert not search.sure_of_most
    assert not shown(search, 20_000.0)


def test_nothing_is_held_where_no_load_is_named() -> None:
    assert not shown(made_search(*in_turn(*SCOUTS)), 0.1)
    assert not shown(made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0))), 1.0)
    assert not shown(changing(*CHANGES), 1.0)


# Two visits that show a change.


def pair(*rows: tuple[float, float], change: float = -1.0, **changes: object) -> tuple[int, int] | None:
    found = apart_in_time(changing(*rows) if not changes else made_search(
        *in_turn(*(("visit", load, share) for load, share in rows), **changes)), P99, change)  # fmt: skip
    return None if found is None else (found[0].n, found[1].n)


def test_the_pair_that_is_shown_is_of_one_load_and_furthest_apart_in_time() -> None:
    assert pair((30.0, 0.0), (32.0, 0.0), (50.0, 0.0), (34.0, 0.1), (90.0, 0.5)) == (1, 4)
    assert pair((30.0, 0.0), (34.4, 0.1)) == (1, 2)
    assert pair((34.4, 0.0), (30.0, 0.1)) == (1, 2)
    assert pair((30.0, 0.0), (34.6, 0.1)) is None
    assert pair((1.15, 0.0), (1.0, 0.1)) == (1, 2)
    assert pair((30.0, 0.0), (30.0, 0.1), (30.0, 0.2)) == (1, 3)


def test_the_pair_that_is_shown_shows_the_change() -> None:
    rows = [(30.0, 0.01), (30.0, 0.02), (30.0, 0.01), (30.0, 0.005)]
    assert pair(*rows) == (1, 2)
    assert pair(*rows, change=1.0) == (1, 4)
    assert pair((30.0, 0.01), (30.0, 0.01)) is None
    assert pair((30.0, 0.0), (30.0, 0.1), change=1.0) is None  # The server got faster, so it does not break more.
    assert pair((30.0, 0.0), (30.0, 0.1), verdict="FAILED") is None
    assert pair((30.0, 0.0), (30.0, 0.1), requests=0) is None


def test_the_pair_of_a_mean_is_by_its_mean() -> None:
    def visit(n: int, ratio: float) -> Result:
        return made_visit(n, 30.0, means={MEAN.text: Mean(30.0, ratio, 0.03)})

    search = made_search(visit(1, 0.0), made_visit(2, 30.0), visit(3, 0.2), visit(4, -0.1), goals=(MEAN,))
    for change, numbers in ((-0.1, (1, 3)), (0.1, (1, 4))):
        found = apart_in_time(search, MEAN, change)
        assert found is not None
        assert (found[0].n, found[1].n) == numbers


@pytest.mark.parametrize("most", [41.0, 1_000.0])
def test_no_load_is_named_above_the_limit_or_above_what_was_tried(most: float) -> None:
    """The posterior reaches beyond a scout that broke at 41/s, and the higher visits were lost."""
    rows = in_turn(("scout", 20.0, 0.0), ("scout", 41.0, 0.5), ("visit", 36.0, 0.0), ("visit", 40.0, 0.012))
    lost = [made_visit(5, 90.0, verdict="INVALID"), made_visit(6, 80.0, verdict="FAILED")]
    search = made_search(*rows, *lost, most=most)
    assert search.estimates.posteriors[P99.text].high > 41.0
    known = conclude(search).known
    assert known is not None
    assert 36.0 < known.low <= known.estimate <= known.high == 41.0
