"""The table of compared tasks colours what a test shows, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from bench.console.comparing import ShownChange, changes, differing_settings
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
