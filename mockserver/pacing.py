"""Pacing: one timer for all streams of the process, with absolute deadlines, and the steps of the engine.

Rules:
- Every wait is for an absolute deadline, so delays never add up.
- On Linux one timerfd in the event loop serves all waits. It wakes about 0.05 ms late. Other systems and virtual time use
  the loop's own timers (0.6 ms late in asyncio; up to 1.4 ms early in uvloop, which counts whole milliseconds).
- A wake-up also serves deadlines up to `SHARED_NS` later: with hundreds of streams, a wake-up per chunk would cost more
  than the chunk. So a chunk can be that early. The ledger has the real time.
- Deadlines that pass during a turn are served in the same turn, without another wake-up, up to `TURN_CALLS`. Then the loop
  gets its turn, so requests are read and ended however many chunks are late.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from itertools import count
from typing import Protocol

from mockserver.clock import HAS_TIMERFD, NS_PER_S, Timerfd, now_ns
from mockserver.engine import Engine, EngineReport, EngineRequest, PlanEngine, Work

_LOG = logging.getLogger("mockserver")

SHARED_NS = 100_000
"""Serve deadlines that are at most this many ns away."""
TURN_CALLS = 256
"""Deadlines served in one turn: about 2 ms. A reply with all tokens due at once must not delay the others."""


class Alarm(Protocol):
    """A timer that calls back at an absolute time or a little later. Setting it again replaces the deadline.

    Set or clear it after each call.
    """

    def now_ns(self) -> int: ...

    def set(self, deadline_ns: int) -> None: ...

    def clear(self) -> None: ...

    def close(self) -> None: ...


class TimerfdAlarm:
    """An alarm on a kernel timer (Linux)."""

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
    """An alarm on the event loop's timers. Its time is the loop's, which is virtual in tests."""

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
"""The work at a deadline. It returns its next deadline, or None."""


class Pacer:
    """Calls back at absolute deadlines, in order, with one alarm. Use it inside a running event loop."""

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
        # Entries added during a turn wait here: the first entry of the heap must stay the one being served.
        self._added: list[tuple[int, int, Call]] = []

    def at(self, deadline_ns: int, call: Call) -> None:
        """Call `call` at the deadline, or up to `shared_ns` early if an earlier deadline is being served."""
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
        # The loop's own timers can fire early. Then nothing is due yet, and the alarm is set again.
        due_ns = self.now_ns() + self.shared_ns
        for _ in range(TURN_CALLS):
            if not heap:
                break
            deadline_ns, order, call = heap[0]
            if deadline_ns > due_ns:
                due_ns = self.now_ns()  # From here on, serve only what is already due.
                if deadline_ns > due_ns:
                    break
            try:
                next_ns = call()
            except Exception:  # A bug in one reply must not stop the others.
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
        """Cancel all waits."""
        self._heap.clear()
        self._alarm.close()


class Stepper:
    """Steps an engine when it is due and hands each request its tokens with `take(tokens)`."""

    def __init__(self, engine: Engine, pacer: Pacer) -> None:
        self._engine = engine
        self._plans = engine if isinstance(engine, PlanEngine) else None
        self._pacer = pacer
        self._takers: dict[int, Callable[[int], None]] = {}
        self._keys = count()
        self._waiting_ns: int | None = None

    def admit(self, request: EngineRequest, take: Callable[[int], None]) -> int:
        """Hand a request to the engine. Pass the returned key to `release` when the request ends."""
        key = next(self._keys)
        self._takers[key] = take
        self._engine.admit(key, request)
        self._wait()
        return key

    @property
    def plans_decide(self) -> bool:
        """Whether `follow` can be used."""
        return self._plans is not None

    def follow(self, request: EngineRequest, step: Call | None = None) -> int:
        """Admit a request that follows its plan by itself: `step` sends a token and returns the next deadline. The
        engine only counts the request. Without `step`, the caller does the waiting. Returns a key, as `admit` does."""
        assert self._plans is not None
        assert request.plan.ttft_ns is not None
        key = next(self._keys)
        self._plans.follow(key, request)
        if step is not None:
            self._pacer.at(request.received_ns + request.plan.ttft_ns, step)
        return key

    def release(self, key: int, tokens: int) -> EngineReport:
        """End a request after this many tokens, because it is complete or its client has left. It gets no more tokens.
        Returns the engine's report."""
        report = self._engine.release(key)
        if self._takers.pop(key, None) is None:
            report.facts["steps"] = tokens
        return report

    def work(self, key: int) -> Work:
        """The engine's work so far for a request."""
        return self._engine.work(key)

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
                except Exception:  # A bug in one reply must not stop the others.
                    _LOG.exception("a reply failed")
        self._wait()
        return None
