"""What every dispatcher is: it sends until the stop says so, and counts what it does."""

from __future__ import annotations

from typing import Protocol


class Dispatcher(Protocol):
    """`planned` counts requests that were due, `sent` those handed to the transport, `done` their records."""

    planned: int
    sent: int
    done: int

    async def run(self, start_ns: int) -> None:
        """Send until the stop says so, and return when nothing is in flight any more."""
