"""For any bytes in any pieces, readers of Messages and Responses never raise, and give each event a kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import ParsedReply, ReadOptions
from bench.records import TOKEN_KINDS, Outcome
from bench.transport.sse import SSEParser
from tests.support import dialect_streams as ds
from tests.support.changed import replace

SCALARS = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=False) | st.text(max_size=6)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from([" word", "", '"', "\\", 'a"b', "\u2028", "é", '"delta":"', '"text":"', '"sequence_number":7'])
KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
         "ping", "error", "response.created", "response.output_item.added", "response.output_text.delta",
         "response.reasoning_text.delta", "response.function_call_arguments.delta", "response.completed",
         "response.incomplete", "response.failed", "unheard.of"]  # fmt: skip
FIELDS = ["message", "content_block", "delta", "usage", "index", "error", "response", "item", "sequence_number",
          "stop_reason", "text", "type", "input_tokens", "output_tokens", "name", "input", "status"]  # fmt: skip
BROKEN = st.builds(
    lambda kind, rest: {"type": kind, **rest},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=4),
)
NESTED = st.builds(
    lambda kind, holder, rest: {"type": kind, holder: rest},
    st.sampled_from(KINDS),
    st.sampled_from(["delta", "message", "content_block", "response", "item", "error", "usage"]),
    st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=4),
)
GOOD = st.one_of(
    WORDS.map(ds.text),
    WORDS.map(lambda w: ds.delta("thinking_delta", thinking=w)),
    WORDS.map(lambda w: ds.delta("input_json_delta", partial_json=w)),
    st.builds(
        ds.part, st.sampled_from(["output_text", "reasoning_text", "function_call_arguments"]), WORDS, st.integers(0, 12)
    ),
    st.sampled_from([ds.message_start(), ds.MESSAGE_STOP, ds.PING, ds.CREATED, ds.ended(usage=ds.usage(3)),
                     ds.block(type="tool_use", name="f", input={}), ds.item(type="function_call", name="f"),
                     ds.message_delta("end_turn", output_tokens=3), ds.message_delta("abort")]),
)  # fmt: skip
FRAMES = st.one_of(
    st.builds(lambda event, named: ds.framed([event], named=named), GOOD | BROKEN | NESTED, st.booleans()),
    st.sampled_from([b"data: [DONE]\n\n", b"data: {\n\n", b"event: error\n\n", b"event: error\ndata: {}\n\n", b": ping\n\n",
                     b"garbage\n", b"data: 3\n\n", b"data: {},{}\n\n", b"error: {}\n\n", b"\r\n", b"data: null\n\n"]),
    st.binary(max_size=12),
)  # fmt: skip
ENDPOINT = pytest.mark.parametrize("endpoint", ["messages", "responses"])


def outcome(reply: ParsedReply) -> Outcome | None:
    return None if reply.problem is None else reply.problem.outcome


def events_in(stream: bytes) -> int:
    parser = SSEParser()
    return len(parser.feed(stream))


@ENDPOINT
@given(frames=st.lists(FRAMES, max_size=14), data=st.data())
def test_nothing_makes_a_reader_raise_and_cuts_change_nothing(
    endpoint: str, frames: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(frames)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    options: dict[str, Any] = {"count": len, "output_tokens_asked": data.draw(st.none() | st.integers(0, 9))}
    reply = ds.read(endpoint, stream, **options)
    assert len(reply.chunk_kind) == events_in(stream)
    assert set(reply.chunk_kind) <= set("rctfuo")
    assert reply.chunk_tokens is None or len(reply.chunk_tokens) == len(reply.chunk_kind)
    for places in (cuts, range(1, len(stream))):
        other = ds.read(endpoint, stream, places, **options)
        assert replace(other, problem=None) == replace(reply, problem=None)
        # The pieces decide which of two errors is reported first, but not that there is an error.
        assert outcome(other) == outcome(reply)


@ENDPOINT
@given(words=st.lists(st.text(max_size=5) | WORDS, max_size=30))
def test_no_byte_of_a_text_is_lost(endpoint: str, words: list[str]) -> None:
    events = ds.messages(*words) if endpoint == "messages" else ds.responses(*words)
    reply = ds.read(endpoint, ds.framed(events), keep_answer=True)
    assert reply.text == reply.content == "".join(words)
    assert sum(kind in TOKEN_KINDS for kind in reply.chunk_kind) == sum(word != "" for word in words)


@ENDPOINT
@given(words=st.lists(WORDS, min_size=1, max_size=20), at=st.integers(0, 40))
def test_an_error_event_anywhere_is_no_success(endpoint: str, words: list[str], at: int) -> None:
    events = ds.messages(*words) if endpoint == "messages" else ds.responses(*words)
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    events.insert(min(at, len(events)), error)
    problem = ds.read(endpoint, ds.framed(events)).problem
    assert problem is not None
    assert "Overloaded" in problem.message


@given(
    body=st.binary(max_size=30)
    | JUNK.map(lambda junk: json.dumps(junk).encode())
    | NESTED.map(lambda e: json.dumps(e).encode())
)
def test_no_whole_reply_makes_a_reader_raise(body: bytes) -> None:
    for endpoint in ("messages", "responses"):
        reply = ENDPOINTS[endpoint].read_whole(body, ReadOptions(count=len))
        assert reply.problem is not None
        assert ENDPOINTS[endpoint].error_message(body)
