"""What every dispatcher is: it sends until the stop says so, and counts what it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable


class Dispatcher(Protocol):
    """`planned` counts requests that were due, `sent` those handed to the transport, `done` their records."""

    planned: int
    sent: int
    done: int

    async def run(self, start_ns: int) -> None:
        """Send until the stop says so, and return when nothing is in flight any more."""

    def change(self, at_ns: int, load: float) -> None:
        """The load from this instant on. Raises TypeError where it cannot be changed."""


@runtime_checkable
class ChangingOffsets(Iterator[int], Protocol):
    """Arrivals, in ns from the start, whose rate can be changed while they come."""

    def change(self, at_ns: int, rate: float) -> None:
        """The rate from this instant on."""

    def again(self) -> int | None:
        """The arrival that was given last, by now; None where there is none any more."""
