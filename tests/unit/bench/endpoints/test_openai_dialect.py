"""The OpenAI dialect: the meaning of replies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.endpoints import ENDPOINTS
from bench.endpoints.failure import error_message
from bench.endpoints.interface import ParsedReply, Problem, ReadOptions
from bench.records import Outcome

# ---- Streams -------------------------------------------------------------------------------------------------------


def read(*events: dict[str, Any] | str, count: Any = None, batch: int = 1000, endpoint: str = "chat") -> ParsedReply:
    data = [event.encode() if isinstance(event, str) else json.dumps(event).encode() for event in events]
    reader = ENDPOINTS[endpoint].event_reader(ReadOptions(count=count))
    for i in range(0, len(data), batch):
        reader.feed(data[i : i + batch])
    return reader.close()


def said(usage: int | None = None, **delta: Any) -> Any:
    event: dict[str, Any] = {"choices": [{"index": 0, "delta": delta}]}
    return event if usage is None else {**event, "usage": {"prompt_tokens": 7, "completion_tokens": usage}}


def used(n: Any) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": n}}


CALL = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
END = {"choices": [{"delta": {}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (said(role="assistant", content=""), "r"),
        (said(role="assistant"), "r"),
        (said(role="assistant", content="a"), "c"),
        (said(content="a"), "c"),
        (said(content=" "), "c"),
        (said(content=""), "o"),
        (said(content=None), "o"),
        (said(), "o"),
        (said(reasoning="a"), "t"),
        (said(reasoning_content="a"), "t"),
        (said(reasoning="a", content=""), "t"),
        (said(tool_calls=[CALL]), "f"),
        (said(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}]), "f"),
        (said(tool_calls=[{"index": 0, "function": {"name": "", "arguments": ""}}]), "o"),
        (said(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": {"city": "x"}}}]), "f"),
        (said(tool_calls=[{"index": 0}]), "o"),
        (said(tool_calls="?"), "o"),
        (END, "o"),
        ({"choices": [{"delta": {"role": "assistant"}, "finish_reason": "stop"}]}, "o"),
        (used(3), "u"),
        ({"usage": {"completion_tokens": 3}}, "u"),
        ({"choices": [], "usage": None}, "o"),
        (said(content="a", usage=1), "c"),
        ({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}, "o"),
        ({"error": {"message": "no"}}, "o"),
        ({}, "o"),
        ({"choices": None}, "o"),
        ({"choices": [None]}, "o"),
        ({"choices": [{"delta": None}]}, "o"),
        ("[DONE]", "o"),
    ],
)
def test_an_event_has_its_kind(event: dict[str, Any] | str, kind: str) -> None:
    assert read(event).chunk_kind == kind


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"choices": [{"text": "a"}]}, "c"),
        ({"choices": [{"text": "a", "finish_reason": None}]}, "c"),
        ({"choices": [{"text": ""}]}, "o"),
        ({"choices": [{"text": "", "finish_reason": "stop"}]}, "o"),
        ({"choices": [{"text": "a", "finish_reason": "length"}]}, "c"),
        (used(3), "u"),
        ("[DONE]", "o"),
    ],
)
def test_an_event_of_completions_has_its_kind(event: dict[str, Any] | str, kind: str) -> None:
    assert read(event, endpoint="completions").chunk_kind == kind


@given(st.lists(st.text(max_size=5), max_size=30), st.integers(1, 30))
def test_a_stream_of_completions_keeps_its_text(texts: list[str], batch: int) -> None:
    events = [{"id": "x", "choices": [{"text": text, "finish_reason": None}]} for text in texts]
    reply = read(*events, count=letters, batch=batch, endpoint="completions")
    assert (reply.text, reply.chunk_kind) == ("".join(texts), "".join("c" if text else "o" for text in texts))


def test_usage_on_every_chunk_tells_the_tokens_of_each() -> None:
    reply = read(
        said(role="assistant", usage=0), said(content="a b", usage=2), said(usage=2), said(content="c", usage=3)
    )
    assert (reply.chunk_kind, reply.chunk_tokens, reply.output_tokens) == ("rcoc", (0, 2, 0, 1), 3)


def test_one_token_a_chunk_where_that_adds_up_to_the_usage() -> None:
    reply = read(said(content="a"), said(content="b"), used(2), "[DONE]")
    assert (reply.chunk_tokens, reply.output_tokens, reply.output_tokens_from) == ((1, 1, 0, 0), 2, "usage")
    assert (reply.input_tokens, reply.complete, reply.problem) == (7, True, None)


def letters(text: str) -> int:
    return len(text)


def test_the_tokenizer_tells_the_tokens_of_chunks_where_its_sum_is_the_usage() -> None:
    reply = read(said(content="ab"), said(reasoning="c"), used(3), count=letters)
    assert (reply.chunk_tokens, reply.output_tokens_from, reply.counted) == ((2, 1, 0), "usage", 3)


def test_tokens_of_chunks_are_unknown_where_nothing_adds_up() -> None:
    reply = read(said(content="ab"), said(content="c"), used(9), count=letters)
    assert (reply.chunk_tokens, reply.output_tokens, reply.counted) == (None, 9, 3)
    assert read(said(content="ab"), said(content="c"), used(9)).chunk_tokens is None


def test_without_usage_the_tokenizer_counts_and_without_it_the_chunks_do() -> None:
    events = (said(content="ab"), said(content="c"))
    counted, chunks = read(*events, count=letters), read(*events)
    assert (counted.output_tokens, counted.output_tokens_from, counted.text) == (3, "tokenizer", "abc")
    assert (chunks.output_tokens, chunks.output_tokens_from, chunks.input_tokens) == (2, "chunks", None)
    assert chunks.chunk_tokens == (1, 1)


@pytest.mark.parametrize("nonsense", ["3", 3.5, True, None, [3]])
def test_usage_that_is_no_whole_number_is_not_usage(nonsense: Any) -> None:
    reply = read(said(content="a"), used(nonsense))
    assert (reply.output_tokens, reply.output_tokens_from) == (1, "chunks")


def test_zero_tokens_of_usage_are_zero() -> None:
    reply = read(said(content=""), used(0), END)
    assert (reply.output_tokens, reply.output_tokens_from, reply.usage_contradiction) == (0, "usage", None)
    words = "the stream ended, and none of its chunks has text (finish reason 'stop')"
    assert reply.problem == Problem(Outcome.NO_TOKENS, words)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("{", "event 1 is not JSON"),
        ("", "event 1 is not JSON"),
        ("3", "event 1 is not a JSON object"),
        ("null", "event 1 is not a JSON object"),
        ("{},{}", "event 1 is not JSON"),
        ("1,2", "event 1 is not JSON"),
    ],
)
@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_what_follows_a_broken_event_stays_a_chunk_unread(broken: str, sentence: str, batch: int) -> None:
    reply = read(said(content="a"), broken, said(content="b"), used(2), "[DONE]", batch=batch)
    assert reply.chunk_kind == "coooo"
    assert reply.problem is not None
    assert reply.problem.outcome is Outcome.MALFORMED
    assert sentence in reply.problem.message
    assert (reply.complete, reply.output_tokens) == (False, 1)


events = st.sampled_from(
    [
        said(role="assistant"),
        said(content="ab"),
        said(content="c", usage=4),
        said(reasoning="t"),
        said(),
        END,
        used(3),
        {"error": {"message": "no"}},
        "[DONE]",
        "{",
        "{},{}",
    ]
)


@given(stream=st.lists(events, max_size=20), batch=st.integers(1, 7))
def test_batches_change_nothing(stream: list[dict[str, Any] | str], batch: int) -> None:
    assert read(*stream, batch=batch, count=letters) == read(*stream, count=letters)


# ---- Errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said_by_server", "message"),
    [
        ({"error": {"message": "too long", "type": "t", "code": 400}}, "too long"),
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"error": {"code": 7}}, '{"code":7}'),
        ({"object": "error", "message": "old vLLM", "code": 400}, "old vLLM"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"msg": "extra"}]}, '[{"msg":"extra"}]'),
        ({"other": 1}, '{"other": 1}'),
        ([1], "[1]"),
    ],
)
def test_each_shape_of_error_is_told_in_its_own_words(said_by_server: Any, message: str) -> None:
    assert message in error_message(json.dumps(said_by_server).encode())


def test_a_page_of_html_is_told_by_its_beginning() -> None:
    assert error_message(b"<html>" + b"x" * 1000) == repr("<html>" + "x" * 194) + " ..."


def test_a_long_message_is_cut() -> None:
    assert len(error_message(json.dumps({"error": {"message": "x" * 9999}}).encode())) == 500


@pytest.mark.parametrize("event", [{"error": {"message": "no"}}, {"error": "no"}, {"object": "error", "message": "no"}])
def test_an_error_object_in_a_stream_is_found(event: dict[str, Any]) -> None:
    assert read(said(content="a"), event, "[DONE]").problem == Problem(Outcome.STREAM_ERROR, "no")


# ---- Whole responses -----------------------------------------------------------------------------------------------


def read_whole(body: bytes, count: Any = None, endpoint: str = "chat") -> ParsedReply:
    return ENDPOINTS[endpoint].read_whole(body, ReadOptions(count=count))


def test_a_whole_chat_reply_is_read() -> None:
    message = {"role": "assistant", "reasoning": "t", "content": "ab"}
    data = {**used(5), "choices": [{"message": message, "finish_reason": "stop"}]}
    reply = read_whole(json.dumps(data).encode(), letters)
    assert (reply.text, reply.counted, reply.output_tokens, reply.input_tokens) == ("tab", 3, 5, 7)
    assert (reply.chunk_kind, reply.chunk_tokens, reply.problem) == ("", None, None)


def test_a_whole_completion_is_read() -> None:
    reply = read_whole(b'{"choices":[{"text":"abc","finish_reason":"length"}]}', letters, "completions")
    assert (reply.text, reply.output_tokens, reply.output_tokens_from, reply.problem) == ("abc", 3, "tokenizer", None)
    unknown = read_whole(b'{"choices":[{"text":"abc"}]}', None, "completions")
    assert (unknown.output_tokens, unknown.output_tokens_from) == (None, None)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"<html>", "an HTML page, not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "without choices"),
        (b'{"choices":[]}', "without"),
    ],
)
def test_a_whole_reply_that_is_none_is_malformed(data: bytes, sentence: str) -> None:
    problem = read_whole(data).problem
    assert problem is not None
    assert problem.outcome is Outcome.MALFORMED
    assert sentence in problem.message


def test_an_error_with_status_200_is_an_error() -> None:
    assert read_whole(b'{"error":{"message":"no"}}').problem == Problem(Outcome.STREAM_ERROR, "no")


@pytest.mark.parametrize(
    "events",
    [
        ['{"a":[1', '2]},{"b":3}'],
        ['{"x":1},{"a":[{}', "{}]}"],
        ['{"a":{"b":1}', '"c":2},{"d":3}'],
        ['{"x":1},5,{"y":[1', "2]}"],
        ['{"x":1},"\x7f",{"y":[1', "2]}"],
        ['{"x":1},"\x7f",{"y":1}', "{}"],
        ['{"a":1},{"b":2}', "{}"],
        ["{}", '{"a":1},"\x7f",[', "]"],
    ],
)
def test_events_that_are_good_only_when_joined_are_malformed(events: list[str]) -> None:
    problem = read(*events).problem
    assert problem is not None
    assert problem.outcome is Outcome.MALFORMED


def test_an_event_may_hold_the_mark_that_stands_between_events() -> None:
    marked = '{"choices":[{"delta":{"content":"\x7f"}}],"b":["x","\x7f","y"]}'
    assert read(marked, marked, "[DONE]").problem is None


# ---- Content in parts, and other names of reasoning ------------------------------------------------------------------


def thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


SAID: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "thinking in parts (Mistral)": ({"content": [thinking("a")]}, "t", "a", ""),
    "thinking as a text": ({"content": [{"type": "thinking", "thinking": "a"}]}, "t", "a", ""),
    "text in parts": ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "c", "ab", "ab"),
    "both": ({"content": [thinking("a"), {"type": "text", "text": "b"}]}, "c", "ab", "b"),
    "reasoning and answer at once (vLLM)": ({"reasoning": "a", "content": "b"}, "c", "ab", "b"),
    "answer and call at once": ({"content": "a", "tool_calls": [CALL]}, "c", "af{}", "a"),
    "reasoning and call at once": ({"reasoning": "a", "tool_calls": [CALL]}, "t", "af{}", ""),
    "parts of another type": ({"content": [{"type": "reference", "reference_ids": [1]}, "a", None]}, "o", "", ""),
    "no parts": ({"content": []}, "o", "", ""),
    "thinking": ({"thinking": "a"}, "t", "a", ""),
    "reasoning_text": ({"content": None, "reasoning_text": "a"}, "t", "a", ""),
    "details alone (MiniMax)": (
        {"content": "", "reasoning_details": [{"type": "reasoning.text", "text": "a"}]}, "t", "a", "",
    ),
    "a summary in details": ({"reasoning_details": [{"type": "reasoning.summary", "summary": "a"}]}, "t", "a", ""),
    "details that repeat it (OpenRouter)": ({"reasoning": "a", "reasoning_details": [{"text": "a"}]}, "t", "a", ""),
    "details that are none": ({"reasoning_details": {"text": "a"}}, "o", "", ""),
}  # fmt: skip


@pytest.mark.parametrize(("said", "kind", "text", "content"), SAID.values(), ids=SAID.keys())
def test_text_is_found_wherever_servers_put_it(said: dict[str, Any], kind: str, text: str, content: str) -> None:
    chat = ENDPOINTS["chat"]
    reader = chat.event_reader(ReadOptions(count=len, keep_answer=True))
    reader.feed([json.dumps({"choices": [{"index": 0, "delta": said, "finish_reason": None}]}).encode()])
    reply = reader.close()
    assert (reply.chunk_kind, reply.text, reply.content) == (kind, text, content)
    assert reply.answer is not None
    assert [*reply.answer.reasoning.values()] in ([], ["a"])
    whole = chat.read_whole(
        json.dumps({"choices": [{"message": said, "finish_reason": "stop"}]}).encode(), ReadOptions(count=len)
    )
    assert (whole.text, whole.content) == (text, content)
