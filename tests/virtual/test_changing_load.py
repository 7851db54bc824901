"""Users who come and go during a closed loop: the exact instants, and the requests of users who leave."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.transport.scripted import ScriptedReply
from tests.support.virtual_load import MS, START, Load

REPLY = ScriptedReply(ttft_ns=40 * MS)


def test_users_who_come_send_at_the_instant_of_the_step() -> None:
    load = Load(REPLY, ends_ns=200 * MS).changing([(0, 1), (100 * MS, 3)])
    # One user sends at 0, 40 and 80 ms, two more join at 100 ms. Each sends again after its own reply.
    assert load.sent_at == [at * MS for at in (0, 40, 80, 100, 100, 120, 140, 140, 160, 180, 180)]
    assert load.stop.reason == "duration"


def test_users_who_leave_finish_their_request_and_send_nothing_more() -> None:
    load = Load(REPLY, ends_ns=200 * MS).changing([(0, 3), (100 * MS, 1)])
    # Three users send at 0, 40 and 80 ms. At 100 ms only one may stay: the one whose reply at 120 ms is seen last.
    assert Counter(load.sent_at) == {0: 3, 40 * MS: 3, 80 * MS: 3, 120 * MS: 1, 160 * MS: 1}
    assert {r.end_ns - START for r in load.records if r.intended_ns - START == 80 * MS} == {120 * MS}
    assert all(r.outcome == "ok" for r in load.records)


def test_a_step_at_the_instant_of_an_answer_counts_for_it() -> None:
    load = Load(REPLY, ends_ns=100 * MS).changing([(0, 2), (80 * MS, 1)])
    assert load.sent_at == [0, 0, 40 * MS, 40 * MS, 80 * MS]


def test_who_was_about_to_leave_stays_where_the_load_rises_again() -> None:
    # Down to 1 at 10 ms and up to 3 at 30 ms, before any reply: no user has left, and no new user comes.
    load = Load(REPLY, ends_ns=100 * MS).changing([(0, 3), (10 * MS, 1), (30 * MS, 3)])
    assert load.sent_at == [0, 0, 0, 40 * MS, 40 * MS, 40 * MS, 80 * MS, 80 * MS, 80 * MS]
    # Up to 4: exactly one new user, at that instant.
    load = Load(REPLY, ends_ns=80 * MS).changing([(0, 3), (10 * MS, 1), (30 * MS, 4)])
    assert load.sent_at == [0, 0, 0, 30 * MS, 40 * MS, 40 * MS, 40 * MS, 70 * MS]


def test_without_users_the_load_waits_for_the_next_step() -> None:
    load = Load(REPLY, ends_ns=300 * MS).changing([(0, 1), (50 * MS, 0), (200 * MS, 1)])
    assert load.sent_at == [0, 40 * MS, 200 * MS, 240 * MS, 280 * MS]


def test_the_load_ends_at_its_planned_end_whenever_the_first_request_was_sent() -> None:
    load = Load(REPLY, ends_ns=170 * MS, warmup_ns=50 * MS).changing([(0, 1)])
    assert [r.phase for r in load.records] == ["warmup", "warmup", "run", "run", "run"]
    assert (load.sent_at[-1], load.ended_ns) == (160 * MS, 200 * MS)
    # A duration counts from the first request of the run. This end does not.
    assert load.stop.run_start_ns == START + 80 * MS


def test_an_open_loop_ends_there_too_and_says_what_still_waited_at_the_cap() -> None:
    load = Load(ScriptedReply(ttft_ns=100 * MS), ends_ns=150 * MS).open([0, 10 * MS, 20 * MS], cap=1, then_daily=False)
    assert load.sent_at == [0, 100 * MS]
    assert sorted(str(r.outcome) for r in load.records) == ["dropped", "ok", "ok"]


@settings(max_examples=60)
@given(
    levels=st.lists(st.integers(0, 8), min_size=1, max_size=6),
    answers=st.lists(st.integers(5 * MS, 90 * MS), min_size=1, max_size=10),
)
def test_never_more_in_flight_than_users_of_now_or_of_the_requests_still_open(
    levels: list[int], answers: list[int]
) -> None:
    steps = [(k * 100 * MS, users) for k, users in enumerate(levels)]
    load = Load(lambda r: ScriptedReply(ttft_ns=answers[r.index % len(answers)]), ends_ns=len(levels) * 100 * MS)
    load.changing(steps)
    for k, users in enumerate(levels):
        # Every reply comes within 90 ms. By then, leaving users have left, and no other user is idle.
        at = START + k * 100 * MS + 95 * MS
        assert sum(r.intended_ns <= at < r.end_ns for r in load.records) == users
    assert load.area_ns == sum(r.end_ns - r.intended_ns for r in load.records)
