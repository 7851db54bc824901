"""`python -m bench plan`, with its processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import Exit
from bench.results.plan import SCHEMA
from tests.support.planned_server import profile

SLO = ("--slo", "ttft:p99<30ms", "--slo", "tpot:p99<45ms")
LENGTHS = ("--input-tokens", "uniform:20..60", "--output-tokens", "uniform:2..4")


def test_a_plan_leaves_its_result_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile(tmp_path)
    (tmp_path / "day.csv").write_text("00:00,5\n12:00,42\n")
    words = ["--profile", str(tmp_path / "profile.json"), "--rates", str(tmp_path / "day.csv"), *SLO, *LENGTHS]
    assert main(["plan", *words, "--draws", "1", "--replicas", "1..8", "--out", str(tmp_path / "plan")]) == Exit.GOOD
    content = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert (content["schema"], content["draws"], content["known"]) == (SCHEMA, 1, True)
    assert content["router"] == "round_robin"
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1] == "2 replicas hold the objectives"
    assert "<html" in (tmp_path / "plan" / "plan.html").read_text()
    assert (
        main(["plan", *words, "--draws", "2", "--replicas", "1", "--quiet", "--format", "json"])
        == Exit.OBJECTIVE_FAILED
    )
    content = json.loads(capsys.readouterr().out)
    assert (content["draws"], content["replicas"]) == (2, None)


def test_every_problem_of_the_flags_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile(tmp_path)
    words = ["--profile", str(tmp_path / "profile.json"), "--rates", "day.csv", "--slo", "ttft:p99<1s"]
    wrong = ["--replicas", "0..3", "--draws", "none", "--price", "-1", "--cold-start", "soon"]
    assert main(["plan", *words, *wrong]) == Exit.USAGE
    said = capsys.readouterr().err
    assert all(flag in said for flag in ("--replicas 0..3", "--draws none", "--price -1", "--cold-start soon"))


def test_every_missing_file_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    words = ["--profile", "no.json", "--rates", "no.csv", "--slo", "foo<3", "--slo", "itl:p99<1s"]
    assert main(["plan", *words, "--out", str(tmp_path / "file")]) == Exit.USAGE
    said = capsys.readouterr().err
    problems = (
        "--profile no.json: cannot be read",
        "--rates no.csv: cannot be read",
        "no metric is called 'foo'",
        "itl:p99",
    )
    assert all(problem in said for problem in (*problems, "file cannot be written (it is a file)"))
