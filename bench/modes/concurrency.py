"""Fixed concurrency: N users, each of whom sends the next request as soon as the last response has ended."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.clock import NS_PER_S
from bench.modes.interface import UsersMode, default_length, divided, ramp_ns, segment_problems
from bench.modes.share import WorkerShare, part
from bench.schedule.segments import Segment, after_warmup, level_at, most
from bench.schedule.users import of_segments

if TYPE_CHECKING:
    from bench.modes.settings import Settings

DEFAULT_USERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency(UsersMode):
    """A number of users who start one by one during the ramp. With `segments`, `users` is the maximum."""

    name = "concurrency"
    summary = "N users, each sends its next request when the last one is answered"
    load_units = ("users",)

    users: int
    ramp_ns: int
    segments: tuple[Segment, ...] = ()
    warmup_ns: int = 0
    """The length of a warm-up at the load of the first segment, before that segment."""

    @classmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """A cap is useless here, and users must be whole."""
        problems = segment_problems(settings, unit="a user", whole=True)
        if settings.max_concurrency is None:
            return problems
        instead = f"for {settings.max_concurrency} users, each of whom waits for the answer, write --concurrency "
        return [f"--max-concurrency caps a --rate: {instead}{settings.max_concurrency}", *problems]

    @classmethod
    def defaults(cls, settings: Settings) -> dict[str, Any]:
        return {**default_length(settings), **default_users(settings)}

    @classmethod
    def of(cls, settings: Settings) -> Concurrency:
        if settings.segments:
            return cls(
                users=round(most(settings.segments)),
                ramp_ns=0,
                segments=settings.segments,
                warmup_ns=round(settings.warmup_s * NS_PER_S),
            )
        users = DEFAULT_USERS if settings.concurrency is None else settings.concurrency
        return cls(users=users, ramp_ns=ramp_ns(settings))

    def user_changes(self, share: WorkerShare) -> Iterator[tuple[int, int]]:
        if not self.segments:
            return UsersMode.user_changes(self, share)
        return divided(of_segments(after_warmup(self.segments, share.warmup_ns)), share)

    def load_at(self, since_start_ns: int) -> float:
        if self.segments:
            return round(level_at(after_warmup(self.segments, self.warmup_ns), since_start_ns))
        return coming_in_by(self.users, self.ramp_ns, since_start_ns)

    def part_of(self, load: float, share: WorkerShare) -> float:
        """Users, divided like those at the start."""
        return part(round(load), share.worker, share.workers)


def default_users(settings: Settings) -> dict[str, Any]:
    """DEFAULT_USERS if the number of users is not given."""
    known = settings.concurrency is not None or settings.segments
    return {} if known else {"concurrency": DEFAULT_USERS}


def coming_in_by(users: int, ramp_ns: int, since_start_ns: int) -> int:
    """The number of users who have started by then, during the ramp."""
    come = users if not ramp_ns else 1 + since_start_ns * users // ramp_ns
    return max(min(come, users), 0)
