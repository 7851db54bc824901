"""Workers and parents that die or are ordered to end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench import cli
from bench.errors import Exit
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import LiteralServer, Pause, Received, Step, Until
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import run_to_end
from tests.support.run_process import all_hang, hanging, load_of, loaded, records, summary, wait_for
from tests.support.stopped import stop
from tests.support.worker_processes import flags, gone, process, shard_lines, worker_processes

pytestmark = pytest.mark.usefixtures("work_folder")


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    # The loads last until they are stopped. A fast server would let them send hundreds of requests per second.
    with mock_process("--ttft", "100ms", "--tpot", "1ms") as running:
        yield running.url


# ---- Processes that die or are ordered to end ----------------------------------------------------------------------


def test_a_killed_worker_loses_nothing_that_had_ended_and_is_named_while_the_other_goes_on(tmp_path: Path) -> None:
    is_dead = threading.Event()

    def chat(request: Received) -> Sequence[Step]:
        held = int(request.headers["x-request-id"].rpartition("-")[2]) >= 20
        return [*([Until(is_dead.is_set)] if held else []), *stream(*GOOD)]

    with (
        LiteralServer(loaded(chat)) as server,
        process(flags(server.url, tmp_path, "--requests", "60", "--concurrency", "4")) as running,
    ):
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 5)
        written = sorted((tmp_path / "run").glob("requests-*.jsonl"))
        first, *_ = worker_processes(running.pid)
        os.kill(first, signal.SIGKILL)
        # By then the kernel has everything that the worker wrote.
        wait_for(lambda: gone(first))
        killed_ns = time.monotonic_ns()
        had_ended = [path.read_bytes() for path in written]
        is_dead.set()
        out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INVALID, err
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "INVALID"
    (dead,) = [k for k in (0, 1) if f"worker {k} was killed by SIGKILL" in told["verdict"]["reasons"][0]]
    rows = records(tmp_path)
    lines = [json.loads(line)["id"] for line in had_ended[dead].splitlines(keepends=True) if line.endswith(b"\n")]
    assert lines
    assert lines == [row["id"] for row in rows if row["worker"] == dead]
    other = [row for row in rows if row["worker"] != dead]
    assert len(other) == 30
    assert max(row["end_ns"] for row in other) > killed_ns
    assert told["counts"]["succeeded"] == len([row for row in rows if row["phase"] == "run"])
    assert f"worker {dead}" in out
    assert "Traceback" not in err


def test_ctrl_c_lets_all_workers_end_what_is_in_flight(tmp_path: Path) -> None:
    heard = threading.Event()

    def chat(request: Received) -> Sequence[Step]:
        if int(request.headers["x-request-id"].rpartition("-")[2]) >= 8:
            heard.wait(PATIENCE_S)
        return stream(*GOOD)

    with (
        LiteralServer(loaded(chat)) as server,
        process(flags(server.url, tmp_path, "--duration", "600s", "--concurrency", "4")) as running,
    ):
        wait_for(lambda: sum(shard_lines(tmp_path)) == 8 and len(load_of(server)) == 12)
        workers = worker_processes(running.pid)
        assert len(workers) == 2
        os.killpg(running.pid, signal.SIGINT)
        assert running.stderr is not None
        said = next(line for line in running.stderr if line.startswith("stopping"))
        heard.set()
        out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED, err
    assert all(gone(pid) for pid in workers)
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "interrupted"
    assert told["counts"]["by_outcome"] == {"ok": len(records(tmp_path))} == {"ok": 12}
    assert "TTFT" in out
    assert "waiting for" in said
    assert "Traceback" not in err


def test_a_second_ctrl_c_cuts_what_all_workers_have_in_flight(tmp_path: Path) -> None:
    with (
        LiteralServer(loaded(hanging)) as server,
        process(flags(server.url, tmp_path, "--requests", "50", "--concurrency", "4")) as running,
    ):
        wait_for(lambda: all_hang(server, 4))
        assert running.stderr is not None
        os.killpg(running.pid, signal.SIGINT)
        for line in running.stderr:
            if line.startswith("stopping"):
                break
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED
    assert [row["outcome"] for row in records(tmp_path)] == ["interrupted"] * 4
    assert {row["worker"] for row in records(tmp_path)} == {0, 1}


def test_ctrl_c_while_workers_get_ready_ends_them_with_a_sentence(tmp_path: Path) -> None:
    is_probed = threading.Event()

    def chat(request: Received) -> Sequence[Step]:
        is_probed.set()
        return stream(*GOOD)

    # Workers connect before they are ready, and the server accepts no connection after the probe's.
    more = ("--requests", "50", "--concurrency", "4", "--insecure", "--connect-timeout", "600s")
    with (
        LiteralServer(api(chat), tls=True, handshake_when=lambda: not is_probed.is_set()) as server,
        process(flags(server.url, tmp_path, *more, "--server-metrics", "off")) as running,
    ):
        wait_for(lambda: len(worker_processes(running.pid)) == 2)
        workers = worker_processes(running.pid)
        os.killpg(running.pid, signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED
    assert "nothing was measured" in err
    assert "Traceback" not in err
    assert all(gone(pid) for pid in workers)


def test_a_killed_parent_leaves_no_worker_behind_and_a_run_that_can_be_rendered(mock: str, tmp_path: Path) -> None:
    with process(flags(mock, tmp_path, "--duration", "600s", "--concurrency", "4")) as running:
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 5)
        workers = worker_processes(running.pid)
        assert len(workers) == 2
        running.kill()
        # The workers share its stderr, so this returns when the last one has closed it.
        _, err = running.communicate(timeout=PATIENCE_S)
        wait_for(lambda: all(gone(pid) for pid in workers), within_s=PATIENCE_S)
    assert "Traceback" not in err
    written = sum(shard_lines(tmp_path))
    assert written >= 10
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) in (Exit.GOOD, Exit.INVALID)
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "killed"
    assert sum(told["counts"]["by_outcome"].values()) == written


def test_a_parent_that_is_killed_while_workers_get_ready_leaves_none(mock: str, tmp_path: Path) -> None:
    with process(flags(mock, tmp_path, "--requests", "20000", "--concurrency", "4")) as running:
        wait_for(lambda: len(worker_processes(running.pid)) == 2)
        workers = worker_processes(running.pid)
        running.kill()
        _, err = running.communicate(timeout=PATIENCE_S)
        wait_for(lambda: all(gone(pid) for pid in workers), within_s=PATIENCE_S)
    assert "Traceback" not in err


def test_a_parent_that_dies_before_it_has_said_what_to_do_is_no_defect() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        command = [sys.executable, "-m", "bench.process.beside", "bench.scale.program", str(theirs.fileno())]
        ran = run_to_end(command, pass_fds=[theirs.fileno()])
    assert (ran.returncode, ran.stderr) == (0, "")


def test_too_many_errors_end_the_run_on_all_workers(tmp_path: Path) -> None:
    succeeded: list[Received] = []

    def failing(request: Received) -> Sequence[Step]:
        # All failures belong to one worker, so the other one must be told.
        if int(request.headers["x-request-id"].rpartition("-")[2]) % 2:
            # Far fewer than half of the requests fail, so the run is not FAILED.
            return [Until(lambda: len(succeeded) >= 40), Pause(0.2), *whole("500 Oops", b"no")]
        succeeded.append(request)
        return [Pause(0.05), *stream(*GOOD)]

    with LiteralServer(loaded(failing)) as server:
        words = ("--requests", "100000", "--concurrency", "2", "--max-errors", "5", "--quiet")
        assert cli.main(flags(server.url, tmp_path, *words)) == Exit.OBJECTIVE_FAILED
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "errors"
    assert told["counts"]["sent"] < 100_000
    assert told["counts"]["failed"] > 5
    assert {row["worker"] for row in records(tmp_path) if row["outcome"] == "ok"} == {0}
    assert {row["worker"] for row in records(tmp_path) if row["outcome"] != "ok"} == {1}


# ---- Processes that are stopped (SIGSTOP) ----------------------------------------------------------------------------


def test_a_load_that_a_stopped_worker_holds_up_is_abandoned_and_reported(mock: str, tmp_path: Path) -> None:
    with process(flags(mock, tmp_path, "--duration", "600s", "--concurrency", "4")) as running:
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 5)
        workers = worker_processes(running.pid)
        stop(min(workers))
        assert running.stderr is not None
        running.send_signal(signal.SIGINT)
        for line in running.stderr:  # Until the first signal is reported, a second one could be merged with it.
            if line.startswith("stopping"):
                break
        for _ in range(2):  # If these are merged into one, the load is abandoned some seconds later.
            running.send_signal(signal.SIGINT)
            wait_for(lambda: not pending(running.pid, signal.SIGINT))
        _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED, err
    assert "the load was abandoned after Ctrl-C" in err
    assert "Traceback" not in err
    assert all(gone(pid) for pid in workers)
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "interrupted"
    assert sum(told["counts"]["by_outcome"].values()) == len(records(tmp_path)) >= 10
    assert "somebody else's" not in " ".join(told["verdict"]["reasons"])


def pending(pid: int, number: int) -> bool:
    """Whether this signal is pending for the process."""
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def descendants(parent: int) -> dict[int, bytes]:
    """The commands of all descendants. The copy that a process makes of itself, to be copied in turn (ready_made.py),
    has the same command."""
    found: dict[int, bytes] = {}
    own = (Path("/proc") / str(parent) / "cmdline").read_bytes()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                command = (path / "cmdline").read_bytes()
                found |= {} if command == own else {int(path.name): command, **descendants(int(path.name))}
    return found


def test_processes_that_are_stopped_do_not_outlive_a_parent_that_is_killed(mock: str, tmp_path: Path) -> None:
    words = flags(mock, tmp_path, "--duration", "600s", "--concurrency", "4", "--until", "ttft:p50=0.001%")
    with process(words) as running:
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 5)
        below = descendants(running.pid)
        assert len(below) == 6, f"two workers with a feed each, the scraper, and the process of --until: {below}"
        for pid in below:
            stop(pid)
        running.kill()
        running.communicate(timeout=PATIENCE_S)
        wait_for(lambda: all(gone(pid) for pid in below))
