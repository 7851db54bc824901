"""The interface of all dispatchers: they send until the stop ends the sending, and count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class NeverSent:
    """Requests, or sessions, that were due and that the client had not made when the sending stopped: how many, and the
    sum of their waits."""

    n: int = 0
    waited_ns: int = 0


class Dispatcher(Protocol):
    """`planned` counts requests that were due, `sent` requests handed to the transport, `done` their records."""

    planned: int
    sent: int
    done: int

    async def run(self, start_ns: int) -> None:
        """Send until the stop ends the sending. Return when nothing is in flight."""

    def change(self, at_ns: int, load: float) -> None:
        """The load from this instant on. Raises TypeError if it cannot be changed."""

    def unmade(self, now_ns: int) -> list[int]:
        """The instants at which requests (or sessions) were due that the client has not made by `now_ns`. Call it once,
        when the sending has stopped: an open loop consumes its later arrivals."""


@runtime_checkable
class ChangingOffsets(Iterator[int], Protocol):
    """Arrivals, in ns from the start, whose rate can be changed during the load."""

    def change(self, at_ns: int, rate: float) -> None:
        """The rate from this instant on."""

    def again(self) -> int | None:
        """The new offset of the latest arrival after the changes so far; None if it is too late."""
