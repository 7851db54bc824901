"""Rows of a file, with the problems of each; and the notes that a report needs about the requests of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.config import resolve
from bench.load.run_notes import notes_of
from bench.sources.file_rows import read_rows
from promptset.errors import SpecError


def value(row: dict[str, Any]) -> int:
    if "n" not in row:
        raise SpecError("it has no n")
    return int(row["n"])


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["the file {path} is empty"]),
        ("\n\n", ["the file {path} is empty"]),
        ('{"n": 2}\n[1]\n{}\n', ["{path}, line 2: it is not an object", "{path}, line 3: it has no n"]),
        ("{}\n" * 5, [f"{{path}}, line {n}: it has no n" for n in range(1, 6)]),
        (
            "{}\n" * 7,
            [
                *(f"{{path}}, line {n}: it has no n" for n in range(1, 5)),
                "{path}, line 5: it has no n; 2 more problems",
            ],
        ),
    ],
)
def test_the_first_five_wrong_rows_of_a_file_are_named(content: str, problems: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(SpecError) as refused:
        read_rows(path, value)
    assert list(refused.value.problems) == [problem.format(path=path) for problem in problems]


def test_each_row_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\n')
    assert read_rows(path, value) == [1, 2]


CHOICES = "each request asks for {} choices: TTFT ends at the first token of any, and TPOT and ITL are of all together"
SAME = "--same-prompts: every run of seed 0 sends these prompts; a server that has seen them may answer from its prefix cache"


@pytest.mark.parametrize(
    ("settings", "tokenizer", "notes"),
    [
        ({}, None, []),
        ({"extra_body": {"n": 1}}, None, []),
        ({"extra_body": {"n": 2}}, None, [CHOICES.format(2)]),
        ({"extra_body": {"n": 2}, "endpoint": "images"}, None, []),
        ({"extra_body": {"n": True}}, None, []),
        ({"extra_body": {"n": "3"}}, None, []),
        ({"extra_body": {"top_p": 1}}, None, []),
        ({"same_prompts": True}, "words", [SAME]),
        ({"same_prompts": True}, None, []),
        ({}, "words", []),
    ],
)
def test_a_report_says_what_its_numbers_hide(settings: dict[str, Any], tokenizer: str | None, notes: list[str]) -> None:
    source: Any = SimpleNamespace(notes=("of the data",), tokenizer=tokenizer)
    config = resolve({"url": "http://127.0.0.1:1", "concurrency": 1, **settings})
    assert list(notes_of(config, source)) == ["of the data", *notes]
