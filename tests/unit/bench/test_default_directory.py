"""Where a run goes that was not told where, and what is there if it ends before its load."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bench import load_test
from bench.config import resolve
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
        place.mkdir(parents=True)  # FileExistsError: one that was there already.
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
