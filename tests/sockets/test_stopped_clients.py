"""A load generator that is stopped for a while: SIGSTOP on real processes, and how the run reports it.

A process is stopped for as long as the load has lasted, and the bands of other signs are wide, so the assertions also
hold on a busy machine.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.calm import calm_but_for
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.record_rows import written_rows
from tests.support.run_process import summary, wait_for
from tests.support.stopped import go_on, stop
from tests.support.timing import timing
from tests.support.worker_processes import process, worker_processes


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    # The loads last until they are stopped. A fast server would let them send a hundred requests per second.
    with mock_process("--ttft", "150ms", "--tpot", "5ms") as running:
        yield running.url


def words(url: str, tmp_path: Path, *more: str) -> list[str]:
    (tmp_path / "calm.yaml").write_text(calm_but_for("ready_not_sent", "pause_of_run"))
    return ["run", "--url", url, "--config", str(tmp_path / "calm.yaml"), "--quiet", "--out", str(tmp_path / "run"),
            "--input-tokens", "16", "--output-tokens", "8", *more]  # fmt: skip


@contextlib.contextmanager
def under_way(url: str, tmp_path: Path, workers: int, *more: str) -> Iterator[subprocess.Popen[str]]:
    """An endless load in which every worker has written records. Ctrl-C ends it after the block."""
    with process(words(url, tmp_path, "--duration", "600s", "--workers", str(workers), *more)) as running:
        wait_for(lambda: running.poll() is not None or all(map(written_rows, files(tmp_path, workers))))
        yield running
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=PATIENCE_S)


def files(tmp_path: Path, workers: int) -> list[Path]:
    names = [f"requests-{number}.jsonl" for number in range(workers)] if workers > 1 else ["requests.jsonl"]
    return [tmp_path / "run" / name for name in names]


def lasted_s(tmp_path: Path, workers: int = 1) -> float:
    """How long the load has lasted."""
    began_ns: int = min(row["sent_ns"] for path in files(tmp_path, workers) for row in written_rows(path))
    return (time.monotonic_ns() - began_ns) / 1e9


def stop_for(pid: int, seconds: float) -> None:
    """Stop a process for this long."""
    stop(pid)
    time.sleep(seconds)
    go_on(pid)


def sends_again(tmp_path: Path, workers: int = 1) -> None:
    """Wait until every worker has written a request that was sent after this call: then the pause is over for its
    users, too."""
    now_ns = time.monotonic_ns()
    wait_for(
        lambda: all(any(row["sent_ns"] > now_ns for row in written_rows(path)) for path in files(tmp_path, workers))
    )


@timing(
    tries=15,
    why="the longest pause of a process that nobody stops: none beside 25 busy processes, in six runs; 100 ms are too much. "
    "scripts/test-steadiness stops half of all loads of a second, so a try may fail there: 4 of 5 did with loads of 2 s",
)
def test_a_run_that_nobody_stops_is_not_called_stopped(mock: str, tmp_path: Path) -> None:
    with process(words(mock, tmp_path, "--concurrency", "4", "--duration", "1s")) as running:
        running.communicate(timeout=PATIENCE_S)
    told = summary(tmp_path)
    assert told["instrument"]["pause"]["share_of_run"] < 0.5
    assert not any("stood still for" in reason for reason in told["verdict"]["reasons"])


def test_one_process_that_is_stopped_makes_a_closed_loop_invalid(mock: str, tmp_path: Path) -> None:
    with under_way(mock, tmp_path, 1, "--concurrency", "4") as running:
        stop_for(running.pid, max(1.2, lasted_s(tmp_path)))
        sends_again(tmp_path)
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "INVALID"
    assert told["instrument"]["pause"]["longest_ms"] > 1_000
    assert told["load"]["ready_not_sent"]["share"] > 0.05
    assert {reason.split(" in ")[0].split(" for ")[0] for reason in told["verdict"]["reasons"]} >= {
        "the client stood still", "users were ready and their next request was not sent"
    }  # fmt: skip


@pytest.mark.parametrize("in_turn", [False, True])
def test_workers_that_are_stopped_make_a_closed_loop_invalid(mock: str, tmp_path: Path, in_turn: bool) -> None:
    with under_way(mock, tmp_path, 3, "--concurrency", "6") as running:
        pids = sorted(worker_processes(running.pid))
        assert len(pids) == 3
        seconds = max(0.8 if in_turn else 1.5, lasted_s(tmp_path, 3))
        for pid in pids if in_turn else pids[:1]:
            stop_for(pid, seconds)
        sends_again(tmp_path, 3)
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "INVALID"
    assert any("stood still for" in reason for reason in told["verdict"]["reasons"])
    assert told["load"]["ready_not_sent"]["share"] > 0.05
    assert told["load"]["littles_law"]["difference"] == pytest.approx(0, abs=1e-6)


def test_a_stopped_process_is_found_in_an_open_loop_too(mock: str, tmp_path: Path) -> None:
    with under_way(mock, tmp_path, 1, "--rate", "20") as running:
        stop_for(running.pid, max(1.2, lasted_s(tmp_path)))
        sends_again(tmp_path)
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "INVALID"
    assert told["instrument"]["pause"]["share_of_run"] > 0.05
