"""Workers in other processes, seen from their parent: their number, last messages, and orders.

The test plays the other end of each socket.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable, Coroutine
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.errors import BenchError, UsageError
from bench.load.assignment import Assignment
from bench.load.crew import NO_COUNTS, Order
from bench.load.progress_tally import ProgressTally
from bench.load.sampling import ClientState
from bench.modes.interface import LoadPlan
from bench.modes.share import WorkerShare
from bench.process import child_process
from bench.scale.messages import Begin, Change, Command, ProgressUpdate, Ready, Refused, WarmupEnds
from bench.scale.plan import workers_of
from bench.scale.processes import WorkerProcesses
from bench.scale.worker_group import CHANGE_LEAD_NS, WorkerGroup, WorkerState
from tests.support.made_records import made_record
from tests.support.scripted_workers import Counted, last_words

REPORT = next(last_words()).messages[0]


def plan(at_once: int = 1, *, bounded: bool = True, rate: float | None = None, requests: int | None = None,
         users: int | None = None) -> LoadPlan:  # fmt: skip
    return LoadPlan(
        at_once=at_once, bounded=bounded, rate=rate, requests=requests, users=users, total=None, shares=lambda n: []
    )


@pytest.mark.parametrize(
    ("load", "wanted", "workers"),
    [
        (plan(10), "3", 3),
        (plan(2), "3", 2),
        (plan(10, requests=2), "3", 2),
        (plan(10, users=2), "3", 2),
        (plan(2, bounded=False), "3", 3),
        (plan(1000), "auto", 1),
        (plan(1001), "auto", 2),
        (plan(9001), "auto", 8),  # One per processor.
        (plan(9001, bounded=False), "auto", 1),
        (plan(9001, bounded=False, rate=2000.0), "auto", 1),
        (plan(9001, bounded=False, rate=2000.5), "auto", 2),
        (plan(3000, rate=2000.5), "auto", 3),
        (plan(1, rate=9000.0), "auto", 1),
    ],
)
def test_a_load_has_the_workers_that_it_needs_and_can_be_divided_by(load: LoadPlan, wanted: str, workers: int) -> None:
    assert workers_of(load, wanted, processors=8) == workers


def test_a_warm_up_before_everything_at_once_is_not_divided() -> None:
    config = resolve({"url": "http://h", "mode": "throughput", "requests": 5000, "warmup": "3"})
    load = config.load.plan(config.length, source=SimpleNamespace(at_once=1))
    assert [workers_of(load, wanted, processors=8) for wanted in ("auto", "1")] == [1, 1]
    with pytest.raises(UsageError, match=r"wait until these have ended, which only one worker can know: --workers 1"):
        workers_of(load, "2", processors=8)


def update(done: int, *, in_flight: int = 1, failures: int = 0, lag_ms: float = 0.5, stocked: int | None = None,
           cpu: float | None = None, run_queue_share: float | None = None) -> ProgressUpdate:  # fmt: skip
    tally = ProgressTally()
    tally.add(made_record(done))
    counts = {"in_flight": in_flight, "in_flight_ns": 10 * in_flight, "planned": 9, "sent": done + 1, "done": done}
    client = ClientState(loop_lag_ms=lag_ms, cpu=cpu, run_queue_share=run_queue_share)
    return ProgressUpdate(counts, failures, client, tally, stocked)


class Member:
    def __init__(self, number: int) -> None:
        self.state = WorkerState(number, f"worker {number}")
        self.told: list[object] = []

    def send(self, message: object) -> None:
        self.told.append(message)


def test_what_workers_said_last_is_added_up_and_the_worst_of_it_is_told() -> None:
    members, live = [Member(0), Member(1), Member(2)], Counted()
    together = WorkerGroup(members, 4.0)
    assert (together.counts(0), together.failures, together.in_flight) == (NO_COUNTS, 0, 0)
    first, second = members[0].state, members[1].state
    assert first.receive(update(5, in_flight=2, failures=1, cpu=0.25), live) is True
    assert first.receive(update(7, in_flight=3, failures=2, lag_ms=2.0, cpu=0.5, stocked=9), live) is True
    assert second.receive(update(1, in_flight=4, failures=4, run_queue_share=0.125), live) is True
    assert live.ended == 3
    assert together.counts(0) == {"in_flight": 7, "in_flight_ns": 70, "planned": 18, "sent": 10, "done": 8}
    assert (together.failures, together.in_flight) == (6, 7)
    assert together.client == ClientState(loop_lag_ms=2.0, cpu=0.5, run_queue_share=0.125, slowest="worker 0")
    assert (first.stocked, second.stocked) == (9, None)
    second.is_dead("was killed")
    assert first.receive(REPORT, live) is False  # type: ignore[arg-type]
    assert together.in_flight == 3
    assert [(one.worker, one.name, one.in_flight, one.done, one.died) for one in together.health] == [
        (0, "worker 0", 3, 7, None), (1, "worker 1", 0, 1, "was killed"), (2, "worker 2", 0, 0, None),
    ]  # fmt: skip
    assert [(one.loop_lag_ms, one.cpu, one.run_queue_share) for one in together.health][:2] == [
        (2.0, 0.5, None), (0.5, None, 0.125),
    ]  # fmt: skip
    report = together.report()
    assert (report.workers, report.died) == ((REPORT,), ("worker 1 was killed",))
    with pytest.raises(UsageError, match="no room"):
        second.receive(Refused(UsageError("no room")), live)


def test_an_order_reaches_every_worker() -> None:
    members = [Member(0), Member(1)]
    together = WorkerGroup(members, 4.0)
    together.tell(Order.STOP, "enough")
    together.warmup_ends(17)
    together.change(19, 2.5)
    assert members[0].told == members[1].told == [Command(Order.STOP, "enough"), WarmupEnds(17), Change(19, 2.5)]


def test_the_first_worker_whose_time_is_over_ends_the_load_of_all_once() -> None:
    members, live = [Member(0), Member(1)], Counted()
    WorkerGroup(members, 4.0).end_together()
    members[1].state.receive(update(1), live)
    assert members[0].told == []
    for member in (members[1], members[0], members[1]):
        member.state.receive(replace(update(1), time_over=True), live)
    assert members[0].told == members[1].told == [Command(Order.STOP, "duration")]


def test_a_change_waits_for_requests_that_have_to_be_made() -> None:
    members = [Member(0), Member(1)]
    assert WorkerGroup(members, 4.0).lead_ns(1e6) == CHANGE_LEAD_NS == 250_000_000
    members[1].state.stocked = 0
    assert WorkerGroup(members, 4.0).lead_ns(4.0) == CHANGE_LEAD_NS
    assert WorkerGroup(members, 4.0).lead_ns(5.0) > CHANGE_LEAD_NS
    assert WorkerGroup(members, None).lead_ns(5.0) == CHANGE_LEAD_NS


class Process(subprocess.Popen[bytes]):
    """A process that has ended with this status."""

    def __init__(self, status: int) -> None:
        self.status = status

    def wait(self, timeout: float | None = None) -> int:
        return self.status

    def kill(self) -> None:
        """It has ended."""

    def __del__(self) -> None:
        """There is no process."""


Programs = list[Connection]


def in_a_loop(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[WorkerProcesses, Programs], Coroutine[Any, Any, None]],
    workers: int = 2, status: int = -9,
) -> None:  # fmt: skip
    """Run `work` with workers, and with the program's end of each socket."""
    programs: Programs = []
    ended: list[tuple[int, float]] = []

    def start(module: str) -> tuple[Process, socket.socket]:
        assert module == "bench.scale.program"
        ours, theirs = socket.socketpair()
        programs.append(Connection(theirs.detach()))
        return Process(status), ours

    monkeypatch.setattr(child_process, "start", start)
    monkeypatch.setattr(child_process, "end", lambda processes, within_s: ended.append((len(processes), within_s)))
    config = resolve({"url": "http://h", "concurrency": 2})
    share = WorkerShare(workers=workers, requests=1, duration_ns=None, warmup_requests=0, warmup_ns=0, users=1)
    assignment = Assignment(
        config=config, share=share, run_id="r", options=BodyOptions(endpoint="chat", model="m"), directory=Path("d")
    )

    async def main() -> None:
        crew = WorkerProcesses([assignment] * workers)
        assert [program.recv().run_id for program in programs] == ["r"] * workers
        try:
            await work(crew, programs)
        finally:
            crew.close()
            for program in programs:
                program.close()
        assert ended == [(workers, 5.0)]
        assert all(worker.connection.closed for worker in crew.workers)

    asyncio.run(main())


def test_workers_get_ready_begin_and_report(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(crew: WorkerProcesses, programs: Programs) -> None:
        assert crew.preparing == "waiting for workers to get ready: 0 of 2 are"
        programs[0].send(Ready(7))
        programs[1].send(Ready(None))
        await crew.prepare()
        assert crew.preparing == "waiting for workers to get ready: 2 of 2 are"
        assert [worker.state.stocked for worker in crew.workers] == [7, None]
        live = Counted()
        crew.begin(17, live)
        assert [program.recv() for program in programs] == [Begin(17), Begin(17)]
        load = asyncio.create_task(crew.load())
        programs[0].send(update(3))
        programs[0].send(REPORT)
        programs[1].send(update(4))
        programs[1].close()  # This program dies before its report.
        report = await load
        assert (report.workers, live.ended) == ((REPORT,), 2)
        assert report.died == (
            f"{crew.workers[1].state.name} was killed by SIGKILL (which the system does when memory runs out)",
        )
        crew.tell(Order.CUT)  # Dead programs get no order.
        assert programs[0].recv() == Command(Order.CUT)

    in_a_loop(monkeypatch, work)


def test_every_refusal_is_heard_and_the_first_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(crew: WorkerProcesses, programs: Programs) -> None:
        programs[2].send(Refused(UsageError("the third")))
        programs[1].send(Refused(UsageError("the second")))
        programs[0].send(Ready(None))
        with pytest.raises(UsageError, match="the second"):
            await crew.prepare()
        assert crew.preparing == "waiting for workers to get ready: 3 of 3 are"

    in_a_loop(monkeypatch, work, workers=3)


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (-9, UsageError, "worker 0 was killed by SIGKILL (which the system does when memory runs out) while it got ready: "
                         "no load was sent"),
        (0, BenchError, "worker 0 ended with status 0 while it got ready: its error is above"),
        (1, BenchError, "worker 0 ended with status 1 while it got ready: its error is above"),
    ],
)  # fmt: skip
def test_a_worker_that_dies_before_the_load_ends_the_run(
    status: int, error: type[BenchError], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(crew: WorkerProcesses, programs: Programs) -> None:
        programs[0].close()
        with pytest.raises(BenchError) as raised:
            await crew.prepare()
        assert (type(raised.value), str(raised.value)) == (error, sentence)

    in_a_loop(monkeypatch, work, workers=1, status=status)
