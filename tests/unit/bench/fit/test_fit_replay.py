"""The load that fit replays to the mock, whatever the run's server was, and whether or not the mock survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.cli import main
from bench.commands import fit_replay
from bench.commands.fit_replay import _against, _NotReplayed, _unless_it_fails, is_apart
from bench.config import resolve
from bench.errors import BenchError, Exit, Interrupted, TargetError
from bench.series.drive import End
from tests.support.made_runs_of_fit import written_run
from tests.support.step_server import StepServer, closed_loop

MOCK = "http://127.0.0.1:8001"


@pytest.mark.parametrize(
    "given",
    [
        {"url": ["http://10.0.0.1:8000", "http://10.0.0.2:8000"], "replica_header": "x-served-by"},
        {"proxy": "http://10.0.0.9:3128"},
        {"otlp": "http://10.0.0.8:4318", "metrics_port": 9100},
        {"model": "m", "api_key": "secret", "header": ["a: b"], "slo": ["ttft:p90<1s"], "wait_for_server": "5s"},
        {"url": "https://10.0.0.1:8000", "insecure": True},
    ],
)
def test_a_replay_has_nothing_of_the_server_of_its_run(given: dict[str, Any]) -> None:
    load = {"rate": 2.0, "requests": 20, "input_tokens": "64", "output_tokens": "8", "seed": 7}
    plain = _against(resolve({}, {"url": "http://10.0.0.1:8000", **load}), MOCK)
    assert (plain.url, plain.targets, plain.rate, plain.requests, plain.seed) == (MOCK, (), 2.0, 20, 7)
    again = _against(resolve({}, {"url": "http://10.0.0.1:8000", **load, **given}), MOCK)
    assert again.model_dump() == plain.model_dump()


@pytest.mark.parametrize(
    "error", [BenchError("the mock was killed"), TargetError("the mock was killed"), OSError("the mock was killed")]
)
def test_a_replay_that_fails_costs_nothing_but_itself(error: Exception) -> None:
    def fails() -> Any:
        raise error

    assert _unless_it_fails(Path("runs/8"), fails) == _NotReplayed("runs/8 was not replayed: the mock was killed")


def test_an_interrupted_replay_still_prints_what_was_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"input_tokens": "uniform:40..400"}
    run = written_run(tmp_path / "run", closed_loop(StepServer(), 4, 5.0), settings=settings)
    end = End("interrupted", Interrupted("Ctrl-C"))
    monkeypatch.setattr(fit_replay, "replay", lambda *_: ([], ["runs/8 was not replayed: it died"], end))
    assert main(["fit", str(run), "--format", "json"]) == Exit.INTERRUPTED
    printed = capsys.readouterr()
    profile = orjson.loads(printed.out)
    assert profile["step_cost"]["b0"] > 0
    assert "replay" not in profile, "the profile must not have a replay, so that a plan can say so"
    assert "runs/8 was not replayed: it died" in profile["warnings"]
    assert "only the replays that were finished" in printed.err


@pytest.mark.parametrize(
    ("one", "two", "apart"),
    [
        (None, None, None), ((1.0, 2.0), None, None), (None, (1.0, 2.0), None), ((1.0, 2.0), (1.5, 3.0), False),
        ((1.0, 2.0), (2.0, 3.0), False), ((2.0, 3.0), (1.0, 2.0), False), ((1.0, 2.0), (2.5, 3.0), True),
        ((2.5, 3.0), (1.0, 2.0), True),
    ],
)  # fmt: skip
def test_intervals_that_share_no_value_lie_apart(
    one: tuple[float, float] | None, two: tuple[float, float] | None, apart: bool | None
) -> None:
    assert is_apart(one, two) is apart
