"""Arrivals that were not due as scheduled, and their symptoms: slips small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest

from bench.accuracy import planned_arrivals
from bench.accuracy.planned_arrivals import PlannedArrivals, Slip
from tests.support.made_records import MS, START_NS, made_record


def slip(due_ms: Sequence[float], planned_ms: Sequence[float], *, took_ms: float = 1.0, worker: int = 0) -> Slip | None:
    """Request i was due at `due_ms[i]`, and the schedule has `planned_ms`; each request took `took_ms`."""
    arrivals = PlannedArrivals(START_NS + round(ms * MS) for ms in planned_ms)
    # Records are in the order of their ends, not of their numbers.
    for index in reversed(range(len(due_ms))):
        arrivals.add(made_record(index, sent_ms=due_ms[index], chunks_ms=(took_ms,), worker=worker))
    return arrivals.slip()


EVEN = [10.0 * i for i in range(20)]


def test_arrivals_that_were_due_as_planned_have_no_slip_and_none_has_none() -> None:
    assert slip(EVEN, EVEN) is None
    assert slip([], EVEN) is None


def test_only_as_much_of_an_endless_schedule_is_drawn_as_was_sent() -> None:
    arrivals = PlannedArrivals(START_NS + 10 * MS * i for i in count())
    for index in range(3):
        arrivals.add(made_record(index, sent_ms=10.0 * index))
    assert arrivals.slip() is None


def test_a_damaged_index_has_no_plan_drawn_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned_arrivals, "_MOST_WITHOUT_A_RECORD", 100)
    drawn = count()
    arrivals = PlannedArrivals(START_NS + 10 * MS * i for i in drawn)
    for index, sent_ms in ((0, 0.0), (1, 10.0), (2**40, 20.0)):
        arrivals.add(made_record(index, sent_ms=sent_ms))
    found = arrivals.slip()
    assert found is not None
    assert found.problem.startswith("1 of 3 arrivals were not due")
    assert next(drawn) == 100 + 10 * 3


def test_a_slip_says_how_many_arrivals_and_how_far_at_most() -> None:
    found = slip([0.0, 10.0, 23.5, 30.0, 38.0], EVEN)
    assert found is not None
    assert found.problem == "2 of 5 arrivals were not due when the drawn plan says, up to +3.500 ms off"
    assert (found.cause.metric, found.cause.stat, found.cause.size, found.cause.unit) == ("arrivals", "max", 3.5, "ms")
    early = slip([0.0, 10.0, 23.5, 30.0, 32.0], EVEN)
    assert early is not None
    assert early.cause.size == -8.0


def test_an_arrival_that_the_schedule_does_not_have_is_a_slip_of_no_known_length() -> None:
    found = slip([0.0, 10.0, 20.0], [0.0, 10.0])
    assert found is not None
    assert found.problem == "1 of 3 arrivals were not due when the drawn plan says, up to +0.000 ms off"


def cause(found: Slip | None) -> str:
    assert found is not None
    return found.cause.cause


def test_a_delay_that_grows_from_arrival_to_arrival_adds_up() -> None:
    assert cause(slip([at + 0.7 * i for i, at in enumerate(EVEN)], EVEN)) == planned_arrivals.ADDS_UP
    # The delay may stay the same, and may shrink now and then; but 2 of 20 steps are more than a tenth.
    still = [at + 0.7 * (i // 4) for i, at in enumerate(EVEN)]
    assert cause(slip(still, EVEN)) == planned_arrivals.ADDS_UP
    once = [*still[:10], still[10] - 0.7, *still[11:]]
    assert cause(slip(once, EVEN)) == planned_arrivals.ADDS_UP
    twice = [*once[:14], once[14] - 0.8, *once[15:]]
    assert cause(slip(twice, EVEN)) == planned_arrivals.ANOTHER_PLAN
    # Delays that shrink to nothing do not add up.
    caught_up = [*[at - 5.0 + 0.25 * i for i, at in enumerate(EVEN)][:-1], EVEN[-1]]
    assert cause(slip(caught_up, EVEN)) == planned_arrivals.ANOTHER_PLAN


def test_arrivals_right_after_the_end_of_another_request_were_gated_by_the_cap() -> None:
    # One at a time, each request takes 15 ms, and the next is due 0.05 ms after its end.
    gated = [15.05 * i for i in range(20)]
    assert cause(slip(gated, EVEN, took_ms=15.0)) == planned_arrivals.GATED
    # A request due 0.1 ms or more after an end does not count as its consequence.
    apart = [15.1 * i for i in range(20)]
    assert cause(slip(apart, EVEN, took_ms=15.0)) == planned_arrivals.ADDS_UP
    # Four requests are late, and two of them follow an end: half is no majority.
    half = [0.0, 10.0, 21.0, 31.04, 42.0, 52.04]
    assert cause(slip(half, EVEN, took_ms=10.0)) == planned_arrivals.ADDS_UP
    most = [0.0, 10.0, 21.0, 31.04, 41.08, 51.12]
    assert cause(slip(most, EVEN, took_ms=10.0)) == planned_arrivals.GATED


def test_late_arrivals_before_any_request_has_ended_were_not_gated() -> None:
    assert cause(slip([1.0, 12.0, 23.0], EVEN, took_ms=500.0)) == planned_arrivals.ADDS_UP


@pytest.mark.parametrize(
    ("workers", "expected"), [(2, planned_arrivals.SAME_IN_EACH_WORKER), (1, planned_arrivals.ANOTHER_PLAN)]
)
def test_the_same_moment_in_each_worker_is_one_seed_for_all(workers: int, expected: str) -> None:
    # Arrivals come in pairs. With one worker, that is a schedule of pairs.
    arrivals = PlannedArrivals(START_NS + 10 * MS * i for i in range(20))
    for index in range(20):
        arrivals.add(made_record(index, sent_ms=9.5 * (index // 2), chunks_ms=(3.0,), worker=index % workers))
    assert cause(arrivals.slip()) == expected


def test_half_of_the_arrivals_at_the_same_moment_is_chance() -> None:
    # Two workers share 4 instants of 8 arrivals: that is more than one, but not more than half.
    due = [0.0, 0.0, 9.0, 9.0, 18.0, 18.0, 27.0, 27.0]
    arrivals = PlannedArrivals(START_NS + 10 * MS * i for i in range(20))
    for index, at in enumerate(due):
        arrivals.add(made_record(index, sent_ms=at, chunks_ms=(3.0,), worker=index % 2))
    # All 8 arrivals share their instant.
    assert cause(arrivals.slip()) == planned_arrivals.SAME_IN_EACH_WORKER
    arrivals = PlannedArrivals(START_NS + 10 * MS * i for i in range(20))
    for index, at in enumerate([0.0, 0.0, 9.0, 9.0, 18.0, 19.0, 27.0, 28.0]):
        arrivals.add(made_record(index, sent_ms=at, chunks_ms=(3.0,), worker=index % 2))
    assert cause(arrivals.slip()) == planned_arrivals.ANOTHER_PLAN
