"""Where a search's decision turns into another: times, budgets, loads, and lost visits."""

from __future__ import annotations

import math

import pytest

from bench.load_search.decisions import Ending
from bench.load_search.visits import Visit
from bench.statistics.keeps_up import GROWN, InFlight
from tests.support.made_visits import in_turn, made_search, made_visit
from tests.unit.bench.load_search.test_conclusion import CLOSE, SCOUTS
from tests.unit.bench.load_search.test_visit_lengths import asked


@pytest.mark.parametrize(
    ("phase", "e2el_s", "least_s"),
    [("scout", 1.0, 10.0), ("visit", 1.0, 30.0), ("again", 1.0, 60.0), ("visit", 10.0, 50.0)],
)
def test_from_which_length_on_requests_in_flight_say_whether_a_server_keeps_up(
    phase: str, e2el_s: float, least_s: float
) -> None:
    search = made_search(made_visit(1, 8.0, phase="scout", e2el_p90_s=e2el_s))
    steady, grown = InFlight((50.0, 51.0, 50.0), 1_800), InFlight((50.0, 100.0, 190.0), 1_800)

    def kept_up(measure_s: float, flight: InFlight) -> bool | None:
        return search.kept_up(Visit(2, phase, 8.0, 10.0, measure_s), flight, 0.0, None)  # type: ignore[arg-type]

    assert (kept_up(least_s, steady), kept_up(least_s, grown)) == (True, False)
    assert kept_up(least_s - 0.1, grown) is None


def test_replies_that_grew_by_just_as_much_as_is_allowed_are_no_pile_up() -> None:
    search, visit = made_search(), Visit(1, "scout", 8.0, 3.0, 10.0)
    steady = InFlight((50.0, 51.0, 50.0), 100)
    assert search.kept_up(visit, steady, 6.6, GROWN) is None
    assert search.kept_up(visit, steady, 6.6, 1.01 * GROWN) is False
    assert search.kept_up(visit, steady, 6.5, 1.01 * GROWN) is None  # Half of the sending time.


@pytest.mark.parametrize(("spent_s", "begun"), [(528.0, True), (529.0, False)])
def test_the_first_visit_may_take_a_search_to_one_and_a_half_times_its_budget(spent_s: float, begun: bool) -> None:
    # With replies of 400 s: 120 s to settle, 300 to measure, 400 to drain and 2 of pause. 528 + 822 = 1.5 x 900.
    rows = [("scout", 8.0, 0.0), ("scout", 16.0, 0.9)]
    step = made_search(*in_turn(*rows, seconds=spent_s / 2, e2el_p90_s=400.0)).next()
    assert isinstance(step, Visit) is begun
    assert begun or step is Ending.BUDGET


@pytest.mark.parametrize(("spent_s", "begun"), [(348.0, True), (349.0, False)])
def test_a_scout_may_too(spent_s: float, begun: bool) -> None:
    # 400 s to settle, 200 to measure, 400 to drain and 2 of pause.
    rows = [("scout", 8.0, 0.0), ("visit", 16.0, 0.0)]
    step = made_search(*in_turn(*rows, seconds=spent_s / 2, e2el_p90_s=400.0)).next()
    assert isinstance(step, Visit) is begun
    assert begun or step is Ending.BUDGET


@pytest.mark.parametrize(("share", "side"), [(0.0, 0.75), (0.3, 0.25)])
def test_as_long_as_one_side_is_missing_a_search_goes_a_quarter_out_on_it(share: float, side: float) -> None:
    search = made_search(*in_turn(*SCOUTS, ("visit", 40.0, share), seconds=20.0))
    _, posterior = search.estimates.binding()
    assert abs(math.log(posterior.quantile(side) / posterior.estimate)) > 0.03
    assert asked(search).load == float(f"{posterior.quantile(side):.4g}")


def test_between_both_sides_a_search_goes_three_hundredths_beside_the_median_in_turn() -> None:
    for visits, sign in ((CLOSE[:2], -1), (CLOSE[:3], 1)):
        search = made_search(*in_turn(*SCOUTS, *visits, seconds=20.0), precision=0.001)
        _, posterior = search.estimates.binding()
        assert asked(search).load == float(f"{posterior.estimate * math.exp(0.03 * sign):.4g}")


def test_the_first_visit_is_three_hundredths_below_the_middle_of_the_domain() -> None:
    # The domain is 32 / 1.6 = 20 to 1.2 x 64 = 76.8.
    assert asked(made_search(*in_turn(*SCOUTS))).load == float(f"{math.sqrt(20 * 76.8) * math.exp(-0.03):.4g}")


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_narrow_interval_ends_a_search_only_where_a_load_held_and_one_broke(share: float) -> None:
    rows = [("scout", 16.0, 0.0), *[("visit", 35.0, share)] * 4]
    search = made_search(*in_turn(*rows, seconds=20.0), precision=4.0)
    assert search.estimates.binding()[1].width < 4.0
    assert not search.bracketed
    assert isinstance(search.next(), Visit)


def test_visits_are_lost_three_times_in_a_row_since_the_search_was_resumed() -> None:
    before = in_turn(*SCOUTS, *CLOSE)
    lost = [made_visit(n, 36.0, 1.0, verdict="INVALID") for n in (12, 13, 14)]
    assert made_search(*before, *lost).next() is not Ending.CLIENT
    search = made_search(*before, lost[0])
    for result in lost[:2]:
        search.add(result)
        assert search.next() is not Ending.CLIENT
    search.add(lost[2])
    assert search.next() is Ending.CLIENT
    # Failed scouts only show that their load is too high.
    search = made_search()
    for n in (1, 2, 3, 4):
        search.add(made_visit(n, 64.0 / 2**n, 1.0, verdict="FAILED", phase="scout"))
        assert isinstance(search.next(), Visit)
    mixed = made_search()
    for n, verdict in enumerate(("FAILED", "INVALID", "FAILED", "VALID", "FAILED", "FAILED"), 1):
        mixed.add(made_visit(n, 8.0, 1.0, verdict=verdict))
        assert mixed.next() not in (Ending.CLIENT, Ending.TARGET)


def test_whole_users_stay_within_limits_that_are_not_whole() -> None:
    search = made_search(load_kind="concurrency", least=2.5, most=6.5)
    assert [search._rounded(load) for load in (0.3, 2.6, 3.9, 6.4, 90.0)] == [3.0, 3.0, 3.0, 6.0, 6.0]
    assert [search._rounded(load, down=False) for load in (0.3, 3.1, 6.4)] == [3.0, 4.0, 6.0]
    assert made_search(least=2.5, most=6.5)._rounded(3.14159) == 3.142
    # A rate keeps within its limits: else --max 12,345 would never try what --require 12,345 asks for.
    limited = made_search(least=1.2345, most=12_345.0)
    assert [limited._rounded(load) for load in (1.0, 1.23451, 12_344.9, 20_000.0)] == [
        1.2345,
        1.235,
        12_340.0,
        12_345.0,
    ]
