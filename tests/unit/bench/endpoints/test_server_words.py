"""Server details about a single request are read as servers write them: literal replies of vLLM 0.32 and llama.cpp."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import ReadOptions
from bench.endpoints.server_words import SILENT, server_words
from bench.records import ServerWords

VLLM_CHUNK = (
    b'{"id":"chatcmpl-9f","object":"chat.completion.chunk","created":1779349198,"model":"m","choices":[],"usage":'
    b'{"prompt_tokens":50,"total_tokens":67,"completion_tokens":17,"prompt_tokens_details":{"cached_tokens":32}},"metrics":'
    b'{"time_to_first_token_ms":12.5,"generation_time_ms":80.25,"queue_time_ms":3.0,"mean_itl_ms":5.015625,'
    b'"tokens_per_second":183.28840970350404,"speculative_decoding":{"mean_acceptance_length":2.6666666666666665,'
    b'"draft_acceptance_rate":0.5555555555555556,"acceptance_histogram":[1,2,1,2],"num_spec_steps":6,'
    b'"num_accepted_draft_tokens":10,"num_draft_tokens":18,"num_spec_tokens":3}}}'
)
VLLM = ServerWords(
    server_queue_ms=3.0,
    server_prefill_ms=12.5,
    server_decode_ms=80.25,
    draft_steps=6,
    draft_tokens=18,
    accepted_tokens=10,
    acceptance=(5, 3, 2),  # One of 6 steps accepted no draft, three accepted two or more.
)
LLAMA_CHUNK = (
    b'{"choices":[],"created":1779349198,"id":"chatcmpl-nF","model":"m.gguf","system_fingerprint":"b9251","object":'
    b'"chat.completion.chunk","usage":{"completion_tokens":17,"prompt_tokens":50,"total_tokens":67,"prompt_tokens_details":'
    b'{"cached_tokens":46}},"timings":{"cache_n":46,"prompt_n":4,"prompt_ms":128.301,"prompt_per_token_ms":32.07525,'
    b'"prompt_per_second":31.17,"predicted_n":17,"predicted_ms":620.5,"predicted_per_token_ms":36.5,"predicted_per_second":'
    b'27.4,"draft_n":12,"draft_n_accepted":9}}'
)
LLAMA = ServerWords(server_prefill_ms=128.301, server_decode_ms=620.5, draft_tokens=12, accepted_tokens=9)
TEXT = b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}'
END = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


@pytest.mark.parametrize(("last", "words", "cached"), [(VLLM_CHUNK, VLLM, 32), (LLAMA_CHUNK, LLAMA, 46)])
def test_the_last_chunk_of_a_chat_says_how_the_server_saw_the_request(
    last: bytes, words: ServerWords, cached: int
) -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    for event in (TEXT, END, last, b"[DONE]"):
        reader.feed([event])
    reply = reader.close()
    assert reply.problem is None
    assert (reply.server, reply.cached_tokens, reply.chunk_kind) == (words, cached, "couo")


@pytest.mark.parametrize(("last", "words"), [(VLLM_CHUNK, VLLM), (LLAMA_CHUNK, LLAMA)])
@pytest.mark.parametrize("name", ["chat", "completions"])
def test_a_whole_reply_says_it_too(name: str, last: bytes, words: ServerWords) -> None:
    said: dict[str, Any] = json.loads(last)
    text = {"message": {"content": "a"}} if name == "chat" else {"text": "a"}
    said["choices"] = [{"index": 0, "finish_reason": "stop", **text}]
    assert ENDPOINTS[name].read_whole(json.dumps(said).encode(), ReadOptions()).server == words


TIMINGS = json.loads(LLAMA_CHUNK)["timings"]
USAGE = {"input_tokens": 50, "output_tokens": 1}
ENDED = {"id": "r", "status": "completed", "usage": USAGE}
MESSAGE_END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("responses", [{"type": "response.completed", "response": ENDED, "timings": TIMINGS}]),
        ("responses", [{"type": "response.completed", "response": {**ENDED, "timings": TIMINGS}}]),
        ("messages", [{**MESSAGE_END, "timings": TIMINGS}, {"type": "message_stop"}]),
        ("messages", [MESSAGE_END, {"type": "message_stop", "timings": TIMINGS}]),
    ],
)
def test_so_do_streams_whose_events_have_types(name: str, events: list[dict[str, Any]]) -> None:
    reader = ENDPOINTS[name].event_reader(ReadOptions())
    reader.feed([json.dumps(event).encode() for event in events])
    assert reader.close().server == LLAMA


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("responses", {"status": "completed", "output": [{"type": "message", "content": [{"text": "a"}]}]}),
        ("messages", {"stop_reason": "end_turn", "content": [{"type": "text", "text": "a"}]}),
    ],
)
def test_so_do_their_whole_replies(name: str, reply: dict[str, Any]) -> None:
    body = json.dumps({**reply, "usage": USAGE, "timings": TIMINGS}).encode()
    assert ENDPOINTS[name].read_whole(body, ReadOptions()).server == LLAMA


def drafts(**said: object) -> ServerWords:
    return server_words({"speculative_decoding": said}, None)


def test_what_cannot_be_is_not_believed() -> None:
    assert server_words("fast", 7) == SILENT
    assert (
        server_words({"queue_time_ms": -1.0, "time_to_first_token_ms": True, "generation_time_ms": "5"}, None) == SILENT
    )
    assert server_words({"queue_time_ms": None, "speculative_decoding": None}, {"prompt_ms": None}) == SILENT
    assert drafts(num_spec_steps=-2, num_draft_tokens=1.5, num_accepted_draft_tokens="3") == SILENT
    # There cannot be more right drafts than drafts.
    assert drafts(num_spec_steps=2, num_draft_tokens=3, num_accepted_draft_tokens=4) == ServerWords(draft_steps=2)
    # A histogram that does not match the steps gives no acceptance by position.
    assert drafts(num_spec_steps=5, acceptance_histogram=[1, 2, 1]).acceptance is None
    assert drafts(num_spec_steps=3, acceptance_histogram=[1, 2, -1, 1]).acceptance is None
    assert drafts(num_spec_steps=1002, acceptance_histogram=[1] * 1002).acceptance is None
    assert drafts(num_spec_steps=4, acceptance_histogram=[1, 2, 1]).acceptance == (3, 1)
    assert drafts(num_spec_steps=0, acceptance_histogram=[0, 0]).acceptance == (0,)


def test_zero_is_a_value() -> None:
    assert server_words({"queue_time_ms": 0.0, "time_to_first_token_ms": 0}, {"prompt_ms": 9.0}) == ServerWords(
        server_queue_ms=0.0, server_prefill_ms=0.0
    )
