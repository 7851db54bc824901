"""The crew of a cluster: workers on its nodes, started at one instant, polled twice a second.

If a node is lost, so is its worker's share of the load; the others go on, everything shipped so far is kept, and the
verdict names the node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from bench.clock import NS_PER_MS, NS_PER_S, Clock, sleep_until
from bench.errors import BenchError, UsageError
from bench.load.assignment import Assignment
from bench.load.crew import CrewReport, Progress
from bench.machine import preflight
from bench.machine.worker_place import WorkerPlace
from bench.scale.cluster.clock_offset import ClockOffset
from bench.scale.cluster.node_worker import Connections, NodeFacts, node_facts
from bench.scale.cluster.remote_worker import Handle, NodeLostError, RemoteWorker
from bench.scale.messages import Begin
from bench.scale.worker_group import WorkerGroup

CLUSTER_BEGIN_LEAD_NS = 600 * NS_PER_MS
"""From the end of preparation to the first send: every node must have received the start time by then."""
CLOCKS_EVERY_NS = 10 * NS_PER_S
CLOCKS_AT_ONCE = 4
"""Nodes whose clocks are measured at once: with many, the answers would queue here and widen the bounds."""
_NODES_NAMED = 3


class ClusterCrew(WorkerGroup):
    """A `Crew` on the nodes of a cluster."""

    begin_lead_ns = CLUSTER_BEGIN_LEAD_NS

    def __init__(
        self,
        handles: Sequence[Handle],
        assignments: Sequence[Assignment],
        clock: Clock,
        release: Callable[[], None],
        *,
        at_once: int,
        certain: bool,
    ) -> None:
        """One handle per assignment. `release` gives the nodes back. `at_once`: connections of all workers; an estimate
        unless `certain`."""
        self._at_once, self._certain = at_once, certain
        self._handles = handles
        self._assignments = assignments
        self._clock = clock
        self._release = release
        self._workers: list[RemoteWorker] = []
        self._ready = 0
        self._followed: list[asyncio.Task[None]] = []
        super().__init__(self._workers, assignments[0].config.load.load_at(0))

    @property
    def preparing(self) -> str:
        """How many workers are ready, or have refused."""
        return f"waiting for workers to get ready: {self._ready} of {len(self._handles)} are"

    @property
    def places(self) -> tuple[WorkerPlace, ...]:
        return tuple(worker.place for worker in self._workers)

    async def prepare(self) -> None:
        """Compare the nodes, and wait until every worker is ready. Raises UsageError if they differ, else the first
        refusal."""
        try:
            facts: list[NodeFacts] = await asyncio.gather(*(handle.call("facts") for handle in self._handles))
        except NodeLostError as e:
            raise BenchError(f"a worker cannot start on the cluster: it {e}") from e
        ours = node_facts()
        if problems := differences(ours, zip((handle.node for handle in self._handles), facts, strict=True)):
            raise UsageError(problems)
        preflight.open_files_for(2 * len(self._handles))  # A file of records and one of samples per worker.
        known = None not in ours.clock.values()
        self._workers.extend(
            RemoteWorker(handle, assignment, theirs, same_clock=known and theirs.clock == ours.clock)
            for handle, assignment, theirs in zip(self._handles, self._assignments, facts, strict=True)
        )
        refusals = [e for e in await asyncio.gather(*map(self._get_ready, self._workers)) if e is not None]
        try:
            if refusals:
                raise refusals[0]
            await self._set_clocks()
        except BenchError:
            await asyncio.gather(*(worker.close(done=True) for worker in self._workers))
            raise

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the nodes' limits, each once."""
        nodes: dict[str, list[str]] = {}
        for worker in self._workers:
            if worker.doubt is not None:
                named = nodes.setdefault(worker.doubt, [])
                named += [] if worker.place.node in named else [worker.place.node]
        return tuple(f"--cluster: node {_listed(names)}: {doubt}" for doubt, names in nodes.items())

    async def _clocks(self) -> list[tuple[list[RemoteWorker], ClockOffset | None]]:
        """The current offset of each node's clock, and the node's workers, which share it."""
        nodes: dict[str, list[RemoteWorker]] = {}
        for worker in self._workers:
            if not worker.closed:
                nodes.setdefault(worker.place.node, []).append(worker)
        few = asyncio.Semaphore(CLOCKS_AT_ONCE)

        async def measured(workers: list[RemoteWorker]) -> tuple[list[RemoteWorker], ClockOffset | None]:
            async with few:
                return workers, await workers[0].clock_offset()

        return await asyncio.gather(*map(measured, nodes.values()))

    async def _set_clocks(self) -> None:
        clocks = await self._clocks()
        if gone := [workers[0].state.name for workers, offset in clocks if offset is None]:
            raise BenchError(f"{gone[0]} was lost with its node while it got ready")
        await asyncio.gather(
            *(worker.set_clock(offset) for workers, offset in clocks if offset is not None for worker in workers)
        )

    async def _get_ready(self, worker: RemoteWorker) -> BenchError | None:
        try:
            mine = -(-self._at_once // len(self._handles))
            on_node = sum(handle.node == worker.place.node for handle in self._handles)
            await worker.start(Connections(mine, mine * on_node, self._certain))
            await worker.ready()
        except BenchError as e:
            return e
        finally:
            self._ready += 1
        return None

    def begin(self, start_ns: int, progress: Progress) -> None:
        self.end_together()
        for worker in self._workers:
            worker.send(Begin(start_ns))
        self._followed = [asyncio.create_task(worker.follow(progress, start_ns)) for worker in self._workers]

    async def load(self) -> CrewReport:
        """Wait until every worker has ended or is lost."""
        clocks = asyncio.create_task(self._watch_clocks())
        try:
            await asyncio.gather(*self._followed)
        finally:
            clocks.cancel()
        return self.report()

    async def _watch_clocks(self) -> None:
        """Measure the clocks again, soon after the start and then periodically."""
        due_ns = self._clock.now_ns() + CLUSTER_BEGIN_LEAD_NS + NS_PER_S // 2
        while True:
            await sleep_until(self._clock, due_ns)
            for workers, now in await self._clocks():
                if now is not None:
                    for worker in workers:
                        worker.note_clock(now)
            due_ns = max(due_ns + CLOCKS_EVERY_NS, self._clock.now_ns())

    def close(self) -> None:
        """Disconnect every worker, and give the nodes back."""
        for task in self._followed:
            task.cancel()
        for worker in self._workers:
            worker.hang_up(done=not self._followed)  # Before the load the shards are empty.
        self._release()


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NODES_NAMED
    return ", ".join(names[:_NODES_NAMED]) + (f" and {more} more" if more > 0 else "")


def differences(ours: NodeFacts, nodes: Iterable[tuple[str, NodeFacts]]) -> list[str]:
    """How the nodes differ from this machine: a sentence for each set of differences."""
    counts = {}
    for node, theirs in nodes:
        packages = ours.versions.keys() | theirs.versions.keys()
        if theirs.code == ours.code:
            packages -= {"trueload"}  # Code shipped by Ray is not an installed package, and has no version.
        differ = [
            f"{name} {theirs.versions.get(name, 'none')} (here: {ours.versions.get(name, 'none')})"
            for name in sorted(packages)
            if ours.versions.get(name) != theirs.versions.get(name)
        ]
        remedy = "install the same on every node"
        if not differ and ours.code != theirs.code:
            remedy = f"leave out --runtime-env none, or {remedy}"
            differ = [
                f"other source code of trueload {ours.versions.get('trueload', '')} ({theirs.code}, here: {ours.code})"
            ]
        if differ:
            counts[node] = f"--cluster: node {node} has {', '.join(differ)}: {remedy}"
    return list(counts.values())
