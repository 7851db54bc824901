"""Fixed rate: requests arrive by the schedule, whatever the server does.

Every arrival that is due is sent at once: after a pause of the client they form a burst, late and recorded as late, and
the later schedule does not move. Under a cap, an arrival that finds no free slot queues (`eligible` is then the moment
a slot came free), or is dropped and recorded as dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from bench.dispatch.interface import ChangingOffsets
from bench.records import Outcome, RequestRecord

if TYPE_CHECKING:
    from bench.clock import Timer
    from bench.dispatch.sending import Sending
    from bench.workload import Request, Supply

AT_A_STRETCH_NS = 20_000_000
"""How long due arrivals are sent before the event loop gets its turn: at a rate that no machine can send, some are
always due, and Ctrl-C, or the run's other processes, would be starved."""


class OpenLoop:
    """`planned` counts arrivals that came due, `sent` those handed to the transport, `done` their records."""

    def __init__(
        self, supply: Supply, sending: Sending, *, offsets: Iterator[int], cap: int | None, drop_late: bool
    ) -> None:
        self._supply = supply
        self._sending = sending
        self._offsets = offsets
        self._cap = cap
        self._drop_late = drop_late
        self._waiting: deque[tuple[Request, int]] = deque()
        self._timer: Timer | None = None
        self.planned = self.sent = self.done = 0

    async def run(self, start_ns: int) -> None:
        """Send until the stop ends the sending. Return when nothing is in flight."""
        self._start_ns = start_ns
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sending.stop.on_stop(self._stopped)
        self._next_arrival()
        if not self._sending.stop.stopped:
            self._timer = self._sending.clock.call_at(self._due_ns, self._arrivals)
        await self._ended

    def change(self, at_ns: int, load: float) -> None:
        """From this instant on, arrivals come at this rate, including the pending one if it is later."""
        if not isinstance(self._offsets, ChangingOffsets):
            raise TypeError("the rate of these arrivals cannot be changed")
        self._offsets.change(at_ns - self._start_ns, load)
        if self._timer is None or self._sending.stop.stopped:
            return
        self._timer.cancel()
        offset = self._offsets.again()
        if offset is None:
            self._sending.stop.now("requests")
            return
        self._due_ns = self._start_ns + offset
        self._timer = self._sending.clock.call_at(self._due_ns, self._arrivals)

    def unmade(self, now_ns: int) -> list[int]:
        if not self._supply.stock.awaited:
            return []
        later = takewhile(lambda due_ns: due_ns <= now_ns, (self._start_ns + offset for offset in self._offsets))
        return [self._due_ns, *later]

    def _next_arrival(self) -> None:
        """Note when the next arrival is due. A worker's share of them is finite, and its end ends the sending."""
        offset = next(self._offsets, None)
        if offset is None:
            self._sending.stop.now("requests")
        else:
            self._due_ns = self._start_ns + offset

    def _arrivals(self) -> None:
        begun_ns = now_ns = self._sending.clock.now_ns()
        while self._due_ns <= now_ns < begun_ns + AT_A_STRETCH_NS:
            if self._supply.stock.must_wait and not self._sending.stop.stopped:
                self._timer = None
                self._supply.stock.when_made(self._due_ns, self._arrivals)
                return
            phase = self._sending.stop.next_phase(self._due_ns)
            if phase is None:
                return
            self._arrive(self._supply.take(phase), self._due_ns)
            self._sending.stop.check_count()
            if not self._sending.stop.stopped:
                self._next_arrival()
            now_ns = self._sending.clock.now_ns()
        if not self._sending.stop.stopped:
            self._timer = self._sending.clock.call_at(self._due_ns, self._arrivals)

    def _arrive(self, request: Request, intended_ns: int) -> None:
        self.planned += 1
        if self._cap is None or self._sending.in_flight.now < self._cap:
            self._send(request, intended_ns, intended_ns)
        elif self._drop_late:
            self._drop(request, intended_ns, "no free slot under the cap on concurrency when it was due")
        else:
            self._waiting.append((request, intended_ns))

    def _send(self, request: Request, intended_ns: int, eligible_ns: int) -> None:
        self._sending.in_flight.begin(eligible_ns)
        self.sent += 1
        self._sending.transport.start(request, intended_ns, eligible_ns, self._recorded, self._answered)

    def _answered(self, end_ns: int, whole: bool) -> None:
        self._sending.in_flight.end(end_ns)
        if self._waiting:
            request, intended_ns = self._waiting.popleft()
            self._send(request, intended_ns, max(intended_ns, end_ns))

    def _recorded(self, record: RequestRecord) -> None:
        self.done += 1
        self._sending.on_record(record)
        self._check_end()

    def _drop(self, request: Request, intended_ns: int, why: str) -> None:
        self._sending.on_record(
            RequestRecord(
                id=request.id,
                index=request.index,
                phase=request.phase,
                session=request.session,
                intended_ns=intended_ns,
                eligible_ns=None,
                connect_ns=None,
                sent_ns=None,
                first_byte_ns=None,
                end_ns=self._sending.clock.now_ns(),
                attempts=0,
                status=None,
                outcome=Outcome.DROPPED,
                error=why,
                input_tokens_asked=request.input_tokens_asked,
                output_tokens_asked=request.output_tokens_asked,
                model=request.model,
                traffic_class=request.traffic_class,
                probe=request.probe,
                **request.place_fields,
            )
        )

    def _stopped(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if reason != "requests":
            # Sending is over: an arrival that still waits under the cap is never sent, and gets a record too.
            while self._waiting:
                self._drop(*self._waiting.popleft(), "still waiting under the cap on concurrency when sending stopped")
        self._check_end()

    def _check_end(self) -> None:
        if self._sending.stop.stopped and self.done == self.sent and not self._waiting and not self._ended.done():
            self._ended.set_result(None)
