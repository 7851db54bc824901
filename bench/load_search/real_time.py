"""The time of a search that measures a real server."""

from __future__ import annotations

import threading

from bench import clock


class RealTime:
    """CLOCK_MONOTONIC, and waits that Ctrl-C ends."""

    def now_ns(self) -> int:
        """The instant now."""
        return clock.now_ns()

    def wait(self, seconds: float) -> None:
        """Wait; returns at once for 0 and less."""
        threading.Event().wait(seconds)


REAL_TIME = RealTime()
