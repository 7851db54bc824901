"""`bench fit`: runs of a server with unknown coefficients, the fit, and `mockserver --profile` with the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

import bench.fit
from bench.cli import main
from bench.errors import Exit
from tests.support.made_runs_of_fit import written_run
from tests.support.mock_process import mock_process
from tests.support.step_server import StepServer, closed_loop

TRUTH = StepServer(b0=9_000, b1=40, b2=300, a0=2_000)
COST = "b0=9000,b1=40,b2=300,a0=2000,max_num_seqs=64"
LENGTHS = {"input_tokens": "uniform:32..400", "output_tokens": "uniform:12..40"}
MEASURED = (Exit.GOOD, Exit.INVALID)
"""INVALID if other programs keep the machine busy: an honest answer."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run directories of one user and of eight, as if a server with these costs had answered. A replay sends 8
    requests."""
    folder = tmp_path_factory.mktemp("runs")
    places = []
    for users in (1, 8):
        streams = closed_loop(TRUTH, users, seconds=3, prompts=(32, 400), outputs=(12, 40), seed=users)
        load = {"rate": None, "concurrency": users, "requests": 8, **LENGTHS}
        places.append(str(written_run(folder / f"users-{users}", streams, settings=load)))
    return places


def read_profile(path: Path) -> dict[str, Any]:
    """A profile, checked against its schema."""
    profile: dict[str, Any] = json.loads(path.read_text())
    Draft202012Validator(json.loads((Path(bench.fit.__file__).parent / "profile.schema.json").read_text())).validate(
        profile
    )
    return profile


def test_a_server_is_fitted_and_served(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "profile.json"
    words = [*runs, "--out", str(out), "--server", "a server", "--max-num-seqs", "64", "--no-replay"]
    assert main(["fit", *words]) == Exit.GOOD
    assert f"python -m mockserver --profile {out}" in capsys.readouterr().out
    profile = read_profile(out)
    for name in ("b0", "b1", "b2", "a0"):
        assert profile["step_cost"][name] == pytest.approx(getattr(TRUTH, name), rel=0.02), name
    assert profile["step_cost"]["max_num_seqs"] == 64
    assert profile["provenance"]["server"] == "a server"
    assert [run["most_in_flight"] for run in profile["provenance"]["runs"]] == [1, 8]
    with mock_process("--profile", str(out)) as mock:
        truth = httpx.get(f"{mock.url}/truth", params={"input_tokens": 100, "output_tokens": 20}).json()
    served = json.dumps(truth)
    assert "batching" in json.dumps(truth["config"])
    for name in ("b0", "b1", "b2", "a0"):
        assert f'"{name}": {profile["step_cost"][name]}' in served


def test_runs_of_a_mock_are_fitted(tmp_path: Path) -> None:
    """The errors of the coefficients do not matter here: a mock on a busy machine has different costs."""
    places = [str(tmp_path / "users-1"), str(tmp_path / "users-8")]
    load = [word for name, value in LENGTHS.items() for word in (f"--{name.replace('_', '-')}", value)]
    with mock_process("--engine", "batching", "--step-cost", COST) as mock:
        for place, users, requests in zip(places, ("1", "8"), ("4", "40"), strict=True):
            words = ["--url", mock.url, *load, "--concurrency", users, "--requests", requests, "--quiet"]
            assert main(["run", *words, "--out", place]) in MEASURED
    assert main(["fit", *places, "--out", str(tmp_path / "profile.json"), "--no-replay"]) == Exit.GOOD
    profile = read_profile(tmp_path / "profile.json")
    assert [(run["name"], run["most_in_flight"]) for run in profile["provenance"]["runs"]] == [
        ("users-1", 1),
        ("users-8", 8),
    ]
    assert profile["step_cost"]["b0"] > 0


def test_the_profile_can_be_printed_as_json(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *runs, "--format", "json", "--no-replay", "--step-gap", "0.5"]) == Exit.GOOD
    assert json.loads(capsys.readouterr().out)["schema"] == "trueload/profile/1"


def test_the_loads_are_replayed_against_the_profile(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "profile.json"
    assert main(["fit", runs[1], "--held-out", runs[0], "--out", str(out), "--quiet"]) == Exit.GOOD
    profile = read_profile(out)
    assert [(one["name"], one["held_out"]) for one in profile["replay"]] == [("users-8", False), ("users-1", True)]
    measured = json.loads((Path(runs[0]) / "summary.json").read_text())["latency"]["tpot_ms"]["p50"]
    (row,) = [r for r in profile["replay"][1]["numbers"] if (r["number"], r["quantile"]) == ("tpot_ms", "p50")]
    assert row["measured"] == measured
    assert row["off"] == pytest.approx(row["replayed"] / measured - 1)
    assert "users-1, held out" in capsys.readouterr().out


def test_all_problems_are_said_at_once(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *runs, "--kv-blocks", "0", "--step-gap", "x"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "--kv-blocks 0: write a whole number" in said
    assert "--step-gap x: write a number of ms" in said
    assert main(["fit", runs[0], runs[0], str(tmp_path)]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "named twice" in said
    assert f"{tmp_path} is not a run directory" in said
    assert main(["fit", *runs, "--no-replay", "--held-out", runs[0]]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "use only one of them" in said
    assert f"--held-out {runs[0]}: it is fitted too, and would show nothing" in said
    assert main(["fit", *runs, "--out", str(tmp_path / "no" / "p.json")]) == Exit.USAGE
    assert "there is no directory" in capsys.readouterr().err
