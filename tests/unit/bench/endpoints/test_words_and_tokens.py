"""Server messages cut to length, the tokens of chunks, and numbers in base64."""

from __future__ import annotations

import base64
import json
import struct
import sys
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS, embeddings, encode
from bench.endpoints.failure import error_of
from bench.endpoints.interface import BodyOptions, ReadOptions
from bench.endpoints.typed_events import words
from bench.endpoints.usage import ReplyText, token_counts, tokens_of_chunks
from promptset.samples import Sample

# ---- Messages of servers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "length"),
    [
        ({"error": "x" * 600}, 500),
        ({"error": {"code": 7, "more": "x" * 600}}, 500),
        ({"error": {"message": "x" * 600}}, 500),
        ({"error": {"message": "x" * 500}}, 500),
        ({"error": {"message": "x" * 600, "code": "c"}}, 500),
        ({"more": "x" * 600}, 500),
        ({"response": {"status": "x" * 600}}, len("the reply ended with status ''") + 100),
    ],
)
def test_words_are_cut(event: dict[str, Any], length: int) -> None:
    assert len(words(event)) == length


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"error": "busy", "message": "m"}, "busy"),
        ({"response": {"error": "busy"}, "message": "m"}, "busy"),
        ({"response": {"error": {"message": "busy"}}, "error": {"message": "m"}}, "m"),
        ({"response": "odd", "message": "m"}, "m"),
        ({"response": {"status": 7}, "id": 1}, '{"response":{"status":7},"id":1}'),
        ({"message": ""}, '{"message":""}'),
        ({"message": "m", "type": "t", "code": "c"}, "t: m"),
        ({"message": "m", "type": 7, "code": "c"}, "c: m"),
    ],
)
def test_the_words_of_an_event_are_those_nearest_to_its_error(event: dict[str, Any], said: str) -> None:
    assert words(event) == said


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"error": {"detail": None, "code": 7}}, '{"detail":null,"code":7}'),
        ({"error": {"detail": "", "msg": "no"}}, "no"),
        ({"error": {"detail": ["a"], "msg": "no"}}, '["a"]'),
        ({"error": {"msg": ["a"]}}, '{"msg":["a"]}'),
        ({"error": ["a"]}, '["a"]'),
        ({"error": {"detail": ["x" * 600]}}, '["' + "x" * 498),
        ({"error": "busy", "message": "x" * 600}, "busy: " + "x" * 500),
        ({"error": True}, "{}"),
    ],
)
def test_the_words_of_an_error_object(event: dict[str, Any], said: str) -> None:
    assert error_of(event) == said


# ---- Tokens --------------------------------------------------------------------------------------------------------


def test_a_token_of_which_nothing_shows_is_doubted_where_none_was_asked_for() -> None:
    def why(**fields: Any) -> str | None:
        given = {"asked": 0, "most_bytes": 0, "token_chunks": None} | fields
        return token_counts({"completion_tokens": 1}, ReplyText(**given)).contradiction

    assert why() == "usage says 1 output tokens, but 0 were requested"
    assert why(token_chunks=0) == why(counted=0) == why()
    assert why(token_chunks=1) is why(counted=1) is why(asked=1) is why(asked=None) is None


@pytest.mark.parametrize(
    ("kinds", "running", "output", "tokens"),
    [
        ("cc", [1, 3], None, (1, 2)),
        ("cc", [1, 1], 1, (1, 0)),
        ("cc", [0, 2], 2, (0, 2)),
        ("occu", [2, 3], 4, (0, 2, 1, 0)),
        ("cc", [1, 4], 3, None),
        # The name of a tool may have no token, if the other chunks account for the usage. Otherwise it has one.
        ("ncc", [None] * 3, 2, (0, 1, 1)),
        ("ncc", [None] * 3, 3, (1, 1, 1)),
        ("roncu", [None] * 2, 1, (0, 0, 0, 1, 0)),
        ("cncn", [None] * 4, 2, (1, 0, 1, 0)),
        ("ncc", [None] * 3, 4, None),
        ("ncce", [None] * 3, 4, (1, 1, 1, 0)),
        # Usage equals the number of text chunks, so empty chunks had no tokens, whatever else would add up.
        ("nec", [None] * 2, 2, (1, 0, 1)),
        ("cec", [None] * 2, 2, (1, 0, 1)),
        ("oo", [], 4, (0, 0)),
        ("cc", [None, None], None, None),
    ],
)  # fmt: skip
def test_the_tokens_of_each_chunk(
    kinds: str, running: list[int | None], output: int | None, tokens: tuple[int, ...] | None
) -> None:
    assert tokens_of_chunks(kinds, running, [], output, None) == tokens


@pytest.mark.parametrize(("index", "believed"), [(None, False), (0, False), (1, True), (True, False), ("1", False)])
def test_the_last_choice_says_by_its_index_that_there_are_more(index: object, believed: bool) -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    first = {"choices": [{"index": 0, "delta": {"content": "a"}}]}
    last = {"choices": [{"delta": {}, "finish_reason": "stop"} | ({} if index is None else {"index": index})]}
    for event in (first, last, {"choices": [], "usage": {"completion_tokens": 90}}):
        reader.feed([json.dumps(event).encode()])
    assert (reader.close().usage_contradiction is None) is believed


# ---- The rest ------------------------------------------------------------------------------------------------------


def test_base64_is_little_endian_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [1.0, -2.5]
    little, big = (base64.b64encode(struct.pack(f"{order}2f", *numbers)).decode() for order in "<>")
    monkeypatch.setattr(sys, "byteorder", "little")
    assert list(embeddings._decoded(little, 0)) == numbers
    # As on a machine with the other byte order.
    monkeypatch.setattr(sys, "byteorder", "big")
    assert list(embeddings._decoded(big, 0)) == numbers


def test_a_prompt_is_not_stored_whatever_the_sample_says() -> None:
    body = json.loads(encode(Sample(prompt="p", stored=True), BodyOptions(endpoint="responses", model="m")).body)
    assert (body["input"], "store" in body, "instructions" in body) == ("p", False, False)


@pytest.mark.parametrize("endpoint", ["chat", "completions", "messages", "responses"])
def test_a_sample_goes_to_the_endpoint_that_it_names(endpoint: str) -> None:
    named = encode(Sample(prompt="p", endpoint=endpoint), BodyOptions(endpoint="chat", model="m")).body
    assert named == encode(Sample(prompt="p"), BodyOptions(endpoint=endpoint, model="m")).body
