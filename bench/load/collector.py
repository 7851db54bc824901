"""The garbage collector while a load runs."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from bench.clock import NS_PER_S, Clock, Timer, cpu_ns

QUIET_SHARE = 0.3
"""A process that used less of a second than this has time to collect garbage."""
MANY_OBJECTS = 50_000
"""Fewer that were made and are not gone are no garbage worth a look: it would stop the loop for some ms."""


@contextlib.contextmanager
def collector_at_rest(clock: Clock) -> Iterator[None]:
    """Keep the garbage collector from stopping the loop: what there was before is frozen, what is new waits for quiet.

    Nothing is collected first: that would take 50 ms before the load, and finds a thousand objects of half a million.

    The measuring path leaves no reference cycles behind; other libraries may, so a second in which the process was mostly
    idle ends with a look at what was made since the last look, where it is much.
    """
    gc.freeze()
    gc.disable()
    timer: Timer
    used_ns = cpu_ns()

    def look() -> None:
        nonlocal timer, used_ns
        before_ns, used_ns = used_ns, cpu_ns()
        if used_ns - before_ns < QUIET_SHARE * NS_PER_S and gc.get_count()[0] >= MANY_OBJECTS:
            gc.collect(0)
        timer = clock.call_at(clock.now_ns() + NS_PER_S, look)

    timer = clock.call_at(clock.now_ns() + NS_PER_S, look)
    try:
        yield
    finally:
        timer.cancel()
        gc.enable()
        gc.unfreeze()
