"""Finds the end of the warm-up during the load (`--warmup auto`).

The first round of replies is cold: the server compiles, fills its caches and makes connections, and all requests that
wait meanwhile are served late together. So the warm-up ends when as many replies have come as requests had been sent by
the first reply: a full round of the users, or, in an open loop, all requests that queued up behind the first.

It counts replies and waits for no particular one, so a request that hangs delays nothing. A failed request counts as a
reply. `most_ns` ends the warm-up in any case. `least_ns` extends it until all users have started.

A timer compares the counts twenty times a second, only during the warm-up. MSER-5 removes any unsteady part after it
(`bench/metrics/window.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.clock import NS_PER_MS, NS_PER_S, Clock, Timer
from bench.load.crew import Crew

LOOK_EVERY_NS = 50 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class FoundWarmup:
    """How long the warm-up was, and how many replies of the first round had come; `whole` if all of them."""

    lasted_s: float
    replies: int
    whole: bool


class WarmupFinder:
    """`found` is how the warm-up ended; None while it lasts."""

    def __init__(
        self, clock: Clock, crew: Crew, *, start_ns: int, least_ns: int, most_ns: int, tell: Callable[[int], None]
    ) -> None:
        """`tell` is called with the instant at which the warm-up ends, and the crew is told too."""
        self._clock = clock
        self._crew = crew
        self._start_ns = start_ns
        self._least_ns = start_ns + least_ns
        self._most_ns = start_ns + most_ns
        self._tell = tell
        self._round: int | None = None
        self._timer: Timer | None = None
        self.found: FoundWarmup | None = None

    def start(self) -> None:
        self._timer = self._clock.call_at(self._start_ns + LOOK_EVERY_NS, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now_ns = self._clock.now_ns()
        counts = self._crew.counts(now_ns)
        if self._round is None and counts["done"]:
            self._round = counts["sent"]
        whole = self._round is not None and counts["done"] >= self._round
        at_ns = min(max(now_ns + self._crew.begin_lead_ns, self._least_ns), self._most_ns)
        if not whole and now_ns < self._most_ns:
            self._timer = self._clock.call_at(now_ns + LOOK_EVERY_NS, self._look)
            return
        self.found = FoundWarmup((at_ns - self._start_ns) / NS_PER_S, counts["done"], whole)
        self._crew.warmup_ends(at_ns)
        self._tell(at_ns)
