"""Closed loop: N users, each of whom sends again after its reply."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records import Outcome
from bench.transport.scripted import ScriptedReply
from bench.workload import Request
from tests.support.virtual_load import MS, START, Load


def test_all_users_send_at_the_start() -> None:
    assert Load(requests=8).closed(8).sent_at == [0] * 8


def test_a_user_sends_again_at_the_instant_of_the_answer() -> None:
    load = Load(ScriptedReply(ttft_ns=30 * MS, gaps_ns=(10 * MS,)), requests=5).closed(1)
    assert load.sent_at == [i * 40 * MS for i in range(5)]
    ends = [load.of(i).end_ns for i in range(5)]
    assert [load.of(i).intended_ns for i in range(5)] == [START, *ends[:4]]


def test_work_of_ours_between_two_requests_is_lateness_and_not_a_later_plan() -> None:
    load = Load(ScriptedReply(ttft_ns=30 * MS), requests=3, work_ns=4 * MS).closed(2)
    # Both users are due at the start. The second one waits until the first send is done.
    assert [load.of(i).intended_ns - START for i in (0, 1)] == [0, 0]
    assert load.sent_at[:2] == [0, 4 * MS]
    assert load.of(2).intended_ns == load.of(0).end_ns


def test_a_user_does_not_wait_for_the_record_and_the_load_does() -> None:
    load = Load(ScriptedReply(ttft_ns=30 * MS), requests=3, records_late_ns=100 * MS).closed(1)
    assert load.sent_at == [0, 30 * MS, 60 * MS]
    assert (len(load.records), load.ended_ns) == (3, 190 * MS)


def test_a_failed_request_frees_its_user_too() -> None:
    load = Load(ScriptedReply(ttft_ns=10 * MS, failed=Outcome.RESET), requests=4).closed(1)
    assert load.sent_at == [0, 10 * MS, 20 * MS, 30 * MS]


def test_with_a_ramp_the_users_come_one_by_one_evenly_over_it() -> None:
    load = Load(ScriptedReply(ttft_ns=1_000 * MS), requests=4).closed(4, ramp_ns=100 * MS)
    assert load.sent_at == [0, 25 * MS, 50 * MS, 75 * MS]
    assert [load.of(i).intended_ns - START for i in range(4)] == load.sent_at


def test_no_user_sends_more_before_the_first_requests_have_ended() -> None:
    def replies(request: Request) -> ScriptedReply:
        return ScriptedReply(ttft_ns=(10 + 20 * request.index) * MS, failed=Outcome.RESET if request.index else None)

    load = Load(replies, requests=4, warmup_requests=2).closed(3, ends_first=2)
    assert load.sent_at[:5] == [at * MS for at in (0, 0, 30, 30, 30)]
    assert [r.intended_ns - START for r in load.records if r.phase == "run"][:3] == [30 * MS] * 3
    assert len(load.records) == 6


def test_users_who_wait_for_the_first_requests_send_nothing_after_a_stop() -> None:
    stops = [(5 * MS, lambda load: load.stop.interrupt())]
    load = Load(ScriptedReply(ttft_ns=10 * MS), requests=9, warmup_requests=1, meanwhile=stops).closed(4, ends_first=1)
    assert [r.phase for r in load.records] == ["warmup"]


def test_users_that_the_ramp_has_not_brought_in_yet_do_not_come_after_the_end() -> None:
    load = Load(ScriptedReply(ttft_ns=10 * MS), duration_ns=30 * MS).closed(4, ramp_ns=100 * MS)
    assert max(load.sent_at) < 30 * MS
    assert load.dispatcher.planned == len(load.records)


@pytest.mark.parametrize("users", [1, 3, 10])
def test_no_more_requests_are_sent_than_asked_for(users: int) -> None:
    load = Load(requests=10).closed(users)
    assert sorted(r.index for r in load.records) == list(range(10))
    assert load.stop.reason == "requests"


@settings(max_examples=60)
@given(
    users=st.integers(1, 6),
    requests=st.integers(1, 40),
    answers=st.lists(st.integers(0, 80 * MS), min_size=1, max_size=10),
    ramp_ns=st.integers(0, 100 * MS),
)
def test_there_are_never_more_in_flight_than_users_and_littles_law_holds_exactly(
    users: int, requests: int, answers: list[int], ramp_ns: int
) -> None:
    scripted = [answers[i % len(answers)] for i in range(requests)]
    load = Load(lambda request: ScriptedReply(ttft_ns=scripted[request.index]), requests=requests)
    load.closed(users, ramp_ns=ramp_ns)
    assert load.transport.in_flight_max == load.in_flight.max <= users
    assert len(load.records) == requests
    assert load.area_ns == sum(scripted)
