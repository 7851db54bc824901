"""A part of a load that changes over time, as it was planned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlannedLoad:
    """Along a line from `first` to `last` (the same twice, in a step): users, or requests per second. Times in ns count
    from the start of the run."""

    first: float
    last: float
    start_ns: int
    end_ns: int

    @property
    def is_step(self) -> bool:
        """Whether the load stays."""
        return self.first == self.last

    def parts(self, n: int) -> list[PlannedLoad]:
        """Cut into n parts of equal length."""
        borders = [self.start_ns + (self.end_ns - self.start_ns) * k // n for k in range(n + 1)]
        loads = [self.first + (self.last - self.first) * k / n for k in range(n + 1)]
        return [PlannedLoad(loads[k], loads[k + 1], borders[k], borders[k + 1]) for k in range(n)]
