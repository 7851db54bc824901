"""The table of compared tasks colours what a test shows, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from bench.console.comparing import Comparer, Comparison, Group, ShownChange, changes, differing_settings
from bench.console.errors import ConsoleError
from bench.console.task import Task


def document(**number: Any) -> dict[str, Any]:
    """A comparison of two tasks with one number."""
    row = {"name": "ttft:p99", "ratio": True, "change": 0.999, "low": 0.9, "high": 1.1, "worse": True, "missing": None}
    sides = [{"name": name, "path": path, "runs": [{}]} for name, path in (("A", "first"), ("B", "second"))]
    return {"sides": sides, "versus": [{"b": "B", "numbers": [{**row, **number}]}]}


@pytest.mark.parametrize(
    ("number", "text", "tone"),
    [
        ({"answer": "differs"}, "+99.9%", "worse"),
        ({"answer": "differs", "worse": False, "change": -0.5}, "-50.0%", "better"),
        ({"answer": "these two differ"}, "+99.9% between these two runs", ""),
        ({"answer": "not shown"}, "no difference shown", ""),
        ({"answer": "these two agree"}, "no difference shown", ""),
        ({"answer": "same within the margin"}, "the same", ""),
        ({"answer": None, "change": None, "missing": "too few"}, "not tested", ""),
    ],
)
def test_a_number_has_the_change_that_its_test_shows(number: dict[str, Any], text: str, tone: str) -> None:
    found = changes(document(**number))
    assert {key: (change.text, change.tone) for key, change in found.items()} == {
        ("second", "ttft_p99_ms"): (text, tone)
    }


def test_sides_of_several_tasks_and_no_comparison_have_no_changes() -> None:
    several = document(answer="differs")
    several["sides"][1]["runs"] = [{}, {}]
    assert (changes(several), changes(None)) == ({}, {})
    missing = changes(document(answer=None, change=None, missing="too few"))
    assert missing == {("second", "ttft_p99_ms"): ShownChange("not tested", "", "too few")}


def test_what_follows_from_other_settings_is_no_difference() -> None:
    typed: dict[str, Any] = {"concurrency": 8}
    resolved: dict[str, Any] = {"concurrency": 32, "endpoint": "chat", "mode": "concurrency"}
    tasks = [Task(id=str(n), state="ended", settings=settings) for n, settings in enumerate((typed, resolved))]
    assert differing_settings(tasks) == ["concurrency"]
    tasks[0].settings["endpoint"] = "completions"
    tasks[0].settings["mode"] = "throughput"
    assert sorted(differing_settings(tasks)) == ["concurrency", "endpoint", "mode"]


class Counted(Comparer):
    """Compares nothing, and counts how often."""

    made = 0

    def _compared(self, groups: Sequence[Group], margin: str, allow: str) -> Comparison:
        self.made += 1
        return cast("Comparison", object())


def sides(number: int, state: str = "ended") -> list[Group]:
    return [Group(str(n), (Task(id=str(n), state=state),)) for n in range(number)]


@pytest.mark.parametrize(("number", "right"), [(0, False), (1, False), (2, True), (26, True), (27, False)])
def test_two_to_26_tasks_are_compared(number: int, right: bool, tmp_path: Path) -> None:
    comparer = Counted(tmp_path)
    if right:
        comparer.compare(sides(number))
    else:
        with pytest.raises(ConsoleError, match=f"choose 2 to 26 tasks to compare, not {number}"):
            comparer.compare(sides(number))
    assert comparer.made == right


def test_the_last_eight_comparisons_of_tasks_that_are_over_are_kept(tmp_path: Path) -> None:
    comparer = Counted(tmp_path)
    first = comparer.compare(sides(2))
    assert comparer.compare(sides(2)) is first
    for margin in "1234567":
        comparer.compare(sides(2), margin=margin)
    assert comparer.compare(sides(2)) is first
    assert comparer.made == 8
    comparer.compare(sides(2), allow="x")
    assert comparer.compare(sides(2)) is not first
    comparer.compare(sides(2, "running"))
    comparer.compare(sides(2, "running"))
    assert comparer.made == 12
