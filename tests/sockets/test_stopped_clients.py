"""A load generator that stands still for a while: SIGSTOP on real processes, and what the run says of it.

The pauses are long beside the run, and the bands of other signs are wide open: what is asserted holds on a busy machine too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.calm import calm_but_for
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.timing import timing

PROGRAM = b"bench.scale.program"


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "20ms", "--tpot", "5ms") as running:
        yield running.url


def load(url: str, tmp_path: Path, *more: str) -> subprocess.Popen[str]:
    (tmp_path / "calm.yaml").write_text(calm_but_for("ready_not_sent", "pause_of_run"))
    command = [sys.executable, "-m", "bench", "run", "--url", url, "--config", str(tmp_path / "calm.yaml"), "--quiet",
               "--out", str(tmp_path / "run"), "--input-tokens", "16", "--output-tokens", "8", *more]  # fmt: skip
    return popen(command, stdout=subprocess.DEVNULL, start_new_session=True, text=True)


def workers_of(parent: int) -> list[int]:
    """The worker processes that a run has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            of = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if of == parent and PROGRAM in words:
            found.append(int(entry.name))
    return sorted(found)


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def sending(tmp_path: Path, workers: int = 1) -> bool:
    """Whether every worker has written records: the load is under way."""
    names = [f"requests-{number}.jsonl" for number in range(workers)] if workers > 1 else ["requests.jsonl"]
    paths = [tmp_path / "run" / name for name in names]
    return all(path.exists() and path.stat().st_size for path in paths)


def stop(pid: int, seconds: float) -> None:
    """Stop a process for so long."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def said(tmp_path: Path, process: subprocess.Popen[str]) -> Any:
    process.wait(timeout=PATIENCE_S)
    summary: Any = json.loads((tmp_path / "run" / "summary.json").read_text())
    return summary


@timing(tries=10, why="TODO ")
def test_a_run_that_nobody_stops_is_not_called_stopped(mock: str, tmp_path: Path) -> None:
    summary = said(tmp_path, load(mock, tmp_path, "--concurrency", "4", "--duration", "2s"))
    assert summary["instrument"]["pause"]["share_of_run"] < 0.5
    assert not any("stood still for" in reason for reason in summary["verdict"]["reasons"])


def test_one_process_that_is_stopped_makes_a_closed_loop_invalid(mock: str, tmp_path: Path) -> None:
    process = load(mock, tmp_path, "--concurrency", "4", "--duration", "4s", "--workers", "1")
    wait_for(lambda: sending(tmp_path))
    stop(process.pid, 1.2)
    summary = said(tmp_path, process)
    assert summary["verdict"]["status"] == "INVALID"
    assert summary["instrument"]["pause"]["longest_ms"] > 1_000
    assert summary["load"]["ready_not_sent"]["share"] > 0.05
    assert {reason.split(" in ")[0].split(" for ")[0] for reason in summary["verdict"]["reasons"]} >= {
        "the client stood still", "users were ready and their next request was not sent"
    }  # fmt: skip


@pytest.mark.parametrize("in_turn", [False, True])
def test_workers_that_are_stopped_make_a_closed_loop_invalid(mock: str, tmp_path: Path, in_turn: bool) -> None:
    process = load(mock, tmp_path, "--concurrency", "6", "--duration", "5s", "--workers", "3")
    wait_for(lambda: sending(tmp_path, workers=3))
    pids = workers_of(process.pid)
    for pid in pids if in_turn else pids[:1]:
        stop(pid, 0.8 if in_turn else 1.5)
    summary = said(tmp_path, process)
    assert summary["verdict"]["status"] == "INVALID"
    assert any("stood still for" in reason for reason in summary["verdict"]["reasons"])
    assert summary["load"]["ready_not_sent"]["share"] > 0.05
    assert summary["load"]["littles_law"]["difference"] == pytest.approx(0, abs=1e-6)


def test_a_stopped_process_is_found_in_an_open_loop_too(mock: str, tmp_path: Path) -> None:
    process = load(mock, tmp_path, "--rate", "40", "--duration", "4s", "--workers", "1")
    wait_for(lambda: sending(tmp_path))
    stop(process.pid, 1.2)
    summary = said(tmp_path, process)
    assert summary["verdict"]["status"] == "INVALID"
    assert summary["instrument"]["pause"]["share_of_run"] > 0.05
