"""A load that begins in the middle of sessions follows the plan, if the server is as fast as planned."""

from __future__ import annotations

import itertools

import orjson

from bench.records import RequestRecord
from bench.transport.scripted import ScriptedReply
from bench.workload import Request
from bench.workload.mid_session import ANSWER_NS_PER_TOKEN, planned_times
from promptset.sessions import Session
from tests.support.session_graphs import random_session
from tests.support.virtual_load import MS, START, Load

GRAPHS = {session.id: session for session in (random_session(seed) for seed in range(100))}
USERS = 30


def as_planned(request: Request) -> ScriptedReply:
    assert request.output_tokens_asked is not None
    return ScriptedReply(ttft_ns=request.output_tokens_asked * ANSWER_NS_PER_TOKEN)


def load(*, real: bool = False) -> Load:
    return Load(as_planned, duration_ns=700 * MS).sessions(
        USERS, itertools.chain(GRAPHS.values(), itertools.repeat(Session(id="x", turns=next(iter(GRAPHS.values())).turns))),
        in_middle=(3, 100), real=real,
    )  # fmt: skip


def begun_in_middle(found: Load) -> dict[int, list[RequestRecord]]:
    sessions: dict[int, list[RequestRecord]] = {}
    for record in sorted(found.records, key=lambda r: r.index):
        assert record.session_number is not None
        if record.session_turns_before:
            sessions.setdefault(record.session_number, []).append(record)
    return sessions


def test_turns_that_are_left_are_due_when_the_plan_says() -> None:
    found = begun_in_middle(load())
    assert len(found) > USERS / 2
    for records in found.values():
        assert records[0].session is not None
        starts, _ = planned_times(GRAPHS[records[0].session])
        offsets = {record.intended_ns - starts[record.turn or 0] for record in records}
        assert len(offsets) == 1, "all turns have the same offset from the plan"
        (began_ns,) = offsets
        before = [turn for turn, start in enumerate(starts) if began_ns + start <= START]
        assert records[0].session_turns_before == len(before)
        assert {record.turn for record in records}.isdisjoint(before)
        assert len(records) == len(starts) - len(before)


def test_no_burst_begins_the_run() -> None:
    assert sum(at == 0 for at in load().sent_at) == 0
    fresh = Load(as_planned, duration_ns=700 * MS).sessions(USERS, itertools.cycle(GRAPHS.values()), real=False)
    assert sum(at == 0 for at in fresh.sent_at) > USERS / 3


def test_planned_answers_stand_for_what_was_before_also_with_real_histories() -> None:
    for request, _ in load(real=True).transport.started:
        place, session = request.place, GRAPHS.get(request.session or "")
        if place is None or session is None or not place.turns_before:
            continue
        said = session.nodes[place.turn].continues
        texts = [message["content"] for message in orjson.loads(request.body)]
        assert texts[-1] == session.turns[place.turn].content
        if said is not None:
            assert texts[-2] in (f"planned {said}", "x")  # The scripted server answers x.


def test_a_job_of_which_turns_were_before_is_marked() -> None:
    for records in begun_in_middle(load()).values():
        session = GRAPHS[records[0].session or ""]
        sent = {record.turn for record in records}
        for record in records:
            mates = {turn for turn, node in enumerate(session.nodes) if node.job == record.job}
            assert record.job_cut == bool(mates - sent)
