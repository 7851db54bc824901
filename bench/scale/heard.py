"""The last reports of workers in other processes, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
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


class Heard:
    """The last message of a worker. `report`: its final one. `died`: how it died."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.counts = dict(NO_COUNTS)
        self.failures = 0
        self.client = ClientState()
        self.stocked: int | None = None
        self.report: WorkerReport | None = None
        self.died: str | None = None

    def hear(self, message: ProgressUpdate | WorkerReport | Refused, progress: Progress) -> bool:
        """Take a message. False when it was the last. Raises the error that ended the worker's load."""
        if isinstance(message, Refused):
            raise message.error
        if isinstance(message, WorkerReport):
            self.report = message
            return False
        self.counts, self.failures, self.client = message.counts, message.failures, message.client
        self.stocked = message.stocked
        progress.merge(message.tally)
        return True

    def is_dead(self, how: str) -> None:
        """It died, and will report no more."""
        self.died = how
        self.counts["in_flight"] = 0


class Member(Protocol):
    """A worker that takes messages."""

    @property
    def heard(self) -> Heard:
        """Its last message."""

    def send(self, message: object) -> None:
        """Tell it something; a worker that has died hears nothing."""


class Together:
    """Several workers as one: their words added up, an order to all. What every `Crew` of workers elsewhere is made of."""

    def __init__(self, members: Sequence[Member], planned_load: float | None) -> None:
        """`planned_load`: that of all together at the start; None in a mode that plans no number."""
        self._members = members
        self._planned_load = planned_load

    @property
    def _heard(self) -> list[Heard]:
        return [member.heard for member in self._members]

    def report(self) -> CrewReport:
        heard = self._heard
        return CrewReport(
            workers=tuple(worker.report for worker in heard if worker.report is not None),
            died=tuple(f"{worker.name} {worker.died}" for worker in heard if worker.died is not None),
        )

    def counts(self, at_ns: int) -> dict[str, int]:
        return {key: sum(worker.counts[key] for worker in self._heard) for key in NO_COUNTS}

    @property
    def client(self) -> ClientState:
        """The worst of the workers, as last heard, and which of them it is."""
        return worst(replace(worker.client, slowest=worker.name) for worker in self._heard)

    @property
    def health(self) -> tuple[WorkerHealth, ...]:
        """How each worker was, as last heard."""
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
            for worker in self._heard
        )

    @property
    def failures(self) -> int:
        return sum(worker.failures for worker in self._heard)

    @property
    def in_flight(self) -> int:
        return sum(worker.counts["in_flight"] for worker in self._heard)

    def tell(self, order: Order, reason: str = "") -> None:
        for member in self._members:
            member.send(Command(order, reason))

    def warmup_ends(self, at_ns: int) -> None:
        for member in self._members:
            member.send(WarmupEnds(at_ns))

    def lead_ns(self, load: float) -> int:
        """Time for a message, also where a worker has much to do; and for more requests, where they would run out."""
        return CHANGE_LEAD_NS + lead_ns([worker.stocked for worker in self._heard], load, self._planned_load)

    def change(self, at_ns: int, load: float) -> None:
        """The load of all together: each takes its part, as it took that of the first load."""
        for member in self._members:
            member.send(Change(at_ns, load))
