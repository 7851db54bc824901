"""The default directory of a run, and its content if the run ends before its load."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import load_test
from bench.commands import quality
from bench.config import RunConfig, resolve
from bench.errors import UsageError
from bench.load_test import default_directory
from bench.run_files.run_directory import RunDirectory


def test_runs_that_begin_in_the_same_second_get_directories_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolve({"url": "http://127.0.0.1:8000", "name": "night"})
    made = []
    for _ in range(5):
        place = default_directory(config.name)
        place.mkdir(parents=True)  # FileExistsError if the directory exists.
        made.append(str(place))
    assert all(re.fullmatch(r"runs/\d{8}T\d{6}-night(-[2-5])?", place) for place in made)
    assert any(place.endswith("night-2") for place in made)


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (KeyboardInterrupt(), "interrupted before a request had ended: nothing was measured"),
        (UsageError("a package is missing"), "a package is missing"),
    ],
)
def test_a_run_that_ends_while_its_companions_start_leaves_no_directory(
    raised: BaseException, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starting(config: object, directory: object) -> None:
        raise raised

    monkeypatch.setattr(load_test, "companions", starting)
    with pytest.raises(type(raised), match=f"^{sentence}$"):
        load_test.run(resolve({"url": "http://127.0.0.1:8000", "out": str(tmp_path / "run")}))
    assert not (tmp_path / "run").exists()


def test_a_run_whose_directory_is_removed_meanwhile_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def starting(config: object, directory: RunDirectory) -> None:
        shutil.rmtree(directory.path)
        (directory.path / "requests.jsonl").read_bytes()

    monkeypatch.setattr(load_test, "companions", starting)
    with pytest.raises(UsageError, match="run was removed while results were written to it"):
        load_test.run(resolve({"url": "http://127.0.0.1:8000", "out": str(tmp_path / "run")}))


@pytest.mark.parametrize(
    ("in_file", "flags", "name"),
    [("", [], "quality"), ("name: nightly\n", [], "nightly"), ("name: nightly\n", ["--name", "own"], "own")],
)
def test_answers_under_load_are_called_quality_unless_they_have_a_name(
    in_file: str, flags: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "load.yaml").write_text(f"url: http://h\n{in_file}")

    class Planned(Exception):
        pass

    def plan(
        answered: object, own: object, resolved: Callable[[dict[str, Any]], RunConfig], *more: object, **_: Any
    ) -> None:
        raise Planned(resolved({}).name)

    monkeypatch.setattr(quality, "plan", plan)
    with pytest.raises(Planned, match=f"^{name}$"):
        quality.main(["--config", str(tmp_path / "load.yaml"), *flags])


def test_only_nodes_of_a_cluster_get_an_environment_made() -> None:
    here, there = (resolve({"url": "http://h", **of}) for of in ({}, {"cluster": "ray"}))
    assert load_test._environment(here) is None
    assert load_test._environment(there) is not None
