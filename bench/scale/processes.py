"""The workers of this machine as processes: started together, beginning at one instant, reporting periodically.

Raw records never pass between processes: each worker writes its own shard, and sends counts and tallies. If a worker
dies, what it had written is kept; the others go on, and the verdict names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from multiprocessing.connection import Connection

from bench.errors import BenchError, UsageError
from bench.load.assignment import Assignment, WorkerReport
from bench.load.crew import BEGIN_LEAD_NS, CrewReport, Progress
from bench.process import child_process
from bench.process.event_loop import add_message_reader, next_message
from bench.scale.messages import Begin, ProgressUpdate, Ready, Refused
from bench.scale.worker_group import WorkerGroup, WorkerState

ENDED_WITHIN_S = 5.0
"""How long workers may take to end after their parent has closed the connection."""


class WorkerProcess:
    """The parent's side of one worker."""

    def __init__(self, assignment: Assignment) -> None:
        number = assignment.share.worker
        self.state = WorkerState(number, f"worker {number}")
        self.process, sock = child_process.start("bench.scale.program")
        self.connection = Connection(sock.detach())
        self.connection.send(assignment)

    async def ready(self) -> None:
        """Wait until it is ready. Raises its refusal, or BenchError if it died."""
        try:
            message = await next_message(self.connection, object)
        except (EOFError, OSError):
            status = self.process.wait()
            problem = f"{self.state.name} {child_process.death(status)} while it got ready"
            if status < 0:  # Killed by a signal: not a defect of ours.
                raise UsageError(f"{problem}: no load was sent") from None
            raise BenchError(f"{problem}: its error is above") from None
        if isinstance(message, Refused):
            raise message.error
        assert isinstance(message, Ready)
        self.state.stocked = message.stocked

    def send(self, message: object) -> None:
        """Send it a message; ignored if the worker has died."""
        try:
            self.connection.send(message)
        except OSError:
            return

    def read(self, progress: Progress) -> bool:
        """Read one message. Returns False if there is nothing more to come. Raises the error that ended the worker's
        load."""
        try:
            message: ProgressUpdate | WorkerReport | Refused = self.connection.recv()
        except (EOFError, OSError):
            if self.state.report is None:
                self.state.is_dead(child_process.death(self.process.wait()))
            return False
        return self.state.receive(message, progress)


class WorkerProcesses(WorkerGroup):
    """A `Crew` of processes on this machine."""

    begin_lead_ns = BEGIN_LEAD_NS
    places = ()
    warnings = ()

    def __init__(self, assignments: Sequence[Assignment]) -> None:
        self.workers = [WorkerProcess(assignment) for assignment in assignments]
        super().__init__(self.workers, assignments[0].config.load.load_at(0))
        self._ready = 0
        self._all_ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def preparing(self) -> str:
        """How many workers are ready, or have refused."""
        return f"waiting for workers to get ready: {self._ready} of {len(self.workers)} are"

    async def prepare(self) -> None:
        """Wait until every worker is ready or has refused. Raises the first refusal."""
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
        loop = asyncio.get_running_loop()
        left = set(self.workers)
        self.end_together()

        def readable(worker: WorkerProcess) -> None:
            if not worker.read(progress):
                loop.remove_reader(worker.connection.fileno())
                left.discard(worker)
                if not left and not self._all_ended.done():
                    self._all_ended.set_result(None)

        for worker in self.workers:
            worker.send(Begin(start_ns))
            add_message_reader(worker.connection, readable, worker)

    async def load(self) -> CrewReport:
        """Wait until every worker has ended or died."""
        await self._all_ended
        return self.report()

    def close(self) -> None:
        """Disconnect every worker, and end those that still run."""
        for worker in self.workers:
            worker.connection.close()
        child_process.end([worker.process for worker in self.workers], ENDED_WITHIN_S)
