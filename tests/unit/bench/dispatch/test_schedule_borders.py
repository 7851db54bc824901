"""Schedules at their borders: first arrivals, merged processes and their numbers, segments, recordings, changes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from itertools import islice

import pytest

from bench.rng import stream
from bench.schedule import ARRIVALS, trace, users
from bench.schedule.changing import ChangingArrivals
from bench.schedule.merged import MergedPlaces, merged
from bench.schedule.segments import Segment, arrivals, lasts_ns, level_at, most

S = 1_000_000_000


def drawn(name: str, seed: int, rate: float, burstiness: float = 1.0) -> Iterator[int]:
    return ARRIVALS[name](rate, burstiness, stream(seed, "first"))


@pytest.mark.parametrize(("name", "burstiness"), [("poisson", 1.0), ("gamma", 1.0), ("gamma", 4.0), ("gamma", 0.25)])
def test_the_first_arrival_is_a_gap_after_the_start(name: str, burstiness: float) -> None:
    first = [next(drawn(name, seed, 2.0, burstiness)) / S for seed in range(1000)]
    # The mean is 1/2 s; the standard error of 1,000 gaps of shape B is 1 / (2 sqrt(1000 B)).
    assert sum(first) / 1000 == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(1000 * burstiness))
    assert min(first) < 0.2


def test_a_metronome_begins_at_once() -> None:
    assert list(islice(drawn("constant", 0, 4.0), 4)) == [0, S // 4, S // 2, 3 * S // 4]


# Merged arrivals


def test_merged_arrivals_come_in_order_and_the_lower_number_first() -> None:
    assert list(merged([iter([5, 20]), iter([0, 5, 5]), iter([5])])) == [
        (0, 1),
        (5, 0),
        (5, 1),
        (5, 1),
        (5, 2),
        (20, 0),
    ]


@pytest.mark.parametrize(("scale", "offsets"), [(1.0, [3, 10, 21]), (3.0, [1, 3, 7]), (0.5, [6, 20, 42])])
def test_merged_arrivals_may_come_so_many_times_as_fast(scale: float, offsets: list[int]) -> None:
    assert list(merged([iter([3, 21]), iter([10])], scale)) == list(zip(offsets, (0, 1, 0), strict=True))
    assert list(merged([iter([3])])) == [(3, 0)]


class Drawn:
    """10,000 arrivals, every third from process 1, and how often they were drawn."""

    def __init__(self) -> None:
        self.begun = 0

    def __call__(self) -> Iterator[tuple[int, int]]:
        self.begun += 1
        return ((at, int(at % 3 == 2)) for at in range(10_000))


def test_the_place_of_an_arrival_in_its_process() -> None:
    begin = Drawn()
    places = MergedPlaces(begin, 2)
    numbers = [0, 2, 5, 4095, 4096, 4097, 8191, 8192, 4096, 9999, 1]
    # About n // 3 of the numbers below n belong to process 1: 2, 5, 8, ...
    assert [places.place(n) for n in numbers] == [(1, n // 3) if n % 3 == 2 else (0, n - (n + 1) // 3) for n in numbers]
    assert begin.begun == 3  # Drawn once at first, and again for each earlier arrival that is no longer kept.
    for n in (9999, 9998, 8192):
        places.place(n)
    assert begin.begun == 3


@pytest.mark.parametrize("number", [10_000, 20_000])
def test_there_is_no_arrival_behind_the_last(number: int) -> None:
    places = MergedPlaces(Drawn(), 2)
    with pytest.raises(IndexError, match=f"there are 10000 arrivals, and none has the number {number}"):
        places.place(number)
    assert places.place(9999) == (0, 6666)


# Segments


@pytest.mark.parametrize(
    ("at_ns", "load"),
    [
        (-5 * S, 2),
        (0, 2),
        (S, 4),
        (2 * S - 1, 6),
        (2 * S, 3),
        (5 * S - 1, 3),
        (5 * S, 10),
        (6 * S, 7.5),
        (7 * S, 5),
        (9 * S, 5),
    ],
)
def test_the_load_at_an_instant(at_ns: int, load: float) -> None:
    segments = (Segment(2, 6, 2 * S), Segment(3, 3, 3 * S), Segment(10, 5, 2 * S))
    assert level_at(segments, at_ns) == pytest.approx(load, abs=1e-8)
    assert (lasts_ns(segments), most(segments), most(segments[:2])) == (7 * S, 10, 6)


def test_a_segment_expects_the_area_under_its_line() -> None:
    assert Segment(2, 6, 2 * S).arrivals == 8
    assert Segment(0, 1, S // 2).arrivals == 0.25
    rising = Segment(2, 6, 2 * S)
    # Until t there are 2 t + t^2 arrivals.
    assert [rising.reached_ns(n) for n in (-1, 0, 3, 8)] == [0, 0, S, 2 * S]
    assert Segment(4, 0, 2 * S).reached_ns(4) == 2 * S  # Even if rounding makes the number under the root negative.
    assert Segment(0.1, 0.0, 3 * S).reached_ns(0.15 + 1e-17) == pytest.approx(3 * S, abs=100)
    assert Segment(4, 0, 2 * S).reached_ns(4.0001) == pytest.approx(2 * S, rel=0.01)


def test_an_arrival_at_the_border_of_two_segments_is_of_the_later_one() -> None:
    steps = [Segment(2, 2, S), Segment(4, 4, S), Segment(1, 1, 2 * S)]
    unit = (n * S for n in itertools.count())
    assert list(arrivals(unit, steps)) == [0, S // 2, S, 5 * S // 4, 3 * S // 2, 7 * S // 4, 2 * S, 3 * S]
    # An arrival may come after several short segments.
    assert list(arrivals(iter([0, 3 * S]), [Segment(1, 1, S), Segment(1, 1, S), Segment(1, 1, 2 * S)])) == [0, 3 * S]
    assert list(arrivals(iter([0, S]), [Segment(1, 1, 5 * S)])) == [0, S]


# Users, recordings, changes


@pytest.mark.parametrize(
    ("number", "ramp_ns", "changes"),
    [(3, 0, [(0, 3)]), (3, 10, [(0, 1), (3, 2), (6, 3)]), (1, 10, [(0, 1)]), (2, 1, [(0, 1), (0, 2)])],
)
def test_users_come_at_once_or_evenly_over_a_ramp(number: int, ramp_ns: int, changes: list[tuple[int, int]]) -> None:
    assert list(users.coming_in(number, ramp_ns)) == changes


def test_users_of_segments_change_where_the_nearest_whole_number_does() -> None:
    segments = [Segment(2, 2, 10), Segment(2, 4, 8), Segment(3, 1, 8), Segment(0.4, 0.6, 10)]
    assert list(users.of_segments(segments)) == [
        (0, 2), (12, 3), (16, 4), (18, 3), (20, 2), (24, 1), (26, 0), (31, 1),
    ]  # fmt: skip


def test_a_recording_is_played_at_its_own_times_or_faster() -> None:
    assert list(trace.offsets([0.0, 0.5, 0.5, 2.0])) == [0, S // 2, S // 2, 2 * S]
    assert list(trace.offsets([1.0, 3.0], 4.0)) == [S // 4, 3 * S // 4]
    assert list(trace.offsets([], 2.0)) == []
    for times in ([1.0, 0.5], [-0.1], [0.0, math.nan]):
        with pytest.raises(ValueError, match="times must not decrease"):
            list(trace.offsets(times))


@pytest.mark.parametrize(
    ("most_of_them", "until", "count"), [(0, None, 0), (1, None, 1), (None, 3, 3), (5, 3, 3), (2, 3, 2)]
)
def test_changing_arrivals_end_with_a_number_or_before_an_instant(
    most_of_them: int | None, until: int | None, count: int
) -> None:
    until_ns = None if until is None else until * S
    found = list(ChangingArrivals((n * S for n in itertools.count()), 1.0, until_ns=until_ns, most=most_of_them))
    assert found == [n * S for n in range(count)]


def test_an_arrival_at_the_instant_of_a_change_stays_and_those_behind_it_move() -> None:
    changing = ChangingArrivals((n * S for n in itertools.count()), 1.0)
    changing.change(2 * S, 4.0)
    changing.change(3 * S, 2.0)
    # Two arrivals come until 2 s, and four more from 2 to 3 s, so the sixth is at 3 s.
    assert list(islice(changing, 9)) == [0, S, 2 * S, 9 * S // 4, 5 * S // 2, 11 * S // 4, 3 * S, 7 * S // 2, 4 * S]
    assert changing.again() == 4 * S
