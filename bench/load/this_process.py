"""The crew of a small run: one worker, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.load.crew import BEGIN_LEAD_NS, LEAST_BEGIN_LEAD_NS, NO_COUNTS, CrewReport, Order, Progress
from bench.load.feed_on_change import lead_ns
from bench.load.sampling import ClientState

if TYPE_CHECKING:
    from bench.load.active_load import ActiveLoad
    from bench.load.worker import Worker

LEAD_OF_WRITING = 8
"""A load is announced this many times as long in advance as writing run.yaml took: longer on a busy machine."""


class ThisProcess:
    """A `Crew` of one."""

    places = ()
    warnings = ()
    health = ()

    def __init__(self, worker: Worker, *, wrote_ns: int | None = None) -> None:
        """`wrote_ns`: how long writing run.yaml took, which is also the work between the last preparation and the start
        of a load; None: unknown."""
        self.begin_lead_ns = BEGIN_LEAD_NS
        if wrote_ns is not None:
            self.begin_lead_ns = min(BEGIN_LEAD_NS, max(LEAST_BEGIN_LEAD_NS, LEAD_OF_WRITING * wrote_ns))
        self._worker = worker
        self._load: ActiveLoad | None = None

    @property
    def preparing(self) -> str:
        return self._worker.preparing

    async def prepare(self) -> None:
        """Prepare requests and connections. Raises UsageError if the data cannot be made."""
        await self._worker.prepare()

    def begin(self, start_ns: int, progress: Progress) -> None:
        self._load = self._worker.begin(start_ns, progress)

    async def load(self) -> CrewReport:
        return CrewReport((await self._begun.run(),))

    def close(self) -> None:
        """End the processes that were started for the load."""
        self._worker.close()

    @property
    def _begun(self) -> ActiveLoad:
        if self._load is None:
            raise RuntimeError("the load has not begun")
        return self._load

    @property
    def in_flight(self) -> int:
        return 0 if self._load is None else self._load.in_flight

    @property
    def failures(self) -> int:
        return 0 if self._load is None else self._load.failures

    def counts(self, at_ns: int) -> dict[str, int]:
        return dict(NO_COUNTS) if self._load is None else self._load.counts(at_ns)

    @property
    def client(self) -> ClientState:
        return ClientState() if self._load is None else self._load.client

    def tell(self, order: Order, reason: str = "") -> None:
        self._begun.tell(order, reason)

    def warmup_ends(self, at_ns: int) -> None:
        self._begun.warmup_ends(at_ns)

    def lead_ns(self, load: float) -> int:
        """A change takes effect without delay if there are requests for it."""
        return lead_ns([self._worker.stocked], load, self._worker.planned_load)

    def change(self, at_ns: int, load: float) -> None:
        self._begun.change(at_ns, load)
