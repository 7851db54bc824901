"""The last reports of workers in other processes, and their sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from bench.clock import NS_PER_MS
from bench.load.assignment import WorkerReport
from bench.load.crew import NO_COUNTS, CrewReport, Order, Progress
from bench.load.feed_on_change import lead_ns
from bench.load.sampling import ClientState, worst
from bench.load.worker_health import WorkerHealth
from bench.scale.messages import Change, Command, ProgressUpdate, Refused, WarmupEnds

CHANGE_LEAD_NS = 250 * NS_PER_MS


class WorkerState:
    """A worker's last message. `report`: its final one. `died`: how it died."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.counts = dict(NO_COUNTS)
        self.failures = 0
        self.client = ClientState()
        self.stocked: int | None = None
        self.report: WorkerReport | None = None
        self.died: str | None = None
        self.on_time_over: Callable[[], None] = lambda: None

    def receive(self, message: ProgressUpdate | WorkerReport | Refused, progress: Progress) -> bool:
        """Handle a message. Returns False for the last one. Raises the error that ended the worker's load."""
        if isinstance(message, Refused):
            raise message.error
        if isinstance(message, WorkerReport):
            self.report = message
            return False
        self.counts, self.failures, self.client = message.counts, message.failures, message.client
        self.stocked = message.stocked
        progress.merge(message.tally)
        if message.time_over:
            self.on_time_over()
        return True

    def is_dead(self, how: str) -> None:
        """Record that it died and will report no more."""
        self.died = how
        self.counts["in_flight"] = 0


class Member(Protocol):
    """A worker that receives messages."""

    @property
    def state(self) -> WorkerState:
        """Its last message."""

    def send(self, message: object) -> None:
        """Send it a message; ignored if the worker has died."""


class WorkerGroup:
    """Several workers as one: their reports are summed, and orders go to all. The base of every `Crew` of remote
    workers."""

    def __init__(self, members: Sequence[Member], planned_load: float | None) -> None:
        """`planned_load`: the total at the start; None in a mode that plans no number."""
        self._members = members
        self._planned_load = planned_load

    def end_together(self) -> None:
        """End the load of all workers as soon as the time of one is over."""
        for state in self._states:
            state.on_time_over = self._time_over

    def _time_over(self) -> None:
        for state in self._states:
            state.on_time_over = lambda: None
        self.tell(Order.STOP, "duration")

    @property
    def _states(self) -> list[WorkerState]:
        return [member.state for member in self._members]

    def report(self) -> CrewReport:
        workers = self._states
        return CrewReport(
            workers=tuple(worker.report for worker in workers if worker.report is not None),
            died=tuple(f"{worker.name} {worker.died}" for worker in workers if worker.died is not None),
        )

    def counts(self, at_ns: int) -> dict[str, int]:
        return {key: sum(worker.counts[key] for worker in self._states) for key in NO_COUNTS}

    @property
    def client(self) -> ClientState:
        """The worst state among the workers, as last reported, and which worker it is."""
        return worst(replace(worker.client, slowest=worker.name) for worker in self._states)

    @property
    def health(self) -> tuple[WorkerHealth, ...]:
        """The state of each worker, as last reported."""
        return tuple(
            WorkerHealth(
                worker=worker.number,
                name=worker.name,
                loop_lag_ms=worker.client.loop_lag_ms,
                cpu=worker.client.cpu,
                run_queue_share=worker.client.run_queue_share,
                in_flight=worker.counts["in_flight"],
                done=worker.counts["done"],
                died=worker.died,
            )
            for worker in self._states
        )

    @property
    def failures(self) -> int:
        return sum(worker.failures for worker in self._states)

    @property
    def in_flight(self) -> int:
        return sum(worker.counts["in_flight"] for worker in self._states)

    def tell(self, order: Order, reason: str = "") -> None:
        for member in self._members:
            member.send(Command(order, reason))

    def warmup_ends(self, at_ns: int) -> None:
        for member in self._members:
            member.send(WarmupEnds(at_ns))

    def lead_ns(self, load: float) -> int:
        """Time for a message to arrive even if a worker is busy, and for more requests if they would run out."""
        return CHANGE_LEAD_NS + lead_ns([worker.stocked for worker in self._states], load, self._planned_load)

    def change(self, at_ns: int, load: float) -> None:
        """The total load; each worker takes the same share as of the first load."""
        for member in self._members:
            member.send(Change(at_ns, load))
