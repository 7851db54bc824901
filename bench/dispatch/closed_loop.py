"""Fixed concurrency: N users. Each sends its next request as soon as the reply to the last one has come.

A user's next request is intended for the instant at which the last one ended. The number of users may change. New
users send at the instant of the change. If the number falls, the users whose requests end next leave and send nothing more.
Maximum throughput is the same loop with as many users as requests may be in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.dispatch.users import Users

if TYPE_CHECKING:
    from bench.dispatch.sending import Sending
    from bench.records import RequestRecord
    from bench.workload import Supply


class ClosedLoop:
    """`planned` counts requests that a user was ready to send, `sent` requests handed to the transport, `done` records."""

    def __init__(
        self, supply: Supply, sending: Sending, *, changes: Iterator[tuple[int, int]], ends_first: int = 0
    ) -> None:
        """`changes`: offsets in ns from the start, rising, and the number of users from then on. `ends_first`: the number
        of requests that must have ended before any other is sent."""
        self._supply = supply
        self._sending = sending
        self._users = Users(sending, changes, self._user_free)
        self._ends_first = ends_first
        self._held = 0
        """Users who wait for the end of these requests."""
        self.planned = self.sent = self.done = 0

    async def run(self, start_ns: int) -> None:
        """Send until the stop ends the sending. Return when nothing is in flight."""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sending.stop.on_stop(lambda reason: self._check_end())
        self._users.start(start_ns)
        await self._ended

    def change(self, at_ns: int, load: float) -> None:
        self._users.change(at_ns, load)

    def unmade(self, now_ns: int) -> list[int]:
        return self._supply.stock.due_since_ns

    def _user_free(self, intended_ns: int) -> None:
        if self._supply.stock.must_wait and not self._sending.stop.stopped:
            self._supply.stock.when_made(intended_ns, lambda: self._user_free(intended_ns))
            return
        if self._ends_first and self.sent == self._ends_first and self._sending.in_flight.now:
            self._held += 1
            return
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

    def _answered(self, end_ns: int, whole: bool) -> None:
        self._sending.in_flight.end(end_ns)
        if not self._sending.in_flight.now:
            held, self._held = self._held, 0
            for _ in range(held):
                self._user_free(end_ns)
        if self._users.stays(end_ns):
            self._user_free(end_ns)

    def _recorded(self, record: RequestRecord) -> None:
        self.done += 1
        self._sending.on_record(record)
        self._check_end()

    def _check_end(self) -> None:
        if self._sending.stop.stopped and self.done == self.sent and not self._ended.done():
            self._ended.set_result(None)
