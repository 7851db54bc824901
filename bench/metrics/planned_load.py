"""A part of a load that changes over time, as planned, or as changed during the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.clock import NS_PER_S
from bench.results.summary import Change


@dataclass(frozen=True, slots=True)
class PlannedLoad:
    """A load along a line from `first` to `last` (equal in a step): users, or requests per second. Times in ns count
    from the start of the run."""

    first: float
    last: float
    start_ns: int
    end_ns: int

    @property
    def is_step(self) -> bool:
        """Whether the load is constant."""
        return self.first == self.last

    def parts(self, n: int) -> list[PlannedLoad]:
        """The load divided into n parts of equal length."""
        borders = [self.start_ns + (self.end_ns - self.start_ns) * k // n for k in range(n + 1)]
        loads = [self.first + (self.last - self.first) * k / n for k in range(n + 1)]
        return [PlannedLoad(loads[k], loads[k + 1], borders[k], borders[k + 1]) for k in range(n)]


@dataclass(frozen=True, slots=True)
class ChangedLoad:
    """A change of the load during the run, made by `by` at this time in ns from the start of the run."""

    at_ns: int
    before: float
    after: float
    by: str

    def result(self) -> Change:
        """The entry of `changes` in a summary."""
        return Change(at_s=self.at_ns / NS_PER_S, from_=self.before, to=self.after, by=self.by)


def parts_between(first: float, changes: Sequence[ChangedLoad], end_ns: int) -> tuple[PlannedLoad, ...]:
    """The steps into which changes divide a load that began with `first`."""
    borders = [0, *(min(max(change.at_ns, 0), end_ns) for change in changes), end_ns]
    loads = [first, *(change.after for change in changes)]
    steps = zip(loads, pairwise(borders), strict=True)
    return tuple(PlannedLoad(load, load, begin, end) for load, (begin, end) in steps if end > begin)
