from __future__ import annotations

import random
from array import array
from collections import Counter
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrics import tokens as module
from bench.metrics.arrivals import MAX_SLOTS, Arrivals
from bench.metrics.tokens import MAX_SLICES, SAMPLED_REQUESTS, TokenTimes
from tests.support.tables import fill, ints, request_of_gaps

S = 1_000_000_000


def _fill(times: TokenTimes, requests: list[tuple[int, int, list[int]]], in_tables_of: int) -> TokenTimes:
    records = [
        request_of_gaps(index, sent_ns, gaps, tokens=(1, *[2] * len(gaps)) if index % 3 == 0 else ())
        for index, sent_ns, gaps in requests
    ]
    for at in range(0, len(records), in_tables_of):
        fill(times, *records[at : at + in_tables_of])
    return times


REQUESTS = st.lists(
    st.tuples(st.integers(-5 * S, 10_000 * S), st.lists(st.integers(1, S), min_size=1, max_size=5)),
    min_size=1,
    max_size=60,
)


@given(REQUESTS, st.randoms(use_true_random=False), st.sampled_from([20, 10_000]))
def test_neither_the_order_of_adding_nor_the_borders_of_tables_matter(
    requests: list[tuple[int, list[int]]], rng: random.Random, exact_limit: int
) -> None:
    rows = [(index, sent, gaps) for index, (sent, gaps) in enumerate(requests)]
    shuffled = rng.sample(rows, len(rows))
    one = _fill(TokenTimes(3, exact_limit), rows, len(rows))
    other = _fill(TokenTimes(3, exact_limit), shuffled, 7)
    border = one.slice_start_ns(5_000 * S)
    assert border == other.slice_start_ns(5_000 * S)
    for from_ns in (None, border):
        assert one.itl(from_ns).snapshot().describe() == other.itl(from_ns).snapshot().describe()
        assert one.gaps(from_ns).snapshot().describe() == other.gaps(from_ns).snapshot().describe()
        assert one.sample(from_ns) == other.sample(from_ns)


def test_two_requests_of_one_number_are_both_in_the_sample() -> None:
    times = TokenTimes(0)
    for gap in (5, 7):
        fill(times, request_of_gaps(1, 0, [gap]))
    assert [[*one.gaps] for one in times.sample()] == [[5.0], [7.0]]


def test_a_sample_has_the_gaps_and_the_itl_of_each_request_alone() -> None:
    times = TokenTimes(0)
    fill(times, request_of_gaps(0, 0, [4, 6], tokens=(1, 2, 1)), request_of_gaps(1, 9, [8], tokens=(1, 2)))
    assert [([*one.gaps], [*one.itl], one.tokens) for one in times.sample()] == [
        ([4, 6], [2, 6], array("q", [2, 1])),
        ([8], [4], array("q", [2])),
    ]


def test_a_million_tokens_of_a_chunk_are_kept_as_one_value() -> None:
    times = TokenTimes(0)
    for n in range(3):
        fill(times, request_of_gaps(n, n * S, [4_000_000, 8_000_000], tokens=(1, 1_000_000, 1_000_000)))
    assert [len(array) for one in times.sample() for array in (one.gaps, one.itl, one.tokens or ())] == [2] * 9
    assert (times.itl().count, times.itl().min, times.itl().max) == (6_000_000, 4, 8)


def test_a_border_cuts_by_the_time_of_sending() -> None:
    times = TokenTimes(0)
    fill(times, *(request_of_gaps(second, second * S, [second + 1]) for second in range(1_000)))
    border = times.slice_start_ns(600.5 * S)
    assert 600.5 * S <= border <= 620 * S
    assert [request.sent_ns for request in times.sample(998 * S)] == [998 * S, 999 * S]
    gaps = times.gaps(border)
    assert gaps.count == sum(second * S >= border for second in range(1_000))
    assert gaps.min == -(-border // S) + 1


def test_slices_stay_few() -> None:
    times = TokenTimes(0)
    fill(times, *(request_of_gaps(index, index * index * 1_000, [5]) for index in range(3_000)))
    assert len(times._slices) <= MAX_SLICES
    finest = TokenTimes(-1)
    fill(finest, *(request_of_gaps(index, index * 1_000_000, [5]) for index in range(MAX_SLICES)))
    assert finest.slice_start_ns(1) == 1_000_000
    fill(finest, request_of_gaps(MAX_SLICES, MAX_SLICES * 1_000_000, [5]))
    assert finest.slice_start_ns(1) == 2_000_000
    assert times.gaps().count == 3_000


def test_values_are_exact_until_there_are_too_many() -> None:
    times = TokenTimes(0, exact_limit=10)
    fill(times, request_of_gaps(0, 0, range(1, 11)))
    assert times.gaps().exact
    fill(times, request_of_gaps(1, S, [11]))
    assert not times.gaps().exact
    assert times.gaps().count == 11


def test_the_sample_is_bounded_fair_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLED_REQUESTS", 200)
    thirds: Counter[int] = Counter()
    records = [request_of_gaps(index, index, [index + 1]) for index in range(3_000)]
    for seed in range(20):
        times, again = fill(TokenTimes(seed), *records), fill(TokenTimes(seed), *records[::-1])
        sample = times.sample()
        assert len(sample) == 200
        assert sample == again.sample()
        thirds.update(int(request.sent_ns) // 1_000 for request in sample)
    # 4,000 draws over three equal parts: within five standard deviations.
    assert all(abs(count - 4_000 / 3) < 150 for count in thirds.values())
    assert SAMPLED_REQUESTS == 2_000


@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 9)), max_size=200))
def test_amounts_are_conserved_however_wide_the_slots(rows: list[tuple[int, int]]) -> None:
    arrivals = Arrivals(1)
    arrivals.add(ints(*(at * 1_000 for at, _ in rows)), ints(*(amount for _, amount in rows)))
    total = sum(amount for _, amount in rows)
    assert arrivals.between(-inf, inf) == total
    assert sum(arrivals.per_step(0, 50_000_000, 5)) == pytest.approx(total)


def test_slots_stay_few_and_resolution_fine() -> None:
    arrivals = Arrivals()
    for second in range(0, 100_000, 100):
        arrivals.add(S * np.arange(second, second + 100))
    assert len(arrivals.slots) <= MAX_SLOTS
    assert arrivals.width_ns <= 64 * S
    assert arrivals.between(10_000 * S, 60_000 * S) == pytest.approx(50_000, rel=1e-3)


@given(st.lists(st.integers(0, 5 * S), min_size=1, max_size=50).map(sorted), st.integers(0, 10_000))
def test_a_spread_amount_is_whole_even_and_complete(times: list[int], amount: int) -> None:
    arrivals = Arrivals(S)
    arrivals.spread(ints(*times), ints(0), ints(amount))
    assert arrivals.slots.total() == amount
    for second, share in arrivals.slots.items():
        there = sum(at // S == second for at in times)
        assert abs(share - amount * there / len(times)) < 1


def test_arrivals_one_each_are_counted_in_their_step() -> None:
    arrivals = Arrivals()
    arrivals.add(ints(0, 1, S - 1, S, 3 * S))
    assert arrivals.per_step(0, S, 4) == [3, 1, 0, 1]
    assert arrivals.per_step(-S, S, 2) == [0, 3]
