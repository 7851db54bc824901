"""Fixed concurrency: N users, each of whom sends again as soon as the answer to the last request has come.

A user's next request is intended for the instant at which the last one ended. With a ramp the users come one by one,
evenly spread over it. Maximum throughput is the same loop with as many users as may be in flight at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bench.clock import Clock
from bench.dispatch.in_flight import InFlight
from bench.dispatch.stop import Stop
from bench.records import RequestRecord
from bench.transport.interface import Transport
from bench.workload import Supply


class ClosedLoop:
    """`planned` counts requests that a user was ready to send, `sent` those handed to the transport, `done` records."""

    def __init__(
        self,
        *,
        users: int,
        ramp_ns: int,
        supply: Supply,
        transport: Transport,
        clock: Clock,
        stop: Stop,
        in_flight: InFlight,
        on_record: Callable[[RequestRecord], None],
    ) -> None:
        self._users = users
        self._ramp_ns = ramp_ns
        self._supply = supply
        self._transport = transport
        self._clock = clock
        self._stop = stop
        self._in_flight = in_flight
        self._on_record = on_record
        self.planned = self.sent = self.done = 0

    async def run(self, start_ns: int) -> None:
        """Send until the stop says so, and return when nothing is in flight any more."""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stop.on_stop(lambda reason: self._check_end())
        for user in range(self._users):
            due_ns = start_ns + (user * self._ramp_ns) // self._users
            self._clock.call_at(due_ns, lambda due_ns=due_ns: self._user_free(due_ns))  # type: ignore[misc]
        await self._ended

    def _user_free(self, intended_ns: int) -> None:
        phase = self._stop.next_phase(intended_ns)
        if phase is None:
            self._check_end()
            return
        self.planned += 1
        request = self._supply.take(phase)
        self._in_flight.begin(intended_ns)
        self.sent += 1
        self._transport.start(request, intended_ns, intended_ns, self._recorded, self._answered)
        self._stop.check_count()

    def _answered(self, end_ns: int) -> None:
        self._in_flight.end(end_ns)
        self._user_free(end_ns)

    def _recorded(self, record: RequestRecord) -> None:
        self.done += 1
        self._on_record(record)
        self._check_end()

    def _check_end(self) -> None:
        if self._stop.stopped and self.done == self.sent and not self._ended.done():
            self._ended.set_result(None)
