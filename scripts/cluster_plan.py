"""What a load from a cluster costs its driver: processor time in a simulation of the driver with scripted workers."""

from __future__ import annotations

import argparse
import asyncio
import math
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.clock import LoopClock
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.load.assignment import Assignment
from bench.load.live import Live, LoadGoal
from bench.load.live_log import live_line
from bench.modes.share import WorkerShare
from bench.run_files import shards
from bench.run_files.run_directory import RunDirectory
from bench.scale.cluster.crew import ClusterCrew
from bench.scale.cluster.node_worker import TAKE_S, Delivery
from tests.support.made_records import made_record
from tests.support.scripted_workers import FIRST, Scripted, delivery, last_words

TOKENS = 128
"""Output tokens per request, one per chunk."""
GAP_S = 0.02
"""Seconds between two chunks: 50 tokens/s per stream."""
WORKER_STREAMS, WORKER_CHUNKS_PER_S = 10_000, 97_000
"""The capacity of one worker (docs/dev/measurements.md): concurrent streams, and token chunks per second."""
SPARE = 4 / 3
"""More workers than needed, so that none is at its limit."""


@dataclass(frozen=True)
class DriverCost:
    """The driver's processor time in seconds. `call_s`: a delivery without records; `record_s`: each additional record;
    `view_s`: a second of the live view per worker; `merge_s`: a record at the end. `record_bytes`: a record's line;
    `worker_bytes`: memory."""

    call_s: float
    record_s: float
    view_s: float
    merge_s: float
    record_bytes: int
    worker_bytes: int

    def of_load(self, workers: int, records_per_s: float) -> float:
        """Processor time per second of load."""
        return workers / TAKE_S * self.call_s + records_per_s * self.record_s + self.view_s * workers


def script(turns: int, filled: Delivery) -> Iterator[Delivery]:
    yield FIRST
    for turn in range(turns):
        yield replace(filled, number=turn + 2)
    yield from last_words()


def simulate(workers: int, turns: int, records: int) -> tuple[float, float, float, int, int]:
    """Run a driver with `workers` workers that each make `turns` deliveries of `records` records. Returns the processor
    time of the load, of a second of the live view and of the merge, the bytes of records, and the memory of the
    workers."""
    chunks_ms = tuple(200 + 1000 * GAP_S * k for k in range(TOKENS))
    made = [made_record(k, sent_ms=float(k), chunks_ms=chunks_ms) for k in range(records)]
    filled = delivery(2, made, records)
    options = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=False)
    share = WorkerShare(workers=workers, requests=records, duration_ns=None, warmup_requests=0, warmup_ns=0, users=1)
    config = resolve({"url": "http://h", "concurrency": workers, "cluster": "ray"})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(prefix="cluster-plan-") as folder:
        directory = RunDirectory.create(Path(folder) / "run")

        async def main() -> tuple[float, float]:
            assignments = [
                Assignment(
                    config=config,
                    share=replace(share, worker=k),
                    run_id="r",
                    options=options,
                    directory=directory.path,
                )
                for k in range(workers)
            ]
            handles = [Scripted(k, script(turns, filled)) for k in range(workers)]
            clock = LoopClock()
            crew = ClusterCrew(handles, assignments, clock, lambda: None, at_once=workers, certain=True)
            await crew.prepare()
            live = Live(clock, crew.counts, LoadGoal())
            live.workers = lambda: crew.health
            live.start()
            began = time.process_time()
            crew.begin(clock.now_ns(), live)
            report = await crew.load()
            loaded = time.process_time()
            assert len(report.workers) == workers, report.died
            for _ in range(20):
                numbers = live.numbers(clock.now_ns())
                live_line(clock.now_ns(), numbers.state, numbers, live.second(), crew.client)
            viewed = time.process_time()
            crew.close()
            return loaded - began, (viewed - loaded) / 20

        load_s, view_s = asyncio.run(main())
        began = time.process_time()
        shards.merge(directory)
        merge_s = time.process_time() - began
        with (directory.path / "requests.jsonl").open("rb") as file:
            merged = sum(1 for _ in file)
        assert merged == workers * turns * records, f"{merged} records of {workers * turns * records}"
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return load_s, view_s, merge_s, len(filled.records), memory


def measured(workers: int, seconds: float, records: int = 4) -> DriverCost:
    """The costs, from two simulations: deliveries with few records, and with many."""
    turns = max(1, round(seconds / TAKE_S))
    bare_s, view_s, _, _, memory = simulate(workers, turns, 1)
    full_s, _, merge_s, size, _ = simulate(workers, turns, 1 + records)
    record_s = max(0.0, full_s - bare_s) / (workers * turns * records)
    return DriverCost(
        call_s=max(0.0, bare_s / (workers * turns) - record_s),
        record_s=record_s,
        view_s=view_s / workers,
        merge_s=merge_s / (workers * turns * (1 + records)),
        record_bytes=size // (1 + records),
        worker_bytes=memory // workers,
    )


def ray_call_s(payload: int, calls: int = 400) -> float:
    """The driver's cost of a call through Ray with an answer of this many bytes."""
    import ray

    from bench.scale.cluster.ray_cluster import RayHandle

    class Answering:
        def take(self, size: int) -> bytes:
            return bytes(size)

    actor = ray.remote(Answering).remote()
    handle = RayHandle(ray, actor, "here")

    async def main() -> float:
        await handle.call("take", payload)
        began = time.process_time()
        for _ in range(calls):
            await handle.call("take", payload)
        return (time.process_time() - began) / calls

    return asyncio.run(main())


def plan(cost: DriverCost, streams: int, ray_s: tuple[float, float]) -> str:
    """What this many streams of 50 tokens/s need. `ray_s`: the cost of a call through Ray, and of each byte of its
    answer."""
    chunks = streams / GAP_S
    workers = math.ceil(SPARE * max(streams / WORKER_STREAMS, chunks / WORKER_CHUNKS_PER_S))
    records = streams / (TOKENS * GAP_S)
    rate = records * cost.record_bytes
    driver = cost.of_load(workers, records)
    through_ray = workers / TAKE_S * ray_s[0] + rate * ray_s[1]
    busy = f"{driver:.2f} s" + (f" + {through_ray:.2f} s for Ray" if ray_s[0] else "")
    return "\n".join(
        [
            f"{streams:,} streams of {1 / GAP_S:g} tokens/s: {workers:,} workers, {chunks:,.0f} chunks/s",
            f"  to the driver              {workers / TAKE_S:,.0f} calls/s, {records:,.0f} records/s, {rate / 1e6:,.0f} MB/s",
            f"  a second of load costs it  {busy}",
            f"  a minute of load leaves    {60 * records:,.0f} records, {60 * rate / 1e9:,.1f} GB, merged in "
            f"{60 * records * cost.merge_s:,.0f} s",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    cost = measured(given.workers, given.seconds)
    print(f"simulated: {given.workers:,} workers, {given.seconds:g} s of load; processor time of the driver")
    print(f"  a delivery without records   {cost.call_s * 1e6:8.1f} us")
    print(
        f"  each record in it            {cost.record_s * 1e6:8.2f} us ({cost.record_bytes:,} bytes, {TOKENS} tokens)"
    )
    print(f"  a second of the live view    {cost.view_s * 1e6:8.1f} us a worker")
    print(f"  merging at the end           {cost.merge_s * 1e6:8.2f} us a record")
    print(f"  memory                       {cost.worker_bytes / 1024:8.0f} KiB a worker")
    print(f"  these workers, idle          {cost.of_load(given.workers, 0):8.3f} s a second of load")
    ray_s = (0.0, 0.0)
    if given.ray:
        import ray

        ray.init("local", num_cpus=1, include_dashboard=False, configure_logging=False, log_to_driver=False)
        large = 500_000
        small_s, large_s = ray_call_s(0), ray_call_s(large)
        ray_s = small_s, max(0.0, large_s - small_s) / large
        ray.shutdown()
        print(
            f"  a call through Ray           {small_s * 1e6:8.1f} us, and {ray_s[1] * 1e9:.2f} ns a byte of its answer"
        )
    for streams in (100_000, 1_000_000):
        print(plan(cost, streams, ray_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
