"""A server that dies under the load, and what the run says: FAILED first, exit 4, and counts that add up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.errors import Exit
from tests.support.calm import CALM
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen


def run_and_kill(tmp_path: Path, records: int, *more: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, summary and terminal of a run whose server is killed after so many records."""
    (tmp_path / "calm.yaml").write_text(CALM)
    with mock_process("--ttft", "10ms", "--tpot", "2ms") as mock:
        command = [sys.executable, "-m", "bench", "run", "--url", mock.url, "--config", str(tmp_path / "calm.yaml"),
                   "--out", str(tmp_path / "run"), "--quiet", "--input-tokens", "16", "--output-tokens", "4",
                   *more]  # fmt: skip
        with popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            path = tmp_path / "run" / "requests.jsonl"
            deadline = time.monotonic() + PATIENCE_S
            while not (path.exists() and path.read_bytes().count(b"\n") >= records):
                assert time.monotonic() < deadline, "the load did not begin"
                time.sleep(0.01)
            mock.process.kill()
            out, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, json.loads((tmp_path / "run" / "summary.json").read_text()), out


def test_a_server_that_dies_early_fails_the_run(tmp_path: Path) -> None:
    status, summary, out = run_and_kill(tmp_path, 20, "--concurrency", "4", "--requests", "200")
    counts = summary["counts"]
    assert (status, summary["verdict"]["status"]) == (Exit.TARGET, "FAILED")
    assert counts["succeeded"] + counts["failed"] == 200
    assert counts["sent"] == 200 - counts["failed_unsent"]
    assert counts["target_gone"]["requests"] == pytest.approx(counts["failed"], abs=4)
    assert out.startswith("FAILED\n")
    assert any(f"{counts['failed']:,} of 200 requests failed" in reason for reason in summary["verdict"]["reasons"])


def test_a_server_that_is_gone_for_the_rest_of_an_open_loop_fails_the_run(tmp_path: Path) -> None:
    status, summary, _ = run_and_kill(tmp_path, 150, "--rate", "60", "--requests", "200")
    assert summary["counts"]["failed"] < 100
    assert (status, summary["verdict"]["status"]) == (Exit.TARGET, "FAILED")
    assert any(reason.startswith("the target gave its last answer") for reason in summary["verdict"]["reasons"])
