"""New sessions at a rate: each begins by the schedule, however many are running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.dispatch.interface import ChangingOffsets
from bench.dispatch.sessions import SessionsLoop

if TYPE_CHECKING:
    from bench.clock import Timer
    from bench.dispatch.sending import Sending
    from bench.workload.turns import Conversations


class SessionArrivals(SessionsLoop):
    """An open loop of sessions: the first turn of each is intended for its arrival plus its pause."""

    def __init__(self, conversations: Conversations, sending: Sending, *, offsets: Iterator[int]) -> None:
        """`offsets`: the arrivals, in ns from the start, ascending."""
        super().__init__(conversations, sending)
        self._offsets = offsets
        self._timer: Timer | None = None

    def start(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._due_ns: int | None = None
        self._next(next(self._offsets, None))
        self._wait_for_next()

    def change(self, at_ns: int, load: float) -> None:
        """From this instant on, sessions come at this rate, including the pending one if it is later."""
        if not isinstance(self._offsets, ChangingOffsets):
            raise TypeError("the rate of these arrivals cannot be changed")
        self._offsets.change(at_ns - self._start_ns, load)
        if self._timer is not None and not self._sending.stop.stopped:
            self._timer.cancel()
            self._next(self._offsets.again())
            self._wait_for_next()

    def _next(self, offset_ns: int | None) -> None:
        self._due_ns = None if offset_ns is None else self._start_ns + offset_ns

    def _wait_for_next(self) -> None:
        self._timer = None
        if self._due_ns is not None and not self._sending.stop.stopped:
            self._timer = self._sending.clock.call_at(self._due_ns, self._arrivals)

    def _arrivals(self) -> None:
        """Begin all sessions that are due, including late ones."""
        while self._due_ns is not None and self._due_ns <= self._sending.clock.now_ns():
            if self._sending.stop.stopped:
                return
            self._begin(self._due_ns, lambda end_ns: None)
            self._next(next(self._offsets, None))
        self._wait_for_next()
