"""Who watches over a load while it runs: Ctrl-C, the limit on errors, and exceptions that nobody caught.

Each of them can only tell the loader to stop; what has been measured is written and evaluated all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from bench.clock import NS_PER_S, Clock
from bench.load.live import Live

ERRORS_SEEN_EVERY_NS = NS_PER_S // 10


class Loader(Protocol):
    """Whoever sends the load: the worker in this process, or a pool of worker processes."""

    @property
    def in_flight(self) -> int: ...

    @property
    def failures(self) -> int: ...

    def counts(self, at_ns: int) -> dict[str, int]: ...

    def tell(self, order: str, argument: object = None) -> None: ...


class Defects:
    """Exceptions that nobody was there to catch: the first cuts the load, and ends the command when all is saved."""

    def __init__(self) -> None:
        self._first: Exception | None = None
        self.on_first: Callable[[], None] = lambda: None
        asyncio.get_running_loop().set_exception_handler(self._handle)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        defect = context.get("exception")
        if self._first is None:
            self._first = defect if isinstance(defect, Exception) else RuntimeError(context["message"])
            self.on_first()

    def raise_first(self) -> None:
        """Raise the first one, if there is any."""
        if self._first is not None:
            raise self._first


class Interrupts:
    """The first Ctrl-C ends the sending and lets what is in flight end; the second cuts. SIGTERM cuts at once."""

    def __init__(self, loader: Loader, live: Live) -> None:
        self._loader = loader
        self._live = live
        self.seen = False

    def interrupt(self) -> None:
        """Ctrl-C."""
        if self.seen:
            self._loader.tell("cut")
            return
        self.seen = True
        self._loader.tell("interrupt")
        self._live.say(f"stopping: waiting for {self._loader.in_flight} requests in flight (Ctrl-C again cuts them)")

    def terminate(self) -> None:
        """SIGTERM."""
        self.seen = True
        self._loader.tell("cut")


class ErrorWatch:
    """Ends the sending when more requests have failed than `--max-errors` allows."""

    def __init__(self, loader: Loader, clock: Clock, limit: int) -> None:
        self._loader = loader
        self._clock = clock
        self._limit = limit
        self._timer = clock.call_at(clock.now_ns() + ERRORS_SEEN_EVERY_NS, self._look)

    def _look(self) -> None:
        if self._loader.failures > self._limit:
            self._loader.tell("stop", "errors")
            return
        self._timer = self._clock.call_at(self._clock.now_ns() + ERRORS_SEEN_EVERY_NS, self._look)

    def stop(self) -> None:
        """No more looking."""
        self._timer.cancel()
