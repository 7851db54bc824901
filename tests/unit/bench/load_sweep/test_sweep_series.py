"""Sweeps and repeats as series: which runs are made, what is said, and what is kept however they end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig, resolve
from bench.errors import Exit, TargetError
from bench.load_sweep.measure import SweepResult, sweep
from bench.load_sweep.repeats import REPEATS, repeat
from bench.load_sweep.visits import parse
from tests.support.made_series import MadeSeries, Noting

GIVEN = {"url": "http://127.0.0.1:8000", "requests": 10, "seed": 5}
ALL = ("concurrency-1-1", "concurrency-2-1", "concurrency-2-2", "concurrency-1-2")
NUMBERS = "  VALID: "


def config_at(flags: Mapping[str, Any]) -> RunConfig:
    return resolve({**GIVEN, **flags})


def swept(series: MadeSeries, loads: str = "concurrency=1,2", *, resume: bool = False) -> SweepResult:
    return sweep(config_at, parse(loads, 2), series, given=GIVEN, gpus=None, resume=resume)


def lines(noting: Noting) -> list[str]:
    """What was said, but for the numbers of the runs."""
    return ["(numbers)" if line.startswith(NUMBERS) else line for line in noting.lines]


def names(path: Path, file: str = "sweep.json") -> tuple[list[str], str | None]:
    content = json.loads((path / file).read_text())
    return [run["name"] for run in content["runs"]], content["ended"]


def test_every_load_is_visited_there_and_back_and_finished_runs_are_not_made_again(tmp_path: Path) -> None:
    noting = Noting()
    series = MadeSeries(tmp_path, observer=noting)
    assert swept(series).exit == Exit.GOOD
    assert [Path(str(config.out)).name for config in series.made] == [*ALL]
    assert [config.seed for config in series.made] == [5, 6, 7, 8]
    assert names(tmp_path) == ([*ALL], None)
    assert lines(noting)[:2] == ["1 of 4: 1 user, repeat 1 of 2", "(numbers)"]

    noting = Noting()
    series = MadeSeries(tmp_path, before=ALL[:2], observer=noting)
    assert swept(series, resume=True).exit == Exit.GOOD
    assert [Path(str(config.out)).name for config in series.made] == [*ALL[2:]]
    assert names(tmp_path) == ([*ALL], None)
    assert lines(noting)[:5] == [
        "1 of 4: 1 user, repeat 1 of 2: measured already", "(numbers)",
        "2 of 4: 2 users, repeat 1 of 2: measured already", "(numbers)",
        "3 of 4: 2 users, repeat 2 of 2",
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["interrupted", KeyboardInterrupt()], ids=["in a run", "between two"])
def test_ctrl_c_keeps_the_runs_that_are_done(how: BaseException | str, tmp_path: Path) -> None:
    found = swept(MadeSeries(tmp_path, at={ALL[2]: how}))
    assert (found.exit, found.content.ended) == (Exit.INTERRUPTED, "interrupted")
    assert names(tmp_path) == ([*ALL[:2]], "interrupted")


def test_a_sweep_that_was_killed_keeps_the_runs_that_are_done(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        swept(MadeSeries(tmp_path, at={ALL[2]: SystemExit()}))
    assert names(tmp_path) == ([*ALL[:2]], "interrupted")


def test_a_server_that_is_gone_ends_a_sweep_but_not_before_its_first_run(tmp_path: Path) -> None:
    found = swept(MadeSeries(tmp_path / "a", at={ALL[1]: TargetError("cannot connect")}))
    assert found.content.ended == "2 users could not be measured: cannot connect"
    assert (found.exit, names(tmp_path / "a")[0]) == (Exit.GOOD, [*ALL[:1]])
    with pytest.raises(TargetError, match="cannot connect"):
        swept(MadeSeries(tmp_path / "b", at={ALL[0]: TargetError("cannot connect")}))


CONFIG = resolve({**GIVEN, "concurrency": 2})


def test_repeats_have_a_seed_of_their_own_each(tmp_path: Path) -> None:
    noting = Noting()
    series = MadeSeries(tmp_path, observer=noting)
    found = repeat(CONFIG, 3, series)
    assert (found.exit, found.content.ended) == (Exit.GOOD, None)
    assert [config.seed for config in series.made] == [5, 6, 7]
    assert names(tmp_path, REPEATS) == (["run-1", "run-2", "run-3"], None)
    assert lines(noting) == ["run 1 of 3", "(numbers)", "run 2 of 3", "(numbers)", "run 3 of 3", "(numbers)"]


@pytest.mark.parametrize("how", ["interrupted", KeyboardInterrupt()], ids=["in a run", "between two"])
def test_ctrl_c_keeps_the_repeats_that_are_done(how: BaseException | str, tmp_path: Path) -> None:
    found = repeat(CONFIG, 3, MadeSeries(tmp_path / "a", at={"run-3": how}))
    assert (found.exit, found.content.ended) == (Exit.INTERRUPTED, "interrupted")
    assert names(tmp_path / "a", REPEATS) == (["run-1", "run-2"], "interrupted")
    found = repeat(CONFIG, 3, MadeSeries(tmp_path / "b", at={"run-1": how}))
    assert (found.exit, found.content.runs) == (Exit.INTERRUPTED, [])
    assert not (tmp_path / "b" / REPEATS).exists()


def test_repeats_that_were_killed_keep_the_runs_that_are_done(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        repeat(CONFIG, 3, MadeSeries(tmp_path, at={"run-3": SystemExit()}))
    assert names(tmp_path, REPEATS) == (["run-1", "run-2"], "interrupted")
