"""Endpoints at their borders: chats in other shapes, URLs, pages instead of JSON, and events that only look complete."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints import chat_translation as to
from bench.endpoints.answer_parts import responses_answer
from bench.endpoints.event_stream import _decode
from bench.endpoints.failure import page_title
from bench.endpoints.interface import BodyOptions, ReadOptions
from bench.endpoints.server_words import server_words
from bench.endpoints.urls import key_variable
from promptset.samples import Sample
from tests.support.dialect_streams import (
    CREATED,
    MESSAGE_STOP,
    block,
    delta,
    ended,
    framed,
    message_delta,
    message_start,
    part,
    read,
    text,
    usage,
)

URL = "http://h/v1"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL_USE = {"type": "tool_use", "id": "c", "name": "f", "input": {}}


# ---- Chats in the shapes of other APIs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "blocks"),
    [
        ("look", [{"type": "text", "text": "look"}]),
        ([{"type": "text", "text": "look"}], [{"type": "text", "text": "look"}]),
        ("", []),
        ([], []),
        (None, []),
    ],
)
def test_what_an_answer_says_stands_before_its_calls(content: Any, blocks: list[Any]) -> None:
    (message,) = to.messages_of([{"role": "assistant", "content": content, "tool_calls": [CALL]}])[1]
    assert message["content"] == [*blocks, TOOL_USE]


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("data:image/png;base64,QUJD", {"type": "base64", "media_type": "image/png", "data": "QUJD"}),
        ("data:image/png;base64", {"type": "url", "url": "data:image/png;base64"}),
        ("data:image/svg+xml,<svg/>", {"type": "url", "url": "data:image/svg+xml,<svg/>"}),
        ("https://h/x;base64,QUJD", {"type": "url", "url": "https://h/x;base64,QUJD"}),
    ],
)
def test_an_image_is_bytes_where_its_url_holds_them_in_base64(url: str, source: dict[str, str]) -> None:
    chat = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    assert to.messages_of(chat)[1][0]["content"] == [{"type": "image", "source": source}]


def test_the_text_of_a_content_is_that_of_its_parts_of_text() -> None:
    parts = [{"type": "text", "text": "a"}, "odd", {"type": "image_url"}, {"text": 3}, {"text": "b"}]
    assert to.items_of([{"role": "assistant", "content": parts}])[0]["content"][0]["text"] == "ab"
    assert to.items_of([{"role": "assistant", "content": 3}]) == []
    assert to.items_of([{"role": "tool", "tool_call_id": "c", "content": parts}]) == [
        {"type": "function_call_output", "call_id": "c", "output": "ab"}
    ]
    chat: list[dict[str, Any]] = [
        {"role": "system", "content": parts},
        {"role": "developer", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    assert to.messages_of(chat)[0] == "ab\n\nc"


def test_parts_that_have_no_counterpart_and_calls_that_are_none() -> None:
    audio = {"type": "input_audio", "input_audio": {}}
    assert to.items_of([{"role": "user", "content": [audio, "odd"]}]) == [{"role": "user", "content": [audio, "odd"]}]
    assert to.messages_of([{"role": "user", "content": None}])[1] == [{"role": "user", "content": ""}]
    odd = {"role": "assistant", "content": "a", "tool_calls": ["odd", {"function": "odd"}, {}, CALL]}
    assert to.messages_of([odd])[1][0]["content"] == [{"type": "text", "text": "a"}, TOOL_USE]
    bare = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    assert to.items_of([bare]) == [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]
    as_object = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}],
    }
    assert to.items_of([as_object])[0]["arguments"] == '{"a":1}'


def test_results_of_tools_are_one_message_where_they_follow_each_other() -> None:
    result = {"role": "tool", "tool_call_id": "c", "content": "r"}
    made = {"type": "tool_result", "tool_use_id": "c", "content": "r"}
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}]}
    assert to.messages_of([result, result])[1] == [{"role": "user", "content": [made, made]}]
    assert to.messages_of([{"role": "user", "content": "a"}, result])[1] == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [made]},
    ]
    assert to.messages_of([parts, result])[1] == [parts, {"role": "user", "content": [made]}]
    empty = {"role": "user", "content": []}
    assert to.messages_of([empty, result])[1] == [empty, {"role": "user", "content": [made]}]
    answer = {"role": "assistant", "content": "b"}
    assert to.messages_of([result, answer, result])[1] == [
        {"role": "user", "content": [made]}, answer, {"role": "user", "content": [made]}
    ]  # fmt: skip


# ---- URLs, pages, bodies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [None, ["messages"], "no such", {}])
def test_the_key_is_that_of_chat_where_nothing_names_an_endpoint(endpoint: object) -> None:
    assert key_variable(URL, endpoint) == "OPENAI_API_KEY"
    assert key_variable(f"{URL}/messages", endpoint) == "ANTHROPIC_API_KEY"
    assert key_variable(f"{URL}/chat/completions", "messages") == "ANTHROPIC_API_KEY"


def test_a_page_is_looked_at_as_far_as_its_first_2000_bytes() -> None:
    near, far = (b"<html>" + b" " * n + b"<title>Busy</title>" for n in (1_975, 1_976))
    assert page_title(near) == " ('Busy')"
    assert page_title(far) == ""
    assert page_title(b" " * 1_985 + b"<!doctype html>") == ""
    assert page_title(b" " * 2_000 + b"<!doctype html>") is None
    assert page_title(b"<title>Busy</title>") is None


@pytest.mark.parametrize(
    ("body", "batch"),
    [
        ({"documents": "all of them"}, (1, 1)),
        ({}, (1, 1)),
        ({"documents": []}, (0, 0)),
        ({"documents": ["a", "b"], "top_n": 1}, (2, 1)),
        ({"documents": ["a", "b"], "top_n": 0}, (2, 2)),
        ({"documents": ["a", "b"], "top_n": True}, (2, 2)),
        ({"documents": ["a", "b"], "top_n": 3}, (2, 2)),
    ],
)
def test_as_many_results_are_asked_for_as_there_are_documents_or_the_first_of_them(
    body: dict[str, Any], batch: tuple[int, int]
) -> None:
    found = ENDPOINTS["rerank"].encode(Sample(body=body), BodyOptions(endpoint="rerank", model="m")).batch
    assert found is not None
    assert (found.inputs, found.entries) == batch


# ---- Events --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "decoded", "wrong"),
    [
        # Each event is parsed on its own, even if events are valid JSON only together.
        ([b'{"a":1}, "\x7f", {"b":2}'], [], "event 5 is not JSON"),
        ([b'{"a":1},"\x7f",{"b":2}', b'{"c":[1', b"2]}"], [], "event 5 is not JSON"),
        ([b'{"a":1},{"b":2}'], [], "event 5 is not JSON"),
        ([b'{"a":[1', b"2]}"], [], "event 5 is not JSON"),
        ([b"{}", b"[1]"], [{}], "event 6 is not a JSON object: '[1]'"),
        ([b"{}", b"null"], [{}], "event 6 is not a JSON object: 'null'"),
        ([b"{}", b"[DONE]", b'{"a":1}'], [{}, None, {"a": 1}], None),
        ([b"[DONE]", b"[1]"], [None], "event 6 is not a JSON object: '[1]'"),
        ([b"{}", b"[DONE]", b"{"], [{}, None], "event 7 is not JSON"),
        ([b'{"a":",\\u007f,"}'], [{"a": ",\x7f,"}], None),
        ([b'{"a":",\x7f,"}', b"{}"], [{"a": ",\x7f,"}, {}], None),
    ],
)
def test_events_are_objects_each_by_itself(events: list[bytes], decoded: list[Any], wrong: str | None) -> None:
    found, said = _decode(events, 5)
    assert found == decoded
    assert (said is None) if wrong is None else (said is not None and said.startswith(wrong))


def test_a_piece_of_a_block_that_never_began_is_kept_nowhere() -> None:
    lost = delta("input_json_delta", 3, partial_json='{"a":1}')
    stream = [message_start(), block(0, type="tool_use", id="t", name="f", input={}), lost, text("so"),
              message_delta("tool_use", output_tokens=9), MESSAGE_STOP]  # fmt: skip
    answer = read("messages", framed(stream), keep_answer=True).answer
    assert answer is not None
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("f", "{}")]


@pytest.mark.parametrize(
    "sample", [Sample(prompt="p"), Sample(prompt="p", query="q"), Sample(prompt="p", texts=("a",))]
)
def test_without_a_query_or_documents_the_prompt_is_both(sample: Sample) -> None:
    body = json.loads(ENDPOINTS["rerank"].encode(sample, BodyOptions(endpoint="rerank", model="m")).body)
    assert (body["query"], body["documents"]) == ("p", ["p"])


TWO_OF_MESSAGES = [text("abcd"), text("efgh"), message_delta("end_turn", output_tokens=24), MESSAGE_STOP]
TWO_OF_RESPONSES = [part("reasoning_text", "abcd"), part("output_text", "efgh"), ended(usage=usage(24))]


@pytest.mark.parametrize(
    ("endpoint", "stream"),
    [("messages", [message_start(), *TWO_OF_MESSAGES]), ("responses", [CREATED, *TWO_OF_RESPONSES])],
)
def test_usage_may_have_a_token_a_byte_and_16_more(endpoint: str, stream: list[Any]) -> None:
    assert read(endpoint, framed(stream)).output_tokens_from == "usage"
    more = json.loads(json.dumps(stream).replace('"output_tokens": 24', '"output_tokens": 25'))
    assert read(endpoint, framed(more)).output_tokens_from == "chunks"


@pytest.mark.parametrize(
    ("deltas", "tokens"),
    [
        ([], None),
        ([{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "", "arguments": ""}}]}], 200),
        ([{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}], 200),
    ],
)
def test_a_call_leaves_room_for_tokens_that_no_text_shows(deltas: list[Any], tokens: int | None) -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    said = [{"index": 0, "delta": one, "finish_reason": None} for one in [{"content": "abcd"}, *deltas]]
    events = [*({"choices": [one]} for one in said), {"choices": [], "usage": {"completion_tokens": 200}}]
    reader.feed([json.dumps(event).encode() for event in events])
    reply = reader.close()
    assert (reply.output_tokens if reply.output_tokens_from == "usage" else None) == tokens


def test_arguments_of_a_call_that_was_never_named_leave_room_too() -> None:
    events = [CREATED, part("function_call_arguments", "{}"), ended(usage=usage(200))]
    reply = read("responses", framed(events))
    assert (reply.tool_calls, reply.output_tokens, reply.output_tokens_from) == (0, 200, "usage")


@pytest.mark.parametrize("said", [None, 3, "many"])
def test_usage_of_messages_that_is_no_object_says_nothing(said: Any) -> None:
    start = message_start()
    start["message"]["usage"] = said
    last = {**message_delta("end_turn"), "usage": said}
    reply = read("messages", framed([start, text("a"), last, MESSAGE_STOP]))
    assert (reply.problem, reply.chunk_kind) == (None, "rcoo")
    assert (reply.input_tokens, reply.output_tokens, reply.output_tokens_from) == (None, 1, "chunks")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"num_draft_tokens": 9}, (9, None)),
        ({"num_accepted_draft_tokens": 9}, (None, 9)),
        ({"num_draft_tokens": 9, "num_accepted_draft_tokens": 9}, (9, 9)),
        ({"num_draft_tokens": 8, "num_accepted_draft_tokens": 9}, (None, None)),
    ],
)
def test_drafts_are_believed_where_no_more_were_right_than_there_were(
    said: dict[str, int], expected: tuple[int | None, int | None]
) -> None:
    words = server_words({"speculative_decoding": said}, None)
    assert (words.draft_tokens, words.accepted_tokens) == expected


@pytest.mark.parametrize(("given", "kept"), [("resp_1", "resp_1"), ("", None), (None, None), (7, None)])
def test_a_response_is_gone_on_with_by_its_id(given: object, kept: str | None) -> None:
    assert responses_answer("so", [], given).response_id == kept


def test_what_says_nothing_of_a_kept_block_leaves_it_as_it_is() -> None:
    stream = [
        message_start(),
        block(0, type="thinking", thinking="h", signature="s"),
        delta("citations_delta", 0, citation={}),
        delta("text_delta", 0, text="a"),
        block(1, type="text", text="b"),
        delta("thinking_delta", 1, thinking="x"),
        message_delta("end_turn", output_tokens=9),
        MESSAGE_STOP,
    ]
    answer = read("messages", framed(stream), keep_answer=True).answer
    assert answer is not None
    assert answer.reasoning == {"thinking_blocks": [{"type": "thinking", "thinking": "h", "signature": "s"}]}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, {"include_usage": True}),
        ({"ask_usage": False}, None),
        ({"stream": False}, None),
        ({"stream": False, "ask_usage": False}, None),
    ],
)
def test_usage_is_asked_for_by_the_run_and_not_by_the_data(options: dict[str, Any], asked: object) -> None:
    own = Sample(body={"messages": [], "stream_options": {"include_usage": "own"}})
    body = json.loads(ENDPOINTS["chat"].encode(own, BodyOptions(endpoint="chat", model="m", **options)).body)
    assert body.get("stream_options") == asked
