"""Sessions: N users who converse. A turn is due when its think time has ended, and carries the previous answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import orjson

from bench.metrics.load import Readiness
from bench.records import Outcome, RequestRecord
from bench.transport.scripted import ScriptedReply
from bench.workload import Request
from promptset.sessions import Session, Turn
from tests.support.changed import replace
from tests.support.tables import table_of
from tests.support.virtual_load import MS, START, Load

TEN = ScriptedReply(ttft_ns=6 * MS, gaps_ns=(4 * MS,))
"""Two tokens, the text "xx", 10 ms."""


def talks(*think_s: float, first_s: float = 0.0) -> Iterator[Session]:
    """Endless sessions: one turn, and one more per think time."""
    for number in itertools.count():
        turns = [Turn(content=f"{number}.0", think_time_s=first_s, answer="planned", input_tokens=10)]
        turns += [
            Turn(content=f"{number}.{k}", think_time_s=t, answer="planned", output_tokens=7, input_tokens=10 + k)
            for k, t in enumerate(think_s, 1)
        ]
        yield Session(id=f"s{number}", turns=tuple(turns))


def said(load: Load) -> list[list[str]]:
    return [[m["content"] for m in orjson.loads(request.body)] for request, _ in load.transport.started]


def test_a_turn_comes_its_think_time_after_the_end_of_the_answer() -> None:
    load = Load(TEN, requests=5).sessions(1, talks(0.05, 0.2))
    assert load.sent_at == [0, 60 * MS, 270 * MS, 280 * MS, 340 * MS]
    assert [r.intended_ns - START for r in sorted(load.records, key=lambda r: r.index)] == load.sent_at
    assert [r.session for r in sorted(load.records, key=lambda r: r.index)] == ["s0", "s0", "s0", "s1", "s1"]


def test_each_request_carries_the_servers_real_answers() -> None:
    load = Load(TEN, requests=4).sessions(1, talks(0.05, 0.2))
    assert said(load) == [["0.0"], ["0.0", "xx", "0.1"], ["0.0", "xx", "0.1", "xx", "0.2"], ["1.0"]]
    assert [r.input_tokens_asked for r, _ in load.transport.started] == [10, None, None, 10]


def test_a_planned_history_has_planned_answers_and_known_lengths() -> None:
    load = Load(TEN, requests=3).sessions(1, talks(0.05, 0.2), real=False)
    assert said(load)[2] == ["0.0", "planned", "0.1", "planned", "0.2"]
    assert [r.input_tokens_asked for r, _ in load.transport.started] == [10, 11, 12]
    assert [r.output_tokens_asked for r, _ in load.transport.started] == [None, 7, 7]


def test_a_failed_turn_ends_its_session_and_the_user_begins_the_next() -> None:
    fails = ScriptedReply(ttft_ns=10 * MS, failed=Outcome.RESET)
    load = Load(lambda request: fails if request.index == 1 else TEN, requests=4).sessions(1, talks(0.05, 0.2))
    assert said(load) == [["0.0"], ["0.0", "xx", "0.1"], ["1.0"], ["1.0", "xx", "1.1"]]
    assert load.sent_at == [0, 60 * MS, 70 * MS, 130 * MS]


def test_users_think_each_for_himself() -> None:
    load = Load(TEN, requests=6).sessions(2, talks(0.05), ramp_ns=40 * MS)
    assert load.sent_at == [0, 20 * MS, 60 * MS, 70 * MS, 80 * MS, 90 * MS]


def test_a_first_turn_may_be_thought_about_too() -> None:
    assert Load(TEN, requests=3).sessions(1, talks(first_s=0.03)).sent_at == [30 * MS, 70 * MS, 110 * MS]


def test_a_duration_ends_the_load_though_users_are_still_thinking() -> None:
    load = Load(TEN, duration_ns=100 * MS).sessions(3, talks(60.0))
    assert load.sent_at == [0, 0, 0]
    assert (load.ended_ns, load.stop.reason, load.dispatcher.planned) == (100 * MS, "duration", 3)


def test_work_of_ours_before_a_turn_is_lateness_and_not_a_later_plan() -> None:
    load = Load(TEN, requests=4, records_late_ns=30 * MS).sessions(1, talks(0.01))
    # The record comes 30 ms after the end and the think time is 10 ms, so the turn is 20 ms late. A new session waits
    # for no record.
    assert [load.of(i).intended_ns - START for i in range(4)] == [0, 20 * MS, 50 * MS, 70 * MS]
    assert load.sent_at == [0, 40 * MS, 50 * MS, 90 * MS]


def test_a_new_session_begins_when_the_last_answer_has_ended_and_not_when_its_record_is_made() -> None:
    load = Load(TEN, requests=6, records_late_ns=15 * MS).sessions(2, talks(0.02, first_s=0.001))
    assert [r.sent_ns - r.intended_ns for r in load.records] == [0] * 6  # type: ignore[operator]
    readiness = Readiness()
    readiness.add(table_of(*load.records))
    found = readiness.describe()
    assert found is not None
    assert found.share == 0


def test_a_last_turn_that_fails_begins_one_session_and_not_two() -> None:
    fails = ScriptedReply(ttft_ns=10 * MS, failed=Outcome.RESET)
    load = Load(lambda request: fails if request.index == 1 else TEN, requests=4).sessions(1, talks(0.05))
    assert said(load) == [["0.0"], ["0.0", "xx", "0.1"], ["1.0"], ["1.0", "xx", "1.1"]]


def test_warm_up_comes_first_and_counts_towards_no_limit() -> None:
    load = Load(TEN, requests=3, warmup_requests=2).sessions(1, talks(0.05))
    assert [r.phase for r in sorted(load.records, key=lambda r: r.index)] == ["warmup"] * 2 + ["run"] * 3


def test_no_more_requests_are_sent_than_asked_for() -> None:
    load = Load(TEN, requests=10).sessions(4, talks(0.02, 0.02))
    assert sorted(r.index for r in load.records) == list(range(10))
    assert load.area_ns == 10 * 10 * MS


def agents(pause_s: float = 0.0) -> Session:
    """A plan, two parallel sub-agents, and a join in the plan's conversation."""
    plan = Turn(content="plan", answer="p", output_tokens=1)
    one, two = (
        Turn(content=name, after=(0,), continues=None, agent=name, answer=name, output_tokens=1)
        for name in ("one", "two")
    )
    join = Turn(content="join", after=(1, 2), continues=0, think_time_s=pause_s, answer="j")
    return Session(id="agents", turns=(plan, one, two, join))


def turns_of(load: Load) -> list[tuple[int | None, int | None]]:
    """Session and turn of each request, in the order of sending."""
    return [(record.session_number, record.turn) for record in sorted(load.records, key=lambda r: r.index)]


def by_turn(times_ms: list[int], fails: int | None = None, outcome: Outcome = Outcome.RESET) -> Any:
    """Replies of these lengths in ms, by turn."""

    def answer(request: Request) -> ScriptedReply:
        assert request.place is not None
        turn = request.place.turn
        return ScriptedReply(ttft_ns=times_ms[turn] * MS, failed=outcome if turn == fails else None)

    return answer


def test_sub_agents_run_beside_each_other_and_the_last_end_begins_the_pause() -> None:
    load = Load(by_turn([10, 50, 20, 5]), requests=4).sessions(1, itertools.repeat(agents(0.1)))
    assert load.sent_at == [0, 10 * MS, 10 * MS, 160 * MS]
    assert said(load)[3] == [
        "plan",
        "x",
        "join",
    ]  # No messages of the sub-agents: their results are in the content of the join.
    assert [(r.after, r.agent) for r in sorted(load.records, key=lambda r: r.index)] == [
        (None, None), (None, "one"), ((0,), "two"), ((1, 2), None),
    ]  # fmt: skip


def test_a_join_without_a_pause_waits_for_the_end_and_not_for_the_record() -> None:
    load = Load(by_turn([10, 50, 20, 5]), requests=4, records_late_ns=15 * MS).sessions(1, itertools.repeat(agents()))
    # The history of the join is the plan's answer, which was read long before.
    assert load.sent_at == [0, 10 * MS, 10 * MS, 60 * MS]


def test_what_is_in_flight_beside_a_failure_ends_by_itself_and_then_the_user_is_free() -> None:
    load = Load(by_turn([10, 50, 20, 5], fails=2), requests=4).sessions(1, itertools.repeat(agents()))
    assert load.sent_at == [0, 10 * MS, 10 * MS, 60 * MS]
    assert [(r.session_number, r.turn) for r in sorted(load.records, key=lambda r: r.index)] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
    ]


def test_a_reply_that_looked_whole_and_is_wrong_ends_its_session_when_it_is_read() -> None:
    def malformed(record: RequestRecord) -> RequestRecord:
        return replace(record, outcome=Outcome.MALFORMED) if record.index == 0 else record

    load = Load(by_turn([10, 50, 20, 5]), requests=4, records_late_ns=15 * MS, read_as=malformed)
    load.sessions(1, itertools.repeat(agents()))
    # The sub-agents waited only for the end of the plan, and were sent. Their join is not sent.
    assert turns_of(load) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert load.sent_at == [0, 10 * MS, 10 * MS, 60 * MS]


def test_a_cancelled_turn_ends_its_session_too() -> None:
    load = Load(TEN, requests=4, cancel=lambda index: 5 * MS if index == 1 else None)
    load.sessions(1, itertools.repeat(agents()))
    assert [(r.session_number, r.turn) for r in sorted(load.records, key=lambda r: r.index)] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
    ]
    assert load.of(3).intended_ns - START == 20 * MS  # At the end of the other sub-agent.


def test_a_pause_is_given_up_when_another_branch_fails() -> None:
    turns = (
        Turn(content="a", output_tokens=1),
        Turn(content="fails", continues=None),
        Turn(content="late", after=(0,), continues=None, think_time_s=1.0),
    )
    sessions = itertools.repeat(Session(id="s", turns=turns))
    load = Load(by_turn([10, 10, 10], fails=1), duration_ns=300 * MS).sessions(1, sessions)
    assert {r.turn for r in load.records} == {0, 1}
    assert load.sent_at == [k * 10 * MS for k in range(30)]


def test_users_who_come_begin_at_once_and_those_who_go_finish_their_sessions() -> None:
    changes = [(0, 1), (25 * MS, 3), (100 * MS, 0)]
    load = Load(TEN, duration_ns=10**9).sessions(1, talks(0.05), changes=changes)
    begun = {r.session_number: r.intended_ns - START for r in load.records if r.turn == 0}
    assert begun == {0: 0, 1: 25 * MS, 2: 25 * MS, 3: 70 * MS, 4: 95 * MS, 5: 95 * MS}
    assert len(load.records) == 12
    assert max(r.end_ns for r in load.records) - START == 165 * MS


def test_users_are_changed_while_the_load_goes_on() -> None:
    meanwhile = [(30 * MS, lambda load: load.dispatcher.change(START + 40 * MS, 2))]
    load = Load(TEN, duration_ns=100 * MS, meanwhile=meanwhile).sessions(1, talks())
    assert [at // MS for at in load.sent_at] == [0, 10, 20, 30, 40, 40, 50, 50, 60, 60, 70, 70, 80, 80, 90, 90]


def test_new_sessions_come_when_the_schedule_says_however_many_are_under_way() -> None:
    load = Load(TEN, requests=5).session_arrivals([0, 5 * MS, 30 * MS, 900 * MS], talks(0.1))
    assert load.sent_at == [0, 5 * MS, 30 * MS, 110 * MS, 115 * MS]
    assert load.in_flight.max == 2


def test_arrivals_that_are_late_through_our_fault_come_at_once_and_say_when_they_were_due() -> None:
    load = Load(TEN, requests=3, work_ns=7 * MS).session_arrivals([0, 2 * MS, 4 * MS], talks())
    assert [r.intended_ns - START for r in sorted(load.records, key=lambda r: r.index)] == [0, 2 * MS, 4 * MS]
    assert load.sent_at == [0, 7 * MS, 14 * MS]


def test_a_session_that_arrives_has_its_own_first_pause() -> None:
    assert Load(TEN, requests=2).session_arrivals([0, 5 * MS], talks(first_s=0.03)).sent_at == [30 * MS, 35 * MS]
