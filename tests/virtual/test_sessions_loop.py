"""Sessions: N users who converse; a turn is due when its think time has ended, and carries what was answered before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import orjson

from bench.metrics.load import Readiness
from bench.records import Outcome
from bench.transport.scripted import ScriptedReply
from promptset.sessions import Session, Turn
from tests.support.virtual_load import MS, START, Load

TEN = ScriptedReply(ttft_ns=6 * MS, gaps_ns=(4 * MS,))
"""Two tokens, the text "xx", 10 ms."""


def talks(*think_s: float, first_s: float = 0.0) -> Iterator[Session]:
    """Sessions without end of one turn, and one more for each think time."""
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
    # The record comes 30 ms after the end, the think time is 10 ms: 20 ms late. A new session waits for no record.
    assert [load.of(i).intended_ns - START for i in range(4)] == [0, 20 * MS, 50 * MS, 70 * MS]
    assert load.sent_at == [0, 40 * MS, 50 * MS, 90 * MS]


def test_a_new_session_begins_when_the_last_answer_has_ended_and_not_when_its_record_is_made() -> None:
    load = Load(TEN, requests=6, records_late_ns=15 * MS).sessions(2, talks(0.02, first_s=0.001))
    assert [r.sent_ns - r.intended_ns for r in load.records] == [0] * 6  # type: ignore[operator]
    readiness = Readiness()
    for record in load.records:
        readiness.add(record)
    found = readiness.describe()
    assert found is not None
    assert found["share"] == 0


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
