"""What a comparison passes to `python -m bench compare`, and what it makes of its answer. No command runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.console import beside
from bench.console.comparing import Comparer, Comparison, Group
from bench.console.task import Task

Ran = tuple[int, str] | None


def group(name: str, *tasks: str) -> Group:
    return Group(name, tuple(Task(id=task, state="ended", has_report=True) for task in tasks or (name,)))


def compared(
    groups: Sequence[Group], answer: Callable[[list[str]], Ran], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Comparison, list[list[str]]]:
    """Compare: returns the comparison and, for each command, the names of its sides. `answer` gets these names and
    returns the status; with 0 the command has written its files."""
    asked = []

    def ran(words: Sequence[str], within_s: float) -> Ran:
        assert within_s == 300
        assert words[:5] == ["compare", "--margin=5%", "--allow=", "--format", "json"]
        assert (words[5], words[7]) == ("--out", "--")
        asked.append([Path(side).name for side in words[8:]])
        ended = answer(asked[-1])
        if ended is not None and ended[0] == 0:
            out = Path(words[6])
            out.mkdir(parents=True)
            (out / "compare.html").write_text(f"page of {' '.join(words[8:])}")
            (out / "compare.json").write_text('{"sides": []}')
        return ended

    monkeypatch.setattr(beside, "ran", ran)
    return Comparer(runs).compare(groups), asked


def test_a_comparison_that_takes_too_long_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = compared([group("a"), group("b")], lambda sides: None, tmp_path, monkeypatch)
    assert found == Comparison(("the comparison took more than 300 s: run python -m bench compare in a terminal",))
    assert asked == [["a", "b"]]


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        ("", "the comparison ended with status 3"),
        (" \n", "the comparison ended with status 3"),
        ("error: {runs}/a/requests.bin is cut off\n", "a/requests.bin is cut off"),
    ],
)
def test_a_comparison_that_fails_says_why_or_its_status(
    errors: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = (3, errors.format(runs=tmp_path))
    found, _ = compared([group("a"), group("b")], lambda sides: answer, tmp_path, monkeypatch)
    assert found == Comparison((sentence,))


def test_a_side_of_several_tasks_is_one_directory_of_links_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[dict[str, Path]] = []

    def ran(words: Sequence[str], within_s: float) -> Ran:
        links.append({link.name: link.readlink() for link in Path(words[-1]).iterdir()})
        return 0, ""

    groups = [group("a"), group("new model/2", "b", "c")]
    found, asked = compared(groups, lambda sides: (0, ""), tmp_path, monkeypatch)
    assert asked == [["a", "new-model-2"]]
    # A user sees tasks and labels, not the folders in which they are.
    assert (found.page, found.document) == ("page of a new-model-2", {"sides": []})
    monkeypatch.setattr(beside, "ran", ran)
    with pytest.raises(FileNotFoundError):  # This command wrote no page.
        Comparer(tmp_path).compare(groups)
    assert links == [{"b": tmp_path / "b", "c": tmp_path / "c"}]


def refuse(*pairs: tuple[str, str]) -> Callable[[list[str]], Ran]:
    """Refuses a comparison with a side that differs in a setting."""

    def answer(sides: list[str]) -> Ran:
        for side, setting in pairs:
            if side in sides[1:]:
                return (
                    2,
                    f"error: A and B differ in {setting}. If you mean to measure this change, add --allow {setting}",
                )
        return 0, ""

    return answer


def test_sides_that_cannot_be_compared_with_the_first_do_not_keep_out_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [group(name) for name in "abcde"]
    found, asked = compared(groups, refuse(("b", "rate"), ("d", "model"), ("e", "rate")), tmp_path, monkeypatch)
    assert asked == [[*"abcde"], ["a", "b"], ["a", "c"], ["a", "d"], ["a", "e"], ["a", "c"]]
    why = "“a” and “{}” differ in {}. If you mean to measure this change, compare them all the same"
    assert found.left_out == (why.format("b", "rate"), why.format("d", "model"), why.format("e", "rate"))
    assert (found.allow, found.page) == (("rate", "model"), "page of a c")


def test_if_no_side_can_be_compared_with_the_first_there_is_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [group(name) for name in "abc"]
    found, asked = compared(groups, refuse(("b", "rate"), ("c", "rate")), tmp_path, monkeypatch)
    assert asked == [[*"abc"], ["a", "b"], ["a", "c"]]
    assert (len(found.left_out), found.page, found.allow) == (2, None, ("rate",))


def test_sides_that_can_be_compared_in_pairs_and_not_together_have_no_page_but_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(sides: list[str]) -> Ran:
        return (2, "error: B cannot be read (x)") if len(sides) > 2 else (0, "")

    found, asked = compared([group(name) for name in "abc"], answer, tmp_path, monkeypatch)
    assert asked == [[*"abc"], ["a", "b"], ["a", "c"], [*"abc"]]
    assert found == Comparison(("“b” cannot be read (x)",))


def test_a_task_without_a_result_is_left_out_of_a_comparison_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = Group("k", (Task(id="k", state="killed"),))
    found, asked = compared([group("a"), killed, group("b")], lambda sides: (0, ""), tmp_path, monkeypatch)
    assert asked == [["a", "b"]]
    assert (found.left_out, found.page) == (("k has no result, so it cannot be compared",), "page of a b")
    alone, asked = compared([group("a"), killed], lambda sides: (0, ""), tmp_path, monkeypatch)
    assert (asked, alone) == ([], Comparison(("k has no result, so it cannot be compared",)))
