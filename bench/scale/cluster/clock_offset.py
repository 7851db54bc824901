"""The offset between two clocks, from pings (Cristian's algorithm).

The other clock is read at some instant between the sending of a ping and the arrival of its answer. The midpoint is
wrong by at most half the time between them, so the shortest of several pings is the most accurate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ping:
    """`sent_ns` and `answered_ns` are on our clock, `theirs_ns` on the other one."""

    sent_ns: int
    theirs_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Our clock minus theirs, with an error of at most `bound_ns`."""

    offset_ns: int
    bound_ns: int

    def theirs(self, ours_ns: int) -> int:
        """An instant of our clock, converted to the other clock."""
        return ours_ns - self.offset_ns

    def ours(self, theirs_ns: int) -> int:
        """An instant of the other clock, converted to ours."""
        return theirs_ns + self.offset_ns

    def drift_ns(self, later: ClockOffset) -> int:
        """How far a later measurement deviates from this one, beyond the error of both."""
        return max(0, abs(later.offset_ns - self.offset_ns) - self.bound_ns - later.bound_ns)


SAME_CLOCK = ClockOffset(0, 0)


def closest(pings: Iterable[Ping]) -> ClockOffset:
    """The offset from the shortest ping. Raises ValueError if there are no pings."""
    best = min(pings, key=lambda ping: ping.answered_ns - ping.sent_ns)
    span_ns = best.answered_ns - best.sent_ns
    return ClockOffset((best.sent_ns + best.answered_ns) // 2 - best.theirs_ns, -(-span_ns // 2))
