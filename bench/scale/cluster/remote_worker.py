"""The driver's side of a worker on a node: its last message, and its shards on the driver's disk."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from bench.clock import NS_PER_MS, now_ns
from bench.errors import BenchError, UsageError
from bench.load.assignment import Assignment, WorkerReport
from bench.load.crew import Progress
from bench.machine.worker_place import WorkerPlace
from bench.run_files.run_directory import LineLog, shard_names
from bench.scale.cluster.clock_offset import SAME_CLOCK, ClockOffset, Ping, closest
from bench.scale.cluster.node_worker import Connections, Delivery, NodeFacts, Started
from bench.scale.messages import ProgressUpdate, Ready, Refused
from bench.scale.worker_group import WorkerState

PINGS = 16


class NodeLostError(Exception):
    """The node, or the actor on it, is gone. Its text completes a sentence that begins with the worker's name."""


class Handle(Protocol):
    """The caller's side of an actor."""

    node: str
    """The node's name in messages."""

    def call(self, method: str, *arguments: object) -> Awaitable[Any]:
        """Call a method of `NodeWorker`. Raises NodeLostError."""

    def tell(self, method: str, *arguments: object) -> None:
        """The same, without waiting for an answer; ignored if the actor is lost."""


class RemoteWorker:
    """One worker. Call `start`, `ready`, `follow`, in this order."""

    def __init__(self, handle: Handle, assignment: Assignment, facts: NodeFacts, *, same_clock: bool) -> None:
        self._handle = handle
        self._assignment = assignment
        number = assignment.share.worker
        self.state = WorkerState(number, f"worker {number} on {handle.node}")
        self._same_clock = same_clock
        self._received = 0
        self._ended = 0
        """Requests that have ended, as the worker reports; `_here` counts the records that have arrived."""
        self._here = 0
        self.closed = False
        self.doubt: str | None = None
        """What may go wrong with its node's limits."""
        self.place = WorkerPlace(
            worker=number,
            node=handle.node,
            processors=facts.processors,
            directory="",
            clock_offset_ns=0,
            clock_bound_ns=0,
        )
        names = shard_names(None if assignment.alone else number)
        self._records, self._samples = (LineLog(assignment.directory / name) for name in names)

    async def start(self, connections: Connections) -> None:
        """Start the program on the node. Raises BenchError if the node is gone, or has no room for this many
        connections."""
        share = self._assignment.share
        offsets = None if share.offsets_ns is None else share.offsets_ns.tobytes()
        # Send the arrivals separately: with them the assignment, which has the secrets, could be too large for Ray to
        # keep it in memory only.
        light = replace(self._assignment, share=replace(share, offsets_ns=None), directory=Path())
        try:
            answer: Started | Refused = await self._handle.call("start", light, offsets, connections)
        except NodeLostError as e:
            raise BenchError(f"{self.state.name} {e} before it had begun") from e
        if isinstance(answer, Refused):
            raise UsageError(f"{self.state.name}: {answer.error}")
        self.doubt = answer.doubt
        self.place = replace(self.place, directory=answer.directory)

    async def ready(self) -> None:
        """Wait until the program is ready. Raises its refusal, or BenchError if it died."""
        try:
            while True:
                delivery = await self._take()
                for message in delivery.messages:
                    if isinstance(message, Refused):
                        raise message.error
                    if isinstance(message, Ready):
                        self.state.stocked = message.stocked
                        return
                if delivery.death:
                    raise BenchError(f"{self.state.name} {delivery.death} while it got ready")
        except NodeLostError as e:
            raise BenchError(f"{self.state.name} {e} while it got ready") from e

    async def set_clock(self, offset: ClockOffset) -> None:
        """Send the node its offset to the driver's clock. Raises BenchError if the node is gone."""
        try:
            await self._handle.call("set_clock", offset)
        except NodeLostError as e:
            raise BenchError(f"{self.state.name} {e} while it got ready") from e
        self.place = replace(self.place, clock_offset_ns=offset.offset_ns, clock_bound_ns=offset.bound_ns)

    async def clock_offset(self) -> ClockOffset | None:
        """Measure the node's clock. Returns None if the node is gone."""
        if self._same_clock:
            return SAME_CLOCK
        pings = []
        for _ in range(PINGS):
            sent_ns = now_ns()
            try:
                theirs_ns = await self._handle.call("now_ns")
            except NodeLostError:
                return None
            pings.append(Ping(sent_ns, theirs_ns, now_ns()))
        return closest(pings)

    def note_clock(self, now: ClockOffset) -> None:
        """Note another measurement of the node's clock: the place keeps the largest drift."""
        before = ClockOffset(self.place.clock_offset_ns, self.place.clock_bound_ns)
        drift_ns = max(self.place.clock_drift_ns or 0, before.drift_ns(now))
        self.place = replace(self.place, clock_drift_ns=drift_ns)

    def send(self, message: object) -> None:
        self._handle.tell("send", message)

    async def follow(self, progress: Progress, start_ns: int) -> None:
        """Receive deliveries until everything has arrived or the node is lost."""
        state = self.state
        try:
            while True:
                delivery = await self._take()
                self._records.append(delivery.records)
                self._samples.append(delivery.samples)
                self._here += delivery.records.count(b"\n")
                for message in delivery.messages:
                    if isinstance(message, ProgressUpdate | WorkerReport):
                        state.receive(message, progress)
                    elif isinstance(message, Refused):
                        state.is_dead(f"ended: {message.error}")
                if delivery.death and state.died is None:
                    state.is_dead(delivery.death)
                if delivery.ended:
                    await self._handle.call("close", True)
                    self.closed = True
                    return
        except NodeLostError as e:
            if state.report is None and state.died is None:
                state.is_dead(self._lost(str(e), start_ns))
        finally:
            self._end()

    def _lost(self, how: str, start_ns: int) -> str:
        """How a node was lost, and what was lost with it."""
        at_s = (now_ns() - start_ns) / NS_PER_MS / 1000
        missing = max(0, done_of(self.state) - self._here)
        return (
            f"{how} {at_s:.1f} s after the start ({self._here:,} of its records are here; by its last report, "
            f"{missing:,} that had ended and {self.state.counts['in_flight']:,} that were in flight are missing)"
        )

    def _end(self) -> None:
        problems = [problem for problem in (self._records.close(), self._samples.close()) if problem is not None]
        report = self.state.report
        if report is not None:
            there = (f"on {self.place.node}: {problem}" for problem in report.problems)
            self.state.report = replace(report, problems=(*there, *problems))

    async def close(self, *, done: bool) -> None:
        """End the program; `done`: none of its output is needed."""
        if not self.closed:
            self.closed = True
            try:
                await self._handle.call("close", done)
            except NodeLostError:
                return

    def hang_up(self, *, done: bool) -> None:
        """The same without waiting; unless `done`, its shards stay on its node."""
        if not self.closed:
            self.closed = True
            self._handle.tell("close", done)

    async def _take(self) -> Delivery:
        delivery: Delivery = await self._handle.call("take", self._received)
        self._received = delivery.number
        return delivery


def done_of(state: WorkerState) -> int:
    """Requests that have ended, according to the worker's last message."""
    return state.counts["done"]
