"""Whether a server keeps up: the flag by hand, and what the flags show about a capacity."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.statistics.capacity import grid
from bench.statistics.keeps_up import Backlog, InFlight, backlog, growth, in_flight, posterior


@pytest.mark.parametrize(
    ("thirds", "sent", "grows"),
    [
        ((100.0, 150.0, 200.0), 2_000, True),
        ((100.0, 200.0, 150.0), 2_000, False),  # Not a continuous rise.
        ((200.0, 220.0, 245.0), 1_000, False),  # Less than a quarter more.
        ((100.0, 120.0, 140.0), 2_000, False),  # 40 of 2,000 sends: 2%.
        ((0.3, 0.6, 2.0), 10, False),  # A request or two.
        ((100.0, 100.0, 200.0), 1_000, False),
    ],
)
def test_a_visit_is_flagged_where_requests_in_flight_surely_rise(
    thirds: tuple[float, float, float], sent: int, grows: bool
) -> None:
    assert InFlight(thirds, sent).grows is grows


def test_requests_in_flight_are_counted_by_their_time_in_each_third() -> None:
    # Thirds of 10 s from 100 on: one request spans all of them, one the second half of the last.
    found = in_flight([90.0, 125.0], [140.0, 131.0], 100.0, 130.0)
    assert found.thirds == pytest.approx((1.0, 1.0, 1.5))
    assert found.sent == 1


def test_no_requests_are_no_growth() -> None:
    assert not in_flight([], [], 0.0, 30.0).grows


def test_growth_is_the_median_of_the_last_third_over_that_of_the_first() -> None:
    took = [1.0] * 10 + [50.0] * 10 + [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 100.0]
    assert growth(np.arange(30.0), np.array(took)) == 3.0
    assert growth(np.arange(30.0)[::-1], np.array(took)) == pytest.approx(1 / 3)
    assert growth(np.arange(29.0), np.array(took[:29])) is None
    assert growth(np.arange(30.0), np.zeros(30)) is None
    assert growth([], []) is None


def test_growth_leaves_out_what_no_third_has() -> None:
    # A third of 32 requests is ten. The two in the middle belong to neither.
    took = [2.0] * 10 + [90.0] * 12 + [5.0] * 10
    assert growth(np.arange(32.0), np.array(took)) == 2.5


def test_failing_loads_bound_the_capacity_from_above_and_kept_ones_from_below() -> None:
    capacities = grid(10, 40)
    found = posterior([(18.0, True), (19.0, True), (23.0, False), (22.0, False)], capacities)
    assert 17.5 < found.low < found.estimate < found.high < 23
    assert found.holds(15) > 0.95


def test_one_odd_flag_does_not_outvote_three_kept_visits() -> None:
    found = posterior([(20.0, True), (20.5, True), (21.0, True), (15.0, False)], grid(8, 40))
    assert found.estimate > 19


def test_without_visits_nothing_is_known() -> None:
    assert posterior([], grid(8, 40)).mass == pytest.approx(np.full(200, 1 / 200))


@pytest.mark.parametrize(
    ("thirds", "sent", "grows"),
    [
        # 3% of 1,000 sends are 30.
        ((80.0, 90.0, 110.0), 1_000, False),
        ((80.0, 90.0, 110.1), 1_000, True),
        # Three standard deviations of a queue of 8 are 9.
        ((8.0, 9.0, 17.0), 10, False),
        ((8.0, 9.0, 17.1), 10, True),
        # A quarter more than 200 is 250.
        ((200.0, 220.0, 250.0), 1_000, False),
        ((200.0, 220.0, 250.1), 1_000, True),
        ((80.0, 80.0, 120.0), 1_000, False),
        ((80.0, 120.0, 120.0), 1_000, False),
    ],
)
def test_a_visit_at_a_limit_is_not_flagged(thirds: tuple[float, float, float], sent: int, grows: bool) -> None:
    assert InFlight(thirds, sent).grows is grows


def test_each_third_has_its_own_requests_and_what_is_sent_at_the_end_belongs_to_the_next() -> None:
    sent, end = [100.0, 100.0, 111.0, 125.0, 130.0, 99.0], [101.0, 104.0, 119.0, 130.0, 140.0, 99.5]
    found = in_flight(sent, end, 100.0, 130.0)
    assert found.thirds == pytest.approx((0.5, 0.8, 0.5))
    assert found.sent == 4


def test_a_failed_visit_is_as_likely_as_the_mean_over_the_places_of_the_flag_says() -> None:
    """3% below, 97% above, and one half at a point 1% below, or 2, 4.5 or 7% above the capacity, all equally likely."""
    visits = [(20.0, True), (22.0, False)]
    capacities = [18.0, 20.0, 21.0, 22.0, 24.0]
    expected = []
    for capacity in capacities:
        chance = 0.0
        for offset in (-0.01, 0.02, 0.045, 0.07):
            fails = [0.03 + 0.94 / (1 + math.exp(-50 * (math.log(load / capacity) - offset))) for load, _ in visits]
            chance += (1 - fails[0]) * fails[1]
        expected.append(chance)
    found = posterior(visits, np.array(capacities))
    assert found.mass == pytest.approx([chance / sum(expected) for chance in expected])


def in_a_queue(rate: float, seconds: float, each_s: float) -> tuple[list[float], list[float]]:
    """The due times of requests at a constant rate, and the ends of their replies from a server that takes one at a
    time."""
    due, end, free = [k / rate for k in range(int(rate * seconds))], [], 0.0
    for at in due:
        free = max(free, at) + each_s
        end.append(free)
    return due, end


def of_requests(due: list[float], end: list[float]) -> Backlog | None:
    return backlog(due, end, growth(due, np.array(end) - due))


@pytest.mark.parametrize(
    ("load", "rises"),
    [
        (in_a_queue(10, 60, 0.09), False),
        (in_a_queue(10, 60, 0.11), True),
        (in_a_queue(10, 12, 0.11), True),
        # Replies of 20 s in a load of 10 s or 60 s: the number in flight rises without overload.
        (([k / 10 for k in range(100)], [k / 10 + 20 for k in range(100)]), False),
        (([k / 10 for k in range(600)], [k / 10 + 20 for k in range(600)]), False),
        # After replies of 20 s, which get slower, 60 s have no thirds to compare, and the drain is too short.
        (([k / 10 for k in range(600)], [k / 10 + 20 + k / 30 for k in range(600)]), False),
        # After 10 s of sending the drain takes 79 s, which is more than five times 10 s and three times the first 23 s.
        (([k / 10 for k in range(100)], [k / 10 + 20 + 0.6 * k for k in range(100)]), True),
        # The server gets slower once, and is steady from then on.
        (([k / 10 for k in range(600)], [k / 10 + (1 if k < 250 else 2) for k in range(600)]), False),
    ],
)
def test_requests_pile_up_where_more_and_more_are_in_flight_and_each_takes_longer(
    load: tuple[list[float], list[float]], rises: bool
) -> None:
    found = of_requests(*load)
    assert found is not None
    assert found.rises is rises


@pytest.mark.parametrize(("slower", "rises"), [(0.0, False), (0.5, False), (12.0, True)])
def test_a_recording_whose_rate_rises_piles_up_only_where_each_request_takes_longer(slower: float, rises: bool) -> None:
    # From 5 to 25 requests per second within a minute. Each takes 3 s, or longer and longer.
    due = [(math.sqrt(25 + 2 * k / 3) - 5) * 3 for k in range(900)]
    end = [at + 3 + slower * at / 60 for at in due]
    found = backlog(due, end, 3.1, even=False)
    assert found is not None
    assert found.last > 2 * found.first
    assert found.rises is rises
    for grown, even, would in ((3.0, False, False), (1.6, True, True)):
        other = backlog(due, end, grown, even=even)
        assert other is not None
        assert other.rises is would


def test_a_backlog_has_the_mean_in_flight_of_its_thirds_after_the_first_requests() -> None:
    # Each request takes 1 s, and from 32 s on 4 s. The thirds begin after 2 s and are 20 s long.
    due = [k / 10 for k in range(621)]
    found = of_requests(due, [at + (1 if at < 32 else 4) for at in due])
    assert found is not None
    assert (found.first, found.growth) == (pytest.approx(10), 4)
    assert found.last == pytest.approx(40, rel=0.06)  # Requests of the last 4 s end after it.
    assert of_requests(due[:29], due[1:30]) is None
    assert of_requests([5.0] * 40, due[:40]) is None


def test_sessions_that_do_not_end_within_the_run_pile_up_and_are_no_long_drain() -> None:
    # A session begins each second. Sessions of the first minute last 10 s; later ones never end.
    begins = [float(k) for k in range(120)]
    ends = [at + 10 if at < 60 else math.inf for at in begins]
    found = backlog(begins, ends, 2.0)
    assert found is not None
    assert (found.first, found.last, found.rises) == (pytest.approx(10), pytest.approx(43.5, abs=0.5), True)
    for grown, rises in ((1.5, False), (1.6, True)):
        found = backlog(begins, ends, grown)
        assert found is not None
        assert found.rises is rises
    # A short run shows nothing, because its first sessions have not ended.
    found = backlog(begins[:30], [math.inf] * 30, 2.0)
    assert found is not None
    assert not found.rises
    assert backlog(begins, ends, None) is None
