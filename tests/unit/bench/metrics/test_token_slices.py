"""Gaps by slices of the run, and the requests chosen for intervals: by hand, and in any order."""

from __future__ import annotations

from array import array

import pytest

from bench.metrics.tokens import MAX_SLICES, SAMPLED_REQUESTS, TokenTimes
from tests.support.made_records import MS, START_NS
from tests.support.tables import fill, request_of_gaps


def test_slices_double_in_width_when_there_are_too_many_and_keep_what_they_hold() -> None:
    times = TokenTimes(seed=1)
    fill(times, *(request_of_gaps(index, index * MS, [10]) for index in range(MAX_SLICES)))
    assert [times.slice_start_ns(at) for at in (0, 1, MS, MS + 0.5)] == [0, MS, MS, MS]
    fill(times, request_of_gaps(128, 128 * MS, [10]))
    # From here on slices are 2 ms wide, so the next border after 1 ms is at 2 ms.
    assert [times.slice_start_ns(at) for at in (0, 1, 2 * MS, 2 * MS + 1)] == [0, 2 * MS, 2 * MS, 4 * MS]
    assert (times.requests, times.gaps().count) == (129, 129)
    assert [times.gaps(from_ns).count for from_ns in (2 * MS, 128 * MS, 130 * MS)] == [127, 1, 0]
    fill(times, request_of_gaps(129, 10_000 * MS, [10, 10]))
    assert times.gaps(times.slice_start_ns(9_000 * MS)).count == 2
    assert times.gaps().count == 131


def test_gaps_and_itl_are_kept_apart_where_they_differ() -> None:
    times = TokenTimes(seed=1)
    fill(times, request_of_gaps(0, 0, [10, 20]), request_of_gaps(1, 0, [30], tokens=(1, 2)))
    assert (times.gaps().count, times.gaps().total) == (3, 60)
    assert (times.itl().count, times.itl().total) == (4, 60)
    (first, second) = times.sample()
    assert (list(first.gaps), list(first.itl)) == ([10, 20], [10, 20])
    assert (list(second.gaps), list(second.itl), second.tokens) == ([30], [15], array("q", [2]))


def test_what_a_stamp_leaves_open_is_taken_out_and_put_in_again_at_its_least_and_greatest() -> None:
    times = TokenTimes(seed=1)
    # The first and the last chunk may have come 6 ns before their stamps: the gaps are 10 to 16, 20, and 4 to 10.
    bounds = (START_NS - 6, None, None, START_NS + 34)
    fill(times, request_of_gaps(0, 0, [10, 20, 10], tokens=(1, 2, 1, 1), chunk_bound_ns=bounds))
    for between, least, most, n in ((times.gaps_between, 34, 46, 3), (times.itl_between, 34, 46, 4)):
        low, high = between()
        assert (low.count, low.total, high.count, high.total) == (n, least, n, most)
        assert between(1 * MS)[0].count == 0


def test_histograms_are_folded_when_more_gaps_are_held_than_may_be() -> None:
    times = TokenTimes(seed=1, exact_limit=4)
    fill(times, request_of_gaps(0, 0, [1_000, 2_000, 3_000, 4_000]))
    assert times.gaps().exact
    fill(times, request_of_gaps(1, 5 * MS, [5_000]))
    assert not times.gaps().exact
    fill(times, request_of_gaps(2, 5 * MS, [6_000], tokens=(1, 2)))
    assert (times.gaps().count, times.itl().count, times.gaps().total, times.itl().total) == (6, 7, 21_000, 21_000)
    both = TokenTimes(seed=1, exact_limit=4)
    fill(both, request_of_gaps(0, 0, [1_000], tokens=(1, 2)), request_of_gaps(1, 0, [1_000]))
    assert both.gaps().exact
    fill(both, request_of_gaps(2, 0, [1_000]))
    assert not both.gaps().exact


@pytest.mark.parametrize("order", [1, -1])
def test_the_same_requests_are_chosen_in_any_order_and_another_seed_chooses_others(order: int) -> None:
    def chosen(seed: int, indices: list[int]) -> list[float]:
        times = fill(TokenTimes(seed), *(request_of_gaps(index, index * MS, [index]) for index in indices))
        return [request.sent_ns for request in times.sample()]

    every = list(range(SAMPLED_REQUESTS + 300))
    found = chosen(7, every[::order])
    assert len(found) == SAMPLED_REQUESTS
    assert found == sorted(found) == chosen(7, every)
    assert set(found) != set(chosen(8, every))
    assert chosen(7, every[:SAMPLED_REQUESTS]) == [index * MS for index in every[:SAMPLED_REQUESTS]]
    times = fill(TokenTimes(7), *(request_of_gaps(index, index * MS, [index]) for index in (0, 1, 2)))
    assert [request.sent_ns for request in times.sample(1 * MS)] == [1 * MS, 2 * MS]
