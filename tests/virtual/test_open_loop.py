"""Open loop: requests leave on schedule, and late ones are recorded as late."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records import Outcome
from bench.transport.scripted import ScriptedReply
from tests.support.virtual_load import MS, START, Load

EVERY_10_MS = [i * 10 * MS for i in range(1_000)]
HOUR = 3_600_000 * MS


def test_a_thousand_sends_with_work_in_between_end_exactly_at_nominal() -> None:
    load = Load(requests=1_000, work_ns=3 * MS).open(EVERY_10_MS)
    assert load.sent_at == EVERY_10_MS  # Waits relative to the last send would end at 12.99 s.


def test_a_stalled_server_moves_no_later_due_time() -> None:
    load = Load(lambda request: ScriptedReply(ttft_ns=HOUR if request.index < 3 else MS), requests=100).open(
        EVERY_10_MS
    )
    assert load.sent_at == EVERY_10_MS[:100]
    assert [load.of(i).intended_ns - START for i in range(100)] == EVERY_10_MS[:100]


def test_a_pause_of_ours_gives_a_burst_and_not_a_stretched_schedule() -> None:
    pause = [(1_000 * MS, lambda load: load.loop.charge(2_000 * MS))]
    load = Load(requests=500, meanwhile=pause).open(EVERY_10_MS)
    late = [at for at, due in zip(load.sent_at, EVERY_10_MS, strict=False) if at != due]
    assert set(late) == {3_000 * MS}  # Everything due during the pause is sent at its end,
    assert 199 <= len(late) <= 200
    assert load.sent_at[-1] == EVERY_10_MS[499]  # and later sends are at their usual times.
    assert [load.of(i).intended_ns - START for i in range(500)] == EVERY_10_MS[:500]


def test_a_rate_that_cannot_be_sent_is_still_told_to_stop() -> None:
    interrupted = [(30 * MS, lambda load: load.stop.interrupt())]
    every_quarter_ms = [i * MS // 4 for i in range(10_000)]
    load = Load(requests=10_000, work_ns=3 * MS, meanwhile=interrupted).open(every_quarter_ms)
    # Ten are sent by then. The interrupt takes effect within two stretches of 20 ms.
    assert 10 <= len(load.sent_at) <= 21


def test_arrivals_at_one_instant_all_leave_at_it() -> None:
    assert Load(requests=50).open([7 * MS] * 50).sent_at == [7 * MS] * 50


def test_a_stream_that_is_cut_still_writes_its_record() -> None:
    cut = [(25 * MS, lambda load: (load.stop.interrupt(), load.transport.cut()))]
    load = Load(ScriptedReply(ttft_ns=HOUR), requests=100, meanwhile=cut).open(EVERY_10_MS)
    assert [(r.index, r.outcome, r.end_ns - START) for r in load.records] == [
        (i, Outcome.INTERRUPTED, 25 * MS) for i in range(3)
    ]


def test_a_failed_request_has_its_record_and_changes_no_other_send() -> None:
    failing = ScriptedReply(ttft_ns=MS, failed=Outcome.RESET)
    load = Load(lambda request: failing if request.index == 2 else ScriptedReply(ttft_ns=MS), requests=6).open(
        EVERY_10_MS
    )
    assert [r.outcome for r in load.records].count(Outcome.RESET) == 1
    assert load.sent_at == EVERY_10_MS[:6]


def test_the_wait_at_the_cap_is_in_eligible_and_not_in_lateness() -> None:
    load = Load(ScriptedReply(ttft_ns=25 * MS), requests=4).open(EVERY_10_MS, cap=1)
    assert load.sent_at == [0, 25 * MS, 50 * MS, 75 * MS]
    for i in range(4):
        record = load.of(i)
        assert (record.intended_ns - START, record.eligible_ns - START) == (i * 10 * MS, i * 25 * MS)  # type: ignore[operator]
        assert record.sent_ns == record.eligible_ns


def test_an_arrival_that_finds_a_slot_is_eligible_when_it_is_due() -> None:
    load = Load(ScriptedReply(ttft_ns=5 * MS), requests=3).open(EVERY_10_MS, cap=1)
    assert all(r.eligible_ns == r.intended_ns for r in load.records)


def test_dropping_late_arrivals_leaves_a_record_of_each() -> None:
    load = Load(ScriptedReply(ttft_ns=25 * MS), requests=6).open(EVERY_10_MS, cap=1, drop_late=True)
    outcomes = {r.index: r.outcome for r in load.records}
    assert outcomes == {i: Outcome.OK if i in (0, 3) else Outcome.DROPPED for i in range(6)}
    dropped = load.of(1)
    assert (dropped.sent_ns, dropped.eligible_ns, dropped.attempts) == (None, None, 0)
    assert dropped.end_ns == dropped.intended_ns
    assert "no free slot" in str(dropped.error)


def test_arrivals_that_still_wait_when_the_duration_ends_are_dropped_and_recorded() -> None:
    load = Load(ScriptedReply(ttft_ns=45 * MS), duration_ns=50 * MS).open(EVERY_10_MS, cap=1)
    assert load.sent_at == [0, 45 * MS]
    dropped = [r for r in load.records if r.outcome is Outcome.DROPPED]
    assert [r.index for r in dropped] == [2, 3, 4]
    assert {r.end_ns - START for r in dropped} == {50 * MS}
    assert load.ended_ns == 90 * MS  # The requests in flight ended normally.


def test_all_requests_of_the_plan_are_sent_though_the_last_ones_wait() -> None:
    load = Load(ScriptedReply(ttft_ns=100 * MS), requests=5).open(EVERY_10_MS, cap=1)
    assert load.sent_at == [i * 100 * MS for i in range(5)]
    assert load.stop.reason == "requests"


def test_a_duration_drops_what_waits_also_after_the_last_request_has_arrived() -> None:
    load = Load(ScriptedReply(ttft_ns=100 * MS), requests=5, duration_ns=150 * MS).open(EVERY_10_MS, cap=1)
    assert load.sent_at == [0, 100 * MS]
    assert [load.of(i).outcome for i in (2, 3, 4)] == [Outcome.DROPPED] * 3


def test_an_interruption_drops_what_waits_also_after_the_last_request_has_arrived() -> None:
    stop = [(150 * MS, lambda load: load.stop.interrupt())]
    load = Load(ScriptedReply(ttft_ns=100 * MS), requests=5, meanwhile=stop).open(EVERY_10_MS, cap=1)
    assert load.sent_at == [0, 100 * MS]
    assert load.stop.interrupted
    assert sorted(r.index for r in load.records) == [0, 1, 2, 3, 4]


def test_a_slot_is_free_when_the_response_has_ended_and_not_when_its_record_is_made() -> None:
    load = Load(ScriptedReply(ttft_ns=25 * MS), requests=4, records_late_ns=200 * MS).open(EVERY_10_MS, cap=1)
    assert load.sent_at == [0, 25 * MS, 50 * MS, 75 * MS]
    assert load.area_ns == 100 * MS


def test_the_load_has_ended_when_the_last_record_is_made() -> None:
    stop = [(35 * MS, lambda load: load.stop.interrupt())]
    load = Load(ScriptedReply(ttft_ns=MS), requests=100, records_late_ns=50 * MS, meanwhile=stop).open(EVERY_10_MS)
    assert (len(load.records), load.ended_ns) == (4, 81 * MS)


def test_a_cut_sends_nothing_more() -> None:
    cut = [(150 * MS, lambda load: (load.stop.interrupt(), load.transport.cut()))]
    load = Load(ScriptedReply(ttft_ns=100 * MS), requests=5, meanwhile=cut).open(EVERY_10_MS, cap=1)
    assert len(load.sent_at) == 2
    assert load.ended_ns == 150 * MS


@settings(max_examples=60)
@given(
    gaps=st.lists(st.integers(0, 30 * MS), min_size=1, max_size=40),
    answers=st.lists(st.integers(0, 80 * MS), min_size=1, max_size=10),
    cap=st.integers(1, 5),
    drop_late=st.booleans(),
)
def test_the_cap_is_never_passed_and_every_arrival_has_one_record(
    gaps: list[int], answers: list[int], cap: int, drop_late: bool
) -> None:
    offsets = list(itertools.accumulate(gaps))
    load = Load(lambda request: ScriptedReply(ttft_ns=answers[request.index % len(answers)]), requests=len(offsets))
    load.open(offsets, cap=cap, drop_late=drop_late)
    assert load.transport.in_flight_max <= cap
    assert load.in_flight.max == load.transport.in_flight_max
    assert sorted(r.index for r in load.records) == list(range(len(offsets)))
    assert [load.of(i).intended_ns - START for i in range(len(offsets))] == offsets
    assert load.dispatcher.planned == len(offsets)
    assert load.dispatcher.sent == load.dispatcher.done == len(load.sent_at)


@settings(max_examples=60)
@given(
    gaps=st.lists(st.integers(0, 30 * MS), min_size=1, max_size=40),
    answers=st.lists(st.integers(0, 80 * MS), min_size=1, max_size=10),
    cap=st.none() | st.integers(1, 5),
)
def test_the_area_under_the_count_in_flight_is_the_sum_of_the_times_in_flight(
    gaps: list[int], answers: list[int], cap: int | None
) -> None:
    scripted = [answers[i % len(answers)] for i in range(len(gaps))]
    load = Load(lambda request: ScriptedReply(ttft_ns=scripted[request.index]), requests=len(gaps))
    load.open(itertools.accumulate(gaps), cap=cap)
    assert load.area_ns == sum(scripted)
    assert load.in_flight.now == 0
