"""A worker's task, and its report when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.dispatch.interface import NeverSent
    from bench.endpoints.interface import BodyOptions
    from bench.modes.share import WorkerShare
    from bench.process.priority import PriorityUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The task of one worker. `alone`: the run has no other worker."""

    config: RunConfig
    share: WorkerShare
    run_id: str
    options: BodyOptions
    directory: Path
    salt: str | None = None
    """Selects the texts of the run's prompts; if None, only the seed does."""

    @property
    def alone(self) -> bool:
        return self.share.workers == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """How a worker's part ended.

    `run_start_ns`: when its warm-up was over. `reason`: why sending stopped. `problems`: messages for the user.
    `repeated_rows`: rows that it sent again. `late_requests`: requests that were not made yet when they were due.
    `never_sent`: requests, or sessions, that were due and not made when the sending stopped. `priority`: the scheduling
    priority that it had while it sent.
    """

    run_start_ns: int | None
    reason: str | None
    problems: tuple[str, ...]
    repeated_rows: int
    late_requests: int
    never_sent: NeverSent
    priority: PriorityUse
