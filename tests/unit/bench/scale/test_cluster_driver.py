"""The driver of a cluster with a thousand scripted workers: nothing is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from bench.clock import LoopClock
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.load.assignment import Assignment
from bench.load.crew import CrewReport
from bench.modes.share import WorkerShare
from bench.run_files import shards
from bench.run_files.run_directory import RunDirectory
from bench.scale.cluster.crew import ClusterCrew
from bench.scale.cluster.node_worker import Delivery
from bench.scale.cluster.remote_worker import PINGS, NodeLostError
from bench.scale.messages import Begin
from tests.support.changed import replace
from tests.support.scripted_workers import (
    FACTS,
    FIRST,
    WORKERS_A_NODE,
    Counted,
    Scripted,
    delivery,
    last_words,
    records_of,
)

WORKERS, DELIVERIES, A_DELIVERY = 1_000, 4, 3
LOST, ILL = 17, 400
"""A worker whose node is lost half-way, and the worker with the slowest loop."""
POOR = 8
"""The first worker of a node with few open files."""


def script(worker: int) -> Iterator[Delivery]:
    yield FIRST
    for turn in range(DELIVERIES):
        if worker == LOST and turn == 2:
            raise NodeLostError("was lost with its node")
        records = records_of(worker, WORKERS, turn, A_DELIVERY)
        yield delivery(turn + 2, records, (turn + 1) * A_DELIVERY, lag_ms=9.0 if worker == ILL else 0.1)
    yield from last_words()


def test_a_thousand_workers_are_merged_into_one_load(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    handles = [Scripted(k, script(k), "few files" if POOR <= k < POOR + 8 else None) for k in range(WORKERS)]

    async def main() -> tuple[ClusterCrew, Counted, CrewReport]:
        crew = crew_of(directory, handles)
        await crew.prepare()
        live = Counted()
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
    assert (
        "6 of its records are here; by its last report, 0 that had ended and 1 that were in flight are missing" in died
    )
    assert crew.client.slowest == f"worker {ILL} on node-100"
    assert crew.counts(0)["done"] == here
    assert crew.warnings == ("--cluster: node node-2, node-3: few files",)
    assert [one.worker for one in crew.health] == list(range(WORKERS))
    assert [one.worker for one in crew.health if one.died is not None] == [LOST]
    begun = ("send", Begin(0))
    # The lost node has the only copy of its records.
    assert [handle.told for handle in handles] == [
        [begun, ("close", False)] if k == LOST else [begun] for k in range(WORKERS)
    ]


def crew_of(directory: RunDirectory, handles: list[Scripted]) -> ClusterCrew:
    """A crew of one-user workers that send 12 requests each."""
    config = resolve({"url": "http://h", "concurrency": len(handles), "cluster": "ray"})
    options = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=False)
    share = WorkerShare(workers=len(handles), requests=12, duration_ns=None, warmup_requests=0, warmup_ns=0, users=1)
    assignments = [
        Assignment(config=config, share=replace(share, worker=k), run_id="r", options=options, directory=directory.path)
        for k in range(len(handles))
    ]
    return ClusterCrew(handles, assignments, LoopClock(), lambda: None, at_once=len(handles), certain=True)


def test_the_clock_of_a_node_is_measured_once_for_all_of_its_workers(tmp_path: Path) -> None:
    elsewhere = replace(FACTS, clock={"boot_id": "another"})
    handles = [Scripted(k, script(k), facts=elsewhere) for k in range(2 * WORKERS_A_NODE)]

    async def main() -> ClusterCrew:
        crew = crew_of(RunDirectory.create(tmp_path / "run"), handles)
        await crew.prepare()
        return crew

    crew = asyncio.run(main())
    first = [k % WORKERS_A_NODE == 0 for k in range(len(handles))]
    assert [handle.asked["now_ns"] for handle in handles] == [PINGS if one else 0 for one in first]
    assert [handle.asked["set_clock"] for handle in handles] == [1] * len(handles)
    assert len({(place.node, place.clock_offset_ns, place.clock_bound_ns) for place in crew.places}) == 2
    assert all(place.clock_bound_ns > 0 for place in crew.places)


def test_nothing_is_left_on_a_node_where_the_load_never_began(tmp_path: Path) -> None:
    handle = Scripted(0, script(0))

    async def main() -> None:
        crew = crew_of(RunDirectory.create(tmp_path / "run"), [handle])
        await crew.prepare()
        crew.close()

    asyncio.run(main())
    assert handle.told == [("close", True)]
