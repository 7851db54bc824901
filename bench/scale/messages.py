"""The messages between a worker process and its parent. The worker's last message is its `WorkerReport`."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import BenchError
from bench.load.crew import Order
from bench.load.progress_tally import ProgressTally
from bench.load.sampling import ClientState


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is ready to begin. `stocked`: its number of requests, if a higher load would need more and none can be
    made."""

    stocked: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The worker cannot start, or go on, for a reason that the user must read."""

    error: BenchError


@dataclass(frozen=True, slots=True)
class Begin:
    """The load begins at this instant."""

    start_ns: int


@dataclass(frozen=True, slots=True)
class Command:
    """An order during the load; STOP has a reason."""

    order: Order
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WarmupEnds:
    """The warm-up is over at this instant."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Change:
    """The load of all workers together from this instant on."""

    at_ns: int
    load: float


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """The worker's current counts, and what has ended since the last tick."""

    counts: dict[str, int]
    failures: int
    client: ClientState
    tally: ProgressTally
    stocked: int | None
    """As in `Ready`."""
    time_over: bool = False
    """The duration is over, and the load ends for all workers (`ActiveLoad.time_over`)."""
