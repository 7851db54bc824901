"""Assembling pieces: tool calls, the kinds of chunks, and fields beside the events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.answer_parts import CallParts, chat_answer, messages_answer, responses_answer
from bench.endpoints.chat import ChatCompletions
from bench.endpoints.interface import OtherLine, Problem, ReadOptions
from bench.endpoints.messages_reader import blocks_of
from bench.records import Outcome
from promptset.answers import ToolCall
from tests.support.dialect_streams import (
    CREATED,
    MESSAGE_STOP,
    delta,
    ended,
    framed,
    item,
    message_delta,
    message_start,
    part,
    read,
    response,
    text,
    usage,
)

# ---- Calls ---------------------------------------------------------------------------------------------------------


def calls(*pieces: dict[str, Any]) -> tuple[ToolCall, ...]:
    parts = CallParts()
    for piece in pieces:
        parts.add(piece.pop("at", 0), **piece)
    return parts.calls()


@pytest.mark.parametrize(
    ("pieces", "made"),
    [
        ([{"call_id": "a", "name": "f"}, {"call_id": "a", "arguments": '{"x":1}'}], [("a", "f", '{"x":1}')]),
        ([{"call_id": "a", "name": "f"}, {"call_id": "b", "name": "g"}], [("a", "f", "{}"), ("b", "g", "{}")]),
        ([{"name": "f"}, {"call_id": "a", "arguments": '{"x":'}, {"arguments": "1}"}], [("a", "f", '{"x":1}')]),
        ([{"call_id": "a", "name": "f"}, {"call_id": 7, "name": "g"}], [("a", "fg", "{}")]),
        ([{"call_id": "a", "name": "f"}, {"call_id": "", "name": 3}], [("a", "f", "{}")]),
        ([{"call_id": "a", "arguments": "{}"}], []),
        ([{"name": "f", "arguments": {"x": 1}}], [("", "f", '{"x":1}')]),
        ([{"name": "f", "arguments": {}}], [("", "f", "{}")]),
        ([{"name": "f", "at": 1}, {"name": "g", "at": 0}, {"name": "h", "at": 1}], [("", "fh", "{}"), ("", "g", "{}")]),
    ],
)
def test_a_call_is_put_together_of_its_pieces(pieces: list[dict[str, Any]], made: list[tuple[str, str, str]]) -> None:
    assert [(call.id, call.name, call.arguments) for call in calls(*pieces)] == made


def test_an_answer_keeps_what_goes_back_and_nothing_that_is_empty() -> None:
    assert chat_answer("a", CallParts(), "", "reasoning").reasoning == {}
    assert chat_answer("a", CallParts(), "hm", "reasoning").reasoning == {"reasoning": "hm"}
    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "u", "name": "g"},
    ]
    of_messages = messages_answer("a", blocks)
    assert (of_messages.tool_calls, of_messages.reasoning) == (
        (ToolCall("t", "f", '{"x":1}'), ToolCall("u", "g", "{}")),
        {},
    )
    items: list[dict[str, Any]] = [
        {"type": "reasoning", "id": "r", "status": "completed", "encrypted_content": None, "summary": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "d", "name": "g", "arguments": ""},
        {"type": "message"},
    ]
    of_responses = responses_answer("a", items, None)
    assert of_responses.tool_calls == (ToolCall("c", "f", "{}"), ToolCall("d", "g", "{}"))
    assert of_responses.reasoning == {"reasoning_items": [{"type": "reasoning", "id": "r", "summary": []}]}
    assert responses_answer("a", items[1:], None).reasoning == {}


def test_items_of_a_response_are_kept_as_the_last_event_has_them_and_no_earlier_one() -> None:
    begun = {
        "type": "response.in_progress",
        "response": response("in_progress", output=[{"type": "function_call", "name": "x"}]),
    }
    named = item(type="function_call", call_id="c", name="f", arguments="")
    stream = [CREATED, named, begun, part("function_call_arguments", "{}"), ended(usage=usage(3))]
    answer = read(
        "responses", b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in stream), keep_answer=True
    ).answer
    assert answer is not None
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [("c", "f", "{}")]


# ---- Kinds of chunks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [[], "odd", {"a": 1}, None])
def test_items_are_kept_where_the_last_event_does_not_say_them_again(output: Any) -> None:
    stream = [CREATED, item(type="function_call", call_id="c", name="f", arguments="{}"), ended(output=output)]
    answer = read("responses", framed(stream), keep_answer=True).answer
    assert answer is not None
    assert [(call.id, call.name) for call in answer.tool_calls] == [("c", "f")]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"delta": {"role": "assistant"}, "finish_reason": None}, ("r", "")),
        ({"delta": {"role": "assistant"}}, ("r", "")),
        ({"delta": {"role": "assistant"}, "finish_reason": "stop"}, ("o", "")),
        ({"delta": {"role": ""}, "finish_reason": None}, ("o", "")),
        ({"delta": {}, "finish_reason": None}, ("o", "")),
        ({"delta": None}, ("o", "")),
        ({"delta": {"role": "assistant", "content": "a"}}, ("c", "a")),
        ({"delta": {"content": "", "refusal": "no"}}, ("c", "no")),
        ({"delta": {"content": "a", "reasoning": "b"}}, ("c", "ba")),
        ({"delta": {"reasoning": "", "reasoning_content": "b"}}, ("t", "b")),
        ({"delta": {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}}, ("n", "f")),
        ({"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}, ("f", "f{}")),
        ({"delta": {"tool_calls": [{"function": {"arguments": {"x": 1}}}]}}, ("f", '{"x":1}')),
        ({"delta": {"tool_calls": [{"function": {"name": "f"}}, {"function": {"name": "g", "arguments": "1"}}]}},
         ("f", "fg1")),
        ({"delta": {"role": "assistant", "tool_calls": [{"function": {"name": "", "arguments": ""}}]}}, ("r", "")),
        ({"delta": {"function_call": {"name": "f"}}}, ("n", "f")),
        ({"delta": {"tool_calls": ["odd", {"function": "odd"}]}}, ("o", "")),
        ({"delta": {"content": ["a"], "refusal": 3, "reasoning": {"x": 1}, "reasoning_content": True}}, ("o", "")),
    ],
)  # fmt: skip
def test_a_choice_has_its_kind_and_its_text(choice: dict[str, Any], expected: tuple[str, str]) -> None:
    assert ChatCompletions().kind_and_texts(choice)[:2] == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"message": {"content": "a", "reasoning": "b"}}, ("ba", "a")),
        ({"message": {"content": None, "refusal": "no"}}, ("no", "")),
        ({"message": {"content": "a", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}, ("af{}", "a")),
        ({"message": {"reasoning_content": "b", "content": "a", "refusal": "c"}}, ("bac", "a")),
        ({"message": "a"}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_a_whole_choice_has_all_its_text_and_its_content(choice: dict[str, Any], expected: tuple[str, str]) -> None:
    assert ChatCompletions().texts(choice) == expected


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        ({"delta": {"reasoning": "", "reasoning_content": "b"}}, "reasoning_content"),
        ({"delta": {"reasoning": "a", "reasoning_content": "b"}}, "reasoning"),
        ({"message": {"reasoning_content": "b"}}, "reasoning_content"),
        ({"delta": {"reasoning": ["a"], "content": "b"}}, ""),
        ({}, ""),
    ],
)
def test_reasoning_has_the_name_of_the_field_that_holds_it(choice: dict[str, Any], field: str) -> None:
    assert ChatCompletions().reasoning_field(choice) == field


@pytest.mark.parametrize("where", ["event", "choice", "delta"])
def test_a_text_with_an_error_beside_it_is_not_plain(where: str) -> None:
    places: dict[str, dict[str, Any]] = {name: {} for name in ("event", "choice", "delta")}
    places[where] = {"error": {"message": "gone"}}
    choice = {"delta": {"content": "a", **places["delta"]}, "finish_reason": None, **places["choice"]}
    assert ChatCompletions().plain_text({"choices": [choice], **places["event"]}) is None


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"delta": {"tool_calls": [{"id": "a", "function": {}}, {"function": {}}]}}, [(0, "a"), (1, None)]),
        ({"delta": {"tool_calls": [{"index": 5, "function": {}}]}}, [(5, None)]),
        ({"message": {"tool_calls": [{"function": {}}, "odd", {"function": "odd"}, {"id": "b", "function": {}}]}},
         [(0, None), (3, "b")]),
        ({"message": {"function_call": {}}}, [("function_call", None)]),
        ({"message": {"tool_calls": "odd", "function_call": "odd"}}, []),
    ],
)  # fmt: skip
def test_calls_of_a_choice_have_a_place_and_an_id(choice: dict[str, Any], found: list[Any]) -> None:
    assert ChatCompletions().calls_in(choice) == found


def test_calls_without_a_place_that_are_odd_are_left_out_and_the_others_keep_theirs() -> None:
    parts = CallParts()
    made = [
        {"function": {"name": "f"}},
        "odd",
        {"function": "odd"},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
    ]
    ChatCompletions().add_calls({"message": {"tool_calls": made}}, parts)
    ChatCompletions().add_calls({"delta": {"tool_calls": [{"index": 3, "function": {"name": "h"}}]}}, parts)
    ChatCompletions().add_calls({"delta": {"tool_calls": "odd"}}, parts)
    assert [(call.id, call.name) for call in parts.calls()] == [("", "f"), ("b", "gh")]


@pytest.mark.parametrize(
    ("endpoint", "stream"),
    [
        ("messages", [message_start(), text("a"), delta("text_delta", text=""), text("b"),
                      message_delta("end_turn", output_tokens=3), MESSAGE_STOP]),
        ("responses", [CREATED, part("output_text", "a"), part("output_text", ""), part("output_text", "b"),
                       {"type": "response.output_item.added", "item": "odd"}, ended(usage=usage(3))]),
    ],
)  # fmt: skip
def test_a_piece_without_text_has_its_token_in_the_next(endpoint: str, stream: list[Any]) -> None:
    reply = read(endpoint, framed(stream))
    assert reply.problem is None
    assert reply.chunk_tokens is not None
    assert reply.chunk_tokens[1:4] == (1, 0, 2)


def test_a_whole_reply_that_calls_a_tool_without_a_name_is_one() -> None:
    call = {"function": {"name": "", "arguments": ""}}
    whole = {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    reply = ChatCompletions().read_whole(json.dumps(whole).encode(), ReadOptions())
    assert (reply.problem, reply.text, reply.tool_calls) == (None, "", 1)


def test_what_is_no_event_of_a_reply_is_named_by_its_number_in_the_stream_and_the_first_of_them() -> None:
    reader = ENDPOINTS["messages"].event_reader(ReadOptions())
    for event in (message_start(), text("a"), {"index": 2}, {"index": 3}):
        reader.feed([json.dumps(event).encode()])
    problem = reader.close().problem
    assert problem is not None
    assert problem.message == "event 2 is not an event of a reply: it has no type: '{\"index\": 2}'"
    stream = [message_start(), text("a"), message_delta("end_turn"), MESSAGE_STOP, text("b"), text("c")]
    late = read("messages", framed(stream)).problem
    assert late is not None
    assert late.message.startswith("event 4 comes after message_stop: ")


def test_what_is_odd_in_a_reply_is_passed_over_and_what_is_called_an_error_is_one() -> None:
    assert blocks_of([{"type": "tool_use"}, {"type": "server_tool_use", "name": "f"}, {"type": "tool_use"}]) == (
        "f",
        "",
        3,
    )
    assert blocks_of(["odd", {"type": "text", "text": "a"}, {"type": "tool_use", "name": "f", "input": {}}]) == (
        "af",
        "a",
        1,
    )
    odd = {"type": "content_block_start", "index": 0, "content_block": "odd"}
    end = [text("a"), message_delta("end_turn"), MESSAGE_STOP]
    assert read("messages", framed([message_start(), odd, *end])).chunk_kind == "roc" + "uo"
    nameless = item(type="function_call", name="", arguments="")
    reply = read("responses", framed([CREATED, nameless, part("output_text", "a"), ended(usage=usage(1))]))
    assert (reply.tool_calls, reply.chunk_kind, reply.problem) == (1, "oocu", None)
    told = read("messages", framed([message_start(), {"message": "gone"}])).problem
    assert told == Problem(Outcome.STREAM_ERROR, "gone")
    for data, said in ((b"gone", "'gone'"), (b"[1]", "'[1]'"), (b'{"error":{"message":"busy"}}', "busy")):
        called = b"data: {}\n\nevent: error\ndata: " + data + b"\n\n"
        assert read("messages", called).problem == Problem(Outcome.STREAM_ERROR, said)
    chat = ENDPOINTS["chat"].event_reader(ReadOptions())
    chat.feed([b'{"id":1}', b'{"id":2}'])
    assert chat.close().problem == Problem(Outcome.MALFORMED, "event 0 is not a chunk of a reply: '{\"id\":1}'")


def test_what_stands_in_place_of_a_number_is_shown_by_its_first_40_letters() -> None:
    for name, entry, said in (
        ("embeddings", {"data": [{"index": "x" * 60, "embedding": [1.0]}]}, "data[0] has no index: "),
        ("rerank", {"results": [{"index": 0, "score": "x" * 60}]}, "results[0] has no numeric score: "),
    ):
        problem = ENDPOINTS[name].read_whole(json.dumps(entry).encode(), ReadOptions()).problem
        assert problem is not None
        assert problem.message == said + "'" + "x" * 39


def test_an_error_that_was_told_is_not_lost_by_what_stands_beside_the_events() -> None:
    def told(*lines: bytes) -> Problem | None:
        reader = ENDPOINTS["chat"].event_reader(ReadOptions())
        reader.feed([b'{"error":{"message":"busy"}}'], [OtherLine(None, line) for line in lines])
        return reader.close().problem

    assert told() == told(b"odd") == told(b'{"error":"gone"}') == Problem(Outcome.STREAM_ERROR, "busy")


def test_a_long_title_of_a_page_is_cut() -> None:
    page = b"<html><title>" + b"x" * 900 + b"</title>"
    for endpoint in ("rerank", "embeddings"):
        problem = ENDPOINTS[endpoint].read_whole(page, ReadOptions()).problem
        assert problem is not None
        assert len(problem.message) == 500


@pytest.mark.parametrize("colon", ["event: ", "event:"])
def test_a_type_may_stand_in_the_line_before_with_or_without_a_space(colon: str) -> None:
    events = [message_start(), text("a"), message_delta("end_turn", output_tokens=1), MESSAGE_STOP]
    bare = [(event["type"], {name: value for name, value in event.items() if name != "type"}) for event in events]
    stream = "".join(f"{colon}{kind}\ndata: {json.dumps(event)}\n\n" for kind, event in bare)
    reply = read("messages", stream.encode())
    assert (reply.problem, reply.chunk_kind) == (None, "rcuo")
