"""The events of Messages and Responses, field by field, and their whole replies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from mockserver.dialect.frames import (
    Event,
    FinishReason,
    Piece,
    ReplyIdentity,
    SaidBlock,
    SaidChoice,
    ToolCall,
    UsageCounts,
)
from mockserver.dialect.messages import MessagesFrames, refused
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import refusal_of
from mockserver.dialect.responses import ResponsesFrames
from mockserver.dialect.responses_request import parse_responses
from mockserver.engine.work import Work

IDENTITY = ReplyIdentity("resp_1", 9, "m")
USAGE = UsageCounts(5, 4)
CACHED = UsageCounts(5, 4, 3, lambda: Work(cached_tokens=2))
LENGTH, STOP, CALLS = FinishReason("length", None), FinishReason("stop", "END"), FinishReason("tool_calls", None)
CALL, OTHER = ToolCall("call_1", "f"), ToolCall("call_2", "g")
REASONING = [Piece("hm", "reasoning", 0, first=True), Piece(".", "reasoning", 0, last=True)]
TEXT = [Piece("", "text", 1, first=True), Piece("a", "text", 1), Piece("", "text", 1), Piece("b", "text", 1, last=True)]
TOOL = [Piece("", "tool", 2, CALL, first=True), Piece('{"x":1}', "tool", 2, CALL, last=True)]
BLOCKS = (SaidBlock("reasoning", "hm."), SaidBlock("text", "ab"), SaidBlock("tool", '{"x":1}', CALL))


def rows(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The data of the events. Each names its type twice."""
    found = []
    for event in events:
        name, data = event.frame.decode().removesuffix("\n\n").split("\n")
        row = json.loads(data.removeprefix("data: "))
        assert name == f"event: {row['type']}"
        found.append(row)
    return found


def letters(events: Sequence[Event]) -> str:
    return "".join(event.kind for event in events)


# ---- Messages ----------------------------------------------------------------------------------------------------------


def messages() -> MessagesFrames:
    return MessagesFrames(IDENTITY, RequestParams(stream=True))


def test_a_stream_of_messages_opens_and_ends_each_block() -> None:
    frames = messages()
    opening = frames.opening(0, USAGE)
    counts = {"input_tokens": 5, "output_tokens": 4}
    message: dict[str, Any] = {
        "id": "resp_1", "type": "message", "role": "assistant", "content": [], "model": "m", "stop_reason": None,
        "stop_sequence": None,
    }  # fmt: skip
    assert (rows(opening), letters(opening)) == (
        [{"type": "message_start", "message": {**message, "usage": counts}}],
        "r",
    )
    events = [event for piece in (*REASONING, *TEXT, *TOOL) for event in frames.piece(piece, None)]
    signature = next(row["delta"]["signature"] for row in rows(events) if "signature" in row.get("delta", {}))

    def start(index: int, **block: Any) -> dict[str, Any]:
        return {"type": "content_block_start", "content_block": block, "index": index}

    def delta(index: int, **delta: Any) -> dict[str, Any]:
        return {"type": "content_block_delta", "delta": delta, "index": index}

    def stop(index: int) -> dict[str, Any]:
        return {"type": "content_block_stop", "index": index}

    assert rows(events) == [
        start(0, type="thinking", thinking=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="thinking_delta", thinking="."),
        delta(0, type="signature_delta", signature=signature),
        stop(0),
        start(1, type="text", text=""),
        delta(1, type="text_delta", text="a"),
        delta(1, type="text_delta", text="b"),
        stop(1),
        start(2, type="tool_use", id="call_1", name="f", input={}),
        delta(2, type="input_json_delta", partial_json='{"x":1}'),
        stop(2),
    ]
    assert letters(events) == "ottoo" + "occo" + "ffo"
    whole = json.loads(messages().whole([SaidChoice(BLOCKS, CALLS)], CACHED))
    assert whole == {
        "id": "resp_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "content": [
            {"type": "thinking", "thinking": "hm.", "signature": signature},
            {"type": "text", "text": "ab"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 2},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("end", "reason", "sequence"),
    [
        (LENGTH, "max_tokens", None),
        (CALLS, "tool_use", None),
        (STOP, "stop_sequence", "END"),
        (FinishReason("stop", None), "end_turn", None),
    ],
)
def test_a_message_ends_with_its_reason_and_usage(end: FinishReason, reason: str, sequence: str | None) -> None:
    change = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": sequence}}
    with_usage, without = messages().closing([end], CACHED), messages().closing([end], None)
    counts = {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 2}
    assert (rows(with_usage), letters(with_usage)) == ([{**change, "usage": counts}, {"type": "message_stop"}], "uo")
    assert (rows(without), letters(without)) == ([change, {"type": "message_stop"}], "oo")
    whole = json.loads(messages().whole([SaidChoice((SaidBlock("text", ""),), end)], None))
    assert (whole["stop_reason"], whole.get("stop_sequence"), "usage" in whole) == (reason, sequence, False)
    assert whole["content"] == [{"type": "text", "text": ""}]


def test_a_block_of_a_message_that_lost_its_last_token_is_ended_all_the_same() -> None:
    frames = messages()
    assert letters(frames.piece(TEXT[1], None)) == "oc"
    assert [row["type"] for row in rows(frames.closing([LENGTH], None))] == [
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    frames = messages()  # Two calls follow each other, and the first one lost its end.
    frames.piece(TOOL[0], None)
    second = rows(frames.piece(Piece("", "tool", 3, OTHER, call_number=1, first=True), None))
    assert [(row["type"], row["index"]) for row in second] == [("content_block_stop", 0), ("content_block_start", 1)]
    cut = SaidChoice((SaidBlock("tool", '{"x', CALL),), LENGTH)
    assert json.loads(messages().whole([cut], None))["content"][0]["input"] == {}


def test_events_of_messages_for_faults() -> None:
    frames = messages()
    empty = frames.empty(Piece("", "text", 0), None)
    assert (letters(empty), rows(empty)[1]["delta"]) == ("oo", {"type": "text_delta", "text": ""})
    assert letters(frames.empty(Piece("", "text", 0), None)) == "o"
    failed = frames.failure()
    error = {"type": "overloaded_error", "message": "Overloaded (planned fault)."}
    assert (rows(failed), letters(failed)) == ([{"type": "error", "error": error}], "o")
    assert (frames.broken().kind, json.loads(frames.failure_body())["error"]["type"]) == ("o", "api_error")
    frames = messages()
    frames.piece(TEXT[1], None)
    before, after = frames.around(True)
    assert before + b'"xy"' + after == frames.piece(Piece("xy", "text", 1), None)[0].frame


def test_a_missing_key_is_named_as_anthropic_does() -> None:
    for status, message, kind, said in (
        (401, "Unauthorized", "authentication_error", "invalid x-api-key"),
        (400, "No.", "invalid_request_error", "No."),
        (503, "No.", "api_error", "No."),
    ):
        refusal = refused(refusal_of(status, message, headers=(("a", "b"),)))
        assert json.loads(refusal.body) == {"type": "error", "error": {"type": kind, "message": said}}
        assert (refusal.status, refusal.headers, refusal.message) == (status, (("a", "b"),), said)


# ---- Responses ---------------------------------------------------------------------------------------------------------

ECHO = parse_responses({"input": "x", "max_output_tokens": 7, "metadata": {"a": "b"}})


def responses(kept: list[dict[str, Any]] | None = None, identity: ReplyIdentity = IDENTITY) -> ResponsesFrames:
    params = RequestParams(stream=True, echo=ECHO.echo, keep=None if kept is None else kept.append)
    return ResponsesFrames(identity, params)


def response(status: str, output: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "id": "resp_1", "created_at": 9, "incomplete_details": None, "instructions": None, "metadata": {"a": "b"},
        "model": "m", "object": "response", "output": output, "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "none", "tools": [], "top_p": 1.0, "background": False, "max_output_tokens": 7,
        "max_tool_calls": None, "previous_response_id": None, "prompt": None, "reasoning": None, "service_tier": "auto",
        "status": status, "text": None, "top_logprobs": None, "truncation": "disabled", "usage": None, "user": None,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "kv_transfer_params": None, "ec_transfer_params": None,
        "input_messages": None, "output_messages": None, **changes,
    }  # fmt: skip


def usage(cached: int, reasoning: int) -> dict[str, Any]:
    return {
        "input_tokens": 5,
        "input_tokens_details": {
            "cached_tokens": cached, "cache_write_tokens": 0, "input_tokens_per_turn": [], "cached_tokens_per_turn": [],
        },
        "output_tokens": 4,
        "output_tokens_details": {
            "reasoning_tokens": reasoning, "tool_output_tokens": 0, "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": 9,
    }  # fmt: skip


THOUGHT: dict[str, Any] = {
    "id": "rs_1_0", "summary": [], "type": "reasoning", "content": [{"text": "hm.", "type": "reasoning_text"}],
    "encrypted_content": None, "status": "completed",
}  # fmt: skip
PART: dict[str, Any] = {"annotations": [], "text": "ab", "type": "output_text", "logprobs": None}
SAID: dict[str, Any] = {
    "id": "msg_1_1", "content": [PART], "role": "assistant", "status": "completed", "type": "message", "phase": None,
}  # fmt: skip
CALLED: dict[str, Any] = {
    "arguments": '{"x":1}', "call_id": "call_1", "name": "f", "type": "function_call", "id": "fc_1_2", "status": "completed",
}  # fmt: skip


def test_a_stream_of_responses_opens_and_ends_each_item() -> None:
    kept: list[dict[str, Any]] = []
    frames = responses(kept)
    events = [*frames.opening(0, USAGE)]
    for piece in (*REASONING, *TEXT, *TOOL):
        events += frames.piece(piece, None)
    events += frames.closing([CALLS], CACHED)
    found = rows(events)
    assert [row.pop("sequence_number") for row in found] == [*range(len(found))]
    thinks, says, calls = (
        {"output_index": n, "item_id": item["id"]} | ({"content_index": 0} if n < 2 else {})
        for n, item in enumerate((THOUGHT, SAID, CALLED))
    )
    empty = {"annotations": [], "text": "", "type": "output_text", "logprobs": []}
    early = response("in_progress", [])
    last = response("completed", [THOUGHT, SAID, CALLED], usage=usage(2, 3))
    assert found == [
        {"type": "response.created", "response": early},
        {"type": "response.in_progress", "response": early},
        {"type": "response.output_item.added", "output_index": 0,
         "item": {**THOUGHT, "content": None, "status": "in_progress"}},
        {"type": "response.content_part.added", **thinks, "part": {"text": "", "type": "reasoning_text"}},
        {"type": "response.reasoning_text.delta", **thinks, "delta": "hm"},
        {"type": "response.reasoning_text.delta", **thinks, "delta": "."},
        {"type": "response.reasoning_text.done", **thinks, "text": "hm."},
        {"type": "response.content_part.done", **thinks, "part": {"text": "hm.", "type": "reasoning_text"}},
        {"type": "response.output_item.done", "output_index": 0, "item": THOUGHT},
        {"type": "response.output_item.added", "output_index": 1, "item": {**SAID, "content": [], "status": "in_progress"}},
        {"type": "response.content_part.added", **says, "part": empty},
        {"type": "response.output_text.delta", **says, "delta": "a", "logprobs": []},
        {"type": "response.output_text.delta", **says, "delta": "b", "logprobs": []},
        {"type": "response.output_text.done", **says, "text": "ab", "logprobs": []},
        {"type": "response.content_part.done", **says, "part": PART},
        {"type": "response.output_item.done", "output_index": 1, "item": SAID},
        {"type": "response.output_item.added", "output_index": 2,
         "item": {**CALLED, "arguments": "", "status": "in_progress"}},
        {"type": "response.function_call_arguments.delta", **calls, "delta": '{"x":1}'},
        {"type": "response.function_call_arguments.done", **calls, "arguments": '{"x":1}', "name": "f"},
        {"type": "response.output_item.done", "output_index": 2, "item": CALLED},
        {"type": "response.completed", "response": last},
    ]  # fmt: skip
    assert letters(events) == "oo" + "oottooo" + "ooccooo" + "ffoo" + "u"
    assert kept == [last]
    whole = json.loads(responses(kept).whole([SaidChoice(BLOCKS, CALLS)], CACHED))
    assert whole == last
    assert kept == [last, last]


def test_a_response_that_is_cut_is_incomplete_and_named_so_where_the_finish_is_separate() -> None:
    cut = {"incomplete_details": {"reason": "max_output_tokens"}}
    for separate, ends, name in (
        (False, LENGTH, "response.completed"), (True, LENGTH, "response.incomplete"), (True, STOP, "response.completed"),
    ):  # fmt: skip
        frames = responses()
        if separate:
            assert frames.finish(0, ends, None) == []
        (event,) = frames.closing([ends], None)
        (row,) = rows([event])
        status = "incomplete" if ends is LENGTH else "completed"
        assert row == {
            "type": name, "sequence_number": 0, "response": response(status, [], **(cut if ends is LENGTH else {})),
        }  # fmt: skip
        assert event.kind == "o"
    whole = json.loads(
        responses().whole([SaidChoice((SaidBlock("text", ""), SaidBlock("tool", "", CALL)), LENGTH)], USAGE)
    )
    called = {**CALLED, "arguments": "", "id": "fc_1_0"}
    assert whole == response("incomplete", [called], usage=usage(0, 0), **cut)


def test_events_of_responses_for_faults() -> None:
    frames = responses()
    empty = frames.empty(Piece("", "text", 0), None)
    assert letters(empty) == "ooo"
    again = frames.empty(Piece("", "text", 0), None)
    assert [row["delta"] for row in rows(again)] == [""]
    broken = frames.broken()
    assert (broken.kind, b'"sequence_number":4,' in broken.frame) == ("o", True)
    failed = frames.failure()
    assert letters(failed) == "oo"
    error, response_failed = rows(failed)
    message = "The engine failed while it made this reply (planned fault)."
    assert error == {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 5}
    assert response_failed["response"] == response("failed", [], error={"code": "server_error", "message": message})
    # An item that lost its last token is ended by the next one, or at the end.
    frames = responses()
    frames.piece(TEXT[1], None)
    assert [row["type"] for row in rows(frames.piece(TOOL[0], None))][-1] == "response.output_item.added"
    assert [row["type"] for row in rows(frames.closing([LENGTH], None))] == [
        "response.function_call_arguments.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip


def test_details_of_the_engine_are_inside_a_response_or_beside_it() -> None:
    identity = IDENTITY._replace(details=frozenset({"metrics", "timings", "speculative_decoding"}))
    worked = UsageCounts(5, 1, ask_work=lambda: Work(queue_ns=3_000_000))
    (row,) = rows(responses(identity=identity).closing([STOP], worked))
    assert row["response"]["metrics"] == {"queue_time_ms": 3.0}
    assert row["timings"]["prompt_n"] == 5
    (row,) = rows(responses(identity=identity).closing([STOP], None))
    assert "timings" not in row
    assert "metrics" not in row["response"]
