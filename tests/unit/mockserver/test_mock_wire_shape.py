"""vLLM's wire format: what a body requests, what is refused, and the JSON of each chunk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import (
    Event,
    FinishReason,
    Piece,
    ReplyFrames,
    ReplyIdentity,
    SaidBlock,
    SaidChoice,
    UsageCounts,
)
from mockserver.dialect.openai import (
    CHAT,
    COMPLETION,
    context_refusal,
    models_body,
    parse_body,
    parse_chat,
    parse_completion,
)
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import Refusal, error_body, fault_refusal

HELLO = [{"role": "user", "content": "hello"}]


def refusal_of(call: Any, *args: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(Refusal) as caught:
        call(*args)
    return caught.value.status, json.loads(caught.value.body)["error"]


def test_a_chat_body_says_what_it_asks_for() -> None:
    row = {
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "max_tokens": 7,
        "ignore_eos": True,
        "a_field_of_tomorrow": {"x": 1},
    }
    assert parse_chat(row) == RequestParams(True, True, True, 7, messages=HELLO, ignore_eos=True)


def test_max_completion_tokens_wins_over_max_tokens() -> None:
    assert parse_chat({"messages": HELLO, "max_tokens": 7, "max_completion_tokens": 9}).asked_tokens == 9


def test_a_body_without_lengths_leaves_them_to_the_server() -> None:
    assert parse_chat({"messages": HELLO, "max_tokens": None}).asked_tokens is None


@pytest.mark.parametrize("prompt", ["a text", [1, 2, 3], ["a text"], [[1, 2, 3]]])
def test_a_completion_takes_one_text_or_one_list_of_ids(prompt: Any) -> None:
    nested = isinstance(prompt, list) and not isinstance(prompt[0], int)
    assert parse_completion({"prompt": prompt}).prompt == (prompt[0] if nested else prompt)


@pytest.mark.parametrize(
    ("row", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"messages": HELLO, "max_tokens": True}, "max_tokens"),
        ({"messages": HELLO, "max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"messages": HELLO, "stream": "yes"}, "stream"),
        ({"messages": HELLO, "stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": HELLO, "stream": True, "stream_options": 1}, "stream_options"),
        ({"messages": HELLO, "stream": True, "stream_options": {"include_usage": 1}}, "include_usage"),
        ({"messages": HELLO, "n": 129}, "n"),
        ({"messages": HELLO, "n": "2"}, "n"),
    ],
)
def test_a_wrong_chat_body_is_a_400_that_names_the_field(row: dict[str, Any], param: str) -> None:
    status, error = refusal_of(parse_chat, row)
    assert (status, error["code"], error["type"], error["param"]) == (400, 400, "BadRequestError", param)


@pytest.mark.parametrize("prompt", [None, 5, [], ["a", 5], [1, "a"], [True], [[]], ["a"] * 129, {}])
def test_a_wrong_prompt_is_a_400(prompt: Any) -> None:
    status, error = refusal_of(parse_completion, {"prompt": prompt})
    assert (status, error["param"]) == (400, "prompt")


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_a_400(body: bytes) -> None:
    assert refusal_of(parse_body, body, "m")[0] == 400


def test_another_model_is_a_404_and_no_model_is_ours() -> None:
    status, error = refusal_of(parse_body, b'{"model":"other"}', "m")
    assert (status, error["type"], error["param"]) == (404, "NotFoundError", "model")
    assert "`other`" in error["message"]
    assert parse_body(b'{"prompt":"x"}', "m") == {"prompt": "x"}


def test_the_context_refusal_gives_every_number() -> None:
    error = json.loads(context_refusal(100, 70, 40).body)["error"]
    for number in ("100", "70", "40", "110"):
        assert number in error["message"]
    assert "maximum context length" in error["message"]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("retry_after", [None, 3])
def test_a_planned_refusal_is_an_error_object_and_may_say_when_to_come_back(
    status: int, retry_after: int | None
) -> None:
    refusal = fault_refusal(status, retry_after)
    assert refusal.status == status
    assert dict(refusal.headers) == ({} if retry_after is None else {"retry-after": "3"})
    error = json.loads(refusal.body)["error"]
    assert error == "Unauthorized" if status == 401 else error["code"] == status


@pytest.mark.parametrize(("status", "title"), [(502, b"502 Bad Gateway"), (504, b"504 Gateway Timeout")])
def test_a_gateways_refusal_is_the_page_of_a_proxy(status: int, title: bytes) -> None:
    refusal = fault_refusal(status, None)
    assert dict(refusal.headers) == {"content-type": "text/html"}
    assert title in refusal.body
    assert refusal.body.startswith(b"<html>")


@pytest.mark.parametrize(
    ("stop", "keep", "read"),
    [
        (None, None, ((), False)),
        ("END", None, (("END",), False)),
        (["a", "b"], True, (("a", "b"), True)),
        ([], False, ((), False)),
    ],
)
def test_stop_strings_are_a_text_or_a_list(stop: Any, keep: Any, read: tuple[tuple[str, ...], bool]) -> None:
    params = parse_completion({"prompt": "x", "stop": stop, "include_stop_str_in_output": keep})
    assert (params.stop, params.keep_stop) == read


@pytest.mark.parametrize("stop", [3, ["a", 3], "", ["a", ""]])
def test_other_stops_are_refused(stop: Any) -> None:
    status, error = refusal_of(parse_completion, {"prompt": "x", "stop": stop})
    assert (status, error["param"]) == (400, "stop")


def test_an_error_body_has_vllms_four_fields() -> None:
    assert json.loads(error_body(500, "why")) == {
        "error": {"message": "why", "type": "InternalServerError", "param": None, "code": 500}
    }


OPEN = {"logprobs": None, "finish_reason": None}
LAST = {"logprobs": None, "finish_reason": "length", "stop_reason": None}
CHUNK = {"id": "chatcmpl-r", "object": "chat.completion.chunk", "created": 9, "model": "m"}
NUMBERS = {"prompt_tokens": 4, "total_tokens": 7, "completion_tokens": 3}


FOUR_IN_THREE_OUT = UsageCounts(4, 3)
LENGTH = FinishReason("length", None)


def frames_of(endpoint: Endpoint) -> ReplyFrames:
    return endpoint.frames(ReplyIdentity(f"{endpoint.id_prefix}r", 9, "m"), RequestParams(True, True, False, 3))


def read(events: Sequence[Event]) -> Any:
    (event,) = events
    return json.loads(event.frame.removeprefix(b"data: "))


def test_chat_chunks_are_vllms() -> None:
    frames = frames_of(CHAT)
    assert read(frames.opening(0, None)) == {
        **CHUNK,
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, **OPEN}],
    }
    assert read(frames.piece(Piece(' "a"\u2028\n', "text"), None)) == {
        **CHUNK,
        "choices": [{"index": 0, "delta": {"content": ' "a"\u2028\n'}, **OPEN}],
    }
    assert read(frames.piece(Piece("a", "text", end=LENGTH), FOUR_IN_THREE_OUT)) == {
        **CHUNK,
        "choices": [{"index": 0, "delta": {"content": "a"}, **LAST}],
        "usage": NUMBERS,
    }
    usage, done = frames.closing([LENGTH], FOUR_IN_THREE_OUT)
    assert read([usage]) == {**CHUNK, "choices": [], "usage": NUMBERS}
    assert done.frame == b"data: [DONE]\n\n"
    said = SaidChoice((SaidBlock("text", "a b"),), LENGTH)
    assert json.loads(frames.whole([said, said], FOUR_IN_THREE_OUT)) == {
        **CHUNK,
        "object": "chat.completion",
        "choices": [{"index": n, "message": {"role": "assistant", "content": "a b"}, **LAST} for n in (0, 1)],
        "usage": NUMBERS,
    }


def test_completion_chunks_are_vllms() -> None:
    frames = frames_of(COMPLETION)
    head = {"id": "cmpl-r", "object": "text_completion", "created": 9, "model": "m"}
    assert list(frames.opening(0, None)) == []
    assert read(frames.piece(Piece("a", "text"), None)) == {**head, "choices": [{"index": 0, "text": "a", **OPEN}]}
    assert read(frames.piece(Piece("a", "text", end=LENGTH), None)) == {
        **head,
        "choices": [{"index": 0, "text": "a", **LAST}],
    }
    assert json.loads(frames.whole([SaidChoice((SaidBlock("text", "a"),), LENGTH)], FOUR_IN_THREE_OUT)) == {
        **head,
        "choices": [{"index": 0, "text": "a", **LAST}],
        "usage": NUMBERS,
    }


def test_a_chunk_is_compact_and_holds_no_line_end() -> None:
    (event,) = frames_of(CHAT).piece(Piece("\r\n", "text"), None)
    chunk = event.frame.removeprefix(b"data: ").removesuffix(b"\n\n")
    assert b"\n" not in chunk
    assert b"\r" not in chunk
    assert b": " not in chunk


def test_the_list_of_models_tells_the_context_length() -> None:
    card = json.loads(models_body(["m"], 9, 4096))["data"][0]
    assert (card["id"], card["root"], card["max_model_len"], card["created"]) == ("m", "m", 4096, 9)
    assert card["permission"][0]["object"] == "model_permission"
