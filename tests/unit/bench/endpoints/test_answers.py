"""What readers keep of an answer for the next request: text, reasoning, calls with ids and arguments, and the server's
field name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS, encode
from bench.endpoints.interface import BodyOptions, ReadOptions
from promptset.answers import Answer, ToolCall
from promptset.samples import Sample
from tests.support import dialect_streams as made
from tests.support.literal_replies import DONE, ROLE, content, delta, finish, usage

KEEP = ReadOptions(keep_answer=True)


def read(endpoint: str, events: Sequence[Any]) -> Answer | None:
    if endpoint != "chat":
        return made.read(endpoint, made.framed(events), keep_answer=True).answer
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return made.read("chat", "".join(f"data: {line}\n\n" for line in lines).encode(), keep_answer=True).answer


def whole(endpoint: str, body: Any) -> Answer | None:
    return ENDPOINTS[endpoint].read_whole(json.dumps(body).encode(), KEEP).answer


def call(index: int, call_id: str | None = None, name: str | None = None, arguments: str = "") -> dict[str, Any]:
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {"index": index, "function": function} | ({} if call_id is None else {"id": call_id, "type": "function"})


READ = ToolCall("call_1", "read", '{"path": "a"}')
LIST = ToolCall("call_2", "list", "{}")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_a_stream_of_chat_keeps_calls_in_pieces_and_the_name_of_its_reasoning(field: str) -> None:
    events = [ROLE, delta(**{field: "h"}), delta(**{field: "m"}), content("I "), content("look."), content("?"),
              delta(tool_calls=[call(0, "call_1", "read")]), delta(tool_calls=[call(0, None, None, '{"path"')]),
              delta(tool_calls=[call(0, None, None, ': "a"}')]), delta(tool_calls=[call(1, "call_2", "list", "{}")]),
              finish("tool_calls"), usage(9), DONE]  # fmt: skip
    assert read("chat", events) == Answer(content="I look.?", tool_calls=(READ, LIST), reasoning={field: "hm"})


def test_calls_of_chat_whose_places_are_not_counted_are_told_apart_by_their_ids() -> None:
    events = [ROLE, delta(tool_calls=[call(0, "a", "x", "{")]), delta(tool_calls=[call(0, None, None, "}")]),
              delta(tool_calls=[call(0, "b", "y", "[]")]), finish("tool_calls"), usage(9), DONE]  # fmt: skip
    answer = read("chat", events)
    assert answer is not None
    assert answer.tool_calls == (ToolCall("a", "x", "{}"), ToolCall("b", "y", "[]"))


def test_a_whole_reply_of_chat_says_the_same() -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}},
             {"id": "call_2", "type": "function", "function": {"name": "list", "arguments": {}}}]  # fmt: skip
    message = {"role": "assistant", "content": "I look.", "reasoning": "hm", "tool_calls": calls}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": {}}
    assert whole("chat", body) == Answer(content="I look.", tool_calls=(READ, LIST), reasoning={"reasoning": "hm"})


THINKING = {"type": "thinking", "thinking": "hm", "signature": "s1g"}
REDACTED = {"type": "redacted_thinking", "data": "x"}


def test_messages_keep_thinking_with_its_signature() -> None:
    events = [made.message_start(), made.block(0, type="thinking", thinking="", signature=""),
              made.delta("thinking_delta", 0, thinking="h"), made.delta("thinking_delta", 0, thinking="m"),
              made.delta("signature_delta", 0, signature="s1g"), made.block_stop(0), made.block(1, **REDACTED),
              made.block_stop(1), made.block(2, type="text", text=""), made.text("so"),
              made.block(3, type="tool_use", id="call_1", name="read", input={}),
              made.delta("input_json_delta", 3, partial_json='{"path"'),
              made.delta("input_json_delta", 3, partial_json=': "a"}'), made.block_stop(3),
              made.block(4, type="tool_use", id="call_2", name="list", input={}), made.block_stop(4),
              made.message_delta("tool_use", output_tokens=9), made.MESSAGE_STOP]  # fmt: skip
    kept = Answer(content="so", tool_calls=(READ, LIST), reasoning={"thinking_blocks": [THINKING, REDACTED]})
    assert read("messages", events) == kept
    blocks = [THINKING, REDACTED, {"type": "text", "text": "so"},
              {"type": "tool_use", "id": "call_1", "name": "read", "input": {"path": "a"}},
              {"type": "tool_use", "id": "call_2", "name": "list", "input": {}}]  # fmt: skip
    found = whole("messages", {"content": blocks, "stop_reason": "tool_use", "usage": {}})
    assert found is not None
    assert (found.content, found.reasoning) == (kept.content, kept.reasoning)
    assert [json.loads(one.arguments) for one in found.tool_calls] == [{"path": "a"}, {}]


REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "read", "arguments": '{"path": "a"}'}


@pytest.mark.parametrize("said", ["at the end", "piece by piece", "in pieces that nobody repeats"])
def test_responses_keep_reasoning_items_calls_and_their_own_name(said: str) -> None:
    def item(kind: str, at: int, **fields: Any) -> dict[str, Any]:
        return {"type": f"response.output_item.{kind}", "output_index": at, "item": fields}

    pieces = [
        {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc_1", "delta": delta}
        for delta in ('{"path"', ': "a"}')
    ]
    whole_items = said == "piece by piece"
    events = [
        made.CREATED,
        item(
            "added",
            0,
            **(REASONING if said == "in pieces that nobody repeats" else {"type": "reasoning", "id": "rs_1"}),
        ),
        made.part("reasoning_text", "hm"),
        *([item("done", 0, status="completed", encrypted_content=None, **REASONING)] if whole_items else []),
        item("added", 1, **{**CALL, "arguments": ""}),
        *pieces,
        *([item("done", 1, **CALL)] if whole_items else []),
        made.ended(output=[REASONING, CALL] if said == "at the end" else [], usage=made.usage(9)),
    ]
    kept = Answer(content="", tool_calls=(READ,), reasoning={"reasoning_items": [REASONING]}, response_id="resp_1")
    assert read("responses", events) == kept
    assert whole("responses", made.response(output=[REASONING, CALL])) == kept


def test_nothing_is_kept_that_nobody_asked_for() -> None:
    assert made.read("messages", made.framed(made.messages("a"))).answer is None
    assert ENDPOINTS["chat"].read_whole(b'{"choices": [{"message": {"content": "a"}}]}', ReadOptions()).answer is None


ANSWER = Answer(content="so", tool_calls=(READ,), reasoning={})
SENT: dict[str, tuple[Answer, list[Any]]] = {
    "chat": (
        Answer(content="so", tool_calls=(READ,), reasoning={"reasoning": "hm"}),
        [{"role": "assistant", "content": "so", "reasoning": "hm", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}}]},
         {"role": "tool", "tool_call_id": "call_1", "content": "r"}],
    ),
    "messages": (
        Answer(content="so", tool_calls=(READ,), reasoning={"thinking_blocks": [THINKING]}),
        [{"role": "assistant", "content": [THINKING, {"type": "text", "text": "so"},
                                           {"type": "tool_use", "id": "call_1", "name": "read", "input": {"path": "a"}}]},
         {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "r"}]}],
    ),
    "responses": (
        Answer(content="so", tool_calls=(READ,), reasoning={"reasoning_items": [REASONING]}),
        [REASONING,
         {"type": "message", "role": "assistant", "status": "completed",
          "content": [{"type": "output_text", "text": "so", "annotations": []}]},
         {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": '{"path": "a"}'},
         {"type": "function_call_output", "call_id": "call_1", "output": "r"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("endpoint", sorted(SENT))
def test_an_answer_goes_back_in_the_shape_of_its_api(endpoint: str) -> None:
    answer, sent = SENT[endpoint]
    said = (answer.message(reasoning=True), {"role": "tool", "tool_call_id": "call_1", "content": "r"})
    body = json.loads(encode(Sample(messages=said), BodyOptions(endpoint=endpoint, model="m")).body)
    assert body["input" if endpoint == "responses" else "messages"] == sent
