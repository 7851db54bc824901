"""Complete bodies of Messages and Responses as rows of a file are sent unchanged, with the requested length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptset.errors import SpecError
from promptset.loaders import load

USER = {"role": "user", "content": "hi"}


def samples(row: dict[str, Any], folder: Path) -> list[Any]:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return list(load(path))


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"max_output_tokens": 7, "input": "hello"}, 7),
        ({"model": "m", "input": [USER], "instructions": "be brief"}, None),
        ({"max_tokens": 5, "system": "be brief", "messages": [USER]}, 5),
        ({"messages": [USER], "stop_sequences": ["x"]}, None),
    ],
)
def test_a_body_is_kept_whole(row: dict[str, Any], asked: int | None, tmp_path: Path) -> None:
    (sample,) = samples(row, tmp_path)
    assert (sample.body, sample.output_tokens) == (row, asked)


def test_a_limit_that_is_no_number_is_named_as_the_row_names_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="max_output_tokens must be a whole number"):
        samples({"max_output_tokens": 0, "input": "hello"}, tmp_path)
