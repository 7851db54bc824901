"""A crew sends a load: this process alone (`this_process.py`), or worker processes (`bench/scale/processes.py`).

`load_test.py` and the files that watch a load treat both alike.
"""

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
    """End the sending, for a reason that the manifest records; requests in flight finish."""
    INTERRUPT = "interrupt"
    """Like STOP, but at the user's request."""
    CUT = "cut"
    """End requests in flight too."""


BEGIN_LEAD_NS = 150 * NS_PER_MS
"""The time from the end of preparation to the first send on one machine, so that the first arrivals are not late."""

LEAST_BEGIN_LEAD_NS = 25 * NS_PER_MS
"""The same for a single process that begins its own load without delay."""

NO_COUNTS = {"in_flight": 0, "in_flight_ns": 0, "planned": 0, "sent": 0, "done": 0}
"""The counts of a crew that has not begun."""


@dataclass(frozen=True, slots=True)
class CrewReport:
    """How a load ended: a report from each worker that survived, and the beginning of a sentence for each that died."""

    workers: tuple[WorkerReport, ...]
    died: tuple[str, ...] = ()


class Followed(Protocol):
    """Receives the progress of the load of one process."""

    def arrive(self, arrived: Arrived) -> None:
        """Requests in flight have received tokens."""

    def add(self, record: RequestRecord, counted: Counted) -> None:
        """A request has ended; `counted` was already counted while it was in flight."""


class Progress(Followed, Protocol):
    """Receives the progress of a load. A crew passes single records, or tallies of many."""

    def merge(self, tally: ProgressTally) -> None:
        """Several requests have ended."""


class Crew(Protocol):
    """Call `prepare`, `begin`, `load`, `close`, in this order; `close` even if one of the others failed."""

    @property
    def preparing(self) -> str:
        """What `prepare` waits for, for display."""

    async def prepare(self) -> None:
        """Get everything ready. Raises BenchError if that fails."""

    @property
    def begin_lead_ns(self) -> int:
        """How long in advance the start of a load must be announced, so that every worker knows it in time."""

    @property
    def places(self) -> tuple[WorkerPlace, ...]:
        """Where the workers of a cluster run, as far as known. Empty if they run on this machine."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings found during preparation."""

    def begin(self, start_ns: int, progress: Progress) -> None:
        """Begin the load at this instant. From now on the crew takes orders."""

    async def load(self) -> CrewReport:
        """Send, until all of it has ended."""

    def close(self) -> None:
        """End what was started."""

    @property
    def in_flight(self) -> int:
        """Requests in flight, as far as known."""

    @property
    def failures(self) -> int:
        """Failed requests, as far as known."""

    def counts(self, at_ns: int) -> dict[str, int]:
        """in_flight, in_flight_ns (its integral), planned, sent and done at an instant, as far as known."""

    @property
    def client(self) -> ClientState:
        """The state of the senders in the last second, as far as known: the worst of the workers."""

    @property
    def health(self) -> tuple[WorkerHealth, ...]:
        """The state of each worker in the last second, as far as known. Empty if this process is the only worker."""

    def tell(self, order: Order, reason: str = "") -> None:
        """Give an order to every worker. STOP has a reason."""

    def warmup_ends(self, at_ns: int) -> None:
        """The warm-up of all workers is over at this instant, far enough ahead for each to be told."""

    def lead_ns(self, load: float) -> int:
        """How long in advance a change to this load must be announced, so that every worker is told and has requests."""

    def change(self, at_ns: int, load: float) -> None:
        """The load of all workers together from this instant on."""
