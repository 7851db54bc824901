"""OpenAI's Responses: bodies, streams and whole replies, and every failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS, encode, urls
from bench.endpoints.interface import BodyOptions, Problem, ReadOptions
from bench.records import Outcome
from promptset.samples import Sample
from tests.support.dialect_streams import CREATED, Event, ended, framed, item, part, read, response, responses, usage

OPTIONS = BodyOptions(endpoint="responses", model="m")
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def body(sample: Sample, options: BodyOptions = OPTIONS) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(encode(sample, options).body)
    return sent


def outcome(*events: Event, **options: Any) -> Problem | None:
    return read("responses", framed(events), **options).problem


# ---- Requests ------------------------------------------------------------------------------------------------------


def test_its_url_and_key() -> None:
    assert urls.endpoint_url("http://h:1/v1", "responses") == "http://h:1/v1/responses"
    assert urls.key_variable("http://h", "responses") == "OPENAI_API_KEY"
    assert ENDPOINTS["responses"].headers("k") == (("authorization", "Bearer k"),)


def test_a_prompt_is_the_input() -> None:
    assert body(Sample(prompt="hi", output_tokens=5)) == {
        "input": "hi",
        "model": "m",
        "max_output_tokens": 5,
        "stream": True,
    }
    assert "max_output_tokens" not in body(Sample(prompt="hi"))


def test_a_chat_becomes_items_and_tools_are_flat() -> None:
    chat = ({"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"})  # fmt: skip
    sent = body(
        Sample(messages=chat, tools=(WEATHER,)), BodyOptions(endpoint="responses", model="m", tool_choice="weather")
    )
    said = {"type": "output_text", "text": "b", "annotations": []}
    assert sent["input"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"type": "message", "role": "assistant", "status": "completed", "content": [said]},
        {"role": "user", "content": "c"},
    ]
    assert sent["tools"] == [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
    assert sent["tool_choice"] == {"type": "function", "name": "weather"}


def test_a_full_body_keeps_its_fields() -> None:
    own = {"input": [{"role": "user", "content": "x"}], "max_output_tokens": 9, "reasoning": {"effort": "low"}}
    encoded = encode(Sample(body=own), BodyOptions(endpoint="responses", model=None, ignore_eos=True))
    assert (json.loads(encoded.body), encoded.output_tokens_asked) == ({**own, "stream": True, "ignore_eos": True}, 9)


# ---- Streams -------------------------------------------------------------------------------------------------------


def test_a_stream_of_text_has_its_kinds_tokens_and_end() -> None:
    reply = read("responses", framed(responses(" last", " even", " low")), count=lambda words: len(words.split()))
    assert reply.chunk_kind == "ooccc" + "u"
    assert (reply.input_tokens, reply.output_tokens, reply.output_tokens_from) == (4, 3, "usage")
    assert (reply.content, reply.counted, reply.chunk_tokens) == (" last even low", 3, (0, 0, 1, 1, 1, 0))
    assert (reply.problem, reply.complete, reply.tool_calls, reply.reasoning_tokens) == (None, True, 0, 0)


@pytest.mark.parametrize("kind", ["reasoning_text", "reasoning_summary_text"])
def test_reasoning_and_its_summary_are_reasoning(kind: str) -> None:
    events = [CREATED, part(kind, "hm"), part("output_text", "so"), ended(usage=usage(9, cached=2, reasoning=7))]
    reply = read("responses", framed(events), keep_answer=True)
    assert (reply.chunk_kind, reply.content, reply.text) == ("otcu", "so", "hmso")
    assert (reply.cached_tokens, reply.reasoning_tokens, reply.problem) == (2, 7, None)


def test_a_tool_call_begins_with_its_name_and_its_arguments_are_token_chunks() -> None:
    events = [CREATED, item(type="function_call", name="weather", arguments="", call_id="c"),
              part("function_call_arguments", "{"), part("function_call_arguments", "}"),
              item(type="function_call", name="clock", arguments="", call_id="d"), ended(usage=usage(9))]  # fmt: skip
    reply = read("responses", framed(events), keep_answer=True)
    assert (reply.chunk_kind, reply.tool_calls, reply.text, reply.content) == ("offffu", 2, "weather{}clock", "")
    assert reply.problem is None


@pytest.mark.parametrize(
    "last",
    [
        ended("incomplete", incomplete_details={"reason": "max_output_tokens"}, usage=usage(1)),
        {
            "type": "response.completed",
            "response": response("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        },
        {"type": "response.completed", "response": {}},
        ended("incomplete", incomplete_details={"reason": "content_filter"}),
        ended(),
    ],
)
def test_ends_that_are_good(last: Event) -> None:
    assert outcome(CREATED, part("output_text", "a"), last) is None


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (ended("failed", error={"code": "server_error", "message": "gone"}), "server_error: gone"),
        (ended("failed"), "the reply ended with status 'failed'"),
        (ended("cancelled"), "the reply ended with status 'cancelled'"),
        (ended("incomplete", incomplete_details={"reason": "lost"}), "the reply is incomplete: lost"),
        ({"type": "error", "code": "server_error", "message": "gone", "param": None}, "server_error: gone"),
        ({"type": "error", "error": {"type": "too_many", "message": "gone"}}, "too_many: gone"),
        ({"error": {"message": "gone", "code": 500}}, "gone"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_ends_that_are_no_success(last: Event, words: str, named: bool) -> None:
    stream = framed([CREATED, part("output_text", "a"), last], named=named)
    assert read("responses", stream).problem == Problem(Outcome.STREAM_ERROR, words)


@pytest.mark.parametrize("last", range(5))
def test_a_stream_without_its_last_event_is_truncated(last: int) -> None:
    problem = outcome(*responses("a", "b")[:last])
    assert problem is not None
    assert problem.outcome is Outcome.TRUNCATED


def test_done_alone_is_no_end() -> None:
    problem = read("responses", framed(responses("a")[:-1]) + b"data: [DONE]\n\n").problem
    assert problem is not None
    assert problem.outcome is Outcome.TRUNCATED
    assert read("responses", framed(responses("a")) + b"data: [DONE]\n\n").problem is None


def test_timings_of_llama_cpp_say_what_came_from_its_cache() -> None:
    last = {**ended(usage={"input_tokens": 4, "output_tokens": 1}), "timings": {"cache_n": 3}}
    assert read("responses", framed([CREATED, part("output_text", "a"), last])).cached_tokens == 3


# ---- Whole replies -------------------------------------------------------------------------------------------------

WHOLE = response(
    "incomplete",
    incomplete_details={"reason": "max_output_tokens"},
    error=None,
    output=[
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "so"}, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
    ],
    usage=usage(7, cached=3, reasoning=2),
)


def test_a_whole_reply_is_read() -> None:
    reply = ENDPOINTS["responses"].read_whole(json.dumps(WHOLE).encode(), ReadOptions())
    assert (reply.text, reply.content, reply.tool_calls) == ("hmsonof{}", "sono", 1)
    assert (reply.input_tokens, reply.cached_tokens, reply.output_tokens, reply.reasoning_tokens) == (4, 3, 7, 2)
    assert (reply.problem, reply.complete) == (None, True)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"error": {"message": "busy", "code": 500}}, (Outcome.STREAM_ERROR, "busy")),
        ({**WHOLE, "status": "failed"}, (Outcome.STREAM_ERROR, "status 'failed'")),
        ({**WHOLE, "status": "in_progress"}, (Outcome.STREAM_ERROR, "status 'in_progress'")),
        ({**WHOLE, "status": None}, (Outcome.MALFORMED, "no status")),
        ({**WHOLE, "output": []}, (Outcome.NO_TOKENS, "no text")),
        ({"choices": []}, (Outcome.MALFORMED, "without output")),
    ],
)
def test_a_whole_reply_that_is_none(said: Any, expected: tuple[Outcome, str]) -> None:
    problem = ENDPOINTS["responses"].read_whole(json.dumps(said).encode(), ReadOptions()).problem
    assert problem is not None
    assert problem.outcome is expected[0]
    assert expected[1] in problem.message
