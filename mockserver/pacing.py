"""When things happen: one timer for all streams of the process, absolute deadlines, and the engine's steps.

Rules:
- Every wait is for an absolute deadline, so that late wake-ups and the work between two of them never add up.
- On Linux one timerfd in the event loop serves all waits: it wakes some 0.05 ms late. The loop's own timers (0.6 ms
  late in asyncio, up to 1.4 ms early in uvloop, which counts whole milliseconds) serve elsewhere and in virtual time.
- A deadline that lies within `SHARED_NS` after a wake-up is served by it: at hundreds of streams a wake-up for each chunk
  would cost more than the chunk. So a chunk can be that much early; the ledger says when it went.
- What has fallen due while others were served is served in the same turn, without another wake-up, up to `TURN_CALLS`;
  then the loop has its turn, so that requests are read and ended however many chunks are late.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from itertools import count
from typing import Protocol

from mockserver.clock import HAS_TIMERFD, NS_PER_S, Timerfd, now_ns
from mockserver.engine import Engine, PlanEngine, Released, Work

_LOG = logging.getLogger("mockserver")

SHARED_NS = 100_000
"""Deadlines within this many ns of the present may be served at once."""
TURN_CALLS = 256
"""Deadlines served at a stretch: some 2 ms. One reply with all its tokens due at once must not hold up the others."""


class Alarm(Protocol):
    """One timer that calls back at an absolute instant or a little later; setting it again replaces what was set.

    After each call it is set again or cleared.
    """

    def now_ns(self) -> int: ...

    def set(self, deadline_ns: int) -> None: ...

    def clear(self) -> None: ...

    def close(self) -> None: ...


class TimerfdAlarm:
    """The alarm on a kernel timer (Linux)."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._timer = Timerfd()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._timer.fd, call)
        self.now_ns = now_ns
        self.set = self._timer.set
        self.clear = self._timer.clear

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
        self.clear()
        self._handle = self._loop.call_at(deadline_ns / NS_PER_S, self._call)

    def clear(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    close = clear


Call = Callable[[], int | None]
"""What is done at a deadline; it returns the next deadline of the same call, or None when there is none."""


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
        self._heap: list[tuple[int, int, Call]] = []
        self._order = count()
        self._armed_ns: int | None = None
        self._serving = False
        # What is added while calls are made: the heap's first entry must stay the one that is being served.
        self._added: list[tuple[int, int, Call]] = []

    def at(self, deadline_ns: int, call: Call) -> None:
        """Make `call` when the deadline is reached (or `shared_ns` before, with an earlier one)."""
        entry = (deadline_ns, next(self._order), call)
        if self._serving:
            self._added.append(entry)
        else:
            heapq.heappush(self._heap, entry)
            self._arm()

    def _arm(self) -> None:
        deadline_ns = self._heap[0][0]
        if self._armed_ns is None or deadline_ns < self._armed_ns:
            self._armed_ns = deadline_ns
            self._alarm.set(deadline_ns)

    def _on_alarm(self) -> None:
        self._serving = True
        self._serve()
        self._serving = False
        self._armed_ns = None
        if self._heap:
            self._arm()
        else:
            self._alarm.clear()

    def _serve(self) -> None:
        heap = self._heap
        replace = heapq.heapreplace
        # The loop's own timers may fire early; then nothing is due yet and the alarm is set again.
        due_ns = self.now_ns() + self.shared_ns
        for _ in range(TURN_CALLS):
            if not heap:
                break
            deadline_ns, order, call = heap[0]
            if deadline_ns > due_ns:
                due_ns = self.now_ns()  # Nothing more is early: only what has fallen due meanwhile.
                if deadline_ns > due_ns:
                    break
            try:
                next_ns = call()
            except Exception:  # A defect of ours in one reply must not take the others' tokens with it.
                _LOG.exception("a reply failed")
                next_ns = None
            if next_ns is None:
                heapq.heappop(heap)
            else:
                replace(heap, (next_ns, order, call))
            if self._added:
                added, self._added = self._added, []
                for entry in added:
                    heapq.heappush(heap, entry)

    def close(self) -> None:
        """Drop every wait."""
        self._heap.clear()
        self._alarm.close()


class Stepper:
    """Steps an engine when it is due and hands each request its tokens: `take(tokens)`."""

    def __init__(self, engine: Engine, pacer: Pacer) -> None:
        self._engine = engine
        self._plans = engine if isinstance(engine, PlanEngine) else None
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

    @property
    def plans_decide(self) -> bool:
        """Whether a request may be admitted by `follow`."""
        return self._plans is not None

    def follow(self, work: Work, step: Call) -> int:
        """Take in a request that keeps its plan by itself: `step` sends a token and returns the deadline of the next. The
        engine only knows that it is there. The key is one like that of `admit`."""
        assert self._plans is not None
        assert work.plan.ttft_ns is not None
        key = next(self._keys)
        self._plans.follow(key, work)
        self._pacer.at(work.received_ns + work.plan.ttft_ns, step)
        return key

    def release(self, key: int, tokens: int) -> Released:
        """The request has ended or its client is gone, after so many tokens: no token of it is handed out any more.
        Returns what the engine has to say about it."""
        released = self._engine.release(key)
        if self._takers.pop(key, None) is None:
            released.facts["steps"] = tokens
        return released

    def _wait(self) -> None:
        next_ns = self._engine.next_ns()
        if next_ns is not None and (self._waiting_ns is None or next_ns < self._waiting_ns):
            self._waiting_ns = next_ns
            self._pacer.at(next_ns, self._on_due)

    def _on_due(self) -> int | None:
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
        return None
