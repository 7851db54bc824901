"""Fixed concurrency: N users, each of whom sends again as soon as the answer to the last request has come.

A user's next request is intended for the instant at which the last one ended. The number of users may change: those who
come send at that instant. Where it falls, the users whose requests end next leave, and send nothing more. Maximum
throughput is the same loop with as many users as may be in flight at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from bench.dispatch.sending import Sending
from bench.records import RequestRecord
from bench.workload import Supply


class ClosedLoop:
    """`planned` counts requests that a user was ready to send, `sent` those handed to the transport, `done` records."""

    def __init__(self, supply: Supply, sending: Sending, *, changes: Iterator[tuple[int, int]]) -> None:
        """`changes`: offsets in ns from the start, rising, and how many users there are from then on."""
        self._supply = supply
        self._sending = sending
        self._changes = changes
        self._change: tuple[int, int] | None = None
        self._told: deque[tuple[int, int]] = deque()
        """Changes that were told while the load goes on, and are not due yet."""
        self._wanted = self._users = 0
        self.planned = self.sent = self.done = 0

    async def run(self, start_ns: int) -> None:
        """Send until the stop says so, and return when nothing is in flight any more."""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sending.stop.on_stop(lambda reason: self._check_end())
        self._start_ns = start_ns
        self._next_change()
        if self._change is not None:
            self._sending.clock.call_at(self._change[0], self._change_due)
        await self._ended

    def change(self, at_ns: int, load: float) -> None:
        """From this instant on there are so many users."""
        self._told.append((at_ns, round(load)))
        if self._change is None and not self._sending.stop.stopped:
            self._change = self._told.popleft()
            self._sending.clock.call_at(self._change[0], self._change_due)

    def _next_change(self) -> None:
        found = next(self._changes, None)
        if found is not None:
            self._change = (self._start_ns + found[0], found[1])
        else:
            self._change = self._told.popleft() if self._told else None

    def _change_due(self) -> None:
        self._adjust(self._sending.clock.now_ns())
        if self._change is not None and not self._sending.stop.stopped:
            self._sending.clock.call_at(self._change[0], self._change_due)

    def _adjust(self, until_ns: int) -> None:
        """Make the changes that are due by this instant: who comes is free from the instant of the change on."""
        while self._change is not None and self._change[0] <= until_ns:
            at_ns, self._wanted = self._change
            self._next_change()
            while self._users < self._wanted:
                self._users += 1
                self._user_free(at_ns)

    def _user_free(self, intended_ns: int) -> None:
        phase = self._sending.stop.next_phase(intended_ns)
        if phase is None:
            self._check_end()
            return
        self.planned += 1
        request = self._supply.take(phase)
        self._sending.in_flight.begin(intended_ns)
        self.sent += 1
        self._sending.transport.start(request, intended_ns, intended_ns, self._recorded, self._answered)
        self._sending.stop.check_count()

    def _answered(self, end_ns: int) -> None:
        self._sending.in_flight.end(end_ns)
        self._adjust(end_ns)
        if self._users > self._wanted:
            self._users -= 1
        else:
            self._user_free(end_ns)

    def _recorded(self, record: RequestRecord) -> None:
        self.done += 1
        self._sending.on_record(record)
        self._check_end()

    def _check_end(self) -> None:
        if self._sending.stop.stopped and self.done == self.sent and not self._ended.done():
            self._ended.set_result(None)
