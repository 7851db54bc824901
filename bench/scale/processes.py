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
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from bench.clock import Clock
from bench.errors import BenchError
from bench.load.live_tally import LiveTally
from bench.load.worker import Assignment, Ended

NO_COUNTS = {"in_flight": 0, "in_flight_ns": 0, "planned": 0, "sent": 0, "done": 0}


class WorkerProcess:
    """One worker, seen from the parent. `counts` is what it last said, `ended` its last word, `died` how it died."""

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
        self.ended: Ended | None = None
        self.died: str | None = None

    def wait_ready(self) -> None:
        """Block until it is ready. Raises what it refused with, or BenchError where it died."""
        try:
            word, content = self.connection.recv()
        except (EOFError, OSError):
            raise BenchError(f"worker {self.number} {self._death()} while it got ready: its error is above") from None
        if word == "refused":
            raise content

    def send(self, message: object) -> None:
        """Tell it something; a worker that has died hears nothing."""
        try:
            self.connection.send(message)
        except OSError:
            return

    def _death(self) -> str:
        status = self.process.wait()
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def read(self, on_tally: Callable[[LiveTally], None]) -> bool:
        """Take one message. False when there is nothing more to come."""
        try:
            word, content = self.connection.recv()
        except (EOFError, OSError):
            if self.ended is None:
                self.died = self._death()
                self.counts["in_flight"] = 0
            return False
        if word == "tick":
            self.counts, self.failures, tally = content
            on_tally(tally)
            return True
        self.ended = content
        return False


class Pool:
    """All workers of a run."""

    def __init__(self, assignments: Sequence[Assignment]) -> None:
        self.workers = [WorkerProcess(assignment) for assignment in assignments]
        self.ready = 0
        """How many have got ready, or refused."""

    def wait_ready(self) -> None:
        """Block until every worker is ready. Raises the first refusal, when all have been heard."""
        refusals = []
        for worker in self.workers:
            try:
                worker.wait_ready()
            except BenchError as e:
                refusals.append(e)
            self.ready += 1
        if refusals:
            raise refusals[0]

    async def load(self, start_ns: int, clock: Clock, on_tally: Callable[[LiveTally], None]) -> None:
        """Let them begin at this instant, and return when the last one has ended or died."""
        loop = asyncio.get_running_loop()
        left = set(self.workers)
        all_ended: asyncio.Future[None] = loop.create_future()

        def readable(worker: WorkerProcess) -> None:
            if not worker.read(on_tally):
                loop.remove_reader(worker.connection.fileno())
                left.discard(worker)
                if not left and not all_ended.done():
                    all_ended.set_result(None)

        for worker in self.workers:
            worker.send(start_ns)
            loop.add_reader(worker.connection.fileno(), readable, worker)
        await all_ended

    def counts(self, at_ns: int) -> dict[str, int]:
        """What the workers last said, added up."""
        return {key: sum(worker.counts[key] for worker in self.workers) for key in NO_COUNTS}

    @property
    def failures(self) -> int:
        """Failed requests of the run, as last heard."""
        return sum(worker.failures for worker in self.workers)

    @property
    def in_flight(self) -> int:
        return sum(worker.counts["in_flight"] for worker in self.workers)

    def tell(self, order: str, argument: object = None) -> None:
        """An order for all: `stop` with a reason, `interrupt`, or `cut`."""
        for worker in self.workers:
            worker.send((order, argument))

    def close(self) -> None:
        """Let go of every worker; one that still runs is ended."""
        for worker in self.workers:
            worker.connection.close()
            try:
                worker.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.kill(worker.process.pid, signal.SIGKILL)
                worker.process.wait()
