"""A run seen from another process while it goes on: live.jsonl, and the state in run.yaml."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from bench import cli
from bench.errors import Exit
from bench.run_files.run_directory import RunDirectory
from tests.support.mock_process import mock_process
from tests.support.ready_made import popen
from tests.support.timing import timing


def start(url: str, out: Path, *flags: str) -> subprocess.Popen[str]:
    words = ["--url", url, "--out", str(out), "--input-tokens", "16", "--output-tokens", "4", "--quiet", *flags]
    return popen([sys.executable, "-m", "bench", "run", *words], stdout=subprocess.PIPE, text=True)


def state_of(out: Path) -> str | None:
    try:
        stored = yaml.safe_load((out / "run.yaml").read_text())
    except FileNotFoundError:
        return None
    return str(stored["manifest"]["state"])


def wait_for(process: subprocess.Popen[str], out: Path, state: str) -> list[str]:
    """The states that were seen until this one, each once."""
    seen: list[str] = []
    while not seen or seen[-1] != state:
        assert process.poll() is None, f"ended after {seen}"
        now = state_of(out)
        if now is not None and (not seen or seen[-1] != now):
            seen.append(now)
        time.sleep(0.005)
    return seen


@timing(tries=10, why="TODO ")
def test_another_process_sees_every_state_and_a_line_a_second(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as mock:
        process = start(mock.url, out, "--concurrency", "2", "--warmup", "1s", "--duration", "2s")
        seen = wait_for(process, out, "running")
        assert RunDirectory.open(out).is_held
        process.communicate()
    order = ["preparing", "probing", "warming up", "running"]
    # Whoever polls sees some of the states, in their order. A busy machine may look away for the second of a warm-up.
    assert seen == [state for state in order if state in seen]
    assert state_of(out) == "ended"
    assert not RunDirectory.open(out).is_held
    rows = [orjson.loads(line) for line in (out / "live.jsonl").read_bytes().splitlines()]
    records = list(RunDirectory.open(out).records())
    assert 3 <= len(rows) <= 5
    assert rows[0]["state"] in ("warming up", "running")  # The first line comes as the warm-up ends.
    assert rows[-1]["state"] == "draining"
    assert rows[-1]["done"] == len(records)
    assert sum(row["second"]["succeeded"] for row in rows) == len(records)
    assert sum(row["second"]["output_tokens"] for row in rows) == sum(record.output_tokens or 0 for record in records)
    assert sum(row["second"]["bytes_received"] for row in rows) == sum(record.bytes_received for record in records)
    assert rows[-1]["second"]["ttft_ms"]["p50"] == pytest.approx(20, abs=10)


def test_two_workers_tell_of_both(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as mock:
        start(mock.url, out, "--concurrency", "2", "--requests", "100", "--workers", "2").communicate()
    rows = [orjson.loads(line) for line in (out / "live.jsonl").read_bytes().splitlines()]
    assert (rows[-1]["sent"], rows[-1]["done"]) == (100, 100)
    assert sum(row["second"]["succeeded"] for row in rows) == 100
    assert rows[-1]["client"]["cpu"] is None or rows[-1]["client"]["cpu"] > 0


@pytest.mark.parametrize(("state", "flags"), [("warming up", ("--warmup", "600s")), ("running", ())])
def test_a_killed_run_is_not_held_and_keeps_its_last_state(tmp_path: Path, state: str, flags: Sequence[str]) -> None:
    out = tmp_path / "run"
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as mock:
        process = start(mock.url, out, "--concurrency", "2", "--duration", "600s", *flags)
        wait_for(process, out, state)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert state_of(out) == state
    assert not RunDirectory.open(out).is_held


def test_a_run_that_was_killed_before_its_load_has_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest: dict[str, Any] = {
        "run_id": "a",
        "started": "2026-11-25",
        "command": [],
        "model": None,
        "exact_lengths": False,
    }
    stored = {"config": {"url": "http://h"}, "manifest": {**manifest, "start_ns": 0, "state": "probing"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(stored))
    (tmp_path / "requests.jsonl").touch()
    assert cli.main(["report", str(tmp_path)]) == Exit.USAGE
    assert capsys.readouterr().err == (f"error: {tmp_path}: the run was ended while probing, before it sent any load\n")


def test_a_failed_probe_leaves_files_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    status = cli.main(["run", "--url", "http://127.0.0.1:9", "--out", str(tmp_path), "--quiet"])
    assert status == Exit.TARGET
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
