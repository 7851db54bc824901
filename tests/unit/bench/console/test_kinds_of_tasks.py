"""How the kind of a directory is recognized, and what is said of results that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.accuracy.sweep import SCHEMA
from bench.console.kinds import CALIBRATION_SWEEP, can_resume, kind_of, parted, unreadable
from bench.errors import BenchError


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ([], "run"),
        (["run.yaml", "summary.json"], "run"),
        (["search.yaml"], "search"),
        (["search.json"], "run"),
        (["sweep.json"], "sweep"),
        (["quality.json"], "quality"),
        (["tune.json"], "tune"),
        (["plan.json"], "plan"),
    ],
)
def test_a_directory_is_of_the_kind_whose_file_it_has(files: list[str], kind: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert kind_of(tmp_path) == kind


@pytest.mark.parametrize(("before", "kind"), [(0, CALIBRATION_SWEEP), (200, "sweep")])
def test_a_sweep_of_a_calibration_has_its_schema_at_the_head_of_its_file(
    before: int, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "sweep.json").write_text(f'{" " * before}{{"schema": "{SCHEMA}"}}')
    assert kind_of(tmp_path) == kind


@pytest.mark.parametrize(
    ("kind", "file", "error", "words"),
    [
        ("run", "summary.json", BenchError("RUNS/night/summary.json\n is   cut off"),
         "summary.json cannot be read: summary.json is cut off. To make it again: python -m bench report RUNS/night"),
        ("search", "search.json", KeyError(),
         "search.json cannot be read: KeyError. To make it again: python -m bench search"),
        ("sweep", "sweep.json", ValueError("no number"),
         "sweep.json cannot be read: ValueError (no number). To make it again: python -m bench sweep"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why_and_how_to_make_it_again(
    kind: str, file: str, error: Exception, words: str
) -> None:
    assert unreadable(Path("RUNS/night") / file, kind, error) == words


def test_of_a_long_error_300_characters_are_shown(tmp_path: Path) -> None:
    said = unreadable(tmp_path / "search.json", "search", BenchError("x" * 299 + "yz"))
    assert said.startswith(f"search.json cannot be read: {'x' * 299}y. To make it again: ")


@pytest.mark.parametrize(
    ("kind", "file", "can"),
    [("search", "search.yaml", True), ("search", "search.json", False), ("sweep", "sweep.json", True),
     ("run", "run.yaml", False), ("calibrate", "run.yaml", False)],
)  # fmt: skip
def test_only_a_series_that_has_begun_can_go_on(kind: str, file: str, can: bool, tmp_path: Path) -> None:
    (tmp_path / file).touch()
    assert can_resume(tmp_path, kind) is can


def test_the_settings_of_a_kind_are_parted_from_those_of_its_runs() -> None:
    settings = {"url": "http://h", "budget": 180, "slo": ["a"]}
    assert parted(settings, "search") == ({"url": "http://h", "slo": ["a"]}, {"budget": "180"})
    assert parted(settings, "run") == (settings, {})
