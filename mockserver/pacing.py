"""When things happen: one timer for all streams of the process, absolute deadlines, and the engine's steps.

Rules:
- Every wait is for an absolute deadline, so that late wake-ups and the work between two of them never add up.
- On Linux one timerfd in the event loop serves all waits: it wakes some 0.05 ms late. The loop's own timers (0.6 ms
  late in asyncio, up to 1.4 ms early in uvloop, which counts whole milliseconds) serve elsewhere and in virtual time.
- A deadline that lies within `SHARED_NS` after the one that woke us is served by the same wake-up: at hundreds of
  streams a wake-up for each chunk would cost more than the chunk. So a chunk can be that much early; the ledger says
  when it went.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from itertools import count
from typing import Protocol

from mockserver.clock import HAS_TIMERFD, NS_PER_S, Timerfd, now_ns
from mockserver.engine import Engine, Released, Work

_LOG = logging.getLogger("mockserver")

SHARED_NS = 100_000
"""Deadlines within this many ns of each other may share one wake-up."""


class Alarm(Protocol):
    """One timer that calls back at an absolute instant or a little later; setting it again replaces what was set."""

    def now_ns(self) -> int: ...

    def set(self, deadline_ns: int) -> None: ...

    def close(self) -> None: ...


class TimerfdAlarm:
    """The alarm on a kernel timer (Linux)."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._timer = Timerfd()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._timer.fd, self._on_ready)
        self.now_ns = now_ns
        self.set = self._timer.set

    def _on_ready(self) -> None:
        self._timer.clear()
        self._call()

    def close(self) -> None:
        if self._timer.fd >= 0:
            self._loop.remove_reader(self._timer.fd)
            self._timer.close()


class LoopAlarm:
    """The alarm on the event loop's own timers; its time is the loop's, virtual in tests."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def now_ns(self) -> int:
        return round(self._loop.time() * NS_PER_S)

    def set(self, deadline_ns: int) -> None:
        self.close()
        self._handle = self._loop.call_at(deadline_ns / NS_PER_S, self._call)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Pacer:
    """Calls back at absolute deadlines, in order, all on one alarm. Use it inside a running event loop."""

    def __init__(
        self,
        shared_ns: int = SHARED_NS,
        alarm: Callable[[Callable[[], None]], Alarm] = TimerfdAlarm if HAS_TIMERFD else LoopAlarm,
    ) -> None:
        self.shared_ns = shared_ns
        self._alarm = alarm(self._on_alarm)
        self.now_ns = self._alarm.now_ns
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._armed_ns: int | None = None

    def at(self, deadline_ns: int, call: Callable[[], None]) -> None:
        """Make `call` when the deadline is reached (or `shared_ns` before, with an earlier one)."""
        heapq.heappush(self._heap, (deadline_ns, next(self._order), call))
        self._arm()

    def _arm(self) -> None:
        if not self._heap:
            return
        deadline_ns = self._heap[0][0]
        if self._armed_ns is None or deadline_ns < self._armed_ns:
            self._armed_ns = deadline_ns
            self._alarm.set(deadline_ns)

    def _on_alarm(self) -> None:
        self._armed_ns = None
        heap = self._heap
        now = self.now_ns()
        # The loop's own timers may fire early; then nothing is due yet and the alarm is set again.
        try:
            if heap and heap[0][0] <= now:
                due_ns = now + self.shared_ns
                while heap and heap[0][0] <= due_ns:
                    heapq.heappop(heap)[2]()
        finally:
            self._arm()

    def close(self) -> None:
        """Drop every wait."""
        self._heap.clear()
        self._alarm.close()


class Stepper:
    """Steps an engine when it is due and hands each request its tokens: `take(tokens)`."""

    def __init__(self, engine: Engine, pacer: Pacer) -> None:
        self._engine = engine
        self._pacer = pacer
        self._takers: dict[int, Callable[[int], None]] = {}
        self._keys = count()
        self._waiting_ns: int | None = None

    def admit(self, work: Work, take: Callable[[int], None]) -> int:
        """Hand a request to the engine; the key returned is for `release`, which every request must reach."""
        key = next(self._keys)
        self._takers[key] = take
        self._engine.admit(key, work)
        self._wait()
        return key

    def release(self, key: int) -> Released:
        """The request has ended or its client is gone: no token of it is handed out any more. Returns what the engine
        has to say about it."""
        del self._takers[key]
        return self._engine.release(key)

    def _wait(self) -> None:
        next_ns = self._engine.next_ns()
        if next_ns is not None and (self._waiting_ns is None or next_ns < self._waiting_ns):
            self._waiting_ns = next_ns
            self._pacer.at(next_ns, self._on_due)

    def _on_due(self) -> None:
        self._waiting_ns = None
        takers = self._takers
        for key, tokens in self._engine.step(self._pacer.now_ns() + self._pacer.shared_ns):
            take = takers.get(key)
            if take is not None:
                try:
                    take(tokens)
                except Exception:  # A defect of ours in one reply must not take the others' tokens with it.
                    _LOG.exception("a reply failed")
        self._wait()
