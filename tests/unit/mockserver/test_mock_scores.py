"""Scores, ranks and embeddings: the bodies that are accepted, and the whole answers."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from typing import Any

import pytest

from mockserver.dialect.embeddings import EmbeddingParams, embedding_body, embedding_data, parse_embedding, vector
from mockserver.dialect.frames import UsageCounts
from mockserver.dialect.refusals import Refusal
from mockserver.dialect.rerank import parse_rerank, parse_score, score

IDENTITY = ("id", 9, "m")
USAGE = UsageCounts(7, 0)
SEED = 5


def answer(parsed: Any, usage: UsageCounts | None = USAGE) -> Any:
    return json.loads(asyncio.run(parsed.answer(SEED, IDENTITY))(usage))


def message_of(refused: pytest.ExceptionInfo[Refusal]) -> str:
    return str(json.loads(refused.value.body)["error"]["message"])


# ---- Ranks -------------------------------------------------------------------------------------------------------------


def test_a_score_is_a_number_between_zero_and_one_that_depends_on_all_it_is_given() -> None:
    scores = [score(SEED, "q", f"d{n}") for n in range(1000)]
    assert 0 < min(scores) < 0.01
    assert 0.99 < max(scores) < 1
    assert sum(scores) / 1000 == pytest.approx(0.5, abs=0.03)
    assert (
        len({score(1, "q", "d"), score(2, "q", "d"), score(1, "p", "d"), score(1, "q", "e"), score(1, "qd", "")}) == 5
    )
    assert score(SEED, "q", "d0") == scores[0]


@pytest.mark.parametrize(
    ("fields", "top_n", "with_documents", "bare"),
    [
        ({"documents": ["a", "b", "c"]}, 3, True, False),
        ({"documents": ["a", "b", "c"], "top_n": None, "return_documents": None}, 3, True, False),
        ({"documents": ["a", "b", "c"], "top_n": 0}, 3, True, False),
        ({"documents": ["a", "b", "c"], "top_n": 1, "return_documents": True}, 1, True, False),
        ({"documents": ["a", "b", "c"], "top_n": 9, "return_documents": False}, 9, False, False),
        ({"documents": ["a", "b", "c"], "texts": ["x"], "return_text": True}, 3, True, False),
        ({"texts": ["a", "b", "c"]}, 3, False, True),
        ({"texts": ["a", "b", "c"], "return_text": True, "top_n": 2}, 2, True, True),
        ({"texts": ["a", "b", "c"], "return_text": False}, 3, False, True),
        ({"documents": ["a", {"text": "b"}, "c"]}, 3, True, False),
    ],
)
def test_a_body_of_a_rerank(fields: dict[str, Any], top_n: int, with_documents: bool, bare: bool) -> None:
    parsed = parse_rerank({"query": "q", **fields}, 16)
    assert (parsed.top_n, parsed.with_documents, parsed.bare, parsed.bills) == (top_n, with_documents, bare, False)
    assert parsed.inputs == [("q", "a"), ("q", "b"), ("q", "c")]
    assert parsed.entry_name == ("texts" if bare else "documents")
    assert parse_rerank({"query": "q", **fields}, 16, bills=True).bills


def test_a_document_alone_is_a_list_of_one_and_ten_thousand_are_the_most() -> None:
    assert parse_rerank({"query": "", "documents": "a"}, 16).inputs == [("", "a")]
    assert len(parse_rerank({"query": "q", "documents": ["a"] * 10_000}, 16).inputs) == 10_000
    with pytest.raises(Refusal) as refused:
        parse_rerank({"query": "q", "documents": ["a"] * 10_001}, 16)
    assert message_of(refused) == "documents has 10001 entries; the limit is 10000."


def test_the_answer_to_a_rerank_has_the_best_documents_first() -> None:
    texts = ["a", "b", "c", "d"]
    best = sorted(range(4), key=lambda i: -score(SEED, "q", texts[i]))
    ranks = [{"index": i, "document": {"text": texts[i]}, "relevance_score": score(SEED, "q", texts[i])} for i in best]
    body = {"query": "q", "documents": texts}
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    assert answer(parse_rerank(body, 16)) == {"id": "id", "model": "m", "results": ranks, "usage": usage}
    assert answer(parse_rerank(body, 16), None) == {"id": "id", "model": "m", "results": ranks}
    short = answer(parse_rerank({**body, "top_n": 2, "return_documents": False}, 16))["results"]
    assert short == [{"index": row["index"], "relevance_score": row["relevance_score"]} for row in ranks[:2]]
    bare = [{"index": row["index"], "score": row["relevance_score"]} for row in ranks]
    assert answer(parse_rerank({"query": "q", "texts": texts}, 16)) == bare
    shown = answer(parse_rerank({"query": "q", "texts": texts, "return_text": True, "top_n": 3}, 16))
    assert shown == [{**row, "text": texts[i]} for row, i in zip(bare[:3], best, strict=False)]


@pytest.mark.parametrize(("documents", "units"), [(1, 1), (100, 1), (101, 2), (200, 2), (201, 3)])
def test_cohere_bills_a_unit_for_each_hundred_documents(documents: int, units: int) -> None:
    parsed = parse_rerank({"query": "q", "documents": ["a"] * documents, "top_n": 1}, 16, bills=True)
    assert answer(parsed)["meta"] == {"api_version": {"version": "2"}, "billed_units": {"search_units": units}}


def test_the_answer_to_a_score_keeps_the_order_of_its_pairs() -> None:
    parsed = parse_score({"text_1": "q", "text_2": ["a", "b"]}, 16)
    assert parsed.inputs == [("q", "a"), ("q", "b")]
    rows = [{"index": i, "object": "score", "score": score(SEED, "q", text)} for i, text in enumerate("ab")]
    whole = {"id": "id", "object": "list", "created": 9, "model": "m", "data": rows}
    usage = {"prompt_tokens": 7, "total_tokens": 7, "prompt_tokens_details": None, "completion_tokens": 0}
    assert answer(parsed) == {**whole, "usage": usage}
    assert answer(parsed, None) == whole


@pytest.mark.parametrize(
    ("body", "pairs", "entry"),
    [
        ({"text_1": "q", "text_2": "a"}, [("q", "a")], "text_2"),
        ({"queries": ["p", "q"], "documents": ["a", "b"]}, [("p", "a"), ("q", "b")], "documents"),
        ({"queries": ["q"], "items": ["a", "b"]}, [("q", "a"), ("q", "b")], "items"),
        ({"data_1": {"text": "q"}, "data_2": [{"text": "a"}]}, [("q", "a")], "data_2"),
        ({"queries": "x", "text_1": "q", "text_2": "a"}, [("q", "a")], "text_2"),
    ],
)
def test_a_body_of_a_score(body: dict[str, Any], pairs: list[tuple[str, str]], entry: str) -> None:
    parsed = parse_score(body, 16)
    assert (parsed.inputs, parsed.entry_name) == (pairs, entry)


def test_many_scores_let_the_streams_run_meanwhile() -> None:
    async def turns(documents: int) -> int:
        count, done = 0, False

        async def other() -> None:
            nonlocal count
            while not done:
                count += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        before = count
        await parse_rerank({"query": "q", "documents": ["a"] * documents}, 16).scores(SEED)
        done, made = True, count - before
        await task
        return made

    assert asyncio.run(turns(1999)) == 0
    assert asyncio.run(turns(2000)) > 0


# ---- Embeddings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", ["a"]),
        ("", [""]),
        ([1, 2], [[1, 2]]),
        (["a", "b"], ["a", "b"]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        (["a"] * 2048, ["a"] * 2048),
    ],
)
def test_an_input_is_a_text_or_token_ids_or_several(given: Any, inputs: list[Any]) -> None:
    parsed = parse_embedding({"input": given}, 16)
    assert parsed == EmbeddingParams(inputs, 16, False)
    assert (parsed.inputs, parsed.entry_name) == ([[item] for item in inputs], "input")


WRONG_INPUTS: list[Any] = [None, [], {}, [True], ["a", 1], [[1], []], [[1], "a"], [["a"]], [1.0]]
NO_INPUT = "input must be a text, a list of token ids, or a list of either, and not empty."


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        *(({"input": value}, NO_INPUT) for value in WRONG_INPUTS),
        ({"input": ["a"] * 2049}, "input has 2049 entries; the limit is 2048."),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format must be float or base64."),
        ({"input": "a", "encoding_format": None}, "encoding_format must be float or base64."),
        *(({"input": "a", "dimensions": value}, "dimensions must be a whole number from 1 to 16.")
          for value in (0, 17, 1.0, True, "4")),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_another_input_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_embedding(fields, 16)
    assert message_of(refused) == problem


def test_a_vector_has_unit_length_and_no_direction_of_its_own() -> None:
    for size in (1, 2, 64):
        numbers = vector(SEED, "a", size)
        assert len(numbers) == size
        assert math.fsum(number**2 for number in numbers) == pytest.approx(1, rel=1e-6)
    many = [number for n in range(200) for number in vector(SEED, f"t{n}", 16)]
    assert sum(many) / len(many) == pytest.approx(0, abs=0.02)
    assert min(many) < -0.3
    assert max(many) > 0.3
    # Fewer dimensions are the first ones, scaled to unit length again.
    whole, short = vector(SEED, "a", 16), vector(SEED, "a", 4)
    length = math.sqrt(math.fsum(number**2 for number in whole[:4]))
    assert short == pytest.approx([number / length for number in whole[:4]], rel=1e-5)
    assert len({tuple(vector(*given)) for given in ((1, "a", 4), (2, "a", 4), (1, "b", 4), (1, [1], 4))}) == 4


def test_the_answer_has_each_vector_as_numbers_or_as_base64() -> None:
    usage = {"prompt_tokens": 7, "total_tokens": 7, "completion_tokens": 0, "prompt_tokens_details": None}
    for encoding in ("float", "base64"):
        parsed = parse_embedding({"input": ["a", "b"], "dimensions": 3, "encoding_format": encoding}, 16)
        whole = answer(parsed)
        assert {name: value for name, value in whole.items() if name != "data"} == {
            "id": "id", "object": "list", "created": 9, "model": "m", "usage": usage,
        }  # fmt: skip
        assert [(row["index"], row["object"]) for row in whole["data"]] == [(0, "embedding"), (1, "embedding")]
        for row, text in zip(whole["data"], "ab", strict=True):
            numbers = row["embedding"]
            if encoding == "base64":
                numbers = [*struct.unpack("<3f", base64.b64decode(numbers))]
            assert numbers == pytest.approx(vector(SEED, text, 3), rel=1e-6)
        assert "usage" not in answer(parsed, None)
    data = asyncio.run(embedding_data(parse_embedding({"input": "a"}, 2), SEED))
    assert json.loads(embedding_body(data, IDENTITY, None))["data"] == json.loads(data)
