"""The driver of a cluster with a thousand workers, whose words are scripted: nothing is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.clock import LoopClock
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.load.assignment import Assignment, WorkerReport
from bench.load.progress_tally import ProgressTally
from bench.load.sampling import ClientState
from bench.modes.share import WorkerShare
from bench.priority import PriorityUse
from bench.records import RequestRecord, to_line
from bench.run_directory import RunDirectory
from bench.scale import shards
from bench.scale.cluster.crew import ClusterCrew
from bench.scale.cluster.node_worker import Delivery, node_facts
from bench.scale.cluster.remote_worker import NodeLostError
from bench.scale.messages import Begin, ProgressUpdate, Ready
from tests.support.made_records import made_record

WORKERS, DELIVERIES, A_DELIVERY = 1_000, 4, 3
LOST, ILL = 17, 400
"""A worker whose node is lost half-way, and the one whose loop is the slowest."""
FACTS = node_facts()


class Count:
    """Counts what the live view is told."""

    def __init__(self) -> None:
        self.ended = 0

    def add(self, record: RequestRecord) -> None:
        raise AssertionError("records are never handed over one by one")

    def merge(self, tally: ProgressTally) -> None:
        self.ended += tally.run.succeeded


class Scripted:
    """A `Handle` of a worker that sends `DELIVERIES` of `A_DELIVERY` records."""

    def __init__(self, number: int) -> None:
        self.node = f"node-{number // 4}"
        self.number = number
        self.told: list[tuple[Any, ...]] = []
        self._script = self._deliveries()

    async def call(self, method: str, *arguments: Any) -> Any:
        await asyncio.sleep(0)
        answers = {"facts": FACTS, "start": "/there", "set_clock": None, "close": None, "now_ns": 0}
        return next(self._script) if method == "take" else answers[method]

    def tell(self, method: str, *arguments: Any) -> None:
        self.told.append((method, *arguments))

    def _deliveries(self) -> Iterator[Delivery]:
        yield Delivery(1, (Ready(None),))
        for turn in range(DELIVERIES):
            if self.number == LOST and turn == 2:
                raise NodeLostError("was lost with its node")
            numbers = [self.number + WORKERS * (turn * A_DELIVERY + k) for k in range(A_DELIVERY)]
            records = [replace(made_record(n, sent_ms=n / 10), worker=self.number) for n in numbers]
            tally = ProgressTally()
            for record in records:
                tally.add(record)
            counts = {"in_flight": 1, "in_flight_ns": 0, "planned": 12, "sent": 12, "done": (turn + 1) * A_DELIVERY}
            client = ClientState(loop_lag_ms=9.0 if self.number == ILL else 0.1)
            yield Delivery(
                turn + 2,
                (ProgressUpdate(counts, 0, client, tally, None),),
                b"".join(map(to_line, records)),
                b'{"t_ns":%d}\n' % turn,
            )
        report = WorkerReport(
            run_start_ns=1, reason="requests", problems=(), repeated_rows=0, late_requests=0,
            priority=PriorityUse(asked="normal", had="normal"),
        )  # fmt: skip
        yield Delivery(9, (report,), death="")
        yield Delivery(10, ended=True, death="")


def test_a_thousand_workers_are_merged_into_one_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    config = resolve({"url": "http://h", "concurrency": WORKERS, "cluster": "ray"})
    options = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=False)
    share = WorkerShare(workers=WORKERS, requests=12, duration_ns=None, warmup_requests=0, warmup_ns=0, users=1)
    assignments = [
        Assignment(config=config, share=replace(share, worker=k), run_id="r", options=options, directory=directory.path)
        for k in range(WORKERS)
    ]
    handles = [Scripted(k) for k in range(WORKERS)]
    released: list[bool] = []

    async def main() -> tuple[ClusterCrew, Count, Any]:
        crew = ClusterCrew(
            handles, assignments, LoopClock(), lambda: released.append(True), at_once=WORKERS, certain=True
        )
        await crew.prepare()
        live = Count()
        crew.begin(0, live)
        report = await crew.load()
        crew.close()
        return crew, live, report

    crew, live, report = asyncio.run(main())
    shards.merge(directory)
    rows = list(directory.records())
    here = WORKERS * DELIVERIES * A_DELIVERY - 2 * A_DELIVERY
    assert len({row.index for row in rows}) == len(rows) == live.ended == here
    assert [row.end_ns for row in rows] == sorted(row.end_ns for row in rows)
    assert len(report.workers) == WORKERS - 1
    (died,) = report.died
    assert died.startswith(f"worker {LOST} on node-4 was lost with its node ")
    assert "6 of its records are here, 0 that had ended and 1 that were in flight are missing" in died
    assert crew.client.slowest == f"worker {ILL} on node-100"
    assert crew.counts(0)["done"] == here
    begun = ("send", Begin(0))
    # What a lost node has, is the only copy of it.
    assert [handle.told for handle in handles] == [
        [begun, ("close", False)] if k == LOST else [begun] for k in range(WORKERS)
    ]
    assert released == [True]


def test_nothing_is_left_on_a_node_where_the_load_never_began(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    config = resolve({"url": "http://h", "concurrency": 1, "cluster": "ray"})
    options = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=False)
    share = WorkerShare(workers=1, requests=12, duration_ns=None, warmup_requests=0, warmup_ns=0, users=1)
    given = Assignment(config=config, share=share, run_id="r", options=options, directory=directory.path)
    handle = Scripted(0)

    async def main() -> None:
        crew = ClusterCrew([handle], [given], LoopClock(), lambda: None, at_once=1, certain=True)
        await crew.prepare()
        crew.close()

    asyncio.run(main())
    assert handle.told == [("close", True)]
