"""Work that can wait until sockets have been polled: mainly the records of requests that have ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from bench.clock import NS_PER_MS, Clock

TURN_NS = NS_PER_MS // 4
"""How long records are made before sockets and timers are polled again."""
MOST_PUT_OFF = 64
"""The most records that are put off, each once, because something is due before one could be made: a send would be late
by that."""


class WorkQueue:
    """Work in order, in short turns, with a poll of the sockets between two turns."""

    __slots__ = ("_clock", "_put_off", "_queue", "_running", "takes_ns")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: deque[Callable[[], None]] = deque()
        self._running = self._put_off = False
        self.takes_ns = NS_PER_MS // 2
        """Roughly how long one piece of work takes."""

    def later(self, work: Callable[[], None]) -> None:
        """Do this after the sockets have been polled."""
        self._queue.append(work)
        if not self._running:
            self._running = True
            self._soon()

    def finish(self) -> None:
        """Do all remaining work now."""
        while self._queue:
            _do(self._queue.popleft())

    def _turn(self) -> None:
        at_ns = self._clock.now_ns()
        until_ns = at_ns + TURN_NS
        queue = self._queue
        while queue and at_ns < until_ns:
            due_ns = self._clock.next_ns()
            may_wait = not self._put_off and len(queue) < MOST_PUT_OFF
            if may_wait and due_ns is not None and due_ns - at_ns < 2 * self.takes_ns:
                self._put_off = True
                self._clock.call_at(max(due_ns, at_ns), self._soon)
                return
            self._put_off = False
            _do(queue.popleft())
            began_ns, at_ns = at_ns, self._clock.now_ns()
            self.takes_ns += (at_ns - began_ns - self.takes_ns) // 8
        self._running = bool(queue)
        if queue:
            self._soon()

    def _soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._turn)


def _do(work: Callable[[], None]) -> None:
    """Report failed work like a failed callback of the loop. The remaining work continues."""
    try:
        work()
    except Exception as defect:
        asyncio.get_running_loop().call_exception_handler({"message": f"{work!r} failed", "exception": defect})
