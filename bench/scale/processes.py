"""The workers of this machine as processes: started together, begun at one instant, heard once in a while.

Raw records never pass between processes: each worker writes its own shard, and sends counts and tallies. A worker that dies
leaves what it had written; the others go on, and the verdict names it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

from bench.clock import NS_PER_MS
from bench.errors import BenchError
from bench.load.assignment import Assignment, WorkerReport
from bench.load.crew import NO_COUNTS, CrewReport, Order, Progress
from bench.load.feed_on_change import lead_ns
from bench.load.sampling import ClientState, worst
from bench.scale.messages import Begin, Change, Command, ProgressUpdate, Ready, Refused

CHANGE_LEAD_NS = 250 * NS_PER_MS


class WorkerProcess:
    """One worker, seen from the parent. `counts` is what it last said, `report` its last word, `died` how it died."""

    def __init__(self, assignment: Assignment) -> None:
        self.number = assignment.share.worker
        ours, theirs = socket.socketpair()
        # A session of its own: Ctrl-C reaches the parent alone, which tells the workers what to do.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.scale.program", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.connection.send(assignment)
        self.counts = dict(NO_COUNTS)
        self.failures = 0
        self.client = ClientState()
        self.stocked: int | None = None
        self.report: WorkerReport | None = None
        self.died: str | None = None

    async def ready(self) -> None:
        """Wait until it is ready. Raises what it refused with, or BenchError where it died."""
        await _readable(self.connection)
        try:
            message: Ready | Refused = self.connection.recv()
        except (EOFError, OSError):
            raise BenchError(f"worker {self.number} {self._death()} while it got ready: its error is above") from None
        if isinstance(message, Refused):
            raise message.error
        self.stocked = message.stocked

    def send(self, message: object) -> None:
        """Tell it something; a worker that has died hears nothing."""
        try:
            self.connection.send(message)
        except OSError:
            return

    def _death(self) -> str:
        status = self.process.wait()
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def read(self, progress: Progress) -> bool:
        """Take one message. False when there is nothing more to come."""
        try:
            message: ProgressUpdate | WorkerReport = self.connection.recv()
        except (EOFError, OSError):
            if self.report is None:
                self.died = self._death()
                self.counts["in_flight"] = 0
            return False
        if isinstance(message, WorkerReport):
            self.report = message
            return False
        self.counts, self.failures, self.client = message.counts, message.failures, message.client
        self.stocked = message.stocked
        progress.merge(message.tally)
        return True


async def _readable(connection: Connection) -> None:
    """Wait until there is something to read."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection.fileno(), lambda: None if readable.done() else readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(connection.fileno())


class WorkerProcesses:
    """A `Crew` of processes on this machine."""

    def __init__(self, assignments: Sequence[Assignment]) -> None:
        """Starts them."""
        self.workers = [WorkerProcess(assignment) for assignment in assignments]
        self._planned_load = assignments[0].config.load.load_at(0)
        self._ready = 0
        self._all_ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def preparing(self) -> str:
        """How many workers have got ready, or refused."""
        return f"waiting for workers to get ready: {self._ready} of {len(self.workers)} are"

    async def prepare(self) -> None:
        """Wait until every worker is ready. Raises the first refusal, when all have been heard."""
        refusals = []
        for worker in self.workers:
            try:
                await worker.ready()
            except BenchError as e:
                refusals.append(e)
            self._ready += 1
        if refusals:
            raise refusals[0]

    def begin(self, start_ns: int, progress: Progress) -> None:
        """Let them begin at this instant."""
        loop = asyncio.get_running_loop()
        left = set(self.workers)

        def readable(worker: WorkerProcess) -> None:
            if not worker.read(progress):
                loop.remove_reader(worker.connection.fileno())
                left.discard(worker)
                if not left and not self._all_ended.done():
                    self._all_ended.set_result(None)

        for worker in self.workers:
            worker.send(Begin(start_ns))
            loop.add_reader(worker.connection.fileno(), readable, worker)

    async def load(self) -> CrewReport:
        """Wait until the last one has ended or died."""
        await self._all_ended
        return CrewReport(
            workers=tuple(worker.report for worker in self.workers if worker.report is not None),
            died=tuple(f"worker {worker.number} {worker.died}" for worker in self.workers if worker.died is not None),
        )

    def counts(self, at_ns: int) -> dict[str, int]:
        """What the workers last said, added up."""
        return {key: sum(worker.counts[key] for worker in self.workers) for key in NO_COUNTS}

    @property
    def client(self) -> ClientState:
        """The worst of the workers, as last heard."""
        return worst(worker.client for worker in self.workers)

    @property
    def failures(self) -> int:
        """Failed requests of the run, as last heard."""
        return sum(worker.failures for worker in self.workers)

    @property
    def in_flight(self) -> int:
        """Requests in flight, as last heard."""
        return sum(worker.counts["in_flight"] for worker in self.workers)

    def tell(self, order: Order, reason: str = "") -> None:
        """Give an order to all."""
        for worker in self.workers:
            worker.send(Command(order, reason))

    def lead_ns(self, load: float) -> int:
        """Time for a message, also where a worker has much to do; and for more requests, where they would run out."""
        return CHANGE_LEAD_NS + lead_ns([worker.stocked for worker in self.workers], load, self._planned_load)

    def change(self, at_ns: int, load: float) -> None:
        """The load of all together: each takes its part, as it took that of the first load."""
        for worker in self.workers:
            worker.send(Change(at_ns, load))

    def close(self) -> None:
        """Let go of every worker; one that still runs is ended."""
        for worker in self.workers:
            worker.connection.close()
            try:
                worker.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.kill(worker.process.pid, signal.SIGKILL)
                worker.process.wait()
