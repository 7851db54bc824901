"""Which file of a data set on a hub a name refers to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bench.console.errors import ConsoleError
from bench.console.hub_loads import HubLoads, _bytes_in
from bench.console.hubs import choose

ONE = {"README.md": 5, "data.jsonl": 7, ".hidden.csv": 1}
LISTED = 10
MANY = {f"{number:02}.jsonl": 1 for number in range(25)}


@pytest.mark.parametrize(
    ("sizes", "file", "chosen"),
    [(ONE, None, "data.jsonl"), (ONE, "README.md", "README.md"), (MANY, "07.jsonl", "07.jsonl")],
)
def test_the_only_file_of_requests_or_the_named_one_is_chosen(
    sizes: Mapping[str, int], file: str | None, chosen: str
) -> None:
    assert choose("o/n", sizes, file) == chosen


@pytest.mark.parametrize(
    ("sizes", "file", "said"),
    [
        ({"README.md": 5}, None, "o/n has no file of requests"),
        ({"a.jsonl": 1, "b.csv": 1}, None, "which file of o/n? Choose a.jsonl, b.csv"),
        (ONE, "c.jsonl", "o/n has no file c.jsonl: choose data.jsonl"),
        (MANY, None, f"which file of o/n? Choose {', '.join([*MANY][:LISTED])} and {25 - LISTED} more"),
        (dict.fromkeys([*MANY][:LISTED], 1), None, f"which file of o/n? Choose {', '.join([*MANY][:LISTED])}"),
    ],
)
def test_a_question_lists_the_first_files_and_how_many_more_there_are(
    sizes: Mapping[str, int], file: str | None, said: str
) -> None:
    with pytest.raises(ConsoleError) as refused:
        choose("o/n", sizes, file)
    assert str(refused.value) == said


def test_the_bytes_of_a_folder_are_those_of_its_files(tmp_path: Path) -> None:
    assert _bytes_in(tmp_path) == 0
    (tmp_path / "in" / "side").mkdir(parents=True)
    (tmp_path / "in" / "side" / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"12345")
    assert _bytes_in(tmp_path) == 8


@pytest.mark.parametrize(
    ("error", "words"), [(OSError("odd"), "odd"), (OSError(28, "No space left on device"), "No space left on device")]
)
def test_a_load_that_the_machine_refuses_says_why(
    error: OSError, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*of: object) -> NoReturn:
        raise error

    monkeypatch.setattr("bench.console.hub_loads.look_up", refused)
    files: Any = None
    loads = HubLoads(tmp_path, files)
    seen = loads.load(loads.begin("huggingface", "openai/x", None).id, wait_s=60)
    assert (seen.goes_on, str(seen.problem).endswith(f"{words}.") or str(seen.problem).endswith(words)) == (False, True)
    assert "None" not in str(seen.problem)
