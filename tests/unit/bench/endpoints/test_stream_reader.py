"""What the reader keeps of a stream, exactly: event numbers, event kinds, and the selected choice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import OtherLine, ParsedReply, Problem, ReadOptions
from bench.records import Outcome


def chunk(text: str, index: int = 0) -> bytes:
    return json.dumps({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]}).encode()


END = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def read(*batches: list[bytes], endpoint: str = "chat", **options: Any) -> ParsedReply:
    reader = ENDPOINTS[endpoint].event_reader(ReadOptions(**options))
    for batch in batches:
        reader.feed(batch)
    return reader.close()


def test_events_that_the_template_reads_are_counted() -> None:
    words = [chunk(f"w{i}") for i in range(20)]
    reply = read(words[:8], words[8:], [b"{", END])
    assert reply.chunk_kind == "c" * 20 + "oo"
    assert reply.problem is not None
    assert reply.problem.message.startswith("event 20 is not JSON")


def test_of_several_choices_the_first_is_read() -> None:
    both = {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"role": "assistant"}}]}
    reply = read([json.dumps(both).encode(), END, b"[DONE]"], keep_answer=True)
    assert (reply.text, reply.chunk_kind) == ("a", "coo")


def test_a_stream_without_usage_on_its_chunks_has_no_zeros_for_it() -> None:
    usage = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":9}}'
    assert read([chunk("a"), chunk("b"), END, usage]).chunk_tokens is None


def test_an_error_by_the_name_of_its_event_is_found_wherever_it_stands() -> None:
    for name in (b"event: error", b"event:Error", b"event: thread.failed", b"event: exception"):
        reader = ENDPOINTS["chat"].event_reader(ReadOptions())
        reader.feed([chunk(f"w{i}") for i in range(9)])
        reader.feed([chunk("fine"), chunk("gone")], [OtherLine(9, b"event: message"), OtherLine(10, name)])
        reader.feed([END, b"[DONE]"])
        reply = reader.close()
        assert reply.problem is not None
        assert reply.problem.outcome is Outcome.STREAM_ERROR
        assert "gone" in reply.problem.message
        assert reply.chunk_kind == "c" * 11 + "oo"


@pytest.mark.parametrize("rest", [b'{"error":{"message":"gone"}}', b'{"detail":"gone"}'])
def test_an_error_in_an_event_that_did_not_end_is_read(rest: bytes) -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    reader.feed([chunk("a")])
    assert reader.close(rest).problem == Problem(Outcome.STREAM_ERROR, "gone")


def test_lines_that_are_no_events_are_kept_in_bounded_memory() -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    for _ in range(100):
        reader.feed((), [OtherLine(None, b"x" * 1_000_000)])
    problem = reader.close().problem
    assert problem is not None
    assert problem.outcome is Outcome.MALFORMED
    assert len(problem.message) < 400


def test_whatever_is_an_error_its_words_are_of_bounded_length() -> None:
    long = "x" * 100_000
    for said in (
        {"error": {"message": long}},
        {"error": long},
        {"detail": [long]},
        {"choices": [{"finish_reason": long}]},
    ):
        problem = read([json.dumps(said).encode()]).problem
        assert problem is not None
        assert problem.outcome is Outcome.STREAM_ERROR
        assert len(problem.message) <= 600


@pytest.mark.parametrize(
    ("last", "cached"),
    [
        ({"usage": {"prompt_tokens": 50, "prompt_tokens_details": {"cached_tokens": 32}}}, 32),
        ({"usage": {"prompt_tokens": 50}, "timings": {"cache_n": 31, "prompt_n": 19}}, 31),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": 0}}, "timings": {"cache_n": 31}}, 0),
        ({"usage": {"prompt_tokens": 50, "prompt_tokens_details": None}}, None),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": -1}}}, None),
        ({"timings": {"cache_n": "many"}}, None),
    ],
)
def test_what_came_from_the_servers_cache_is_what_it_says(last: dict[str, Any], cached: int | None) -> None:
    assert read([chunk("a"), END, json.dumps({"choices": [], **last}).encode()]).cached_tokens == cached
    whole = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}], **last}
    assert ENDPOINTS["chat"].read_whole(json.dumps(whole).encode(), ReadOptions()).cached_tokens == cached
