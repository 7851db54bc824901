"""Maximum throughput: everything at once, or as many as a cap allows. A closed loop with that many users."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.modes.interface import LoadPlan, UsersMode, ramp_ns

if TYPE_CHECKING:
    from bench.modes.settings import Settings
    from bench.modes.share import RunLength
    from bench.sources.interface import Source

_HOW_MUCH = (
    "--mode throughput sends everything at once: say how much with --requests (or cap it with --max-concurrency and "
    "end it with --duration)"
)
_WAITS = "with --mode throughput and --warmup, all other requests wait until these have ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput(UsersMode):
    """As many users as requests, or as the cap allows in flight."""

    name = "throughput"
    summary = "everything at once"
    all_at_once = True

    users: int
    ramp_ns: int

    @classmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """The amount of load must be known."""
        problems = []
        if settings.concurrency is not None:
            problems.append(
                "--concurrency cannot be combined with --mode throughput: use --max-concurrency for its cap"
            )
        if settings.requests is None and settings.max_concurrency is None:
            problems.append(_HOW_MUCH)
        return problems

    def plan(self, length: RunLength, source: Source[object]) -> LoadPlan:
        """A worker does not know when the warm-up of the others has ended, so with one it sends alone."""
        plan = UsersMode.plan(self, length, source)
        return replace(plan, undivided=_WAITS) if length.warmup_requests else plan

    @classmethod
    def of(cls, settings: Settings) -> Throughput:
        users = settings.requests if settings.max_concurrency is None else settings.max_concurrency
        if users is None:
            raise UsageError(_HOW_MUCH)
        return cls(users=users, ramp_ns=ramp_ns(settings))
