"""Run directories written by older versions (tests/data/runs/VERSION). Today's code renders each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from jsonschema import Draft202012Validator

from bench.cli import main
from bench.errors import Exit, RecordError
from bench.records import RequestRecord, from_line

ROOT = Path(__file__).parents[3]
RUNS = sorted(path for version in (ROOT / "tests" / "data" / "runs").iterdir() for path in version.iterdir())
SCHEMA = json.loads((ROOT / "bench" / "report" / "summary.schema.json").read_text(encoding="utf-8"))


def copied(run: Path, folder: Path) -> Path:
    """A copy without the results of that version; `summary-then.json` has its numbers."""
    return Path(shutil.copytree(run, folder / run.name, ignore=shutil.ignore_patterns("summary-then.json")))


@pytest.fixture
def rendered(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[Path, Any, str]:
    """An old run after today's `report`, its summary, and the output."""
    run = copied(request.param, tmp_path)
    # These runs were made on a busy machine, so INVALID, with exit status 3, is right.
    assert main(["report", str(run)]) in (Exit.GOOD, Exit.INVALID)
    return run, orjson.loads((run / "summary.json").read_bytes()), capsys.readouterr().out


def test_there_is_a_run_of_the_first_version() -> None:
    assert {run.parent.name for run in RUNS} >= {"0.1.0"}


OLD = pytest.mark.parametrize("rendered", RUNS, ids=lambda run: f"{run.parent.name}-{run.name}", indirect=True)


@OLD
def test_an_old_run_renders_and_keeps_todays_schema(rendered: tuple[Path, Any, str]) -> None:
    run, summary, printed = rendered
    assert [f"{e.json_path}: {e.message}" for e in Draft202012Validator(SCHEMA).iter_errors(summary)] == []
    page = (run / "report.html").read_text(encoding="utf-8")
    assert summary["run"]["model"] in page
    assert printed.splitlines()[1] == summary["verdict"]["headline"]


@OLD
def test_its_counts_and_latencies_are_those_that_it_had(rendered: tuple[Path, Any, str]) -> None:
    run, summary, _ = rendered
    version = summary["run"]["versions"]["trueload"]
    then = orjson.loads((ROOT / "tests" / "data" / "runs" / version / run.name / "summary-then.json").read_bytes())
    assert then["schema"] == summary["schema"]
    counts = {key: summary["counts"][key] for key in then["counts"] if key != "warmup"}
    assert counts == {key: value for key, value in then["counts"].items() if key != "warmup"}
    for metric in ("ttft_ms", "tpot_ms", "e2el_ms", "ttfo_ms", "chunk_gap_ms"):
        for stat in ("n", "mean", "min", "p50", "p99", "max"):
            assert summary["latency"][metric][stat] == pytest.approx(then["latency"][metric][stat], rel=1e-9), (
                metric,
                stat,
            )


def test_a_calibration_of_the_first_version_gets_todays_certificate(tmp_path: Path) -> None:
    run = copied(ROOT / "tests" / "data" / "runs" / "0.1.0" / "calibrated", tmp_path)
    main(["report", str(run), "--quiet"])
    certificate = orjson.loads((run / "certificate.json").read_bytes())
    assert certificate["schema"] == "trueload/certificate/1"
    assert (run / "certificate.html").exists()


def test_runs_of_the_first_version_can_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copied(ROOT / "tests" / "data" / "runs" / "0.1.0" / "rate", tmp_path)
    again = Path(shutil.copytree(run, tmp_path / "again"))
    (again / "run.yaml").write_text((run / "run.yaml").read_text().replace("rate-a52ff539", "rate-another"))
    assert main(["compare", str(run), str(again)]) in (Exit.GOOD, Exit.INVALID)
    said = capsys.readouterr()
    assert "TTFT p90" in said.out or "is INVALID" in said.err


def test_every_field_that_came_later_may_be_absent_from_a_record() -> None:
    path = ROOT / "tests" / "data" / "runs" / "0.1.0" / "rate" / "requests.jsonl"
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    later = {field.name for field in msgspec.structs.fields(RequestRecord)} - set(lines[0])
    assert {"traffic_class", "session_number", "cached_tokens"} <= later
    records = [from_line(orjson.dumps(line)) for line in lines]
    assert len(records) == 26  # Including the warm-up.
    with pytest.raises(RecordError, match="sent_ns"):
        from_line(orjson.dumps({key: value for key, value in lines[0].items() if key != "sent_ns"}))
