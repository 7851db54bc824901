"""Where a run goes that was not told where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.config import resolve
from bench.load_test import default_directory


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
