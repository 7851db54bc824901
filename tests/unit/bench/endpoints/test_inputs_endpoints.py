"""Embeddings and rerank: bodies, and the check of the replies."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import BodyOptions, ParsedReply, ReadOptions
from bench.records import Outcome
from bench.workload import InputBatch
from promptset.samples import Sample

EMBEDDINGS, RERANK = ENDPOINTS["embeddings"], ENDPOINTS["rerank"]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def packed(numbers: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def embeddings(*vectors: object, **more: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": number, "embedding": vector} for number, vector in enumerate(vectors)]
    return {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}, **more}


def ranked(*rows: tuple[int, float], **more: Any) -> dict[str, Any]:
    return {"model": "m", "results": [{"index": i, "relevance_score": score} for i, score in rows], **more}


def read(endpoint: Any, reply: object, batch: InputBatch | None, earlier: dict[str, int] | None = None) -> ParsedReply:
    body = reply if isinstance(reply, bytes) else orjson.dumps(reply)
    found = endpoint.read_whole(body, ReadOptions(batch=batch, dimensions={} if earlier is None else earlier))
    assert isinstance(found, ParsedReply)
    return found


def sent(name: str, sample: Sample, **options: Any) -> tuple[dict[str, Any], InputBatch | None]:
    encoded = ENDPOINTS[name].encode(sample, BodyOptions(endpoint=name, model="m", **options))
    assert not encoded.stream
    assert encoded.output_tokens_asked is None
    return orjson.loads(encoded.body), encoded.batch


BODIES = [
    ("embeddings", Sample(texts=("a",)), {}, {"input": "a"}, InputBatch(1, 1)),
    ("embeddings", Sample(texts=("a", "b")), {}, {"input": ["a", "b"]}, InputBatch(2, 2)),
    ("embeddings", Sample(prompt="a", output_tokens=9), {"ignore_eos": True}, {"input": "a"}, InputBatch(1, 1)),
    (
        "embeddings",
        Sample(texts=("a",)),
        {"extra": {"dimensions": 8}},
        {"input": "a", "dimensions": 8},
        InputBatch(1, 1, 8),
    ),
    ("embeddings", Sample(body={"input": [5, 6, 7]}), {}, {"input": [5, 6, 7]}, InputBatch(1, 1)),
    ("embeddings", Sample(body={"input": [[5], [6, 7]]}), {}, {"input": [[5], [6, 7]]}, InputBatch(2, 2)),
    (
        "embeddings",
        Sample(body={"input": "a", "stream": True, "max_tokens": 3, "stream_options": {}, "user": "u"}),
        {},
        {"input": "a", "user": "u"},
        InputBatch(1, 1),
    ),
    ("rerank", Sample(query="q", texts=("a", "b")), {}, {"query": "q", "documents": ["a", "b"]}, InputBatch(2, 2)),
    (
        "rerank",
        Sample(query="q", texts=("a", "b", "c")),
        {"extra": {"top_n": 2}},
        {"query": "q", "documents": ["a", "b", "c"], "top_n": 2},
        InputBatch(3, 2),
    ),
    (
        "rerank",
        Sample(body={"query": "q", "documents": [{"text": "a"}], "top_n": 5}),
        {},
        {"query": "q", "documents": [{"text": "a"}], "top_n": 5},
        InputBatch(1, 1),
    ),
    (
        "rerank",
        Sample(body={"query": "q", "documents": ["a", "b"], "top_k": 1}),
        {},
        {"query": "q", "documents": ["a", "b"], "top_k": 1},
        InputBatch(2, 1),
    ),
    ("tei-rerank", Sample(query="q", texts=("a", "b")), {}, {"query": "q", "texts": ["a", "b"]}, InputBatch(2, 2)),
    ("tei-rerank", Sample(body={"query": "q", "texts": ["a"]}), {}, {"query": "q", "texts": ["a"]}, InputBatch(1, 1)),
    ("rerank", Sample(prompt="probe"), {}, {"query": "probe", "documents": ["probe"]}, InputBatch(1, 1)),
]


@pytest.mark.parametrize(
    ("given", "inputs"), [(None, 1), (5, 1), ("a", 1), ({"0": 1}, 1), ([], 0), ([True], 1), (["a", 5], 2)]
)
def test_the_inputs_of_a_body_of_any_form_are_counted(given: object, inputs: int) -> None:
    assert sent("embeddings", Sample(body={"input": given}))[1] == InputBatch(inputs, inputs)


@pytest.mark.parametrize(("name", "sample", "options", "body", "batch"), BODIES)
def test_a_body_holds_the_inputs_and_nothing_about_generated_text(
    name: str, sample: Sample, options: dict[str, Any], body: dict[str, Any], batch: InputBatch
) -> None:
    assert sent(name, sample, **options) == ({**body, "model": "m"}, batch)


GOOD = [
    (EMBEDDINGS, embeddings([0.5, -1]), InputBatch(1, 1), 2),
    (EMBEDDINGS, embeddings([0.5, -1], [1e30, 2]), InputBatch(2, 2), 2),
    (EMBEDDINGS, embeddings(packed([0.5, -1, 3])), InputBatch(1, 1, 3), 3),
    # The numbers are finite, although their sum is not.
    (EMBEDDINGS, embeddings([1.7e308, 1.7e308]), InputBatch(1, 1), 2),
    (EMBEDDINGS, embeddings([0.5]), None, 1),
    (RERANK, ranked((1, 0.9), (0, 0.9), (2, -4.0)), InputBatch(3, 3), None),
    (RERANK, ranked((2, 0.9)), InputBatch(3, 1), None),
    (RERANK, {"data": [{"index": 0, "relevance_score": 1}], "usage": {"total_tokens": 3}}, InputBatch(1, 1), None),
    (RERANK, [{"index": 1, "score": 0.5}, {"index": 0, "score": 0.25}], InputBatch(2, 2), None),
]


@pytest.mark.parametrize(("endpoint", "reply", "batch", "dimensions"), GOOD)
def test_a_reply_with_an_entry_for_each_input_is_a_success(
    endpoint: Any, reply: object, batch: InputBatch, dimensions: int | None
) -> None:
    found = read(endpoint, reply, batch)
    assert found.problem is None
    assert found.complete
    assert found.dimensions == dimensions


def swapped(reply: dict[str, Any], name: str, number: int, **fields: Any) -> dict[str, Any]:
    reply[name][number] |= fields
    return reply


BAD = [
    (EMBEDDINGS, embeddings([1.0]), InputBatch(2, 2), "the reply has 1 data, but 2 were requested"),
    (EMBEDDINGS, embeddings([1.0], [2.0]), InputBatch(1, 1), "the reply has 2 data, but 1 were requested"),
    (EMBEDDINGS, swapped(embeddings([1.0], [2.0]), "data", 1, index=0), InputBatch(2, 2), "data[1] has the index 0, as"),
    (EMBEDDINGS, swapped(embeddings([1.0], [2.0]), "data", 1, index=2), InputBatch(2, 2), "data[1] has the index 2, and"),
    (EMBEDDINGS, swapped(embeddings([1.0]), "data", 0, index=-1), InputBatch(1, 1), "data[0] has the index -1"),
    (EMBEDDINGS, swapped(embeddings([1.0]), "data", 0, index=True), InputBatch(1, 1), "data[0] has no index: True"),
    (EMBEDDINGS, swapped(embeddings([1.0]), "data", 0, index="0"), InputBatch(1, 1), "data[0] has no index: '0'"),
    (EMBEDDINGS, embeddings([1.0, 2.0], [2.0]), InputBatch(2, 2), "data[1] has 1 dimensions, and data[0] has 2"),
    (EMBEDDINGS, embeddings([1.0, 2.0]), InputBatch(1, 1, 3), "the embeddings have 2 dimensions, but 3 were requested"),
    (EMBEDDINGS, embeddings([]), InputBatch(1, 1), "the embedding of data[0] is empty"),
    (EMBEDDINGS, embeddings([1.0, None]), InputBatch(1, 1), "the embedding of data[0] has a value that is not a number"),
    (EMBEDDINGS, embeddings([[1.0, 2.0]]), InputBatch(1, 1), "the embedding of data[0] has a value that is not a number"),
    (EMBEDDINGS, embeddings([True]), InputBatch(1, 1), "the embedding of data[0] has a value that is not a number"),
    (EMBEDDINGS, embeddings(None), InputBatch(1, 1), "data[0] has no embedding"),
    (EMBEDDINGS, embeddings(packed([1.0, math.nan])), InputBatch(1, 1), "data[0] holds a number that is not finite"),
    (EMBEDDINGS, embeddings(packed([math.inf, -math.inf])), InputBatch(1, 1), "data[0] holds a number that is not finite"),
    (EMBEDDINGS, embeddings("AAA="), InputBatch(1, 1), "data[0] has 2 bytes, not a whole number of float32 values"),
    (EMBEDDINGS, embeddings("???"), InputBatch(1, 1), "the embedding of data[0] is not base64"),
    (EMBEDDINGS, b'{"data":[{"index":0,"embedding":[NaN]}]}', InputBatch(1, 1), "the body is not JSON"),
    (EMBEDDINGS, b'{"data":[{"index":0,"embedding":[1.0', InputBatch(1, 1), "the body is not JSON"),
    (EMBEDDINGS, b"<html><title>Bad</title></html>", InputBatch(1, 1), "the body is an HTML page ('Bad'), not JSON"),
    (EMBEDDINGS, {"data": 3}, InputBatch(1, 1), "a reply without data"),
    (EMBEDDINGS, {"data": [3]}, InputBatch(1, 1), "data[0] is not a JSON object"),
    (EMBEDDINGS, [1], InputBatch(1, 1), "a reply without data"),
    (RERANK, ranked((0, 0.1), (1, 0.9)), InputBatch(2, 2), "results[1] has the score 0.9, more than 0.1 before it"),
    (RERANK, ranked((0, 0.9)), InputBatch(2, 2), "the reply has 1 results, but 2 were requested"),
    (RERANK, ranked((0, 0.9), (1, 0.1)), InputBatch(2, 1), "the reply has 2 results, but 1 were requested"),
    (RERANK, ranked((0, 0.9), (0, 0.1)), InputBatch(2, 2), "results[1] has the index 0, as an entry before it"),
    (RERANK, ranked((2, 0.9), (0, 0.1)), InputBatch(2, 2), "results[0] has the index 2, and the inputs are 0 to 1"),
    (RERANK, {"results": [{"index": 0}]}, InputBatch(1, 1), "results[0] has no numeric score: None"),
    (RERANK, {"results": [{"index": 0, "score": "1"}]}, InputBatch(1, 1), "results[0] has no numeric score: '1'"),
    (RERANK, {"model": "m"}, InputBatch(1, 1), "a reply without results"),
]  # fmt: skip


@pytest.mark.parametrize(("endpoint", "reply", "batch", "words"), BAD)
def test_a_reply_that_is_not_what_was_asked_for_is_malformed_and_says_why(
    endpoint: Any, reply: object, batch: InputBatch, words: str
) -> None:
    problem = read(endpoint, reply, batch).problem
    assert problem is not None
    assert problem.outcome is Outcome.MALFORMED
    assert words in problem.message


@pytest.mark.parametrize("endpoint", [EMBEDDINGS, RERANK])
def test_an_error_with_status_200_is_the_servers_own_word(endpoint: Any) -> None:
    problem = read(endpoint, {"error": {"message": "out of memory"}}, InputBatch(1, 1)).problem
    assert problem is not None
    assert (problem.outcome, problem.message) == (Outcome.STREAM_ERROR, "out of memory")


def test_embeddings_have_the_dimensions_of_earlier_replies_of_their_model() -> None:
    earlier: dict[str, int] = {}
    assert read(EMBEDDINGS, embeddings([1.0, 2.0]), InputBatch(1, 1), earlier).problem is None
    assert read(EMBEDDINGS, embeddings([1.0], model="other"), InputBatch(1, 1), earlier).problem is None
    assert read(EMBEDDINGS, embeddings([1.0]), InputBatch(1, 1, 1), earlier).problem is None  # As requested.
    problem = read(EMBEDDINGS, embeddings([1.0, 2.0, 3.0]), InputBatch(1, 1), earlier).problem
    assert problem is not None
    assert problem.message == "the embeddings have 3 dimensions, but earlier replies have 2"


TOKENS = [
    (EMBEDDINGS, embeddings([1.0]), 7, None),
    (EMBEDDINGS, embeddings([1.0], usage={"total_tokens": 9}), 9, None),
    (EMBEDDINGS, embeddings([1.0], usage={"prompt_tokens": None, "total_tokens": 9}), 9, None),
    (EMBEDDINGS, embeddings([1.0], usage=None), None, None),
    (EMBEDDINGS, embeddings([1.0], usage={"prompt_tokens": -1}), None, "usage says '-1' input tokens"),
    (RERANK, ranked((0, 1.0), usage={"total_tokens": 5}), 5, None),
    (RERANK, ranked((0, 1.0), meta={"billed_units": {"search_units": 1}}), None, None),
    (RERANK, ranked((0, 1.0), meta={"tokens": {"input_tokens": 8}}), 8, None),
]


@pytest.mark.parametrize(("endpoint", "reply", "tokens", "contradiction"), TOKENS)
def test_input_tokens_are_those_that_the_server_says(
    endpoint: Any, reply: object, tokens: int | None, contradiction: str | None
) -> None:
    found = read(endpoint, reply, InputBatch(1, 1))
    assert (found.input_tokens, found.usage_contradiction) == (tokens, contradiction)
    assert found.output_tokens is None
    assert found.output_tokens_from is None


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5), st.booleans(), st.randoms())
def test_vectors_are_read_alike_from_numbers_and_from_base64(
    vectors: list[list[float]], in_base64: bool, random: Any
) -> None:
    reply = embeddings(*(packed(vector) if in_base64 else vector for vector in vectors))
    random.shuffle(reply["data"])
    batch = InputBatch(len(vectors), len(vectors))
    found = read(EMBEDDINGS, reply, batch)
    assert found.problem is None
    assert found.dimensions == 3
    spoilt = random.choice(reply["data"])
    spoilt["embedding"] = packed([1.0, random.choice([math.nan, math.inf, -math.inf]), 0.0])
    problem = read(EMBEDDINGS, reply, batch).problem
    assert problem is not None
    assert "not finite" in problem.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, width=32) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["data", "results", "index", "embedding", "score", "relevance_score", "usage", "prompt_tokens",
                         "error", "model", "meta", "tokens", "input_tokens"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.parametrize("endpoint", [EMBEDDINGS, RERANK])
@given(reply=JSON, inputs=st.integers(0, 3))
def test_whatever_json_comes_is_judged_and_never_raises(endpoint: Any, reply: object, inputs: int) -> None:
    found = read(endpoint, reply, InputBatch(inputs, inputs))
    assert found.problem is not None or found.complete
    assert found.input_tokens is None or found.input_tokens >= 0


@pytest.mark.parametrize("endpoint", [EMBEDDINGS, RERANK])
@given(body=st.binary(max_size=60))
def test_whatever_bytes_come_are_judged_and_never_raise(endpoint: Any, body: bytes) -> None:
    problem = read(endpoint, body, InputBatch(1, 1)).problem
    assert problem is not None


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_good_reply_with_one_byte_changed_is_judged_and_never_raises(at: int, byte: int) -> None:
    for endpoint, reply in ((EMBEDDINGS, embeddings([0.5, -1.0])), (RERANK, ranked((1, 0.9), (0, 0.5)))):
        body = bytearray(orjson.dumps(reply))
        body[at % len(body)] = byte
        inputs = 1 if endpoint is EMBEDDINGS else 2
        found = read(endpoint, bytes(body), InputBatch(inputs, inputs))
        assert found.problem is not None or found.complete
