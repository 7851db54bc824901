"""Job seconds against the mock's ledger, over sockets: sub-agents, tools, people, and jobs cut by the end of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from bench.errors import Exit
from tests.support.calm import lasting
from tests.support.learned import give

CALM = """\
limits:
  run_queue_wait: {suspect: 0.99, invalid: 1.0}
  cpu_busy_seconds: {suspect: 1.0, invalid: 1.0}
  littles_law_off: {suspect: 1.0, invalid: 1.0}
"""
"""Another test covers its accuracy on a busy machine."""


def _agents(path: Path) -> str:
    """A job with two parallel sub-agents between its first and last step, then a job of one step."""
    turns = [
        {"id": "plan", "content": "Mend the test.", "output_tokens": 4},
        {"id": "one", "content": "Look here.", "output_tokens": 9, "after": ["plan"], "continues": None, "agent": "one",
         "pause": "tool", "think_time_s": 0.01},
        {"id": "two", "content": "Look there.", "output_tokens": 6, "after": ["plan"], "continues": None, "agent": "two",
         "pause": "tool", "think_time_s": 0.02},
        {"id": "join", "content": "Both say: done.", "output_tokens": 5, "after": ["one", "two"], "continues": "one",
         "pause": "tool", "think_time_s": 0.01},
        {"content": "And now the next.", "output_tokens": 3, "think_time_s": 0.05, "pause": "human"},
    ]  # fmt: skip
    # Its tool runs past the end of the warm-up, however late it begins: one job is active there.
    slow = [{**turn, "think_time_s": 0.6} if turn.get("id") == "one" else turn for turn in turns]
    rows = [{"session": f"agent-{k}", "turns": slow if k == 0 else turns} for k in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_calibration_compares_job_seconds_with_the_ledger(
    tmp_path: Path, learned: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(give(learned, tmp_path / "cache")))
    (tmp_path / "calm.yaml").write_text(CALM)
    status = cli.main(
        ["calibrate", "--config", str(tmp_path / "calm.yaml"), "--mode", "sessions", "--concurrency", "4",
         "--dataset", _agents(tmp_path / "agents.jsonl"), "--warmup", "4", "--requests", "61",
         "--mock", "--ttft 20ms --tpot 5ms", "--workers", "1", "--out", str(tmp_path / "run")]
    )  # fmt: skip
    assert status in (Exit.GOOD, Exit.INVALID)
    certificate: dict[str, Any] = orjson.loads((tmp_path / "run" / "certificate.json").read_bytes())
    summary: dict[str, Any] = orjson.loads((tmp_path / "run" / "summary.json").read_bytes())
    # Both sides must find the same jobs, without jobs that were cut off or in the warm-up.
    assert lasting(certificate["problems"]) == []
    jobs = summary["jobs"]
    assert jobs["counts"]["completed"] == jobs["job_s"]["n"] > 5
    # The warm-up is the first step of each user's first job; the rest of these jobs is in the run.
    assert jobs["counts"]["begun_before"] == 4
    rows = {row["stat"]: row for row in certificate["metrics"] if row["metric"] == "job_ms"}
    assert rows["p50"]["measured"] == pytest.approx(1000 * jobs["job_s"]["p50"])
    # Four steps with a TTFT of 20 ms: parallel ones count once, and the tools are included.
    assert (jobs["steps"]["min"], jobs["steps"]["max"]) == (1, 4)
    assert rows["max"]["true"] > 3 * 20 + 20
    assert jobs["time"]["model"]["s"] + jobs["time"]["tools"]["s"] <= jobs["job_s"]["mean"] * jobs["job_s"]["n"] + 1e-6
    assert "Job (ms)" in capfd.readouterr().out
    assert ">Job <small>" in (tmp_path / "run" / "certificate.html").read_text()
