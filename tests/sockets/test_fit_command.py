"""`bench fit`: runs against a mock with unknown coefficients, the fit, and `mockserver --profile` with what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

import bench.fit
from bench.cli import main
from bench.errors import Exit
from tests.support.mock_process import mock_process
from tests.support.timing import timing

TRUTH = {"b0": 9_000.0, "b1": 40.0, "b2": 300.0}
COST = "b0=9000,b1=40,b2=300,a0=2000,max_num_seqs=64"
MEASURED = (Exit.GOOD, Exit.INVALID)
"""INVALID where other programs keep the machine busy: an honest answer."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return measured(tmp_path_factory.mktemp("runs"))


def measured(folder: Path) -> list[str]:
    """The directories of runs with one user and with eight."""
    places = []
    with mock_process("--engine", "batching", "--step-cost", COST) as mock:
        for users in (1, 8):
            place = str(folder / f"users-{users}")
            load = [
                "--concurrency",
                str(users),
                "--input-tokens",
                "uniform:32..400",
                "--output-tokens",
                "uniform:12..40",
            ]
            assert main(["run", "--url", mock.url, *load, "--duration", "5", "--quiet", "--out", place]) in MEASURED
            places.append(place)
    return places


@timing(tries=10, why="TODO A mock that is late has other costs than its own.")
def test_a_mock_is_fitted_and_served(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = any(tmp_path.iterdir())
    if again:
        runs = measured(tmp_path)
    out = tmp_path / "profile.json"
    words = [*runs, "--out", str(out), "--server", "a mock", "--max-num-seqs", "64", "--no-replay"]
    assert main(["fit", *words]) == Exit.GOOD
    printed = capsys.readouterr().out
    assert f"python -m mockserver --profile {out}" in printed
    profile: dict[str, Any] = json.loads(out.read_text())
    jsonschema.validate(profile, json.loads((Path(bench.fit.__file__).parent / "profile.schema.json").read_text()))
    for name, within in (("b0", 0.03), ("b1", 0.1), ("b2", 0.1)):
        assert profile["step_cost"][name] == pytest.approx(TRUTH[name], rel=within)
    assert profile["provenance"]["server"] == "a mock"
    assert [run["most_in_flight"] for run in profile["provenance"]["runs"]] == [1, 8]
    with mock_process("--profile", str(out)) as mock:
        truth = httpx.get(f"{mock.url}/truth", params={"input_tokens": 100, "output_tokens": 20}).json()
    assert "batching" in json.dumps(truth["config"])
    served = json.dumps(truth)
    assert f'"b0": {profile["step_cost"]["b0"]}' in served


def test_the_profile_can_be_printed_as_json(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *runs, "--format", "json", "--no-replay"]) == Exit.GOOD
    assert json.loads(capsys.readouterr().out)["schema"] == "trueload/profile/1"


def test_the_loads_are_replayed_against_the_profile(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "profile.json"
    assert main(["fit", runs[1], "--held-out", runs[0], "--out", str(out), "--quiet"]) == Exit.GOOD
    profile = json.loads(out.read_text())
    jsonschema.validate(profile, json.loads((Path(bench.fit.__file__).parent / "profile.schema.json").read_text()))
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
    assert "leave one of the two out" in capsys.readouterr().err
    assert main(["fit", *runs, "--out", str(tmp_path / "no" / "p.json")]) == Exit.USAGE
    assert "there is no directory" in capsys.readouterr().err
