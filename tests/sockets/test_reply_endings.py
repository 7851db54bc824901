"""When a reply is a success: the endings that servers send, and every way in which they report or show a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from bench.records import Outcome
from tests.support.literal_replies import (
    CHUNKED,
    DONE,
    LAST_CHUNK,
    ROLE,
    chunk,
    chunked_stream,
    completion,
    content,
    delta,
    error,
    finish,
    frame,
    frames,
    head,
    stream,
    usage,
    usage_of,
    whole,
)
from tests.support.literal_server import Close, LiteralServer, Send, Step, in_turn
from tests.support.on_transports import WAYS, ask, ask_each
from tests.support.patience import PATIENCE_S

MS = 1_000_000
FAILED, MALFORMED, TRUNCATED, EMPTY = Outcome.STREAM_ERROR, Outcome.MALFORMED, Outcome.TRUNCATED, Outcome.NO_TOKENS
A, B = content("a"), content("b")
TOKENS = frames(ROLE, A, B)
ENDED = frames(finish(), DONE)
OOM = {"message": "out of memory", "type": "server_error", "code": 500}


@dataclass(frozen=True)
class Ending:
    """The bytes after two tokens, the outcome, and the text that the record must contain."""

    bodies: Sequence[bytes]
    outcome: Outcome
    words: str = ""


def event(said: dict[str, Any] | str, outcome: Outcome = FAILED, words: str = "out of memory") -> Ending:
    """An event, after which the server continues normally."""
    return Ending([frame(said), *ENDED], outcome, words)


def block(lines: bytes, outcome: Outcome = FAILED, words: str = "out of memory") -> Ending:
    """Lines that are not an ordinary event, after which the server continues normally."""
    return Ending([lines + b"\n\n", *ENDED], outcome, words)


def choice(reason: Any, **more: Any) -> Ending:
    words = "out of memory" if more else repr(reason)
    return Ending([frame(finish(reason, **more)), frame(DONE)], FAILED, words)


ERRORS: dict[str, Ending] = {
    "an error object (vLLM, SGLang)": event({"error": OOM}),
    "an error object among empty choices (OpenRouter)": event({"choices": [], "error": OOM}),
    "an error object and a choice (OpenRouter)": event({**content("c"), "error": OOM}),
    "an error object and usage": event({"choices": [], "usage": usage_of(2), "error": OOM}),
    "a bare error text (mlx)": event({"error": "out of memory"}),
    "an error text with a type (TGI)": event({"error": "out of memory", "error_type": "generation"}),
    "a short error text and a message": event({"error": "Internal", "message": "out of memory"}),
    "an error flag and a message": event({"error": True, "message": "out of memory"}),
    "object error (older vLLM)": event({"object": "error", "message": "out of memory", "code": 500}),
    "type error (Anthropic)": event({"type": "error", "error": {"type": "api_error", "message": "out of memory"}}),
    "type error without an error object": event({"type": "error", "message": "out of memory"}),
    "detail (FastAPI)": event({"detail": "out of memory"}),
    "details (FastAPI's validation)": event({"detail": [{"msg": "out of memory"}]}),
    "a message and a code": event({"message": "out of memory", "code": 500}),
    "a message and a status (NIM, Spring)": event({"status": 500, "title": "Oops", "detail": "out of memory"}),
    "errors in a list (Cloudflare)": event({"errors": [{"message": "out of memory"}], "success": False}),
    "a status message (MiniMax)": event(
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "out of memory"}}
    ),
    "an error of the vendor's own (Groq)": event({"choices": [], "x_groq": {"error": "out of memory"}}),
    "an error in the choice": event({"choices": [{"index": 0, "delta": {}, "error": OOM}]}),
    "an error in the delta": event({"choices": [{"index": 0, "delta": {"content": "c", "error": OOM}}]}),
    "an error in the second choice": event({"choices": [{"index": 0, "delta": {}}, {"index": 1, "error": OOM}]}),
    "an error object that is all there is": Ending([frame({"error": OOM})], FAILED, "out of memory"),
    "an error object cut off before its blank line": Ending([frame({"error": OOM})[:-1]], FAILED, "out of memory"),
    "an error object after [DONE]": Ending([*ENDED, frame({"error": OOM})], FAILED, "out of memory"),
    "finish_reason error": choice("error"),
    "finish_reason error with an error object": choice("error", error=OOM),
    "finish_reason abort (vLLM, SGLang)": choice("abort"),
    "finish_reason abort with a message": choice("abort", stop_reason="out of memory"),
    "finish_reason as an object (SGLang)": Ending(
        [frame(finish({"type": "abort", "message": "out of memory"})), frame(DONE)], FAILED, "out of memory"
    ),
    "finish_reason cancelled": choice("cancelled"),
    "finish_reason insufficient_system_resource (DeepSeek)": choice("insufficient_system_resource"),
    "finish_reason network_error (Zhipu)": choice("network_error"),
    "finish_reason that nobody knows": choice("gremlins"),
    "finish_reason that is a number": choice(7),
    "a finish reason that rides on the last token": Ending(
        [frame({"choices": [{"index": 0, "delta": {"content": "c"}, "finish_reason": "error"}]}), frame(DONE)],
        FAILED,
        "'error'",
    ),
    "event: error and a message": block(b'event: error\ndata: {"message":"out of memory"}'),
    "event: error, name behind the data": block(b'data: {"message":"out of memory"}\nevent: error'),
    "event: error and a chunk": block(b"event: error\n" + frame(content("out of memory")).strip()),
    "event: error and plain text": block(b"event: error\ndata: out of memory"),
    "event: error and nothing": block(b"event: error", words="event: error"),
    "event: exception": block(b'event: exception\ndata: {"text":"out of memory"}'),
    "a field error: (llama.cpp, TGI)": block(b'error: {"code":500,"message":"out of memory"}'),
    "a field error: and plain text": block(b"error: out of memory"),
    "a bare line of JSON": block(b'{"error":{"message":"out of memory"}}'),
    "a bare line of JSON with a detail": block(b'{"detail":"out of memory"}'),
    "a bare line at the very end": Ending([b'{"error":{"message":"out of memory"}}'], FAILED, "out of memory"),
    "JSON over several lines": block(b'{\n  "error": {\n    "message": "out of memory"\n  }\n}'),
    "a traceback": block(b"Traceback (most recent call last):\n  out of memory", MALFORMED),
    "an HTML page": block(b"<!DOCTYPE html>\n<html><title>502 Bad Gateway</title>", MALFORMED, "502 Bad Gateway"),
    "an event that is no JSON": event("out of memory", MALFORMED, "out of memory"),
    "an event that is no object": event('["out of memory"]', MALFORMED),
    "an event that is no chunk": event({"id": "out of memory"}, MALFORMED),
    "an empty object": event({}, MALFORMED, "is not a chunk"),
    "text after [DONE]": Ending([*ENDED, frame(A)], MALFORMED, "after [DONE]"),
    "an end with neither finish reason nor [DONE]": Ending([], TRUNCATED, "without [DONE]"),
    "[DONE] without a finish reason, after 2 of 8 tokens (proxies)": Ending([frame(DONE)], TRUNCATED, "2 of 8 tokens"),
    "[DONE] without a finish reason, and usage": Ending(frames(usage(2), DONE), TRUNCATED, "2 of 8 tokens"),
    "a code and a message beside choices (iFlytek)": event({**finish(), "code": 11200, "message": "out of memory"}),
    "a code and a message beside usage": event({**usage(2), "code": 500, "message": "out of memory"}),
    "an error code beside a text (FastChat)": event(
        {**content("c"), "error_code": 50001, "error_msg": "out of memory"}
    ),
    "no success, beside choices": event({**finish(), "success": False, "message": "out of memory"}),
    "errors in a list beside choices": event({**finish(), "errors": ["out of memory"]}),
    "a status of 500 beside choices": event({**finish(), "status": 500, "title": "out of memory"}),
    "status failed beside choices": event({**finish(), "status": "failed", "message": "out of memory"}),
    "a detail beside usage": event({**usage(2), "detail": "out of memory"}),
    "an error in a list of events (Gemini)": event('[{"error":{"message":"out of memory"}}]', MALFORMED),
    "the event [ERROR]": event("[ERROR] out of memory", MALFORMED),
    "an error in the delta of the last chunk": event(
        {"choices": [{"index": 0, "delta": {"error": "out of memory"}, "finish_reason": "stop"}]}
    ),
    "an end in the middle of the usage": Ending(
        [frame(finish()), frame(usage(2))[:30]], TRUNCATED, "in the middle of an event"
    ),
}


@pytest.fixture(params=WAYS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_reply_that_fails_after_two_tokens_is_no_success(transport: str) -> None:
    replies = {name: chunked_stream([*TOKENS, *ending.bodies]) for name, ending in ERRORS.items()}
    for name, record in ask_each(transport, replies, asked=8, timeout_total_ns=round(PATIENCE_S * 1000) * MS).items():
        assert record.outcome is ERRORS[name].outcome, (name, record.error)
        assert ERRORS[name].words in (record.error or ""), name
        assert record.chunk_kind.startswith("rcc"), name
        assert record.status == 200, name


def reply(*events: dict[str, Any] | str) -> list[bytes]:
    return frames(*events)


def last(**more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"}], **more}


CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "now", "arguments": ""}}
SUCCESSES: dict[str, list[bytes]] = {
    "OpenAI": reply(ROLE, A, B, finish(), usage(2), DONE),
    "vLLM: the finish reason rides on the last text": reply(ROLE, A, last(), usage(2), DONE),
    "transformers serve: no [DONE], usage in the last chunk": reply(ROLE, A, B, {**finish(), "usage": usage_of(2)}),
    "llama.cpp: timings beside the usage": reply(
        ROLE, A, B, finish(), {"choices": [], "usage": usage_of(2), "timings": {"prompt_n": 7}}, DONE
    ),
    "ik_llama.cpp: no [DONE]": reply(A, B, {**finish(), "usage": usage_of(2)}),
    "Azure: the filter of the prompt first": reply(
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, ROLE, A, B, finish(), DONE
    ),
    "Azure: the filter of the text apart": reply(
        A, B, {"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]}, finish(), DONE
    ),
    "OpenRouter: comments, usage on the end": [
        b": OPENROUTER PROCESSING\n\n",
        *reply({**A, "error": None}, B, {**finish(), "usage": usage_of(2)}, DONE),
    ],
    "Groq: its own object": reply({**ROLE, "x_groq": {"id": "r"}}, A, B, {**finish(), "x_groq": {"usage": {}}}, DONE),
    "Anthropic through a proxy: pings": reply(A, {"type": "ping"}, B, finish("end_turn"), DONE),
    "MiniMax: a status that is good": reply(
        {**A, "base_resp": {"status_code": 0, "status_msg": ""}}, B, finish(), DONE
    ),
    "error fields that hold nothing": reply({**A, "error": None}, {**B, "error": {}}, finish(error=None), DONE),
    "a finish reason that is empty until the end": reply(
        {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": ""}]}, B, finish(), DONE
    ),
    "[DONE] twice (LiteLLM)": reply(A, B, finish(), DONE, DONE),
    "[DONE] with one line end": [*reply(A, B, finish()), b"data: [DONE]\n"],
    "[DONE] without a finish reason, after all tokens": reply(*[A] * 8, DONE),
    "a code of success (iFlytek)": reply(
        {**A, "code": 0, "message": "Success"},
        {**B, "code": 0, "message": "Success"},
        {**finish(), "status": "completed"},
        DONE,
    ),
    "a finish reason in capitals": reply(A, B, finish("STOP"), DONE),
    "named events, ids and retries": [b"event: message\nid: 1\nretry: 9\n" + frame(A), *reply(B, finish(), DONE)],
    "reasoning alone": reply(delta(reasoning="t"), finish("length"), DONE),
    "a refusal": reply(delta(refusal="no"), finish(), DONE),
    "a tool call without arguments": reply(delta(tool_calls=[CALL]), finish("tool_calls"), DONE),
    "a function call of the old shape": reply(
        delta(function_call={"name": "f", "arguments": "{}"}), finish("function_call"), DONE
    ),
} | {
    f"finish_reason {reason}": reply(A, B, finish(reason), DONE)
    for reason in (
        "length",
        "content_filter",
        "eos",
        "eos_token",
        "stop_sequence",
        "max_tokens",
        "tool_use",
        "complete",
    )
}


def test_what_servers_send_for_a_success_is_one(transport: str) -> None:
    replies = {name: chunked_stream(bodies) for name, bodies in SUCCESSES.items()}
    for name, record in ask_each(transport, replies, asked=8, timeout_total_ns=round(PATIENCE_S * 1000) * MS).items():
        assert (record.outcome, record.error, record.usage_contradiction) == (Outcome.OK, None, None), name


@pytest.mark.parametrize(
    "events",
    [
        (DONE,),
        (ROLE, finish(), DONE),
        (ROLE, content(""), finish("length"), usage(0), DONE),
        (ROLE, finish("content_filter"), DONE),
        (finish(), usage(2)),
    ],
    ids=["[DONE] alone", "a finish reason", "an empty delta", "a filter", "usage"],
)
def test_an_end_without_any_text_is_no_success_unless_none_was_asked_for(
    transport: str, events: Sequence[dict[str, Any] | str]
) -> None:
    with LiteralServer(in_turn(stream(*events))) as server:
        (asked,) = ask(transport, server.url, asked=4)
        (unknown,) = ask(transport, server.url)
        (none_asked,) = ask(transport, server.url, asked=0)
    assert (asked.outcome, unknown.outcome, none_asked.outcome) == (EMPTY, EMPTY, Outcome.OK)
    assert "none of its chunks has text" in (asked.error or "")


def with_choice(**fields: Any) -> dict[str, Any]:
    answer = completion("hello", 2)
    return {**answer, "choices": [{**answer["choices"][0], **fields}]}


PAGE = b"<!doctype html>\n<title>Sign in</title>"
WHOLE: dict[str, tuple[Sequence[Step], Outcome, str]] = {
    "a good one": (whole("200 OK", completion("hello", 2)), Outcome.OK, ""),
    "an error object": (whole("200 OK", error("out of memory")), FAILED, "out of memory"),
    "a detail": (whole("200 OK", {"detail": "out of memory"}), FAILED, "out of memory"),
    "a message and a code": (whole("200 OK", {"message": "out of memory", "code": 500}), FAILED, "out of memory"),
    "object error": (whole("200 OK", {"object": "error", "message": "out of memory"}), FAILED, "out of memory"),
    "an error beside the choices": (whole("200 OK", {**with_choice(), "error": OOM}), FAILED, "out of memory"),
    "an error in the choice": (whole("200 OK", with_choice(error=OOM)), FAILED, "out of memory"),
    "an error in the message": (whole("200 OK", with_choice(message={"content": "x", "error": OOM})), FAILED, "memory"),
    "finish_reason error": (whole("200 OK", with_choice(finish_reason="error")), FAILED, "'error'"),
    "finish_reason abort": (whole("200 OK", with_choice(finish_reason="abort")), FAILED, "'abort'"),
    "no finish reason": (whole("200 OK", with_choice(finish_reason=None)), MALFORMED, "no finish_reason"),
    "no text": (whole("200 OK", with_choice(message={"content": ""})), EMPTY, "no text"),
    "a tool call": (
        whole("200 OK", with_choice(message={"content": None, "tool_calls": [CALL]}, finish_reason="tool_calls")),
        Outcome.OK,
        "",
    ),
    "an HTML page": (whole("200 OK", PAGE, content_type="text/html"), MALFORMED, "an HTML page ('Sign in')"),
    "short of its length": (
        [Send(head("200 OK", "application/json", "content-length: 999") + b'{"choices":[]}'), Close()],
        TRUNCATED,
        "closed the connection",
    ),
}


def test_a_whole_reply_is_a_success_only_if_it_says_what_one_says(transport: str) -> None:
    replies = {name: steps for name, (steps, _, _) in WHOLE.items()}
    for name, record in ask_each(transport, replies, streamed=False, asked=8).items():
        _, outcome, words = WHOLE[name]
        assert record.outcome is outcome, (name, record.error)
        assert words in (record.error or ""), name


@pytest.mark.parametrize("kind", ["text/html", "text/event-stream", "application/json"])
def test_an_html_page_in_place_of_a_stream_is_called_that(transport: str, kind: str) -> None:
    with LiteralServer(in_turn(whole("200 OK", PAGE, content_type=kind))) as server:
        (record,) = ask(transport, server.url)
    assert record.outcome is MALFORMED
    assert "an HTML page ('Sign in')" in (record.error or "")


def test_a_stream_short_of_its_content_length_is_truncated_even_after_done(transport: str) -> None:
    body = b"".join([*TOKENS, *ENDED])
    short: list[Step] = [Send(head("200 OK", "text/event-stream", f"content-length: {len(body) + 9}") + body), Close()]
    unfinished: list[Step] = [Send(head("200 OK", "text/event-stream", CHUNKED) + chunk(body)), Close()]
    finished: list[Step] = [Send(head("200 OK", "text/event-stream", CHUNKED) + chunk(body) + LAST_CHUNK)]
    with LiteralServer(in_turn(short, unfinished, finished)) as server:
        outcomes = [ask(transport, server.url)[0].outcome for _ in range(3)]
    assert outcomes == [TRUNCATED, Outcome.OK, Outcome.OK]
