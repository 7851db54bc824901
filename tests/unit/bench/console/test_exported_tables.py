"""The table of a run's requests: when the console makes it, when it takes an earlier one, what it says without one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.console import beside
from bench.console.errors import ConsoleError
from bench.console.exports import request_table
from bench.run_files.run_directory import REQUESTS

RECORDED_NS = 1_000_000_000


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A directory with records of one second past the epoch."""
    (path := tmp_path / "night").mkdir()
    (path / REQUESTS).write_bytes(b"records")
    os.utime(path / REQUESTS, ns=(RECORDED_NS, RECORDED_NS))
    return path


def table(run: Path, text: str, changed_ns: int) -> Path:
    (path := run / "requests.csv").write_text(text)
    os.utime(path, ns=(changed_ns, changed_ns))
    return path


def test_the_command_makes_a_table_in_ten_minutes_at_most(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ran(words: Sequence[str], within_s: float) -> tuple[int, str]:
        asked.append((words, within_s))
        (run / "requests.parquet").write_bytes(b"table")
        return 1, "error: the verdict is not valid"  # The status is the verdict's, and the table is there.

    monkeypatch.setattr(beside, "ran", ran)
    assert request_table(run, "parquet") == run / "requests.parquet"
    assert asked == [(["report", str(run), "--requests", "parquet", "--quiet"], 600.0)]


@pytest.mark.parametrize(("later_ns", "again"), [(-1, True), (0, False), (1, False)])
def test_a_table_that_is_not_older_than_its_records_is_taken_again(
    later_ns: int, again: bool, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(run, "old", RECORDED_NS + later_ns)

    def ran(words: Sequence[str], within_s: float) -> tuple[int, str]:
        path.write_text("new")
        return 0, ""

    monkeypatch.setattr(beside, "ran", ran)
    assert request_table(run, "csv").read_text() == ("new" if again else "old")


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (None, "the table took more than 600 s: make it in a terminal"),
        ((3, ""), "the command ended with status 3"),
        ((2, "error: {run}/requests.bin\n  is cut off\n"), "night/requests.bin is cut off"),
    ],
)
def test_if_there_is_no_table_the_reason_is_given(
    result: tuple[int, str] | None, sentence: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(run, "old", 0)
    result = None if result is None else (result[0], result[1].format(run=run))
    monkeypatch.setattr(beside, "ran", lambda words, within_s: result)
    with pytest.raises(ConsoleError) as refused:
        request_table(run, "csv")
    assert (str(refused.value), path.exists()) == (sentence, False)


def test_an_unknown_form_of_a_table_is_refused(run: Path) -> None:
    with pytest.raises(ConsoleError) as refused:
        request_table(run, "doc")
    assert str(refused.value) == "requests are exported as csv / parquet, not as 'doc'"
