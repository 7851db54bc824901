"""Problems of a sweep are reported all at once, to the command and to Python. The file of a sweep may contain every
setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cli import main
from bench.config import RunConfig, resolve
from bench.errors import Exit, UsageError
from bench.load_sweep import measure
from bench.load_sweep.options import SET_BY_LOADS, plan
from bench.load_sweep.visits import Loads


@pytest.mark.parametrize("name", SET_BY_LOADS)
def test_what_the_loads_say_is_refused_beside_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{name} cannot be combined with a sweep"):
        bench.sweep("rate=5", url="http://127.0.0.1:1", out=str(tmp_path / "a"), **{name: "5"})  # type: ignore[arg-type]


def test_python_says_every_problem_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        bench.sweep("users=5", url="nonsense", repeats=0, gpus=0, output_tokens="none", out=str(tmp_path / "a"))
    said = "\n".join(raised.value.problems)
    for flag in ("--loads users=5", "--repeats 0", "--gpus 0", "--url", "--output-tokens"):
        assert flag in said
    assert not (tmp_path / "a").exists()


def test_the_settings_of_a_search_and_a_sweep_may_stand_in_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "load.yaml"
    file.write_text("url: http://127.0.0.1:1\nloads: users=5\nrepeats: 2.5\nrate: 5\n")
    assert main(["sweep", "--config", str(file), "--out", str(tmp_path / "a")]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "--loads users=5" in said
    assert "--repeats 2.5" in said
    assert "--rate" not in said  # From the file of a run.
    file.write_text("url: http://127.0.0.1:1\nslo: [ttft:p99<1s]\nbudget: 1s\nstart: 2\nmax: 1\n")
    assert main(["search", "--config", str(file), "--max", "5", "--out", str(tmp_path / "a")]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "--budget" in said
    assert "--max" not in said  # The flag wins over the file.


URL = {"url": "http://127.0.0.1:1"}


def resolved(more: dict[str, object]) -> RunConfig:
    return resolve(URL | more)


def test_a_plan_has_its_loads_its_gpus_and_the_configuration_of_the_least_load() -> None:
    found = plan(URL, {"loads": "concurrency=8,2", "repeats": " 3 ", "gpus": "1"}, resolved)
    assert (found.loads, found.gpus) == (Loads("concurrency", (2, 8), 3), 1)
    assert found.base.concurrency == 2
    found = plan(URL, {"loads": "rate=5"}, resolved)
    assert (found.loads, found.gpus) == (Loads("rate", (5,), 1), None)


def test_every_problem_of_a_sweep_is_said() -> None:
    def refused(more: dict[str, object]) -> RunConfig:
        raise UsageError("--url is wrong")

    with pytest.raises(UsageError) as raised:
        plan({"rate": 5, "until": "x"}, {"repeats": "0", "gpus": "two"}, refused, ["known before"])
    assert list(raised.value.problems) == [
        "known before",
        "--rate cannot be combined with a sweep: write --loads rate=5, or several: rate=5,10,20",
        "--until cannot be combined with a sweep: every load takes its time: --duration, or --repeats, says how long",
        "--repeats 0: give a whole number of at least 1",
        "--loads is missing: give for example --loads concurrency=1..256x2",
        "--gpus two: give a whole number of at least 1",
        "--url is wrong",
    ]
    for repeats, problem in (("0", "give a whole number of at least 1"), ("101", "give 1 to 100")):
        with pytest.raises(UsageError) as raised:
            plan(URL, {"loads": "rate=5", "repeats": repeats}, resolved)
        assert list(raised.value.problems) == [f"--repeats {repeats}: {problem}"]


@pytest.mark.parametrize(("loads", "noted"), [("concurrency=2,8", True), ("concurrency=2,7", False), ("rate=8", False)])
def test_loads_with_more_users_than_requests_are_noted(
    loads: str, noted: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*args: Any, **more: Any) -> None:
        raise UsageError("stopped")

    monkeypatch.setattr(measure, "sweep", stopped)
    assert main(["sweep", "--url", "http://127.0.0.1:1", "--loads", loads, "--requests", "7"]) == Exit.USAGE
    assert ("note: 8 users with --requests 7: only 7 users send" in capsys.readouterr().err) is noted
