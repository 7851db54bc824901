"""How many users a closed loop has at each instant, by its plan and by changes during the load."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from bench.dispatch.sending import Sending


class Users:
    """Adds users when they are due. A user who must leave finishes its work, and then asks whether it stays."""

    def __init__(self, sending: Sending, changes: Iterator[tuple[int, int]], come: Callable[[int], None]) -> None:
        """`changes`: ascending offsets in ns from the start, and the number of users from then on. `come` is called
        with the instant from which a new user is free."""
        self._sending = sending
        self._changes = changes
        self._come = come
        self._change: tuple[int, int] | None = None
        self._told: deque[tuple[int, int]] = deque()
        """Changes made during the load that are not due yet."""
        self._wanted = self._here = 0

    def start(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._next_change()
        if self._change is not None:
            self._sending.clock.call_at(self._change[0], self._change_due)

    def change(self, at_ns: int, load: float) -> None:
        self._told.append((at_ns, round(load)))
        if self._change is None and not self._sending.stop.stopped:
            self._change = self._told.popleft()
            self._sending.clock.call_at(self._change[0], self._change_due)

    def stays(self, end_ns: int) -> bool:
        """Whether a user who has finished at this instant goes on."""
        self._adjust(end_ns)
        if self._here > self._wanted:
            self._here -= 1
            return False
        return True

    def _next_change(self) -> None:
        change = next(self._changes, None)
        if change is not None:
            self._change = (self._start_ns + change[0], change[1])
        else:
            self._change = self._told.popleft() if self._told else None

    def _change_due(self) -> None:
        self._adjust(self._sending.clock.now_ns())
        if self._change is not None and not self._sending.stop.stopped:
            self._sending.clock.call_at(self._change[0], self._change_due)

    def _adjust(self, until_ns: int) -> None:
        """Make the changes that are due by this instant: a new user is free from the instant of the change on."""
        while self._change is not None and self._change[0] <= until_ns:
            at_ns, self._wanted = self._change
            self._next_change()
            while self._here < self._wanted:
                self._here += 1
                self._come(at_ns)
