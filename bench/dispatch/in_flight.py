"""The dispatcher's own, time-weighted count of requests in flight.

Kept separate from the records on purpose: Little's law then compares two independent counts of the same run. A request
is in flight from the moment at which it may be sent until its response has ended, even if the loop learns of either
later.
"""

from __future__ import annotations


class InFlightCounter:
    """Counts requests between `begin` and `end`, which take the instants as arguments."""

    def __init__(self) -> None:
        self.now = 0
        self.max = 0
        self._begins_ns = 0
        self._ends_ns = 0

    def begin(self, at_ns: int) -> None:
        """A request has been in flight since this instant."""
        self.now += 1
        self.max = max(self.max, self.now)
        self._begins_ns += at_ns

    def end(self, at_ns: int) -> None:
        """A request ended at this instant."""
        self.now -= 1
        self._ends_ns += at_ns

    def integral_ns(self, until_ns: int) -> int:
        """The area under the count from the start to this instant, in requests x ns.

        Each ended request adds end - begin, each request in flight until - begin.
        """
        return self._ends_ns + self.now * until_ns - self._begins_ns
