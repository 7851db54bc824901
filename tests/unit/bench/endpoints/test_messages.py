"""Anthropic's Messages: bodies, streams and whole replies, and every failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS, encode, urls
from bench.endpoints.interface import BodyOptions, Problem, ReadOptions
from bench.endpoints.messages import MOST_TOKENS
from bench.records import Outcome
from promptset.samples import Sample
from tests.support.dialect_streams import (
    MESSAGE_STOP,
    PING,
    Event,
    block,
    block_stop,
    delta,
    framed,
    message_delta,
    message_start,
    messages,
    read,
    text,
)

OPTIONS = BodyOptions(endpoint="messages", model="m")
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}


def body(sample: Sample, options: BodyOptions = OPTIONS) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(encode(sample, options).body)
    return sent


def outcome(*events: Event, **options: Any) -> Problem | None:
    return read("messages", framed(events), **options).problem


# ---- Requests ------------------------------------------------------------------------------------------------------


def test_its_url_headers_and_key_are_anthropics() -> None:
    endpoint = ENDPOINTS["messages"]
    assert urls.endpoint_url("http://h:1", "messages") == "http://h:1/v1/messages"
    assert urls.endpoint_of("http://h/v1/messages") == "messages"
    assert urls.key_variable("http://h/v1/messages") == "ANTHROPIC_API_KEY"
    assert endpoint.headers("k") == (("anthropic-version", "2023-06-01"), ("x-api-key", "k"))
    assert endpoint.headers(None) == (("anthropic-version", "2023-06-01"),)


def test_a_prompt_is_a_message_with_a_limit() -> None:
    common = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    assert body(Sample(prompt="hi", output_tokens=5)) == {**common, "max_tokens": 5}
    unlimited = encode(Sample(prompt="hi"), OPTIONS)
    assert json.loads(unlimited.body) == {**common, "max_tokens": MOST_TOKENS}
    assert unlimited.output_tokens_asked is None  # The user did not request this many.


def test_the_system_prompt_has_its_own_field_and_tools_their_own_shape() -> None:
    chat = ({"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"})
    sent = body(
        Sample(messages=chat, tools=(WEATHER,)), BodyOptions(endpoint="messages", model="m", tool_choice="required")
    )
    assert (sent["system"], sent["messages"]) == ("be brief", [{"role": "user", "content": "hi"}])
    assert sent["tools"] == [{"name": "weather", "description": "d", "input_schema": {"type": "object"}}]
    assert sent["tool_choice"] == {"type": "any"}


def test_a_full_body_keeps_its_fields() -> None:
    own = {
        "model": "theirs",
        "max_tokens": 9,
        "system": "s",
        "messages": [{"role": "user", "content": "x"}],
        "top_k": 3,
    }
    encoded = encode(Sample(body=own), BodyOptions(endpoint="messages", model=None))
    assert (json.loads(encoded.body), encoded.output_tokens_asked) == ({**own, "stream": True}, 9)


# ---- Streams -------------------------------------------------------------------------------------------------------


def test_a_stream_of_text_has_its_kinds_tokens_and_end() -> None:
    reply = read("messages", framed(messages(" there", " him", " three")), count=lambda words: len(words.split()))
    assert reply.chunk_kind == "roccc" + "ouo"
    assert (reply.input_tokens, reply.output_tokens, reply.output_tokens_from) == (4, 3, "usage")
    assert (reply.text, reply.content, reply.counted) == (" there him three", " there him three", 3)
    assert reply.chunk_tokens == (0, 0, 1, 1, 1, 0, 0, 0)
    assert (reply.problem, reply.complete, reply.tool_calls) == (None, True, 0)


def test_thinking_is_reasoning_and_a_signature_is_no_token() -> None:
    events = [message_start(), block(type="thinking", thinking=""), delta("thinking_delta", thinking="hm"), PING,
              delta("signature_delta", signature="abc"), block_stop(), block(1, type="text", text=""), text("so"),
              block_stop(1), message_delta("end_turn", output_tokens=2), MESSAGE_STOP]  # fmt: skip
    reply = read("messages", framed(events), keep_answer=True)
    assert reply.chunk_kind == "rotoooocouo"
    assert (reply.content, reply.text, reply.problem) == ("so", "hmso", None)


def test_a_tool_call_begins_with_its_name_and_its_arguments_are_token_chunks() -> None:
    events = [message_start(), block(type="tool_use", id="t", name="weather", input={}),
              delta("input_json_delta", partial_json=""), delta("input_json_delta", partial_json='{"city":'),
              delta("input_json_delta", partial_json='"x"}'), block_stop(),
              block(1, type="tool_use", id="u", name="clock", input={}), block_stop(1),
              message_delta("tool_use", output_tokens=9), MESSAGE_STOP]  # fmt: skip
    reply = read("messages", framed(events), keep_answer=True, output_tokens_asked=50)
    assert reply.chunk_kind == "rfoff" + "of" + "ouo"
    assert (reply.tool_calls, reply.content, reply.text) == (2, "", 'weather{"city":"x"}clock')
    assert (reply.output_tokens, reply.problem) == (9, None)


def test_the_prompt_has_the_cached_tokens_too_and_the_last_usage_counts() -> None:
    first = message_start(input_tokens=50, output_tokens=1)
    last = message_delta(input_tokens=10, cache_read_input_tokens=32, cache_creation_input_tokens=8, output_tokens=2)
    reply = read("messages", framed([first, text("a"), text("b"), last, MESSAGE_STOP]))
    assert (reply.input_tokens, reply.cached_tokens, reply.output_tokens) == (50, 32, 2)
    # llama.cpp reports the prompt's tokens only at the start.
    reply = read(
        "messages", framed([message_start(input_tokens=1, cache_read_input_tokens=3), *messages("a", "b")[1:]])
    )
    assert (reply.input_tokens, reply.cached_tokens, reply.output_tokens) == (4, 3, 2)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ({"input_tokens": 25}, {"input_tokens": 0, "output_tokens": 2}, (25, None, 2)),
        ({"input_tokens": 5, "cache_read_input_tokens": 20},
         {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 2}, (25, 20, 2)),
        ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 25, "output_tokens": 2}, (25, None, 2)),
        ({"input_tokens": 25}, {"input_tokens": 0, "cache_read_input_tokens": 25, "output_tokens": 2}, (25, 25, 2)),
        ({"input_tokens": 0}, {"input_tokens": 0, "output_tokens": 2}, (None, None, 2)),
    ],
)  # fmt: skip
def test_a_prompt_of_no_tokens_is_one_that_the_event_does_not_count(
    first: dict[str, int], last: dict[str, int], expected: tuple[int | None, ...]
) -> None:
    events = [message_start(**first), text("a"), text("b"), message_delta("end_turn", **last), MESSAGE_STOP]
    reply = read("messages", framed(events))
    assert (reply.input_tokens, reply.cached_tokens, reply.output_tokens) == expected


def test_usage_of_the_last_event_counts_too() -> None:
    events = [*messages("a", "b")[:-2], message_delta("end_turn"), {**MESSAGE_STOP, "usage": {"output_tokens": 2}}]
    assert read("messages", framed(events)).output_tokens_from == "usage"


def test_thinking_that_is_kept_back_is_in_the_output_tokens_and_in_no_chunk() -> None:
    thinking = [block(type="thinking", thinking=""), delta("signature_delta", signature="abc"), block_stop()]
    last = message_delta("end_turn", output_tokens=102, output_tokens_details={"thinking_tokens": 100})
    reply = read("messages", framed([message_start(), *thinking, text("a"), text("b"), last, MESSAGE_STOP]))
    assert (reply.output_tokens, reply.reasoning_tokens, reply.usage_contradiction) == (102, 100, None)
    assert reply.chunk_tokens == (0, 0, 0, 0, 1, 1, 0, 0)


def test_the_tokens_of_the_start_are_no_count_of_a_reply() -> None:
    reply = read("messages", framed([message_start(), text("a"), text("b")]))
    assert (reply.output_tokens, reply.output_tokens_from) == (2, "chunks")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("kind", ["overloaded_error", "api_error"])
def test_an_error_event_is_no_success(kind: str, named: bool) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "Overloaded"}}
    for events in ([error], [message_start(), text("a"), error], [*messages("a"), error]):
        problem = read("messages", framed(events, named=named)).problem
        assert problem == Problem(Outcome.STREAM_ERROR, f"{kind}: Overloaded")


def test_an_event_called_an_error_is_one_whatever_it_holds() -> None:
    stream = framed(messages("a")[:3]) + b'event: error\ndata: {"message":"gone"}\n\n' + framed(messages("a")[3:])
    assert read("messages", stream).problem == Problem(Outcome.STREAM_ERROR, "gone")


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"])
def test_reasons_that_mean_an_end(reason: str) -> None:
    assert outcome(message_start(), text("a"), message_delta(reason, output_tokens=1), MESSAGE_STOP) is None


def test_a_reason_that_means_no_end_is_a_failure() -> None:
    problem = outcome(message_start(), text("a"), message_delta("abort", output_tokens=1), MESSAGE_STOP)
    assert problem == Problem(Outcome.STREAM_ERROR, "the reply ended with stop_reason 'abort'")


@pytest.mark.parametrize("last", range(6))
def test_a_stream_without_its_last_event_is_truncated(last: int) -> None:
    problem = outcome(*messages("a", "b")[:last])
    assert problem is not None
    assert problem.outcome is Outcome.TRUNCATED
    assert "message_stop" in problem.message


def test_an_end_without_a_reason_is_good_only_when_complete() -> None:
    events = [message_start(), text("a"), text("b"), message_delta(None, output_tokens=2), MESSAGE_STOP]
    assert outcome(*events, output_tokens_asked=2) is None
    problem = outcome(*events, output_tokens_asked=9)
    assert problem is not None
    assert problem.outcome is Outcome.TRUNCATED


def test_a_reply_without_text_has_no_tokens() -> None:
    problem = outcome(
        message_start(), block(type="text", text=""), message_delta("end_turn", output_tokens=0), MESSAGE_STOP
    )
    assert problem is not None
    assert problem.outcome is Outcome.NO_TOKENS


def test_chunks_of_another_api_are_not_messages() -> None:
    problem = outcome({"choices": [{"delta": {"content": "a"}}]})
    assert problem is not None
    assert problem.outcome is Outcome.MALFORMED
    assert "is not an event of a reply" in problem.message


def test_what_comes_after_the_end_is_malformed_but_for_pings_and_done() -> None:
    assert outcome(*messages("a"), PING) is None
    assert read("messages", framed(messages("a")) + b"data: [DONE]\n\n").problem is None
    problem = outcome(*messages("a"), text("b"))
    assert problem is not None
    assert problem.outcome is Outcome.MALFORMED


def test_types_may_stand_in_the_event_lines_alone() -> None:
    bare = b"".join(
        f"event: {event.pop('type')}\n".encode() + b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in json.loads(json.dumps(messages("a", "b")))
    )
    reply = read("messages", bare)
    assert (reply.chunk_kind, reply.output_tokens, reply.problem) == ("roccouo", 2, None)


# ---- Whole replies -------------------------------------------------------------------------------------------------

WHOLE: dict[str, Any] = {
    "type": "message",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 1, "cache_read_input_tokens": 3, "output_tokens": 7},
}


def test_a_whole_reply_is_read() -> None:
    reply = ENDPOINTS["messages"].read_whole(json.dumps(WHOLE).encode(), ReadOptions())
    assert (reply.text, reply.content, reply.tool_calls) == ('hmsof{"a":1}', "so", 1)
    assert (reply.input_tokens, reply.cached_tokens, reply.output_tokens) == (4, 3, 7)
    assert (reply.problem, reply.complete) == (None, True)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"type": "error", "error": {"type": "api_error", "message": "busy"}}, (Outcome.STREAM_ERROR, "api_error: busy")),
        ({**WHOLE, "stop_reason": "abort"}, (Outcome.STREAM_ERROR, "stop_reason 'abort'")),
        ({**WHOLE, "stop_reason": None}, (Outcome.MALFORMED, "no stop_reason")),
        ({**WHOLE, "content": []}, (Outcome.NO_TOKENS, "no text")),
        ({"choices": []}, (Outcome.MALFORMED, "without content")),
        ([], (Outcome.MALFORMED, "not a JSON object")),
    ],
)  # fmt: skip
def test_a_whole_reply_that_is_none(said: Any, expected: tuple[Outcome, str]) -> None:
    problem = ENDPOINTS["messages"].read_whole(json.dumps(said).encode(), ReadOptions()).problem
    assert problem is not None
    assert problem.outcome is expected[0]
    assert expected[1] in problem.message


def test_an_error_response_says_its_kind_and_words() -> None:
    said = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert ENDPOINTS["messages"].error_message(json.dumps(said).encode()) == "overloaded_error: Overloaded"
    assert ENDPOINTS["messages"].error_message(b"<html>") == "'<html>'"
