"""A record and its line: they round-trip, and unreadable lines are reported."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import Exit, RecordError
from bench.records import MOST_TOKENS, Outcome, RequestRecord, StoredAnswer, checked, from_line, to_line
from tests.support.changed import replace
from tests.support.made_records import made_record

INSTANTS = st.integers(0, 2**62)
COUNTS = st.none() | st.integers(0, 2**40)
TOKENS = st.none() | st.integers(0, MOST_TOKENS)


@st.composite
def records(draw: st.DrawFn) -> RequestRecord:
    n = draw(st.integers(0, 6))
    each = st.lists(INSTANTS, min_size=n, max_size=n).map(tuple)
    tokens = st.lists(st.integers(0, MOST_TOKENS), min_size=n, max_size=n).map(tuple)
    bounds = st.lists(st.none() | INSTANTS, min_size=n, max_size=n).map(tuple)
    return RequestRecord(
        id=draw(st.text(max_size=20)),
        index=draw(st.integers(0, 2**40)),
        phase=draw(st.sampled_from(["warmup", "run"])),
        session=draw(st.none() | st.text(max_size=5)),
        intended_ns=draw(INSTANTS),
        eligible_ns=draw(st.none() | INSTANTS),
        connect_ns=draw(COUNTS),
        sent_ns=draw(st.none() | INSTANTS),
        first_byte_ns=draw(st.none() | INSTANTS),
        end_ns=draw(INSTANTS),
        attempts=draw(st.integers(0, 2)),
        status=draw(st.none() | st.integers(100, 599)),
        outcome=draw(st.sampled_from(Outcome)),
        error=draw(st.none() | st.text()),
        chunk_ns=draw(each),
        chunk_bound_ns=draw(st.none() | bounds),
        chunk_tokens=draw(st.none() | tokens),
        chunk_kind=draw(st.text("rctfuo", min_size=n, max_size=n)),
        input_tokens_asked=draw(TOKENS),
        input_tokens=draw(TOKENS),
        cached_tokens=draw(TOKENS),
        output_tokens_asked=draw(TOKENS),
        output_tokens=draw(TOKENS),
        output_tokens_from=draw(st.sampled_from([None, "usage", "tokenizer", "limit", "chunks"])),
        output_tokens_counted=draw(TOKENS),
        reasoning_tokens=draw(TOKENS),
        tool_calls=draw(COUNTS),
        inputs=draw(COUNTS),
        dimensions=draw(COUNTS),
        bytes_sent=draw(st.integers(0, 2**40)),
        bytes_received=draw(st.integers(0, 2**40)),
        clock=draw(st.sampled_from(["kernel", "user", "mixed"])),
        coalesced=draw(st.integers(0, 9)),
        worker=draw(st.integers(0, 64)),
        session_number=draw(COUNTS),
        session_turns=draw(COUNTS),
        session_turns_before=draw(COUNTS),
        turn=draw(COUNTS),
        job=draw(COUNTS),
        job_cut=draw(st.none() | st.booleans()),
        agent=draw(st.none() | st.text(max_size=5)),
        after=draw(st.none() | st.lists(st.integers(0, 9), max_size=3).map(tuple)),
        pause_ns=draw(COUNTS),
        pause=draw(st.sampled_from([None, "human", "tool"])),
        cached_tokens_planned=draw(TOKENS),
        resent_ns=draw(st.none() | INSTANTS),
        output_tokens_doubt=draw(st.none() | st.text(max_size=9)),
    )


def row_of(record: RequestRecord) -> dict[str, Any]:
    row: dict[str, Any] = orjson.loads(to_line(record))
    return row


@given(records())
def test_a_record_comes_back_from_its_line_as_it_was(record: RequestRecord) -> None:
    line = to_line(record)
    assert from_line(line) == record
    assert line.count(b"\n") == 1  # Any error text stays on one line.
    assert line.endswith(b"\n")


def test_a_record_keeps_the_fields_that_scripts_rely_on() -> None:
    fields = """
        id index phase session intended_ns eligible_ns connect_ns sent_ns first_byte_ns end_ns attempts
        status outcome error chunk_ns chunk_bound_ns chunk_tokens chunk_kind input_tokens_asked input_tokens
        cached_tokens output_tokens_asked output_tokens output_tokens_from output_tokens_counted
        usage_contradiction reasoning_tokens tool_calls inputs dimensions bytes_sent bytes_received clock coalesced worker
        endpoint model traffic_class session_number session_turns session_turns_before turn job job_step job_steps job_cut
        agent after pause_ns pause
        cached_tokens_planned server_queue_ms server_prefill_ms server_decode_ms draft_steps draft_tokens accepted_tokens
        acceptance resent_ns output_tokens_doubt
    """
    assert set(fields.split()) <= set(RequestRecord.__struct_fields__)


REQUIRED = [field.name for field in msgspec.structs.fields(RequestRecord) if field.required]
_DROPPED: dict[str, Any] = dict.fromkeys(REQUIRED) | {
    "id": "a", "index": 0, "phase": "run", "intended_ns": 7, "end_ns": 9, "attempts": 0, "outcome": Outcome.DROPPED
}  # fmt: skip
DROPPED = RequestRecord(**_DROPPED)
"""Most of its required fields are None, but are written all the same."""


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"turn": 0},
        {"acceptance": ()},
        {"job_cut": False, "draft_steps": 0},
        {"resent_ns": 7, "output_tokens_doubt": "16 tokens", "error": ""},
        {"chunk_ns": (8,), "chunk_kind": "c", "chunk_tokens": (0,), "chunk_bound_ns": (None,), "worker": 1},
    ],
)
def test_what_has_its_default_is_left_out_and_nothing_else(given: dict[str, Any]) -> None:
    record = replace(DROPPED, **given)
    assert set(row_of(record)) == {*REQUIRED, *given}
    assert from_line(to_line(record)) == record


def test_numbers_that_always_exist_are_zero_unless_something_happened() -> None:
    record = from_line(orjson.dumps({name: row_of(made_record())[name] for name in REQUIRED}))
    assert (record.bytes_sent, record.bytes_received, record.coalesced, record.worker) == (0, 0, 0, 0)
    assert (DROPPED.bytes_sent, DROPPED.bytes_received, DROPPED.coalesced, DROPPED.worker) == (0, 0, 0, 0)
    assert (DROPPED.chunk_ns, DROPPED.chunk_kind, DROPPED.clock) == ((), "", "user")
    assert (DROPPED.audio_bytes, DROPPED.play_after_ns, StoredAnswer().limited) == (0, 0, False)


def test_stamps_may_be_a_millisecond_off_their_order_and_no_more() -> None:
    """Timers may fire early, and stamps come from two clocks."""
    usual = made_record(chunks_ms=(50.0, 70.0), input_tokens=1)
    sent, end = usual.sent_ns or 0, usual.end_ns
    for first, last, good in (
        (sent - 1_000_000, end, True), (sent - 1_000_001, end, False),
        (sent, end + 1_000_000, True), (sent, end + 1_000_001, False),
    ):  # fmt: skip
        record = replace(usual, chunk_ns=(first, last), chunk_kind="cc", chunk_tokens=None, chunk_bound_ns=None)
        if good:
            assert checked(record) is record
        else:
            with pytest.raises(RecordError, match="is not between the send"):
                checked(record)


@given(records())
def test_fields_may_stand_in_any_order_and_have_their_defaults(record: RequestRecord) -> None:
    whole = {name: getattr(record, name) for name in reversed(record.__struct_fields__)}
    assert from_line(msgspec.json.encode(whole)) == record


def test_a_line_of_an_ordinary_request_is_short() -> None:
    assert len(to_line(made_record())) < 1_000


def test_none_and_zero_stay_apart() -> None:
    record = made_record(input_tokens=0, connect_ns=None)
    again = from_line(to_line(record))
    assert (again.input_tokens, again.connect_ns, again.coalesced) == (0, None, 0)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name: str) -> None:
    row = row_of(made_record())
    del row[name]
    with pytest.raises(RecordError, match=f"object missing required field `{name}`"):
        from_line(orjson.dumps(row))


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(RecordError, match=r"object contains unknown field `taste` \(written by a newer version\?\)"):
        from_line(orjson.dumps(row_of(made_record()) | {"taste": 1}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"outcome": "fine"}, "outcome: invalid enum value 'fine'"),
        ({"outcome": None}, "outcome: expected `str`, got `null`"),
        ({"chunk_ns": 5}, "chunk_ns: expected `array`, got `int`"),
        ({"chunk_ns": [1, 1 << 63, 2]}, "chunk_ns[1]: expected `int` <= 4611686018427387904"),
        ({"chunk_bound_ns": "12"}, "chunk_bound_ns: expected `array | null`, got `str`"),
        ({"chunk_tokens": [1, None, 1]}, "chunk_tokens[1]: expected `int`, got `null`"),
        ({"chunk_tokens": [1, MOST_TOKENS + 1, 1]}, "chunk_tokens[1]: expected `int` <= 10000000"),
        ({"end_ns": -1}, "end_ns: expected `int` >= 0"),
        ({"eligible_ns": 5.5}, "eligible_ns: expected `int | null`, got `float`"),
        ({"input_tokens_asked": 2**62 + 1}, "input_tokens_asked: expected `int` <= 4611686018427387904"),
        ({"input_tokens_asked": -(2**62) - 1}, "input_tokens_asked: expected `int` >= -4611686018427387904"),
        ({"status": True}, "status: expected `int | null`, got `bool`"),
        ({"server_queue_ms": -1.0}, "server_queue_ms: expected `float` >= 0.0"),
        ({"phase": "walk"}, "phase: invalid enum value 'walk'"),
    ],
)
def test_a_value_that_cannot_be_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecordError) as raised:
        from_line(orjson.dumps(row_of(made_record()) | change))
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    "line", [b"", b"{", b"{}", b"null", b"5", b"[]", b'"text"', b"\xff\xfe", b'{"id":"\xff"}', b"[" * 100_000]
)
def test_what_is_no_record_is_wrong_usage_and_no_defect(line: bytes) -> None:
    with pytest.raises(RecordError) as raised:
        from_line(line)
    assert raised.value.exit_code is Exit.USAGE


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        made_record().status = 500  # type: ignore[misc]


def test_a_response_without_chunks_was_not_streamed() -> None:
    assert made_record().streamed
    assert not made_record(chunks_ms=()).streamed


def test_what_the_server_said_comes_back_as_it_was() -> None:
    record = made_record(server_queue_ms=1.5, server_prefill_ms=20.0, draft_steps=4, acceptance=(3, 1))
    assert from_line(to_line(record)) == record
