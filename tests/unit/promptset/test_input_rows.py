"""Simulated requests with several inputs, and rows of inputs in a data set."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptset import distributions
from promptset.batches import MOST_INPUTS, SimulatedBatches, check_inputs
from promptset.errors import SpecError
from promptset.loaders import DataSet
from promptset.samples import Sample
from promptset.simulated import simulated_prompts
from promptset.tokens import load_tokenizer


def batches(inputs: str, tokens: str = "uniform:4..9", *, query: bool = False, seed: int = 0) -> SimulatedBatches:
    one = distributions.parse(1, "tokens")
    lengths = distributions.parse(tokens, "tokens")
    prompts = simulated_prompts(load_tokenizer(), input_tokens=lengths, output_tokens=one, chat=False, seed=seed)
    return SimulatedBatches(prompts, distributions.parse(inputs, "tokens"), query)


@pytest.mark.parametrize("query", [False, True])
def test_every_input_has_a_drawn_length_and_a_request_has_the_tokens_of_all(query: bool) -> None:
    made = batches("uniform:1..5", query=query)
    many, seen = set(), []
    for index in range(60):
        sample = made.sample_at(index)
        assert sample.texts is not None
        assert (sample.query is not None) == query
        texts = [*([sample.query] if sample.query is not None else []), *sample.texts]
        counts = [len(load_tokenizer().encode(text, add_special_tokens=True)) for text in texts]
        assert counts == [outline.input_tokens for outline in made.outlines(index)]
        assert all(4 <= n <= 9 for n in counts)
        assert sample.input_tokens == sum(counts)
        many.add(len(sample.texts))
        seen += texts
    assert many == {1, 2, 3, 4, 5}
    assert len(set(seen)) == len(seen)


def test_a_request_depends_on_its_seed_and_index_alone() -> None:
    one, again, other = batches("uniform:1..9"), batches("uniform:1..9"), batches("uniform:1..9", seed=1)
    forwards = [one.sample_at(index) for index in range(20)]
    assert [again.sample_at(index) for index in reversed(range(20))] == forwards[::-1]
    assert [len(other.sample_at(index).texts or ()) for index in range(20)] != [len(s.texts or ()) for s in forwards]


def test_the_number_of_inputs_changes_no_length() -> None:
    few, many = batches("2"), batches("7")
    assert [o.input_tokens for o in few.outlines(3)] == [o.input_tokens for o in many.outlines(3)][:2]


@pytest.mark.parametrize(
    ("spec", "words"),
    [("uniform:0..3", "draws requests without an input"), (str(MOST_INPUTS + 1), "draws more than 2,048 inputs")],
)
def test_batches_without_inputs_or_with_too_many_are_refused(spec: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        check_inputs(distributions.parse(spec, "tokens"))
    for border in ("1", str(MOST_INPUTS)):
        check_inputs(distributions.parse(border, "tokens"))


ROWS: list[tuple[str, dict[str, Any], Sample]] = [
    ("texts", {"texts": ["a", "b"], "id": 4}, Sample(texts=("a", "b"))),
    ("texts", {"input": "a"}, Sample(texts=("a",))),
    ("texts", {"input": ["a", "b"], "input_tokens": 5}, Sample(texts=("a", "b"), input_tokens=5)),
    ("texts", {"input": [1, 2]}, Sample(body={"input": [1, 2]})),
    ("texts", {"input": [[1], [2, 3]]}, Sample(body={"input": [[1], [2, 3]]})),
    ("texts", {"input": "a", "dimensions": 8, "id": 1}, Sample(body={"input": "a", "dimensions": 8})),
    ("texts", {"model": "m", "input": ["a"], "user": "u"}, Sample(body={"model": "m", "input": ["a"], "user": "u"})),
    ("texts", {"prompt": "a"}, Sample(prompt="a")),
    ("documents", {"query": "q", "documents": ["a", "b"]}, Sample(query="q", texts=("a", "b"))),
    (
        "documents",
        {"query": "q", "documents": [{"text": "a"}], "top_n": 1, "id": 3},
        Sample(body={"query": "q", "documents": [{"text": "a"}], "top_n": 1}),
    ),
    (
        "documents",
        {"body": {"model": "m", "query": "q", "documents": ["a"]}},
        Sample(body={"model": "m", "query": "q", "documents": ["a"]}),
    ),
]


def data_set(path: Path, *rows: object, inputs_are: str | None, **options: Any) -> DataSet:
    file = path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return DataSet(file, inputs_are=inputs_are, **options)


@pytest.mark.parametrize(("inputs_are", "row", "sample"), ROWS)
def test_a_row_of_inputs_becomes_a_sample(inputs_are: str, row: dict[str, Any], sample: Sample, tmp_path: Path) -> None:
    assert list(data_set(tmp_path, row, inputs_are=inputs_are)) == [sample]


@pytest.mark.parametrize(
    ("inputs_are", "row", "tokens"),
    [
        ("texts", {"texts": ["Why is the sky blue?", "Hi"]}, ["Why is the sky blue?", "Hi"]),
        ("texts", {"model": "m", "input": "Hi"}, ["Hi"]),
        ("documents", {"query": "Hi", "documents": ["a", {"text": "b c"}]}, ["Hi", "a", "b c"]),
    ],
)
def test_the_tokens_of_all_inputs_are_counted(
    inputs_are: str, row: dict[str, Any], tokens: list[str], tmp_path: Path
) -> None:
    found = data_set(tmp_path, row, inputs_are=inputs_are, tokenizer=load_tokenizer())
    assert found[0].input_tokens == sum(len(load_tokenizer().encode(text, add_special_tokens=True)) for text in tokens)


BAD = [
    ("texts", {"texts": []}, "texts must be a text or a list of texts, none of them empty"),
    ("texts", {"texts": ["a", ""]}, "texts must be a text or a list of texts, none of them empty"),
    ("texts", {"texts": [1]}, "texts must be a text or a list of texts, none of them empty"),
    (
        "texts",
        {"input": [1, "a"]},
        "input must be a text or a list of texts, none of them empty, or lists of token ids",
    ),
    ("texts", {"input": "a", "dimensions": 0}, "dimensions must be a whole number of at least 1"),
    ("texts", {"input": "a", "encoding_format": "hex"}, "encoding_format must be float or base64, not 'hex'"),
    ("texts", {"messages": [{"role": "user", "content": "Hi"}]}, "the row has no texts to embed: give texts, input or"),
    ("texts", {"query": "q", "documents": ["a"]}, "the row has no texts to embed"),
    ("documents", {"prompt": "a"}, "the row has no documents to rank: give query and documents"),
    ("documents", {"texts": ["a"]}, "the row has no documents to rank"),
    ("documents", {"query": "", "documents": ["a"]}, "query must be a text that is not empty"),
    ("documents", {"query": "q", "documents": []}, "documents must be a list of texts, or of objects"),
    ("documents", {"query": "q", "documents": ["a"], "top_n": 0}, "top_n must be a whole number of at least 1"),
    ("documents", {"model": "m", "query": 3, "documents": ["a"]}, "query must be a text that is not empty"),
    (None, {"texts": ["a"]}, "texts are for --endpoint embeddings"),
    (None, {"query": "q", "documents": ["a"]}, "documents are for --endpoint rerank"),
]


@pytest.mark.parametrize(("inputs_are", "row", "words"), BAD)
def test_a_row_that_does_not_fit_is_refused_in_one_sentence(
    inputs_are: str | None, row: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as refused:
        data_set(tmp_path, row, inputs_are=inputs_are)
    assert refused.value.problems[0].startswith(f"{tmp_path / 'rows.jsonl'}, line 1: {words}")


KEYS = ["texts", "input", "query", "documents", "top_n", "model", "dimensions", "encoding_format", "text", "prompt"]
VALUES = st.recursive(
    st.none() | st.integers(-2, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), st.sampled_from([None, "texts", "documents"]))
def test_whatever_a_row_holds_it_is_a_sample_or_a_bad_row(row: dict[str, Any], inputs_are: str | None) -> None:
    with tempfile.TemporaryDirectory() as path, suppress(SpecError):
        [sample] = data_set(Path(path), row, inputs_are=inputs_are, tokenizer=load_tokenizer())
        assert sum(x is not None for x in (sample.prompt, sample.messages, sample.texts, sample.body)) == 1


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ([0], True), ([5, 0], True), ([[0], [7, 8]], True), ([[1], []], False), ([1, [2]], False), ([-1], False),
        ([[1], [-1]], False), ([True], False), ([1.0], False), ([], False), ([[]], False),
    ],
)  # fmt: skip
def test_token_ids_are_whole_numbers_from_zero_in_one_list_or_in_several(
    value: list[Any], fits: bool, tmp_path: Path
) -> None:
    if fits:
        (sample,) = data_set(tmp_path, {"input": value}, inputs_are="texts")
        assert sample.body == {"input": value}
        return
    with pytest.raises(
        SpecError, match="input must be a text or a list of texts, none of them empty, or lists of token"
    ):
        data_set(tmp_path, {"input": value}, inputs_are="texts")


def test_of_several_problems_the_content_is_told_first(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        data_set(tmp_path, {"texts": [], "dimensions": 0, "encoding_format": "hex", "at_s": -1}, inputs_are="texts")
    assert [problem.partition("line 1: ")[2].split()[0] for problem in refused.value.problems] == [
        "texts", "at_s", "dimensions", "encoding_format",
    ]  # fmt: skip
