"""A crew sends a load: this process alone (`this_process.py`), or worker processes (`bench/scale/processes.py`).
`load_test.py` and the files that watch a load treat both alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from bench.clock import NS_PER_MS

if TYPE_CHECKING:
    from bench.load.assignment import WorkerReport
    from bench.load.progress_tally import ProgressTally
    from bench.load.replies_in_flight import Arrived, Counted
    from bench.load.sampling import ClientState
    from bench.load.worker_health import WorkerHealth
    from bench.machine.worker_place import WorkerPlace
    from bench.records import RequestRecord


class Order(StrEnum):
    """Orders to a crew during the load."""

    STOP = "stop"
    """End the sending, for a reason that the manifest names; requests in flight finish."""
    INTERRUPT = "interrupt"
    """As STOP, but at the user's request."""
    CUT = "cut"
    """End requests in flight too."""


BEGIN_LEAD_NS = 150 * NS_PER_MS
"""The time from the last preparation to the first send on one machine, so that the first arrivals are not late."""

LEAST_BEGIN_LEAD_NS = 25 * NS_PER_MS
"""The same for one process that begins its own load, which nothing delays."""

NO_COUNTS = {"in_flight": 0, "in_flight_ns": 0, "planned": 0, "sent": 0, "done": 0}
"""The counts of a crew that has not begun."""


@dataclass(frozen=True, slots=True)
class CrewReport:
    """How a load ended: a report of each worker that lived, and a sentence's beginning for each that died."""

    workers: tuple[WorkerReport, ...]
    died: tuple[str, ...] = ()


class Followed(Protocol):
    """Receives the progress of the load of one process."""

    def arrive(self, arrived: Arrived) -> None:
        """Requests in flight have had tokens."""

    def add(self, record: RequestRecord, counted: Counted) -> None:
        """A request has ended, of which this much had been counted while it was in flight."""


class Progress(Followed, Protocol):
    """Receives the progress of a load. A crew hands over single records, or tallies of many."""

    def merge(self, tally: ProgressTally) -> None:
        """Several requests have ended."""


class Crew(Protocol):
    """`prepare`, `begin`, `load`, `close`, in this order; `close` also where one of the others failed."""

    @property
    def preparing(self) -> str:
        """What `prepare` waits for, for people."""

    async def prepare(self) -> None:
        """Get everything ready. Raises BenchError where that cannot be done."""

    @property
    def begin_lead_ns(self) -> int:
        """How long in advance the start of a load must be announced, so that every worker knows it in time."""

    @property
    def places(self) -> tuple[WorkerPlace, ...]:
        """Where the workers of a cluster run, as far as is known. Empty if they run on this machine."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may go wrong, as was seen while it was prepared."""

    def begin(self, start_ns: int, progress: Progress) -> None:
        """Begin the load at this instant. From now on it takes orders."""

    async def load(self) -> CrewReport:
        """Send, until all of it has ended."""

    def close(self) -> None:
        """End what was started."""

    @property
    def in_flight(self) -> int:
        """Requests in flight, as far as is known."""

    @property
    def failures(self) -> int:
        """Failed requests, as far as is known."""

    def counts(self, at_ns: int) -> dict[str, int]:
        """in_flight, in_flight_ns (its integral), planned, sent and done at an instant, as far as is known."""

    @property
    def client(self) -> ClientState:
        """How the senders were in the last second, as far as is known: the worst of the workers."""

    @property
    def health(self) -> tuple[WorkerHealth, ...]:
        """The state of each worker in the last second, as far as is known. Empty if this process is the only worker."""

    def tell(self, order: Order, reason: str = "") -> None:
        """Give an order to every worker. STOP has a reason."""

    def warmup_ends(self, at_ns: int) -> None:
        """The warm-up of all workers is over at this instant, which is far enough ahead for each to hear of it."""

    def lead_ns(self, load: float) -> int:
        """How long in advance a change to this load must be announced, so that every worker knows it and has requests."""

    def change(self, at_ns: int, load: float) -> None:
        """The load of all workers together from this instant on."""
