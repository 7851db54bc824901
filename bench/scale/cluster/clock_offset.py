"""The offset between two clocks, from pings (Cristian's algorithm).

The other clock is read at some instant between the sending of a ping and the arrival of its answer. The middle of the two is
wrong by at most half of the time between them, so the shortest of several pings is the most exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ping:
    """`sent_ns` and `answered_ns` by our clock, `theirs_ns` by the other one."""

    sent_ns: int
    theirs_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Our clock less theirs, wrong by at most `bound_ns`."""

    offset_ns: int
    bound_ns: int

    def theirs(self, ours_ns: int) -> int:
        """The other clock's word for an instant of ours."""
        return ours_ns - self.offset_ns

    def ours(self, theirs_ns: int) -> int:
        """Our word for an instant of the other clock."""
        return theirs_ns + self.offset_ns

    def drift_ns(self, later: ClockOffset) -> int:
        """How far a later measurement is off this one, beyond what both can be wrong by."""
        return max(0, abs(later.offset_ns - self.offset_ns) - self.bound_ns - later.bound_ns)


SAME_CLOCK = ClockOffset(0, 0)


def closest(pings: Iterable[Ping]) -> ClockOffset:
    """The offset by the shortest of the pings. Raises ValueError if there is none."""
    best = min(pings, key=lambda ping: ping.answered_ns - ping.sent_ns)
    span_ns = best.answered_ns - best.sent_ns
    return ClockOffset((best.sent_ns + best.answered_ns) // 2 - best.theirs_ns, -(-span_ns // 2))
