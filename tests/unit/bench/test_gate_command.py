"""The command `gate`, in this process: its files, its output about the baseline, and the problems that it reports at
once."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench.commands import gate
from bench.errors import Exit, UsageError
from bench.release_gate.gate import decide
from tests.support.made_runs import made_run


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    return [str(made_run(tmp_path / f"r{n}", at=n, seed=n, ttft_ms=50.0 + n)) for n in range(3)]


def test_both_files_are_written_and_the_summary_is_appended(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit, summary = tmp_path / "new" / "gate.xml", tmp_path / "step.md"
    summary.write_text("before\n")
    words = [*runs, "--slo", "ttft:p90<10s", "--junit", str(junit), "--summary", str(summary)]
    assert gate.main([*words, "--format", "json"]) == Exit.GOOD
    assert json.loads(capsys.readouterr().out)["objectives"]
    assert [case.get("name") for case in ET.parse(junit).iter("testcase")]
    once = summary.read_text()
    assert once.startswith("before\n")
    assert gate.main(words) == Exit.GOOD
    both = summary.read_text()
    assert (both.startswith(once), both.count("\n### ")) == (True, 2 * once.count("\n### "))
    assert "ttft" in capsys.readouterr().out


def test_one_device_may_take_both_files(runs: list[str]) -> None:
    assert gate.main([runs[0], "--slo", "ttft:p50<10s", "--junit", "/dev/null", "--summary", "/dev/null"]) == Exit.GOOD


def test_a_baseline_grows_by_the_runs_unless_they_fail(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "main.json"

    def notes(*words: str) -> list[str]:
        gate.main([*words, "--baseline", str(path), "--update", "--format", "json"])
        found: list[str] = json.loads(capsys.readouterr().out)["notes"]
        return [note for note in found if str(path) in note]

    failing = "--slo=ttft:p90<1ms"
    assert notes(runs[0], failing) == [f"{path} was not written, because something failed"]
    assert not path.exists()
    assert notes(runs[0]) == [f"{path} now holds 1 run"]
    assert notes(*runs[1:]) == [f"{path} now holds 3 runs"]
    before = path.read_bytes()
    assert notes(str(made_run(tmp_path / "r9", at=9, seed=9)), failing) == [
        f"{path} is unchanged, because something failed. To accept the change, begin another file"
    ]
    assert path.read_bytes() == before


def test_what_another_gate_adds_to_the_baseline_meanwhile_stays(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "main.json"
    words = ["--baseline", str(path), "--update"]

    def meanwhile(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(gate, "decide", decide)
        gate.main([runs[0], *words])
        return decide(*args, **options)

    monkeypatch.setattr(gate, "decide", meanwhile)
    gate.main([*runs[1:], *words])
    assert len(json.loads(path.read_bytes())["runs"]) == 3
    assert [file.name for file in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (["RUN"], ["nothing to check the runs against: give --slo, --baseline, or both"]),
        (["RUN", "--update"], ["nothing to check", "--update adds the runs to a file: name it with --baseline FILE"]),
        (["RUN", "--slo=nonsense", "--slo=ttfx<1s", "--margin=x", "--alpha=0"],
         ["--slo", "--slo", "--margin", "--alpha"]),
        (["RUN", "--slo=ttft<1s", "--baseline=/tmp/x/b.json", "--update", "--junit=/tmp/x/../x/b.json"],
         ["--baseline and --junit both name /tmp/x/../x/b.json: name two files"]),
        (["RUN", "--slo=ttft<1s", "--junit=/tmp/x", "--summary=/tmp/x"],
         ["--junit and --summary both name /tmp/x: name two files"]),
        (["RUN", "/nowhere", "--slo=ttft<1s"], ["/nowhere"]),
        (["RUN", "--baseline=/nowhere/b.json"], ["--baseline /nowhere/b.json does not exist: begin it with --update"]),
    ],
)  # fmt: skip
def test_every_problem_of_the_flags_is_named(words: list[str], problems: list[str], runs: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        gate.main([runs[0] if word == "RUN" else word for word in words])
    assert len(refused.value.problems) == len(problems), refused.value.problems
    for said, begins in zip(refused.value.problems, problems, strict=True):
        assert said.startswith(begins)
