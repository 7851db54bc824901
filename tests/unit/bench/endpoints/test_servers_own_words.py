"""What individual servers add to OpenAI's dialect or change in it, as seen in their streams."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.custom import CustomEndpoint
from bench.endpoints.definition import read_definition, shipped
from bench.endpoints.failure import ending_of, error_message
from bench.endpoints.interface import ParsedReply, ReadOptions
from bench.endpoints.stream_reader import StreamReader
from bench.endpoints.usage import cached_tokens, reasoning_tokens

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


def streamed(*events: dict[str, Any]) -> ParsedReply:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions(keep_answer=True))
    reader.feed([*map(orjson.dumps, events), b"[DONE]"])
    return reader.close()


TEXT = (chunk({"content": "a"}), chunk({"content": "b"}))
ENDS: dict[str, tuple[dict[str, Any], ...]] = {
    "Groq": ({**chunk({}, "stop"), "x_groq": {"id": "req_1", "usage": USAGE}},),
    "Moonshot": (chunk({}, "stop", usage=USAGE),),
    "an event of its own": (chunk({}, "stop"), {"choices": [], "usage": USAGE}),
}


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS.keys())
def test_usage_is_found_in_each_place_where_servers_put_it(ends: tuple[dict[str, Any], ...]) -> None:
    reply = streamed(*TEXT, *ends)
    assert (reply.problem, reply.input_tokens, reply.output_tokens) == (None, 7, 2)
    assert (reply.output_tokens_from, reply.usage_contradiction) == ("usage", None)
    whole = {**ends[-1], "choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}
    choice = ends[-1]["choices"][:1]
    whole["choices"][0] |= {name: value for one in choice for name, value in one.items() if name == "usage"}
    read = ENDPOINTS["chat"].read_whole(orjson.dumps(whole), ReadOptions())
    assert (read.input_tokens, read.output_tokens) == (7, 2)


def test_usage_of_zeros_on_each_chunk_counts_none_of_them() -> None:
    none = {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    reader.feed([orjson.dumps({**event, **none}) for event in TEXT])
    assert reader.tokens_so_far == 2
    reader.feed([orjson.dumps({**chunk({}, "stop"), "usage": USAGE})])
    reply = reader.close()
    assert (reply.chunk_tokens, reply.output_tokens, reply.output_tokens_from) == ((1, 1, 0), 2, "usage")


def test_usage_of_nothing_on_a_chunk_leaves_it_plain() -> None:
    """SGLang, OpenAI and DeepSeek write `"usage": null` on each chunk. Such chunks are read without JSON, too."""
    event = {**chunk({"content": "a", "tool_calls": None}), "usage": None}
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    assert isinstance(reader, StreamReader)
    reader.feed([orjson.dumps(event)] * 3)
    assert reader._template.learned
    assert reader.close().chunk_kind == "ccc"


def test_a_tool_call_may_come_without_a_list() -> None:
    more = {**CALL, "id": "", "function": {"name": "", "arguments": ": 1}"}}
    reply = streamed(chunk({"tool_calls": CALL}), chunk({"tool_calls": more}), chunk({}, "tool_calls"))
    assert (reply.problem, reply.chunk_kind, reply.tool_calls, reply.text) == (None, "ffoo", 1, 'f{"a": 1}')
    assert reply.answer is not None
    assert [(call.name, call.arguments) for call in reply.answer.tool_calls] == [("f", '{"a": 1}')]


@pytest.mark.parametrize(
    ("usage", "cached", "reasoning"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 3}, "prompt_cache_hit_tokens": 4}, 3, None),
        ({"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 3}, 4, None),  # DeepSeek
        ({"cached_tokens": 5}, 5, None),  # Moonshot
        ({"prompt_tokens_details": None, "reasoning_tokens": 6}, None, 6),  # SGLang
        ({"completion_tokens_details": {"reasoning_tokens": 1}, "reasoning_tokens": 6}, None, 1),
    ],
)
def test_details_of_usage_have_several_names(usage: dict[str, Any], cached: int | None, reasoning: int | None) -> None:
    assert (cached_tokens(usage, None), reasoning_tokens(usage)) == (cached, reasoning)


@pytest.mark.parametrize(
    ("reason", "ended", "good"),
    [
        ("null", False, True),
        ("content_filter: RECITATION", True, True),
        ("PROHIBITED_CONTENT", True, True),
        ("guardrail_intervened", True, True),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", True, False),
    ],
)
def test_finish_reasons_of_gemini_alibaba_and_bedrock(reason: str, ended: bool, good: bool) -> None:
    ends, wrong = ending_of(chunk({}, reason))
    assert (bool(ends), wrong is None) == (ended, good)


def test_geminis_errors_are_a_list() -> None:
    body = b'[{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}]'
    assert error_message(body) == "API key not valid."
    assert error_message(b'[{"error": "a"}, {"error": "b"}]') == """'[{"error": "a"}, {"error": "b"}]'"""


def test_what_cohere_thinks_is_reasoning() -> None:
    end = {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 7, "output_tokens": 2}}}
    parts = [{"type": "thinking", "thinking": "a"}, {"type": "text", "text": "b"}]
    deltas = [{"delta": {"message": {"content": part}}} for part in ({"thinking": "a"}, {"text": "b"})]
    reader = CustomEndpoint(read_definition(shipped()["cohere"]), stream=True).event_reader(ReadOptions(count=len))
    reader.feed([orjson.dumps(event) for event in (*deltas, {"type": "message-end", "delta": end})])
    whole = CustomEndpoint(read_definition(shipped()["cohere"]), stream=False).read_whole(
        orjson.dumps({"message": {"content": parts}, **end}), ReadOptions()
    )
    reply = reader.close()
    assert (reply.problem, reply.chunk_kind, reply.text, reply.content) == (None, "tcu", "ab", "b")
    assert (whole.problem, whole.text, whole.content) == (None, "ab", "b")
