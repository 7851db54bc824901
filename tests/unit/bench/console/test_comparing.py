"""The table of compared tasks colours significant results, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bench.console import comparing
from bench.console.comparing import Comparer, Comparison, Group, ShownChange, changes, differing_settings
from bench.console.errors import ConsoleError
from bench.console.store import Marks
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


def test_a_side_of_several_tasks_does_not_hide_the_sides_after_it() -> None:
    whole = document(answer="differs")
    whole["sides"].insert(1, {"name": "C", "path": "label", "runs": [{}, {}]})
    whole["versus"].insert(0, {**whole["versus"][0], "b": "C"})
    assert [*changes(whole)] == [("second", "ttft_p99_ms")]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ({"answer": "differs"}, ShownChange("+99.9%", "worse", "95% interval: +90.0% to +110.0%")),
        ({"answer": "differs", "ratio": False, "change": 12.5, "low": 2.25, "high": 30.0},
         ShownChange("+12.5", "worse", "95% interval: +2.25 to +30")),
        ({"answer": "these two agree"}, ShownChange("no difference shown", "", "95% interval: +90.0% to +110.0%")),
        ({"answer": "differs", "low": None}, ShownChange("+99.9%", "worse", "")),
        ({"answer": "differs", "high": None}, ShownChange("+99.9%", "worse", "")),
        ({"answer": None}, ShownChange("not tested", "", "there is no test of it")),
        ({"answer": "differs", "change": None, "missing": "no reply"}, ShownChange("not tested", "", "no reply")),
    ],
)  # fmt: skip
def test_a_change_has_its_interval_or_the_reason_why_it_was_not_tested(
    number: dict[str, Any], shown: ShownChange
) -> None:
    assert changes(document(**number)) == {("second", "ttft_p99_ms"): shown}


def test_what_follows_from_other_settings_is_no_difference() -> None:
    typed: dict[str, Any] = {"concurrency": 8}
    resolved: dict[str, Any] = {"concurrency": 32, "endpoint": "chat", "mode": "concurrency"}
    tasks = [Task(id=str(n), state="ended", settings=settings) for n, settings in enumerate((typed, resolved))]
    assert differing_settings(tasks) == ["concurrency"]
    tasks[0].settings["endpoint"] = "completions"
    tasks[0].settings["mode"] = "throughput"
    assert sorted(differing_settings(tasks)) == ["concurrency", "endpoint", "mode"]


def test_an_api_that_is_implied_is_no_difference_when_both_tasks_state_their_mode() -> None:
    settings: tuple[dict[str, Any], ...] = ({"mode": "rate"}, {"mode": "rate", "endpoint": "chat"})
    assert differing_settings([Task(id=str(n), state="ended", settings=of) for n, of in enumerate(settings)]) == []


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


TASK = Task(id="a", state="ended")


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("", ()),
        ("error: A and B differ in model. If you mean to measure this change, add --allow model", ("model",)),
        ("error: A and B differ, add --allow model,rate", ("model", "rate")),
    ],
)
def test_the_settings_that_a_comparison_must_allow_are_read_from_its_words(
    message: str, settings: tuple[str, ...]
) -> None:
    assert comparing._to_allow(message) == settings


def test_what_a_comparison_says_of_a_and_b_has_the_names_of_the_tasks(tmp_path: Path) -> None:
    groups = [Group("night", (TASK,)), Group("A day", (TASK,))]
    said = "error: 2 problems\n  - A and B differ in model. If so, add --allow model\n  - B cannot be read (A (x) has it)\n"
    assert Comparer(tmp_path)._named(said, groups) == (
        "“night” and “A day” differ in model. If so, add --allow model; “A day” cannot be read (“night” (x) has it)"
    )
    one = "error: A and B differ in model. If you mean to measure this change, add --allow model"
    assert Comparer(tmp_path)._named(one, groups) == (
        "“night” and “A day” differ in model. If you mean to measure this change, compare them all the same"
    )


def test_sides_are_the_baseline_and_then_the_others_by_their_time() -> None:
    early, late, base = (replace(TASK, id=name, started=at) for name, at in (("x", "1"), ("y", "2"), ("z", "3")))
    base = replace(base, marks=Marks(baseline=True, title="Base", label="old"))
    late, third = replace(late, marks=Marks(label="new")), replace(TASK, id="w", started="4", marks=Marks(label="new"))
    tasks = [third, late, early, base]
    assert [task.id for task in comparing.in_order(tasks)] == ["z", "x", "y", "w"]
    assert [(group.name, [task.id for task in group.tasks]) for group in comparing.grouped(tasks, "label")] == [
        ("old", ["z"]), ("x", ["x"]), ("new", ["y", "w"]),
    ]  # fmt: skip
    assert [group.name for group in comparing.grouped(tasks, "task")] == ["Base", "x", "y", "w"]
    waiting = replace(TASK, id="v")
    assert comparing.in_order([early, waiting]) == [waiting, early]


def test_a_task_called_like_a_label_is_a_side_of_its_own_with_its_title() -> None:
    called = replace(TASK, id="label new", started="1", marks=Marks(title="Mine"))
    labelled = replace(TASK, id="x", started="2", marks=Marks(label="new"))
    assert [(group.name, len(group.tasks)) for group in comparing.grouped([called, labelled], "label")] == [
        ("Mine", 1), ("new", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ([replace(TASK, has_report=True)], None),
        ([TASK], "a has no result, so it cannot be compared"),
        ([replace(TASK, state="queued")], "a is queued and has no result yet, so it cannot be compared"),
        ([replace(TASK, kind="quality", has_report=True)],
         "side: a quality task compares its own runs: its page has the answer"),
        ([replace(TASK, kind="tune", has_report=True)], "a is no measurement of one load: its page has the answer"),
        ([replace(TASK, kind="search", has_report=True)], None),
        ([replace(TASK, kind="search", has_report=True)] * 2,
         "side: searches and sweeps are compared one by one, not as a group"),
        ([replace(TASK, has_report=True)] * 2, None),
    ],
)  # fmt: skip
def test_a_side_that_cannot_be_compared_says_why(tasks: list[Task], why: str | None) -> None:
    assert comparing._not_ready(Group("side", tuple(tasks))) == why
