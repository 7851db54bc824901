"""How many agents does a server hold? A short search over sessions, and a sweep, against the mock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from bench.verdict.limits import Limits
from tests.support.mock_process import mock_process
from tests.support.ready_made import run_to_end


def _settings(folder: Path, url: str) -> str:
    """Two jobs per session. The first has two steps with a tool between them. Other programs do not affect the verdict."""
    turns = [
        {"content": "Begin.", "output_tokens": 3},
        {"content": "The tool says: done.", "output_tokens": 3, "think_time_s": 0.02, "pause": "tool"},
        {"content": "One more thing.", "output_tokens": 3, "think_time_s": 0.03, "pause": "human"},
    ]
    rows = [json.dumps({"session": f"s{k}", "turns": turns}) for k in range(4)]
    (folder / "agents.jsonl").write_text("\n".join(rows) + "\n")
    never = {"suspect": 1e12, "invalid": 1e12}
    content = {
        "url": url, "dataset": str(folder / "agents.jsonl"), "slo": ["job:p90<1s", "jobs_per_hour_per_user>9000"],
        "limits": {name: never for name, field in Limits.model_fields.items() if field.default.invalid is not None},
    }  # fmt: skip
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return run_to_end([sys.executable, "-m", "bench", *words])


def test_a_search_over_sessions_judges_jobs_and_a_sweep_shows_them(tmp_path: Path) -> None:
    with mock_process("--ttft", "20ms", "--tpot", "5ms") as mock:
        config = _settings(tmp_path, mock.url)
        searched = _run(
            "search", "--config", config, "--load", "sessions", "--start", "2", "--max", "4", "--budget", "10s",
            "--require", "2", "--out", str(tmp_path / "search"),
        )  # fmt: skip
        swept = _run(
            "sweep", "--config", config, "--loads", "sessions=1,3", "--requests", "6", "--out", str(tmp_path / "sweep")
        )
    found = json.loads((tmp_path / "search" / "search.json").read_bytes())
    # Longer visits give more certain answers. On a busy machine the budget leaves less time for them, or for no full
    # visit.
    held = found["required"]["held"]
    assert searched.returncode == (0 if held else 1), searched.stdout + searched.stderr
    (required,) = [line for line in searched.stdout.splitlines() if "required: 2 sessions" in line]
    assert ("2 sessions is held" in required) == held
    assert "visit 1: 2 sessions did not clearly break" in searched.stderr
    assert (found["load_kind"], found["settings"]["judged_after_s"]) == ("sessions", 1.0)
    for visit in found["visits"]:
        summary = json.loads((tmp_path / "search" / visit["run_dir"] / "summary.json").read_bytes())
        assert (summary["run"]["mode"], summary["load"]["concurrency"]) == ("sessions", visit["load"])
        assert summary["run"]["config"]["sessions_begin"] == "first", "the rows have no answers"
        assert visit["jobs"]["job:p90<1s"] <= sum(summary["jobs"]["counts"].values())
    # On a busy machine a visit may end before any job.
    assert any(visit["jobs"]["job:p90<1s"] for visit in found["visits"])
    assert swept.returncode == 0, swept.stdout + swept.stderr
    points = json.loads((tmp_path / "sweep" / "sweep.json").read_bytes())["points"]
    assert [point["load"] for point in points] == [1, 3]
    assert all(point["numbers"]["jobs_per_hour"]["value"] > 0 for point in points)
    assert "Jobs/hour" in swept.stdout
