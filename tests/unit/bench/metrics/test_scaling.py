"""Lost time and when a server was ready, from fixed events, computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bench.metrics.objectives import parse
from bench.metrics.scaling import ScalingTally
from bench.records import Outcome, RequestRecord
from bench.records.record_table import RecordTable
from bench.results.scaling import LostTime, Scaling
from tests.support.made_records import START_NS, made_record


def scaling(*records: RequestRecord, slo: tuple[str, ...] = ("ttft:p90<100ms",), by_target: bool = False) -> Scaling:
    tally = ScalingTally(parse(slo), START_NS, by_target=by_target)
    for record in records[::-1]:  # In any order, and in any number of tables.
        tally.add(RecordTable([record]))
    return tally.close()


def good(at_ms: float, ttft_ms: float = 50.0, **fields: Any) -> RequestRecord:
    return made_record(sent_ms=at_ms, chunks_ms=(ttft_ms, ttft_ms + 10), **fields)


def refused(at_ms: float, status: int = 503, **fields: Any) -> RequestRecord:
    return made_record(sent_ms=at_ms, chunks_ms=(), outcome=Outcome.HTTP_ERROR, status=status, **fields)


def unreached(at_ms: float) -> RequestRecord:
    """A request that was never sent; its time is when it was due and its user free."""
    return made_record(sent_ms=at_ms, chunks_ms=(), outcome=Outcome.CONNECT_ERROR, sent_ns=None)


def test_a_cold_start_is_bounded_by_the_last_refused_and_the_first_answered() -> None:
    found = scaling(unreached(0), refused(1000), refused(2000, 429), good(2500), good(2600), good(4000))
    assert found.times == [
        LostTime(
            start_s=0.0, end_s=2.55, lost=3, refused=3, failed=0, slow=0,
            refusals={"429": 1, "503": 1, "connect_error": 1}, not_ready_s=2.0, ready_s=2.55,
        )
    ]  # fmt: skip
    assert (found.lost, found.lost_s) == (3, 2.55)
    assert found.t_s == [0, 1, 2, 3, 4]
    assert (found.good, found.refused) == ([0, 0, 2, 0, 1], [1, 1, 1, 0, 0])


def test_seconds_are_counted_from_that_of_the_first_request() -> None:
    found = scaling(refused(3_200), good(4_000), good(5_900))
    assert (found.t_s, found.good, found.refused) == ([3, 4, 5], [0, 1, 1], [1, 0, 0])


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529, 500])
def test_a_server_that_starts_refuses_with_these_statuses(status: int) -> None:
    (time,) = scaling(refused(0, status), good(100)).times
    assert (time.refused, time.failed) == ((0, 1) if status == 500 else (1, 0))


def test_the_answer_that_comes_first_bounds_the_start_and_not_the_request_sent_first() -> None:
    found = scaling(refused(1000), good(1100, 900.0), good(1200, 50.0), slo=("ttft:p90<2s",))
    assert (found.times[0].not_ready_s, found.times[0].ready_s, found.times[0].end_s) == (1.0, 1.25, 2.0)


def test_an_answer_sent_before_the_last_refusal_says_nothing_of_what_came_after_it() -> None:
    # One of two replicas takes no requests. The server must not count as "ready" at 1.05 s and "not ready" at 1.2 s.
    found = scaling(refused(900), good(1000), refused(1200), good(1300))
    assert (found.times[0].not_ready_s, found.times[0].ready_s) == (1.2, 1.35)


def test_an_answer_of_one_address_says_nothing_of_another() -> None:
    found = scaling(
        good(0, target="a"), refused(100, target="b"), good(200, target="a"), refused(300, target="c"),
        refused(1000, target="b"), good(1100, target="a"), good(1500, target="b"), good(2000, target="c"),
        by_target=True,
    )  # fmt: skip
    times = [(time.target, time.start_s, time.end_s, time.not_ready_s, time.ready_s) for time in found.times]
    assert times == [("b", 0.1, 1.55, 1.0, 1.55), ("c", 0.3, 2.05, 0.3, 2.05)]
    assert found.lost_s == pytest.approx(2.05 - 0.1)  # Both replicas were lost at once.
    assert found.lost == 3


def test_slow_answers_are_lost_until_a_replica_comes() -> None:
    found = scaling(good(0), good(1000, 400.0), good(1100, 300.0), good(1900), good(4000))
    (time,) = found.times
    assert (time.start_s, time.end_s, time.lost) == (1.0, 1.95, 2)
    assert (time.slow, time.refused, time.failed) == (2, 0, 0)
    assert (time.not_ready_s, time.ready_s) == (None, None)
    assert found.slow == [0, 2, 0, 0, 0]
    assert found.limits == ["ttft:p90<100ms"]


def test_a_good_answer_between_two_bad_ones_within_a_second_ends_nothing() -> None:
    near = scaling(refused(0), good(100), refused(1099), good(1200))
    apart = scaling(refused(0), good(100), refused(1100), good(1200))
    assert [(time.start_s, time.end_s, time.lost) for time in near.times] == [(0.0, 1.25, 2)]
    assert [(time.start_s, time.end_s, time.lost) for time in apart.times] == [(0.0, 0.15, 1), (1.1, 1.25, 1)]


def test_a_server_that_never_comes_has_no_end() -> None:
    found = scaling(refused(0), refused(2000), made_record(sent_ms=500, chunks_ms=(), outcome=Outcome.RESET))
    (time,) = found.times
    assert (time.end_s, time.ready_s, time.lost, time.refused, time.failed) == (None, None, 3, 2, 1)
    assert found.lost_s == 2.001  # The loss ends with the last answer.


def test_without_objectives_no_answer_is_slow_and_who_left_is_not_lost() -> None:
    left = made_record(sent_ms=10, chunks_ms=(), outcome=Outcome.CANCELLED)
    found = scaling(good(0, 9_000.0), left, slo=())
    assert (found.times, found.lost, found.good, found.limits) == ([], 0, [1], [])
    nothing = Scaling(limits=[], times=[], lost_s=0, lost=0, t_s=[], good=[], slow=[], refused=[], failed=[])
    assert scaling(slo=()) == scaling(left, slo=()) == nothing
    assert scaling(slo=("ttft:p90<100ms", "error_rate<1%")).limits == ["ttft:p90<100ms"]


def test_times_are_in_the_order_of_their_starts_whichever_address_answered_first() -> None:
    found = scaling(
        good(0, target="a"), refused(100, target="b"), refused(300, target="a"), good(400, target="a"),
        good(900, target="b"), by_target=True,
    )  # fmt: skip
    assert [(time.target, time.start_s, time.end_s) for time in found.times] == [("b", 0.1, 0.95), ("a", 0.3, 0.45)]
    assert found.lost_s == pytest.approx(0.85)  # The loss of "a" lies within the loss of "b".


def test_an_answer_to_a_request_of_the_same_moment_as_the_last_refusal_shows_that_a_server_was_ready() -> None:
    (time,) = scaling(refused(1000), good(1000)).times
    assert (time.not_ready_s, time.ready_s) == (1.0, 1.05)
