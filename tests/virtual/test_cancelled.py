"""Users who cancel, in virtual time: exactly at their deadline, while the rest of the load is unchanged."""

from __future__ import annotations

from bench.records import Outcome
from bench.transport.scripted import ScriptedReply
from promptset.sessions import Session, Turn
from tests.support.virtual_load import Load

MS = 1_000_000
REPLY = ScriptedReply(ttft_ns=10 * MS, gaps_ns=(10 * MS,) * 4)
"""Ends 50 ms after the send."""


def test_who_leaves_ends_at_the_deadline_with_what_came_until_then() -> None:
    load = Load(REPLY, requests=3, cancel=lambda number: 25 * MS if number == 1 else None).closed(1)
    records = sorted(load.records, key=lambda record: record.index)
    assert [record.outcome for record in records] == [Outcome.OK, Outcome.CANCELLED, Outcome.OK]
    assert [record.end_ns - (record.sent_ns or 0) for record in records] == [50 * MS, 25 * MS, 50 * MS]
    assert records[1].chunk_kind == "cc"
    assert records[1].error is None
    # In a closed loop the user is free at once.
    assert records[2].sent_ns == records[1].end_ns


def test_a_reply_that_ends_before_is_an_ordinary_one() -> None:
    load = Load(REPLY, requests=2, cancel=lambda number: 50 * MS + number).closed(1)
    assert [record.outcome for record in load.records] == [Outcome.OK, Outcome.OK]


def test_who_leaves_is_in_flight_until_then_and_frees_a_slot() -> None:
    offsets = [0, 0]
    load = Load(REPLY, requests=2, cancel=lambda number: 20 * MS if number == 0 else None).open(offsets, cap=1)
    first, second = sorted(load.records, key=lambda record: record.index)
    assert (first.outcome, second.outcome) == (Outcome.CANCELLED, Outcome.OK)
    assert second.sent_ns == first.end_ns
    assert load.area_ns == 70 * MS


def test_a_turn_that_is_cancelled_ends_its_session() -> None:
    sessions = [Session(id=name, turns=(Turn(content="a"), Turn(content="b"))) for name in "xyz"]
    load = Load(REPLY, requests=4, cancel=lambda number: 1 * MS if number == 0 else None).sessions(1, sessions)
    records = sorted(load.records, key=lambda record: record.index)
    assert [record.session for record in records] == ["x", "y", "y", "z"]
    assert records[0].outcome is Outcome.CANCELLED
