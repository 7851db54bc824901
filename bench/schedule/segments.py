"""A load that changes over time: consecutive segments, in each of which it is constant or follows a straight line.

The same segments drive an open loop (requests per second) and a closed one (users).

Arrivals at a changing rate r(t) come from a process of rate 1 by a change of time: with R(t) the integral of r, arrival
i is at R^-1(u_i). For a unit Poisson process that gives the Poisson process of rate r(t), without any approximation
(Cinlar, Introduction to Stochastic Processes, 4.7); for a metronome, one whose n-th arrival is where the plan reaches
n. Along a line from a to b over T, with x arrivals expected since its start,

    a t + (b - a) t^2 / 2T = x    so    t = 2x / (a + sqrt(a^2 + 2x (b - a) / T))

which also holds for a = b and for lines that begin or end at 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.clock import NS_PER_S


@dataclass(frozen=True, slots=True)
class Segment:
    """The load follows a line from `first` to `last` (the same, in a step) within `duration_ns`."""

    first: float
    last: float
    duration_ns: int

    @property
    def arrivals(self) -> float:
        """The expected number of requests, if the load is in requests per second."""
        return (self.first + self.last) / 2 * self.duration_ns / NS_PER_S

    def reached_ns(self, arrivals: float) -> int:
        """How long after its start this many arrivals are expected."""
        if arrivals <= 0:
            return 0
        a, slope = self.first, (self.last - self.first) / self.duration_ns * NS_PER_S
        # On a falling line that ends at 0, the root of the last arrival is 0, up to rounding.
        root = math.sqrt(max(0.0, a * a + 2 * arrivals * slope))
        return round(2 * arrivals / (a + root) * NS_PER_S)


def lasts_ns(segments: Iterable[Segment]) -> int:
    """Their total duration."""
    return sum(segment.duration_ns for segment in segments)


def most(segments: Iterable[Segment]) -> float:
    """The highest load in them."""
    return max(max(segment.first, segment.last) for segment in segments)


def level_at(segments: Sequence[Segment], at_ns: int) -> float:
    """The load this long after their start; after their end, the final load."""
    for segment in segments:
        if at_ns < segment.duration_ns:
            return segment.first + (segment.last - segment.first) * max(at_ns, 0) / segment.duration_ns
        at_ns -= segment.duration_ns
    return segments[-1].last


def after_warmup(segments: Sequence[Segment], warmup_ns: int) -> tuple[Segment, ...]:
    """The segments after a warm-up at the first load."""
    first = segments[0].first
    return (*((Segment(first, first, warmup_ns),) if warmup_ns else ()), *segments)


def arrivals(unit_ns: Iterator[int], segments: Sequence[Segment]) -> Iterator[int]:
    """Offsets in ns of a process whose rate follows the segments. `unit_ns`: the same process at one arrival a second.

    They end where the last segment ends; an arrival on the border of two belongs to the later one.
    """
    start_ns, before, left = 0, 0.0, list(segments)
    for at_ns in unit_ns:
        unit = at_ns / NS_PER_S
        while unit >= before + left[0].arrivals:
            segment = left.pop(0)
            start_ns, before = start_ns + segment.duration_ns, before + segment.arrivals
            if not left:
                return
        yield start_ns + left[0].reached_ns(unit - before)
