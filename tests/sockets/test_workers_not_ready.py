"""Workers that never become ready, have a defect, never begin, or have a parent that does not read."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from bench.clock import process_clock
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.errors import BenchError, Exit, UsageError
from bench.load.assignment import Assignment
from bench.load.crew import CrewReport
from bench.load.progress_tally import ProgressTally
from bench.load.replies_in_flight import Arrived, Counted
from bench.modes.share import RunLength, divide
from bench.process.event_loop import add_message_reader, loop_factory
from bench.records import RequestRecord
from bench.scale import processes
from bench.scale.processes import WorkerProcesses
from tests.support.changed import replace
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.worker_processes import gone, shard_lines

pytestmark = pytest.mark.usefixtures("work_folder")


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    # A fast server would let the users send a hundred requests per second.
    with mock_process("--ttft", "150ms", "--tpot", "1ms") as running:
        yield running.url


# ---- Workers that never become ready -------------------------------------------------------------------------------


def assignments(tmp_path: Path, **config: Any) -> list[Assignment]:
    shares = divide(2, 2, RunLength(requests=4, duration_ns=None))
    settings = {"url": "http://127.0.0.1:1", "input_tokens": "16", "output_tokens": "3", **config}
    one = Assignment(
        config=resolve(settings),
        share=shares[0],
        run_id="made",
        options=BodyOptions(endpoint="chat", model="m"),
        directory=tmp_path,
    )
    return [replace(one, share=share) for share in shares]


class Nobody:
    """An observer that does nothing."""

    def arrive(self, arrived: Arrived) -> None: ...

    def add(self, record: RequestRecord, counted: Counted) -> None: ...

    def merge(self, tally: ProgressTally) -> None: ...


def with_crew(given: Sequence[Assignment], work: Callable[[WorkerProcesses], Any]) -> WorkerProcesses:
    """The crew, closed after `work`."""

    async def run() -> WorkerProcesses:
        crew = WorkerProcesses(given)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await work(crew)
        finally:
            crew.close()
        return crew

    return asyncio.run(run())


def test_a_worker_that_cannot_get_ready_says_why_and_leaves_no_orphan(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ENDED_WITHIN_S", PATIENCE_S)  # Workers that run longer are killed.
    good, _ = assignments(tmp_path)
    _, bad = assignments(tmp_path, tokenizer=str(tmp_path / "no-such-tokenizer.json"))

    async def refused(crew: WorkerProcesses) -> None:
        with pytest.raises(UsageError, match=r"--tokenizer: .*no-such-tokenizer"):
            await crew.prepare()

    crew = with_crew([good, bad], refused)
    assert all(gone(worker.process.pid) for worker in crew.workers)
    assert [worker.process.returncode for worker in crew.workers] == [0, Exit.USAGE]
    assert "Traceback" not in capfd.readouterr().err


def test_a_worker_that_is_killed_while_it_gets_ready_is_named(tmp_path: Path) -> None:
    async def killed(crew: WorkerProcesses) -> None:
        os.kill(crew.workers[1].process.pid, signal.SIGKILL)
        with pytest.raises(
            UsageError,
            match=r"worker 1 was killed by SIGKILL \(.* memory runs out\) while it got ready: no load was sent",
        ):
            await crew.prepare()

    with socket.create_server(("127.0.0.1", 0)) as silent:  # The worker waits for its answer until it is killed.
        good, _ = assignments(tmp_path)
        _, waiting = assignments(tmp_path, tokenizer=f"http://127.0.0.1:{silent.getsockname()[1]}")
        crew = with_crew([good, waiting], killed)
    assert all(gone(worker.process.pid) for worker in crew.workers)


def test_a_worker_with_a_defect_ends_before_the_load_with_its_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken(crew: WorkerProcesses) -> None:
        with pytest.raises(BenchError, match="worker 0 ended with status 70 while it got ready: its error is above"):
            await crew.prepare()

    # The directory has vanished, so its files cannot be opened, which no code expects.
    with_crew([replace(one, directory=tmp_path / "nowhere") for one in assignments(tmp_path)], broken)
    assert "FileNotFoundError" in capfd.readouterr().err


def test_a_worker_with_a_defect_during_the_load_ends_and_is_named_and_the_other_goes_on(
    mock: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken, good = (
        replace(
            one,
            share=replace(one.share, users=None, requests=3, offsets_ns=[0, 10_000_000, third]),
        )
        for one, third in zip(
            assignments(tmp_path, url=mock, rate=50.0, concurrency=None), ("no number", 700_000_000), strict=True
        )
    )
    reports: list[CrewReport] = []

    async def load(crew: WorkerProcesses) -> None:
        await crew.prepare()
        clock = process_clock()
        crew.begin(clock.now_ns() + 10_000_000, Nobody())
        reports.append(await crew.load())
        clock.close()

    with_crew([broken, good], load)
    assert reports[0].died == ("worker 0 ended with status 70",)
    assert len(reports[0].workers) == 1
    assert "TypeError" in capfd.readouterr().err
    assert shard_lines(tmp_path, "") == [2, 3]


def test_a_crew_that_never_begins_lets_its_workers_go(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ENDED_WITHIN_S", PATIENCE_S)  # Workers that have not ended by then are killed.

    async def ready(crew: WorkerProcesses) -> None:
        await crew.prepare()

    crew = with_crew(assignments(tmp_path), ready)
    assert [worker.process.returncode for worker in crew.workers] == [0, 0]
    assert capfd.readouterr().err == ""


# ---- Workers whose parent does not read ------------------------------------------------------------------------------


def test_a_worker_whose_parent_does_not_listen_goes_on_and_tells_it_all_later(
    mock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = socket.socketpair

    def small() -> tuple[socket.socket, socket.socket]:
        ours, theirs = pair()
        # The kernel raises this to its minimum: a message or two.
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return ours, theirs

    monkeypatch.setattr("bench.process.child_process.socket.socketpair", small)
    told: list[int] = []
    reports: list[CrewReport] = []

    class Told(Nobody):
        def merge(self, tally: ProgressTally) -> None:
            told.append(tally.run.outcomes.total())

    async def load(crew: WorkerProcesses) -> None:
        await crew.prepare()
        clock = process_clock()
        crew.begin(clock.now_ns() + 10_000_000, Told())
        time.sleep(2.5)  # This blocks the loop, as a lack of processor time would.
        reports.append(await crew.load())
        clock.close()

    run = assignments(tmp_path, url=mock)
    shares = divide(2, 2, RunLength(requests=None, duration_ns=2_000_000_000))
    with_crew([replace(one, share=share) for one, share in zip(run, shares, strict=True)], load)
    assert reports[0].died == ()
    assert sum(told) == sum(shard_lines(tmp_path, "")) > 0


def test_a_message_that_comes_in_two_pieces_is_taken_whole() -> None:
    ours, theirs = socket.socketpair()
    with Connection(ours.detach()) as reader, theirs:
        packed = pickle.dumps("x" * 20_000)
        reading = threading.Event()

        def send() -> None:
            theirs.sendall(struct.pack("!i", len(packed)))
            reading.wait(PATIENCE_S)
            theirs.sendall(packed)

        async def read() -> object:
            message = asyncio.get_running_loop().create_future()

            def take() -> None:
                threading.Timer(0.05, reading.set).start()
                message.set_result(reader.recv())

            add_message_reader(reader, take)
            thread = threading.Thread(target=send)
            thread.start()
            try:
                return await message
            finally:
                asyncio.get_running_loop().remove_reader(reader.fileno())
                reading.set()
                thread.join()

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            assert runner.run(asyncio.wait_for(read(), PATIENCE_S)) == "x" * 20_000
