"""The dispatcher's own, time-weighted count of what is in flight.

Kept apart from the records on purpose: Little's law then compares two independent accounts of the same run.
"""

from __future__ import annotations


class InFlight:
    """Counts requests between their start and their record. `integral_ns` is the area under the count, in requests x ns."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.now = 0
        self.max = 0
        self._changed_ns = start_ns
        self._integral_ns = 0

    def begin(self, at_ns: int) -> None:
        self._pass(at_ns)
        self.now += 1
        self.max = max(self.max, self.now)

    def end(self, at_ns: int) -> None:
        self._pass(at_ns)
        self.now -= 1

    def integral_ns(self, until_ns: int) -> int:
        """The area from the start until this instant."""
        return self._integral_ns + self.now * (until_ns - self._changed_ns)

    def _pass(self, at_ns: int) -> None:
        self._integral_ns += self.now * (at_ns - self._changed_ns)
        self._changed_ns = at_ns
