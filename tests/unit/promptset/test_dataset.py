"""Data sets in files: columns, bad rows, traces with generated prompts, and rows that are read on use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from promptset.errors import SpecError
from promptset.loaders import DataSet, load, parse_columns
from promptset.sharing import SharingTally
from promptset.tokenizer import Tokenizer
from tests.support.sample_parts import counted, messages_of, prompt_of, tokens_of

MOONCAKE = [
    {"timestamp": 3000, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]},
    {"timestamp": 4500, "input_length": 1024, "output_length": 6, "hash_ids": [0, 1]},
    {"timestamp": 4500, "input_length": 900, "output_length": 7, "hash_ids": [7, 8]},
    {"timestamp": 6000, "input_length": 1600, "output_length": 8, "hash_ids": [0, 1, 2, 9]},
    {"timestamp": 6000, "input_length": 64, "output_length": 8},
]
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,37,44
2023-11-16 18:15:50.9951690,36,109
2023-11-16 18:16:51.2224670,87,55
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,47,18,65,Conversation log
45.5,GPT-4,32,39,71,API log
"""


class Write(Protocol):
    """Writes rows, or a literal text, to a file."""

    def __call__(self, content: str | Sequence[object], name: str = "data.jsonl") -> Path: ...


@pytest.fixture
def file(tmp_path: Path) -> Write:
    def write(content: str | Sequence[object], name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content))
        return path

    return write


TRACES = [
    (MOONCAKE, "m.jsonl", [1100, 1024, 900, 1600, 64], [0.0, 1.5, 1.5, 3.0, 3.0], [5, 6, 7, 8, 8]),
    (AZURE, "a.csv", [37, 36, 87], [0.0, 4.314579, 64.541877], [44, 109, 55]),
    (BURSTGPT, "b.csv", [47, 32], [0.0, 40.5], [18, 39]),
    ([{"chat_id": 1, "timestamp": 61.5, "input_length": 20, "output_length": 2, "hash_ids": [4, 5]}], "q.jsonl", [20],
     [0.0], [2]),
    ([{"input_tokens": 29, "output_tokens": 2, "at_s": 4}, {"input_tokens": 18, "at_s": 5.5}], "l.jsonl", [29, 18],
     [0.0, 1.5], [2, None]),
    ([{"chat_id": 1, "input_tokens": 27, "output_tokens": 3, "at_s": 4}], "c.jsonl", [27], [0.0], [3]),
]  # fmt: skip


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize(("content", "name", "inputs", "at_s", "outputs"), TRACES, ids=[row[1][0] for row in TRACES])
def test_prompts_of_a_trace_are_exact_and_stand_at_their_time(
    file: Write,
    tokenizer: Tokenizer,
    content: str | list[dict[str, Any]],
    name: str,
    inputs: list[int],
    at_s: list[float],
    outputs: list[int | None],
    chat: bool,
) -> None:
    rows = DataSet(file(content, name), tokenizer=tokenizer, chat=chat)
    assert [sample.input_tokens for sample in rows] == inputs == [counted(tokenizer, sample) for sample in rows]
    assert [sample.at_s for sample in rows] == pytest.approx(at_s, abs=1e-6)
    assert [sample.output_tokens for sample in rows] == outputs
    assert {sample.messages is None for sample in rows} == {not chat}
    assert rows.timed


@pytest.mark.parametrize("chat", [False, True])
def test_equal_hash_ids_are_equal_text_and_others_are_not(
    file: Write, default_tokenizer: Tokenizer, chat: bool
) -> None:
    rows = DataSet(file(MOONCAKE), chat=chat)
    ids = [
        default_tokenizer.encode(default_tokenizer.render_chat(messages_of(s)) if chat else prompt_of(s)) for s in rows
    ]
    assert ids[0][:1020] == ids[1][:1020]  # The last tokens belong to the prompt itself and to the template.
    assert ids[0][:1090] == ids[3][:1090]
    assert ids[0][:20] != ids[2][:20]
    assert ids[3][:20] != ids[4][:20]
    assert rows.head is not None
    tally = SharingTally(rows.head)
    for sample in rows:
        tally.add(tokens_of(sample), sample.path)
    # The second prompt is cached except for its last block, the fourth as far as the first had the blocks 0, 1 and 2.
    assert tally.cached == 1008 + 1088


def test_a_row_of_a_trace_is_the_same_prompt_in_any_order_and_by_any_reader(file: Write) -> None:
    path = file(MOONCAKE)
    assert load(path, seed=5) == [DataSet(path, seed=5)[index] for index in (4, 3, 2, 1, 0)][::-1]
    assert load(path, seed=5)[0].prompt != load(path, seed=6)[0].prompt
    assert DataSet(path)[-1] == DataSet(path)[4] == DataSet(path)[3:][1]
    outline = DataSet(path).outline_at(2)
    assert outline is not None
    assert outline.input_tokens == 900


def test_a_prompt_of_a_chat_is_counted_as_what_its_user_says(file: Write, default_tokenizer: Tokenizer) -> None:
    path = file([{"prompt": "Hello there", "output_tokens": 3}])
    (alone,), (said,) = load(path, tokenizer=default_tokenizer), load(path, tokenizer=default_tokenizer, chat=True)
    assert alone.input_tokens == default_tokenizer.count("Hello there")
    assert said.input_tokens == default_tokenizer.count_chat([{"role": "user", "content": "Hello there"}])
    assert said.prompt == "Hello there"


def test_columns_are_taken_by_the_names_that_are_given(file: Write) -> None:
    table = file("question,len,when\nWhy?,12,3\nHow?,,4\n", "data.csv")
    columns = parse_columns("prompt=question, output_tokens=len,at_s=when")
    assert [(s.prompt, s.output_tokens, s.at_s) for s in load(table, columns=columns)] == [
        ("Why?", 12, 0.0),
        ("How?", None, 1.0),
    ]
    # If only a length or the time is mapped, the other columns keep our names.
    (row,) = load(file("when,input_tokens,output_tokens,model\n7,30,4,not ours\n", "t.csv"), columns={"at_s": "when"})
    assert (row.at_s, row.input_tokens, row.output_tokens, row.model) == (0.0, 30, 4, None)
    (row,) = load(file("prompt,output_tokens,len\nWhy?,4,5\n", "o.csv"), columns={"output_tokens": "len"})
    assert (row.prompt, row.output_tokens) == ("Why?", 5)
    lines = file([{"question": "Why?", "model": "not ours"}])
    assert [s.prompt for s in load(lines, columns={"prompt": "question"})] == ["Why?"]
    with pytest.raises(SpecError, match="line 1: no column 'answer' among question, model"):
        load(lines, columns={"prompt": "answer"})


def test_one_column_is_not_taken_from_two() -> None:
    with pytest.raises(SpecError, match="'prompt' is given twice"):
        parse_columns("prompt=question,prompt=answer")


def test_wrong_columns_are_refused_all_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse_columns("promt=a,output_tokens,prompt=")
    assert [
        words in str(caught.value) for words in ("'promt' is not one of prompt, ", "'output_tokens' is not ours")
    ] == [
        True,
        True,
    ]


BAD = [
    ("data.csv", "prompt,output_tokens\na,1\nb,x\n", "line 3: output_tokens must be a whole number"),
    ("data.csv", "prompt,at_s\na,1\nb,x\n", "line 3: at_s must be a number of seconds from 0 on, not 'x'"),
    ("data.csv", "prompt,at_s\na,1\nb,-1\n", "line 3: at_s must be a number of seconds from 0 on, not -1.0"),
    ("data.csv", "prompt,at_s\na,1\nb,nan\n", "line 3: at_s must be a number of seconds"),
    ("data.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n1,5,5\nsoon,5,5\n", "line 3: TIMESTAMP is not a time: 'soon'"),
    ("data.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n1,5,5\n1,5,0\n", "line 3: GeneratedTokens must be a whole"),
    ("data.jsonl", '{"prompt": "a"}\n{"input_length": 600, "hash_ids": [1]}\n', "line 2: output_length is missing"),
    ("data.jsonl", '{"prompt": "a"}\n{"input_length": 600, "output_length": 1, "hash_ids": [1]}\n',
     "line 2: 1 hash_ids, and 600 tokens are 2 blocks of 512"),
    ("data.jsonl", '{"prompt": "a"}\n{"input_length": 6, "output_length": 1, "hash_ids": ["1"]}\n', "must be a list of"),
    ("data.jsonl", '{"prompt": "a"}\n{"input_tokens": null}\n', "line 2: input_tokens is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "said"), BAD)
def test_a_bad_row_is_fatal_or_left_out_as_asked(
    file: Write, name: str, content: str | list[dict[str, Any]], said: str
) -> None:
    path = file(content, name)
    with pytest.raises(SpecError) as caught:
        DataSet(path)
    assert said in str(caught.value)
    kept = DataSet(path, bad_rows="skip")
    assert (len(kept), kept.skipped_rows) == (1, 1)
    assert said in kept.skipped[0]


def test_a_prompt_too_short_for_the_template_is_a_bad_row(file: Write) -> None:
    path = file([{"input_tokens": 3}, {"input_tokens": 30}])
    with pytest.raises(SpecError, match="line 1: 3 tokens are too few: the shortest prompt has 4"):
        DataSet(path, chat=True)
    assert [sample.input_tokens for sample in DataSet(path)] == [3, 30]


def test_a_prompt_that_no_memory_holds_is_a_bad_row(file: Write) -> None:
    path = file([{"input_tokens": 30}, {"input_tokens": 10**12}])
    with pytest.raises(SpecError, match="line 2: 1000000000000 tokens are too many: a prompt can have at most"):
        DataSet(path)


def test_of_many_bad_rows_twenty_are_told_and_all_are_counted(file: Write) -> None:
    path = file([{"prompt": "a"}, *[{"prompt": ""}] * 25])
    kept = DataSet(path, bad_rows="skip")
    assert (len(kept), kept.skipped_rows, len(kept.skipped)) == (1, 25, 20)
    with pytest.raises(SpecError, match="has no rows to send"):
        DataSet(file([{"prompt": ""}]), bad_rows="skip")


def test_times_are_told_from_the_first_and_rows_without_one_are_noticed(file: Write) -> None:
    rows = DataSet(file([{"prompt": "a", "at_s": 10}, {"prompt": "b"}, {"prompt": "c", "at_s": 7.5}]))
    assert [sample.at_s for sample in rows] == [2.5, None, 0.0]
    assert not rows.timed


def test_only_a_trace_has_a_tokenizer_that_makes_its_prompts(file: Write, default_tokenizer: Tokenizer) -> None:
    made = DataSet(file(MOONCAKE), tokenizer=default_tokenizer)
    given = DataSet(file([{"prompt": "a"}], "prompts.jsonl"), tokenizer=default_tokenizer)
    assert (made.maker_tokenizer, given.maker_tokenizer) == (default_tokenizer, None)


def test_a_row_that_has_nothing_to_send_any_more_was_changed(file: Write) -> None:
    asked = [{"conversations": [{"from": "user", "value": "Hi"}]}]
    path = file(asked)
    rows = DataSet(path)
    assert rows[0].prompt == "Hi"
    assert rows.outline_at(0) is None
    path.write_text(path.read_text().replace("user", "bots"))
    with pytest.raises(SpecError) as refused:
        rows[0]
    assert refused.value.problems == [f"{path} was changed while it was used"]
    assert rows.outline_at(0) is None


def test_the_longest_prompt_of_a_row_has_ten_million_tokens(file: Write) -> None:
    (outline,) = [DataSet(file([{"input_tokens": 10_000_000}])).outline_at(0)]
    assert outline is not None
    assert outline.input_tokens == 10_000_000
    with pytest.raises(SpecError, match="line 1: 10000001 tokens are too many: a prompt can have at most 10,000,000"):
        DataSet(file([{"input_tokens": 10_000_001}]))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"output_tokens": 2**53}, None),
        ({"output_tokens": 2**53 + 1}, "output_tokens must be a whole number of at most 9,007,199,254,740,992, not"),
        ({"output_tokens": 1}, None),
        ({"output_tokens": 1.0}, "output_tokens must be a whole number of at least 1, not 1.0"),
        ({"at_s": 0}, None),
        ({"at_s": True}, "at_s must be a number of seconds from 0 on, not True"),
        ({"at_s": -0.001}, "at_s must be a number of seconds from 0 on, not -0.001"),
    ],
)
def test_lengths_and_times_of_a_row_have_limits(file: Write, row: dict[str, Any], problem: str | None) -> None:
    path = file([{"prompt": "a", **row}])
    if problem is None:
        assert len(DataSet(path)) == 1
        return
    with pytest.raises(SpecError) as refused:
        DataSet(path)
    assert refused.value.problems[0].startswith(f"{path}, line 1: {problem}")


def test_rows_in_any_number_are_counted_each_for_itself(file: Write, default_tokenizer: Tokenizer) -> None:
    # Texts are counted 512 rows at a time.
    texts = ["the " * (number % 7 + 1) for number in range(1025)]
    talks = [{"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "a b"}]} for text in texts]
    rows = DataSet(file(talks), tokenizer=default_tokenizer)
    assert [sample.input_tokens for sample in rows] == [default_tokenizer.count(text) for text in texts]
    assert {sample.output_tokens for sample in rows} == {default_tokenizer.count_plain(["a b"])[0]}


def test_the_first_twenty_ways_of_a_file_are_kept(file: Write) -> None:
    rows = DataSet(file([{"prompt": "a", "model": f"m{number}"} for number in range(25)]))
    assert rows.ways.first == {(None, f"m{number}"): number for number in range(20)}
    assert rows.ways.unnamed is None
