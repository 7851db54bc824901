"""Servers may send anything: each field of each reply and event, in turn, gets an invalid value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from bench.endpoints import ENDPOINTS, decoding
from bench.endpoints.interface import ReadOptions
from bench.records import Outcome
from bench.workload import InputBatch


def nested(levels: int) -> bytes:
    return b"[" * levels + b"1" + b"]" * levels


def nested_objects(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


WILD = (b"null", b"true", b"-1", b"1e308", b'"x"', b"[]", b"{}", b"[{}]", nested(300), nested_objects(1000))
USAGE = {
    "prompt_tokens": 1,
    "completion_tokens": 1,
    "total_tokens": 2,
    "completion_tokens_details": {"reasoning_tokens": 1},
    "prompt_tokens_details": {"cached_tokens": 1},
}
SAID = {
    "role": "assistant",
    "content": "a",
    "reasoning": "b",
    "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}],
    "function_call": {"name": "f", "arguments": "{}"},
    "error": None,
}
CHOICE = {"index": 0, "delta": SAID, "message": SAID, "text": "a", "finish_reason": "stop", "stop_reason": "x"}
OPENAI = {
    "choices": [CHOICE],
    "usage": USAGE,
    "error": None,
    "code": 0,
    "message": "",
    "status": "ok",
    "base_resp": {"status_code": 0, "status_msg": ""},
    "x_groq": {"error": None},
    "timings": {"cache_n": 1, "prompt_ms": 1},
    "metrics": {"queue_time_ms": 1, "speculative_decoding": {"num_spec_steps": 1, "acceptance_histogram": [1]}},
}
ITEMS = [
    {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
    {"type": "reasoning", "summary": [{"text": "a"}], "content": [{"text": "a"}]},
    {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": "{}"},
]
ENDED = {
    "id": "r",
    "status": "incomplete",
    "output": ITEMS,
    "usage": {"input_tokens": 1, "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 1}},
    "incomplete_details": {"reason": "max_output_tokens"},
    "error": None,
}
RESPONSES = [
    {"type": "response.created", "response": {"id": "r", "status": "in_progress"}},
    {"type": "response.output_item.added", "output_index": 0, "item": ITEMS[2]},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "a", "sequence_number": 1},
    {"type": "response.output_item.done", "output_index": 0, "item": ITEMS[1]},
    {"type": "response.incomplete", "response": ENDED},
]
BLOCKS = [
    {"type": "text", "text": "a"},
    {"type": "tool_use", "id": "i", "name": "f", "input": {"a": 1}},
    {"type": "thinking", "thinking": "a", "signature": "s"},
]
MESSAGES = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}, "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": BLOCKS[1]},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "error", "error": {"type": "overloaded_error", "message": "a"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]
STREAMS: dict[str, list[Any]] = {
    "chat": [OPENAI],
    "completions": [OPENAI],
    "messages": MESSAGES,
    "responses": RESPONSES,
}
WHOLE: dict[str, Any] = {
    "chat": OPENAI,
    "completions": OPENAI,
    "messages": {"content": BLOCKS, "stop_reason": "end_turn", "usage": {"input_tokens": 1}, "error": None},
    "responses": ENDED,
    "embeddings": {"data": [{"index": 0, "embedding": [0.1, 0.2]}], "usage": {"prompt_tokens": 1}, "error": None},
    "rerank": {"results": [{"index": 0, "relevance_score": 0.5}], "meta": {"tokens": {"input_tokens": 1}}},
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a value, including itself."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*at, key))


def spoilt(value: Any) -> Iterator[bytes]:
    """The JSON of a value, with each invalid value at each path."""
    for at in places(value):
        made: Any = {"": json.loads(json.dumps(value))}
        holder, last = made, ""
        for key in at:
            holder, last = holder[last], key
        holder[last] = "@@"
        text = json.dumps(made[""]).encode()
        for wild in WILD:
            yield text.replace(b'"@@"', wild)


OPTIONS = ReadOptions(count=len, keep_answer=True, output_tokens_asked=8, batch=InputBatch(inputs=1, entries=1))


@pytest.mark.parametrize("endpoint", STREAMS)
def test_no_value_of_an_event_makes_a_reader_raise(endpoint: str) -> None:
    stream = STREAMS[endpoint]
    for number, event in enumerate(stream):
        for wild in spoilt(event):
            events = [*(json.dumps(each).encode() for each in stream[:number]), wild, b"[DONE]"]
            reader = ENDPOINTS[endpoint].event_reader(OPTIONS)
            reader.feed(events)
            reply = reader.close(wild)
            assert len(reply.chunk_kind) == len(events)


@pytest.mark.parametrize("endpoint", WHOLE)
def test_no_value_of_a_whole_reply_makes_a_reader_raise(endpoint: str) -> None:
    for wild in spoilt(WHOLE[endpoint]):
        ENDPOINTS[endpoint].read_whole(wild, OPTIONS)
        assert ENDPOINTS[endpoint].error_message(wild)


@pytest.mark.parametrize("deep", [nested(129), nested_objects(129), nested(1000), nested(100_000)])
def test_what_is_nested_deeper_than_any_reply_is_malformed_wherever_it_stands(deep: bytes) -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    ordinary = b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}'
    reader.feed([ordinary, b'{"error":{"what":%b}}' % deep, ordinary])
    problem = reader.close().problem
    assert problem is not None
    assert (problem.outcome, problem.message[:20]) == (Outcome.MALFORMED, "event 1 is not JSON ")
    whole = ENDPOINTS["chat"].read_whole(b'{"error":{"what":%b}}' % deep, ReadOptions()).problem
    assert whole is not None
    assert whole.outcome is Outcome.MALFORMED


def test_brackets_side_by_side_and_in_texts_are_no_depth() -> None:
    assert decoding.loads(nested(128)) is not None
    assert decoding.loads(b"[[],%b]" % nested(127)) is not None
    assert decoding.loads(b'{"b":{},"a":%b}' % nested_objects(127)) is not None
    for deep in (b"[[],%b]" % nested(128), b'{"b":{},"a":%b}' % nested_objects(128)):
        with pytest.raises(orjson.JSONDecodeError, match="nested deeper than 128 levels"):
            decoding.loads(deep)
    assert decoding.loads(b"[" + b"[[1]]," * 999 + b"[1]]")[0] == [[1]]
    assert decoding.loads(b'"%b"' % (b"[{" * 999)) == "[{" * 999


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"a\ude00b", "a\ufffdb"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"\\ud83d", "\\ud83d"),
        (rb"\\\ud83d \ud83d\ude00", "\\\ufffd \U0001f600"),
        (b"\xf0\x9f", "\ufffd"),
        (b"a\xffb\xc3\xa9", "a\ufffdb\xe9"),
        (rb"\ud83d" + b"\xff", "\ufffd\ufffd"),
    ],
)
def test_halves_of_characters_are_read_as_the_character_that_stands_for_them(text: bytes, is_read: str) -> None:
    """Servers that cut a text between bytes or UTF-16 units send them; the event stream standard replaces them."""
    event = b'{"choices":[{"index":0,"delta":{"content":"' + text + b'"},"finish_reason":null}]}'
    reader = ENDPOINTS["chat"].event_reader(ReadOptions(count=len))
    reader.feed([event])
    reader.feed([event, b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', b"[DONE]"])
    reply = reader.close()
    assert (reply.text, reply.chunk_kind, reply.problem) == (is_read * 2, "ccoo", None)
    reply.text.encode()


@pytest.mark.parametrize("done", [b"[DONE]", b"[DONE] ", b" [DONE]", b"[DONE]\t"])
def test_done_may_have_blanks_around_it(done: bytes) -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    reader.feed([b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}', done])
    reply = reader.close()
    assert (reply.chunk_kind, reply.complete, reply.problem) == ("co", True, None)
