"""The JSON that each text dialect makes of the pieces of a reply and of a whole reply, field by field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from mockserver.dialect.frames import (
    Event,
    FinishReason,
    Piece,
    ReplyFrames,
    ReplyIdentity,
    SaidBlock,
    SaidChoice,
    TokenLogprob,
    ToolCall,
    UsageCounts,
)
from mockserver.dialect.ollama import OllamaFrames
from mockserver.dialect.ollama import parse_chat as ollama_chat
from mockserver.dialect.ollama import parse_generate as ollama_generate
from mockserver.dialect.openai_frames import ChatFrames, CompletionFrames
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import Refusal
from mockserver.dialect.reply_details import root_details, usage_details
from mockserver.dialect.tgi import TgiFrames
from mockserver.dialect.tgi import parse as parse_tgi
from mockserver.engine.work import Drafts, Work

PARAMS = RequestParams(stream=True)
IDENTITY = ReplyIdentity("id", 9, "m")
THINKS = IDENTITY._replace(reasons=True)
USAGE = UsageCounts(5, 4)
LENGTH, STOP = FinishReason("length", None), FinishReason("stop", "END")
CALL = ToolCall("call_1", "f")
TOKENS = (
    TokenLogprob(" é", -0.5, ((" é", -0.5), (" b", -1.5))),
    TokenLogprob("cd", -0.25, ()),
    TokenLogprob("e", -0.125, ()),
)
COUNTS = {"prompt_tokens": 5, "total_tokens": 9, "completion_tokens": 4}
CHUNK = {"id": "id", "object": "chat.completion.chunk", "created": 9, "model": "m"}
TEXT_CHUNK = {**CHUNK, "object": "text_completion"}


def rows(events: Sequence[Event]) -> list[Any]:
    return [json.loads(event.frame.removeprefix(b"data:")) for event in events if b"[DONE]" not in event.frame]


def letters(events: Sequence[Event]) -> str:
    return "".join(event.kind for event in events)


def said(
    *blocks: SaidBlock, end: FinishReason = LENGTH, logprobs: tuple[TokenLogprob, ...] | None = None
) -> SaidChoice:
    return SaidChoice(blocks, end, logprobs)


# ---- OpenAI ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("piece", "letter", "delta", "finish"),
    [
        (Piece("a", "text"), "c", {"content": "a"}, {"finish_reason": None}),
        (Piece("", "text"), "o", {"content": ""}, {"finish_reason": None}),
        (Piece("a", "text", role=True), "c", {"role": "assistant", "content": "a"}, {"finish_reason": None}),
        (Piece("a", "text", end=STOP), "c", {"content": "a"}, {"finish_reason": "stop", "stop_reason": "END"}),
        (Piece("a", "text", end=LENGTH, role=True), "c", {"role": "assistant", "content": "a"},
         {"finish_reason": "length", "stop_reason": None}),
        (Piece("a", "reasoning"), "t", {"reasoning": "a"}, {"finish_reason": None}),
        (Piece("", "reasoning"), "o", {"reasoning": ""}, {"finish_reason": None}),
        (Piece("", "tool", call=CALL, first=True), "f",
         {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
         {"finish_reason": None}),
        (Piece("{}", "tool", call=CALL, call_number=1), "f",
         {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}, {"finish_reason": None}),
        (Piece("", "tool", call=CALL, call_number=1), "o",
         {"tool_calls": [{"index": 1, "function": {"arguments": ""}}]}, {"finish_reason": None}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("usage", [None, USAGE])
def test_a_chunk_of_chat_has_the_delta_of_its_piece(
    piece: Piece, letter: str, delta: dict[str, Any], finish: dict[str, Any], usage: UsageCounts | None
) -> None:
    events = ChatFrames(IDENTITY, PARAMS).piece(piece._replace(choice=2), usage)
    choice = {"index": 2, "delta": delta, "logprobs": None, **finish}
    assert rows(events) == [{**CHUNK, "choices": [choice]} | ({} if usage is None else {"usage": COUNTS})]
    assert letters(events) == letter


def test_the_other_chunks_of_chat() -> None:
    frames = ChatFrames(IDENTITY._replace(reasoning_field="reasoning_content"), PARAMS)
    unfinished = {"logprobs": None, "finish_reason": None}
    opening = {"index": 1, "delta": {"role": "assistant", "content": ""}, **unfinished}
    for events, choices, letter in (
        (frames.opening(1, None), [opening], "r"),
        (frames.empty(Piece("", "text", role=True), None), [{**opening, "index": 0}], "r"),
        (frames.empty(Piece("", "text"), None), [{"index": 0, "delta": {"content": ""}, **unfinished}], "o"),
        (frames.piece(Piece("a", "reasoning"), None),
         [{"index": 0, "delta": {"reasoning_content": "a"}, **unfinished}], "t"),
        (frames.finish(1, STOP, None),
         [{"index": 1, "delta": {}, "logprobs": None, "finish_reason": "stop", "stop_reason": "END"}], "o"),
        (frames.closing([LENGTH], None), [], "o"),
    ):  # fmt: skip
        assert [row["choices"] for row in rows(events)] == ([choices] if choices else [])
        assert letters(events) == letter
    closing = frames.closing([LENGTH], USAGE._replace(reasoning_tokens=0))
    assert rows(closing) == [
        {**CHUNK, "choices": [], "usage": {**COUNTS, "completion_tokens_details": {"reasoning_tokens": 0}}}
    ]
    assert (letters(closing), closing[1].frame) == ("uo", b"data: [DONE]\n\n")
    assert letters(frames.failure()) == "oo"
    assert (rows(frames.failure())[0]["error"]["code"], frames.broken().kind) == (500, "o")


def test_only_chunks_without_usage_of_their_own_are_alike_but_for_their_text() -> None:
    for frames in (ChatFrames(IDENTITY, PARAMS), CompletionFrames(IDENTITY, PARAMS)):
        around = frames.around(False)
        assert around is not None
        before, after = around
        assert before + b'"a"' + after == frames.piece(Piece("a", "text"), None)[0].frame
        assert frames.around(True) is None


def test_tokens_of_chat_have_their_bytes_and_alternatives() -> None:
    top = [
        {"token": " é", "logprob": -0.5, "bytes": [32, 0xC3, 0xA9]},
        {"token": " b", "logprob": -1.5, "bytes": [32, 98]},
    ]
    content = [
        {**top[0], "top_logprobs": top},
        {"token": "cd", "logprob": -0.25, "bytes": [99, 100], "top_logprobs": []},
    ]
    (row,) = rows(ChatFrames(IDENTITY, PARAMS).piece(Piece(" écd", "text", logprobs=TOKENS[:2]), None))
    assert row["choices"][0]["logprobs"] == {"content": content}
    whole = json.loads(ChatFrames(IDENTITY, PARAMS).whole([said(SaidBlock("text", "x"), logprobs=TOKENS[:2])], None))
    assert whole["choices"][0]["logprobs"] == {"content": content}


def test_tokens_of_a_completion_have_their_place_in_its_text() -> None:
    first = {
        "text_offset": [0, 2], "token_logprobs": [-0.5, -0.25], "tokens": [" é", "cd"],
        "top_logprobs": [{" é": -0.5, " b": -1.5}, {"cd": -0.25}],
    }  # fmt: skip
    frames = CompletionFrames(IDENTITY, PARAMS)
    (row,) = rows(frames.piece(Piece(" écd", "text", logprobs=TOKENS[:2]), None))
    assert row == {
        **TEXT_CHUNK,
        "choices": [{"index": 0, "text": " écd", "logprobs": first, "finish_reason": None}],
    }
    (row,) = rows(frames.piece(Piece("e", "text", logprobs=TOKENS[2:]), None))
    assert row["choices"][0]["logprobs"]["text_offset"] == [4]
    # The first piece of another choice may begin with text without log probabilities, such as the prompt.
    (row,) = rows(frames.piece(Piece("Hi cd", "text", choice=1, logprobs=TOKENS[1:2]), USAGE))
    assert (row["choices"][0]["logprobs"]["text_offset"], row["usage"]) == ([3], COUNTS)
    (row,) = rows(frames.piece(Piece("e", "text", choice=1, logprobs=TOKENS[2:]), None))
    assert row["choices"][0]["logprobs"]["text_offset"] == [5]
    # A stop string may hold back some of the text.
    assert frames.piece(Piece("", "text", choice=2, logprobs=TOKENS[2:]), None)[0].kind == "o"
    (row,) = rows(frames.piece(Piece("e", "text", choice=2, logprobs=TOKENS[2:]), None))
    assert row["choices"][0]["logprobs"]["text_offset"] == [1]


def test_the_other_chunks_of_a_completion() -> None:
    frames = CompletionFrames(IDENTITY, PARAMS)
    for events, choice, letter in (
        (frames.piece(Piece("a", "text", choice=1), None),
         {"index": 1, "text": "a", "logprobs": None, "finish_reason": None}, "c"),
        (frames.piece(Piece("a", "text", end=STOP), None),
         {"index": 0, "text": "a", "logprobs": None, "finish_reason": "stop", "stop_reason": "END"}, "c"),
        (frames.piece(Piece("a", "text", logprobs=TOKENS[2:]), None), None, "c"),
        (frames.empty(Piece("", "text"), None), {"index": 0, "text": "", "logprobs": None, "finish_reason": None}, "o"),
        (frames.finish(1, LENGTH, None),
         {"index": 1, "text": "", "logprobs": None, "finish_reason": "length", "stop_reason": None}, "o"),
    ):  # fmt: skip
        assert letters(events) == letter
        assert choice is None or rows(events) == [{**TEXT_CHUNK, "choices": [choice]}]


def test_a_whole_chat_has_a_message_for_each_choice() -> None:
    ends = {"logprobs": None, "finish_reason": "length", "stop_reason": None}
    tool = SaidBlock("tool", "{}", CALL)
    calls = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    choices = [
        said(SaidBlock("text", "a"), SaidBlock("text", "b")),
        said(tool),
        said(SaidBlock("text", "a"), tool, tool, end=STOP),
        said(),
        said(SaidBlock("reasoning", "hm"), SaidBlock("text", "a")),
    ]
    messages: list[dict[str, Any]] = [
        {"content": "ab"}, {"content": None, "tool_calls": calls}, {"content": "a", "tool_calls": calls * 2},
        {"content": ""}, {"content": "a"},
    ]  # fmt: skip
    whole = json.loads(ChatFrames(IDENTITY, PARAMS).whole(choices, USAGE))
    assert [choice["message"] for choice in whole["choices"]] == [{"role": "assistant", **row} for row in messages]
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3, 4]
    assert whole["choices"][0] == {"index": 0, "message": {"role": "assistant", "content": "ab"}, **ends}
    assert (whole["choices"][2]["finish_reason"], whole["choices"][2]["stop_reason"]) == ("stop", "END")
    assert (whole["object"], whole["usage"]) == ("chat.completion", COUNTS)
    thinks = json.loads(ChatFrames(THINKS, PARAMS).whole(choices[3:], None))
    assert [choice["message"]["reasoning"] for choice in thinks["choices"]] == ["", "hm"]
    assert "usage" not in thinks


def test_a_whole_completion_has_a_text_for_each_choice() -> None:
    text = SaidBlock("text", "Hi écd")
    choices = [said(text, end=STOP), said(text, logprobs=TOKENS[:2]), said(SaidBlock("text", "e"), logprobs=TOKENS[1:])]
    whole = json.loads(CompletionFrames(IDENTITY, PARAMS).whole(choices, USAGE))
    assert {name: whole[name] for name in TEXT_CHUNK} == TEXT_CHUNK
    assert whole["choices"][0] == {
        "index": 0, "text": "Hi écd", "logprobs": None, "finish_reason": "stop", "stop_reason": "END",
    }  # fmt: skip
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    # The prompt before them has none; a stop string may have removed some of their text.
    assert [choice["logprobs"]["text_offset"] for choice in whole["choices"][1:]] == [[2, 4], [0, 2]]


# ---- Details of the engine's work --------------------------------------------------------------------------------------

MS = 1_000_000


def test_details_that_are_unknown_are_left_out_or_null() -> None:
    waited = UsageCounts(5, 1, ask_work=lambda: Work(queue_ns=3 * MS))
    assert root_details(waited, {"metrics"}) == {"metrics": {"queue_time_ms": 3.0}}
    for work, times in (
        (Work(prefill_ns=20 * MS), {"time_to_first_token_ms": 20.0}),
        (Work(decode_ns=30 * MS), {"generation_time_ms": 30.0}),
    ):
        half = UsageCounts(5, 1, ask_work=lambda work=work: work)  # type: ignore[misc]
        assert root_details(half, {"metrics"}) == {"metrics": times}
    assert root_details(waited, {"speculative_decoding"}) == {}
    assert root_details(waited, {"timings"}) == {
        "timings": {
            "cache_n": 0, "prompt_n": 5, "prompt_ms": None, "prompt_per_token_ms": None, "prompt_per_second": None,
            "predicted_n": 1, "predicted_ms": None, "predicted_per_token_ms": None, "predicted_per_second": None,
        }
    }  # fmt: skip
    assert usage_details(waited, {"cached_tokens"}) == {"prompt_tokens_details": {"cached_tokens": 0}}
    assert usage_details(waited, {"metrics"}) == usage_details(USAGE, {"cached_tokens"}) == {}
    assert root_details(USAGE, {"metrics", "timings"}) == {}


def test_times_of_one_token_have_no_gap_and_times_of_zero_no_rate() -> None:
    one = UsageCounts(4, 1, ask_work=lambda: Work(0, 20 * MS, 0, 4))
    assert root_details(one, {"metrics"}) == {
        "metrics": {
            "time_to_first_token_ms": 20.0, "generation_time_ms": 0.0, "queue_time_ms": 0.0, "tokens_per_second": 50.0,
        }
    }  # fmt: skip
    timings = root_details(one, {"timings"})["timings"]
    assert timings == {
        "cache_n": 4, "prompt_n": 0, "prompt_ms": 20.0, "prompt_per_token_ms": None, "prompt_per_second": 0.0,
        "predicted_n": 1, "predicted_ms": 0.0, "predicted_per_token_ms": 0.0, "predicted_per_second": None,
    }  # fmt: skip
    two = UsageCounts(4, 2, ask_work=lambda: Work(0, 0, 30 * MS, 4))
    assert root_details(two, {"metrics"})["metrics"]["mean_itl_ms"] == 30.0
    never = UsageCounts(4, 1, ask_work=lambda: Work(0, 0, 0))
    assert "tokens_per_second" not in root_details(never, {"metrics"})["metrics"]


def test_drafts_that_never_ran_accept_one_token_a_step() -> None:
    idle = UsageCounts(4, 1, ask_work=lambda: Work(drafts=Drafts(0, (0, 0, 0))))
    assert root_details(idle, {"speculative_decoding"})["metrics"]["speculative_decoding"] == {
        "mean_acceptance_length": 1.0, "draft_acceptance_rate": 0.0, "acceptance_histogram": (0, 0, 0),
        "num_spec_steps": 0, "num_accepted_draft_tokens": 0, "num_draft_tokens": 0, "num_spec_tokens": 2,
    }  # fmt: skip
    assert "draft_n" not in root_details(idle, {"timings"})["timings"]


# ---- Ollama ------------------------------------------------------------------------------------------------------------

OLLAMA = {"model": "m", "created_at": "1970-01-01T00:00:09Z"}


def ollama(chat: bool) -> ReplyFrames:
    return OllamaFrames(IDENTITY, PARAMS, chat=chat)


@pytest.mark.parametrize("chat", [True, False])
def test_lines_of_ollama(chat: bool) -> None:
    def text(content: str, thought: str | None = None) -> dict[str, Any]:
        extra = {} if thought is None else {"thinking": thought}
        return (
            {"message": {"role": "assistant", "content": content, **extra}} if chat else {"response": content, **extra}
        )

    frames = ollama(chat)
    counts = {"prompt_eval_count": 5, "eval_count": 4}
    for events, fields, letter in (
        (frames.piece(Piece("a", "text"), USAGE), {**text("a"), "done": False}, "c"),
        (frames.piece(Piece("", "text"), None), {**text(""), "done": False}, "o"),
        (frames.piece(Piece("a", "reasoning"), None), {**text("", "a"), "done": False}, "t"),
        (frames.empty(Piece("", "text"), None), {**text(""), "done": False}, "o"),
        (frames.closing([LENGTH], USAGE), {**text(""), "done": True, "done_reason": "length", **counts}, "u"),
        (frames.closing([STOP], None), {**text(""), "done": True, "done_reason": "stop"}, "o"),
    ):
        assert rows(events) == [{**OLLAMA, **fields}]
        assert letters(events) == letter
        assert events[0].frame.endswith(b"}\n")
    for running in (True, False):  # The counts come only at the end.
        around = frames.around(running)
        assert around is not None
        assert around[0] + b'"a"' + around[1] == frames.piece(Piece("a", "text"), None)[0].frame
    whole = json.loads(frames.whole([said(SaidBlock("reasoning", "hm"), SaidBlock("text", "a"))], USAGE))
    assert whole == {**OLLAMA, **text("a", "hm"), "done": True, "done_reason": "length", **counts}
    whole = json.loads(frames.whole([said(SaidBlock("text", "a"), end=FinishReason("tool_calls", None))], None))
    assert whole == {**OLLAMA, **text("a"), "done": True, "done_reason": "stop"}
    assert (letters(frames.failure()), frames.broken().kind) == ("o", "o")


CHAT = {"messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("fields", "stream", "asked", "stops"),
    [
        ({}, True, None, ()),
        ({"stream": None}, True, None, ()),
        ({"stream": False, "options": {}}, False, None, ()),
        ({"stream": True, "options": {"num_predict": 1, "stop": "a"}}, True, 1, ("a",)),
        ({"options": {"num_predict": 0, "stop": []}}, True, None, ()),
        ({"options": {"num_predict": -1, "stop": ["a", "b"]}}, True, None, ("a", "b")),
        ({"options": {"num_predict": 7, "stop": None}}, True, 7, ()),
    ],
)
def test_a_body_of_ollama(fields: dict[str, Any], stream: bool, asked: int | None, stops: tuple[str, ...]) -> None:
    same = {"stream": stream, "asked_tokens": asked, "stop": stops}
    assert ollama_chat({**CHAT, **fields}) == RequestParams(messages=CHAT["messages"], **same)  # type: ignore[arg-type]
    assert ollama_generate({"prompt": "x", **fields}) == RequestParams(prompt="x", **same)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": [*CHAT["messages"], "x"]}, "messages"),
        ({"messages": [*CHAT["messages"], {"role": 5}]}, "messages"),
        ({**CHAT, "options": []}, "options"),
        ({**CHAT, "options": {"num_predict": True}}, "num_predict"),
        ({**CHAT, "options": {"num_predict": 1.0}}, "num_predict"),
        ({**CHAT, "options": {"stop": ["a", ""]}}, "stop"),
        ({**CHAT, "options": {"stop": ["a", 5]}}, "stop"),
        ({**CHAT, "options": {"stop": {"a": 1}}}, "stop"),
    ],
)
def test_a_wrong_body_of_ollama_is_refused_for_its_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal) as refused:
        ollama_chat(body)
    assert json.loads(refused.value.body)["error"]["param"] == param


# ---- Text Generation Inference -----------------------------------------------------------------------------------------


def test_the_last_token_of_tgi_comes_with_the_whole_text() -> None:
    def token(number: int, text: str, **end: Any) -> dict[str, Any]:
        token = {"id": number, "text": text, "logprob": -0.5, "special": False}
        return {"index": number, "token": token, "generated_text": None, "details": None, **end}

    frames = TgiFrames(IDENTITY, PARAMS)
    events = [
        *frames.piece(Piece("a", "text"), None), *frames.piece(Piece("", "text"), None),
        *frames.empty(Piece("", "text"), None), *frames.piece(Piece("b", "text", last=True), None),
        *frames.closing([LENGTH], USAGE),
    ]  # fmt: skip
    details = {"finish_reason": "length", "generated_tokens": 4, "input_length": 5, "seed": None}
    assert letters(events) == "cooc"
    assert rows(events) == [
        token(1, "a"), token(2, ""), token(3, ""), token(4, "b", generated_text="ab", details=details),
    ]  # fmt: skip
    for usage, letter in ((USAGE, "u"), (None, "o")):
        assert letters(TgiFrames(IDENTITY, PARAMS).closing([STOP], usage)) == letter
    assert (letters(frames.failure()), frames.broken().kind) == ("o", "o")


@pytest.mark.parametrize(
    ("end", "reason"),
    [(LENGTH, "length"), (STOP, "stop_sequence"), (FinishReason("stop", None), "eos_token")],
)
def test_a_whole_reply_of_tgi_has_the_reason_of_its_end(end: FinishReason, reason: str) -> None:
    whole = TgiFrames(IDENTITY, PARAMS).whole([said(SaidBlock("text", "a"), end=end)], None)
    assert json.loads(whole) == {"generated_text": "a", "details": {"finish_reason": reason, "seed": None}}


def test_a_body_of_tgi_needs_only_its_input() -> None:
    bodies: list[dict[str, Any]] = [{}, {"parameters": None}, {"parameters": {}}, {"parameters": {"stop": None}}]
    for fields in bodies:
        assert parse_tgi({"inputs": "x", **fields}, stream=True) == RequestParams(stream=True, prompt="x")
    given = {"inputs": "x", "parameters": {"max_new_tokens": 1, "stop": ["a", "b"]}}
    assert parse_tgi(given, stream=False) == RequestParams(stream=False, prompt="x", asked_tokens=1, stop=("a", "b"))


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ([], "parameters"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": True}, "max_new_tokens"),
        ({"max_new_tokens": "5"}, "max_new_tokens"),
        ({"stop": ["a", 5]}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
    ],
)
def test_wrong_parameters_of_tgi_are_refused_for_their_field(parameters: Any, param: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_tgi({"inputs": "x", "parameters": parameters}, stream=True)
    assert json.loads(refused.value.body)["error"]["param"] == param
