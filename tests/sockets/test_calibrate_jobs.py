"""Job seconds against the mock's own ledger, over sockets: sessions with tools and people, some cut by the end of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from bench.errors import Exit

CALM = """\
limits:
  run_queue_wait: {suspect: 0.99, invalid: 1.0}
  cpu_busy_seconds: {suspect: 1.0, invalid: 1.0}
  littles_law_off: {suspect: 1.0, invalid: 1.0}
"""
"""How exact it is on a busy machine is another test's matter."""


def _agents(path: Path) -> str:
    """A job of three steps, with tools between them, and one of one step."""
    turns = [
        {"content": "Mend the test.", "output_tokens": 4},
        {"content": "Output of the tool.", "output_tokens": 3, "think_time_s": 0.02, "pause": "tool"},
        {"content": "More of it.", "output_tokens": 5, "think_time_s": 0.01, "pause": "tool"},
        {"content": "And now the next.", "output_tokens": 3, "think_time_s": 0.05, "pause": "human"},
    ]
    path.write_text("".join(json.dumps({"session": f"agent-{k}", "turns": turns}) + "\n" for k in range(3)))
    return str(path)


def test_a_calibration_compares_job_seconds_with_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "calm.yaml").write_text(CALM)
    status = cli.main(
        ["calibrate", "--config", str(tmp_path / "calm.yaml"), "--mode", "sessions", "--concurrency", "4",
         "--dataset", _agents(tmp_path / "agents.jsonl"), "--warmup", "0.3s", "--duration", "1.5s",
         "--mock", "--ttft 20ms --tpot 5ms", "--workers", "1", "--out", str(tmp_path / "run")]
    )  # fmt: skip
    assert status in (Exit.GOOD, Exit.INVALID)
    certificate: dict[str, Any] = orjson.loads((tmp_path / "run" / "certificate.json").read_bytes())
    summary: dict[str, Any] = orjson.loads((tmp_path / "run" / "summary.json").read_bytes())
    # Both sides must find the same jobs: those that were cut, and those of the warm-up, in neither.
    assert certificate["problems"] == []
    jobs = summary["jobs"]
    assert jobs["counts"]["completed"] == jobs["job_s"]["n"] > 5
    assert jobs["counts"]["begun_before"] > 0
    rows = {row["stat"]: row for row in certificate["metrics"] if row["metric"] == "job_ms"}
    assert rows["p50"]["measured"] == pytest.approx(1000 * jobs["job_s"]["p50"])
    # Three steps at a time to the first token of 20 ms, and their tools, take longer than this; the last job is one step.
    assert rows["max"]["true"] > 90
    assert "Job (ms)" in capfd.readouterr().out
    assert ">Job <small>" in (tmp_path / "run" / "certificate.html").read_text()
