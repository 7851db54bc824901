"""The state of each of several workers, as last reported: for live views, never for a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_LISTED = 64
"""The most workers that are listed one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHealth:
    """One worker. On a cluster, `name` includes its node. The three numbers of the last second come from `ClientState`.
    `died`: how it died; None while it lives."""

    worker: int
    name: str
    loop_lag_ms: float
    cpu: float | None
    run_queue_share: float | None
    in_flight: int
    done: int
    died: str | None


def slowest_first(workers: Iterable[WorkerHealth]) -> list[WorkerHealth]:
    """Dead workers first, then the others, by descending loop lag."""
    return sorted(workers, key=lambda worker: (worker.died is None, -worker.loop_lag_ms))
