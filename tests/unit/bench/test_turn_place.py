"""A request's place in its session is in its record, whatever makes the record."""

from __future__ import annotations

import dataclasses

from bench.records import Outcome, RequestRecord
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading
from bench.workload import Request, TurnPlace
from promptset.sessions import Session, Turn
from tests.support.virtual_load import MS, Load

PLACE = TurnPlace(
    number=12,
    turn=3,
    turns=9,
    job=1,
    job_step=2,
    job_steps=5,
    agent="search",
    pause_ns=5 * MS,
    pause="tool",
    after=(0, 2),
    cached_tokens=64,
    turns_before=2,
    job_cut=True,
)
FIELDS = {
    "session_number": 12, "turn": 3, "session_turns": 9, "session_turns_before": 2,
    "job": 1, "job_step": 2, "job_steps": 5, "job_cut": True, "agent": "search",
    "after": (0, 2), "pause_ns": 5 * MS, "pause": "tool", "cached_tokens_planned": 64,
}  # fmt: skip


def told(record: RequestRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in FIELDS}


def closed(place: TurnPlace | None) -> RequestRecord:
    request = Request(
        id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None, place=place
    )
    return Exchange(request, 1, 2, Reading(), clock="user").close(3, Outcome.RESET)


def test_a_record_has_all_that_the_place_says() -> None:
    assert told(closed(PLACE)) == FIELDS
    assert len(FIELDS) == len(dataclasses.fields(TurnPlace))


def test_a_request_of_no_session_has_no_place() -> None:
    assert set(told(closed(None)).values()) == {None}


def test_a_load_of_sessions_says_the_place_of_each_turn() -> None:
    session = Session(id="s", turns=(Turn(content="a"), Turn(content="b", think_time_s=0.02, cached_tokens=5)))
    load = Load(requests=2).sessions(1, [session, session])
    plain = dict.fromkeys(FIELDS) | {"session_turns": 2, "job_step": 0, "job_steps": 1}
    assert told(load.of(0)) == plain | {"session_number": 0, "turn": 0, "job": 0, "pause_ns": 0}
    assert told(load.of(1)) == plain | {
        "session_number": 0, "turn": 1, "job": 1, "pause_ns": 20 * MS, "pause": "human", "cached_tokens_planned": 5,
    }  # fmt: skip
