"""Watches a running load: Ctrl-C, the limit on errors, and uncaught exceptions.

Each can only order the crew to stop. The records until then are written and evaluated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.clock import NS_PER_S, Clock
from bench.load.crew import Crew, Order, Progress

if TYPE_CHECKING:
    from bench.load.progress_tally import ProgressTally
    from bench.load.replies_in_flight import Arrived, Counted
    from bench.records import RequestRecord

ERRORS_SEEN_EVERY_NS = NS_PER_S // 10


class Defects:
    """Uncaught exceptions: the first cuts the load, and ends the command once everything is saved."""

    def __init__(self) -> None:
        self._first: Exception | None = None
        self.on_first: Callable[[], None] = lambda: None
        asyncio.get_running_loop().set_exception_handler(self._handle)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        defect = context.get("exception")
        if self._first is None:
            self._first = defect if isinstance(defect, Exception) else RuntimeError(context["message"])
            self.on_first()

    def notes(self) -> tuple[str, ...]:
        """A note for the report: by then the command has ended."""
        return () if self._first is None else (f"the load was cut: {self._first}",)

    def raise_first(self) -> None:
        if self._first is not None:
            raise self._first


class Interrupts:
    """The first Ctrl-C ends the sending and lets requests in flight finish; the second cuts them, as SIGTERM does."""

    def __init__(self, crew: Crew, say: Callable[[str], None]) -> None:
        self._crew = crew
        self._say = say
        self.seen = False

    def interrupt(self) -> None:
        if self.seen:
            self._crew.tell(Order.CUT)
            return
        self.seen = True
        self._crew.tell(Order.INTERRUPT)
        in_flight = self._crew.in_flight
        if not in_flight:  # Workers report counts once a second: there may be some.
            self._say("stopping: waiting for what is in flight (Ctrl-C again cuts it)")
        elif in_flight == 1:
            self._say("stopping: waiting for a request in flight (Ctrl-C again cuts it)")
        else:
            self._say(f"stopping: waiting for {in_flight:,} requests in flight (Ctrl-C again cuts them)")

    def terminate(self) -> None:
        self.seen = True
        self._crew.tell(Order.CUT)


class ErrorWatch:
    """Ends the sending when more requests have failed than `--max-errors` allows. It passes everything on to
    `progress`."""

    def __init__(self, crew: Crew, clock: Clock, limit: int, progress: Progress) -> None:
        self._crew = crew
        self._clock = clock
        self._limit = limit
        self._progress = progress
        self._timer = clock.call_at(clock.now_ns() + ERRORS_SEEN_EVERY_NS, self._look)

    def arrive(self, arrived: Arrived) -> None:
        self._progress.arrive(arrived)

    def add(self, record: RequestRecord, counted: Counted) -> None:
        self._progress.add(record, counted)
        self._check()

    def merge(self, tally: ProgressTally) -> None:
        self._progress.merge(tally)
        self._check()

    def _check(self) -> bool:
        if self._crew.failures <= self._limit:
            return False
        self._crew.tell(Order.STOP, "errors")
        return True

    def _look(self) -> None:
        if not self._check():
            self._timer = self._clock.call_at(self._clock.now_ns() + ERRORS_SEEN_EVERY_NS, self._look)

    def stop(self) -> None:
        self._timer.cancel()
