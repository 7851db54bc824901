"""Learned files of one test file's processes reach those of the next file. Nothing else does."""

from __future__ import annotations

from pathlib import Path

from tests.support.learned import give, take


def kept(folder: Path, **content: str) -> Path:
    for name, text in content.items():
        path = folder / "trueload" / name.replace("__", "/").replace("_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_the_same_everywhere_goes_on_and_what_a_machine_measured_stays(tmp_path: Path) -> None:
    first = kept(tmp_path / "first", templates__a="a page", templates__b="another", limits__json="a ceiling")
    take(tmp_path / "learned", first)
    second = give(tmp_path / "learned", tmp_path / "second")
    assert files(second) == {"trueload/templates/a": "a page", "trueload/templates/b": "another"}


def test_nothing_is_learned_from_an_empty_cache(tmp_path: Path) -> None:
    take(tmp_path / "learned", tmp_path / "first")
    assert files(give(tmp_path / "learned", tmp_path / "second")) == {}


def test_what_a_later_file_learns_is_added_and_changes_no_cache_before_it(tmp_path: Path) -> None:
    first = kept(tmp_path / "first", templates__a="a page", templates__b="another")
    take(tmp_path / "learned", first)
    second = give(tmp_path / "learned", tmp_path / "second")
    # Replace the file as bench does: a new file takes the old one's name.
    kept(tmp_path / "draft", templates__b="changed")
    (tmp_path / "draft" / "trueload" / "templates" / "b").replace(second / "trueload" / "templates" / "b")
    kept(second, templates__c="a third")
    take(tmp_path / "learned", second)
    take(tmp_path / "learned", second)
    assert files(first) == {"trueload/templates/a": "a page", "trueload/templates/b": "another"}
    assert files(give(tmp_path / "learned", tmp_path / "third")) == {
        "trueload/templates/a": "a page",
        "trueload/templates/b": "changed",
        "trueload/templates/c": "a third",
    }
