"""An asyncio loop whose time moves only when there is nothing else to do: an hour passes in a millisecond, to the ns.

It starts at a large odd number, so that code that confuses an offset with an instant fails. A test charges work with
`loop.charge(ns)`: time then passes while the loop is busy, as it does on a real machine.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
START_NS = 1_000_003 * 1_000_000_000 + 7


class _NeverBlocking(selectors.SelectSelector):
    """Instead of waiting for the timeout, moves the loop's time to the earliest timer."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("virtual time: nothing is ready and no timer is set, so this would wait for ever")
        if not ready and timeout is not None and timeout > 0:
            self.loop.advance_to_next_timer()
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual_ns = START_NS
        selector = _NeverBlocking()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.virtual_ns / 1e9

    def charge(self, ns: int) -> None:
        """Let `ns` pass as work of the caller."""
        self.virtual_ns += ns

    def advance_to_next_timer(self) -> None:
        when = self._scheduled[0]._when  # type: ignore[attr-defined]
        self.virtual_ns = max(self.virtual_ns, round(when * 1e9))


def run_virtual(main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main(loop)` to its end in virtual time. Raises exceptions from loop callbacks, which asyncio only reports."""
    loop = VirtualTimeLoop()
    raised: list[BaseException] = []
    loop.set_exception_handler(lambda loop, found: raised.extend(filter(None, [found.get("exception")])))
    try:
        result = loop.run_until_complete(main(loop))
    finally:
        loop.close()
    if raised:
        raise raised[0]
    return result
