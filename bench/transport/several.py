"""Sends to several addresses: a transport for each of them, and a choice for each request.

A request that fails is a failure of its address: it is not sent to another one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence

from bench.clock import Clock
from bench.records import Outcome, RequestRecord
from bench.transport.balance import Balance
from bench.transport.interface import OnEnd, OnRecord, ReplyInFlight, Transport, ignore
from bench.workload import Request

_LOST = frozenset({Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT, Outcome.TIMEOUT_FIRST_BYTE, Outcome.RESET})


class SeveralTargets:
    """A transport over the transports of all addresses, in the order of `balance`."""

    def __init__(
        self, transports: Sequence[Transport], balance: Balance, clock: Clock, *, keeps_sessions: bool
    ) -> None:
        """`keeps_sessions`: all requests of a session go to one address, as long as it answers."""
        self.transports = tuple(transports)
        self._balance = balance
        self._clock = clock
        self._keeps_sessions = keeps_sessions
        self._of_session: dict[int | str, int] = {}
        self._left: dict[int | str, int] = {}
        """Remaining turns, for sessions with a known number of turns."""

    async def open(self) -> None:
        await asyncio.gather(*(transport.open() for transport in self.transports))

    async def prepare(self, connections: int) -> None:
        """Give each address its share of the connections."""
        weights = self._balance.weights
        whole = math.fsum(weights)
        shares = (math.ceil(connections * weight / whole) for weight in weights)
        await asyncio.gather(*(t.prepare(n) for t, n in zip(self.transports, shares, strict=True)))

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        balance = self._balance
        which = self._choose(request)

        def has_ended(end_ns: int, whole: bool) -> None:
            balance.ended(which)
            ended(end_ns, whole)

        def recorded(record: RequestRecord) -> None:
            if record.status is not None:
                balance.answered(which)
            elif record.outcome in _LOST:
                balance.lost(which, record.end_ns)
            done(record)

        self.transports[which].start(request, intended_ns, eligible_ns, recorded, has_ended)

    def _choose(self, request: Request) -> int:
        place = request.place
        session = request.session if place is None else place.number
        now_ns = self._clock.now_ns()
        if session is None or not self._keeps_sessions:
            return self._balance.choose(now_ns)
        which = self._of_session.get(session)
        if which is None or self._balance.is_out(which):
            which = self._of_session[session] = self._balance.choose(now_ns)
        else:
            self._balance.go(which)
        if place is not None:
            left = self._left[session] = self._left.get(session, place.turns - (place.turns_before or 0)) - 1
            if left <= 0:  # Its last turn: a run may have millions of sessions.
                del self._of_session[session], self._left[session]
        return which

    def read_replies(self, then: Callable[[Iterable[ReplyInFlight]], None]) -> None:
        waiting = len(self.transports)
        in_flight: list[ReplyInFlight] = []

        def add(replies: Iterable[ReplyInFlight]) -> None:
            nonlocal waiting
            in_flight.extend(replies)
            waiting -= 1
            if not waiting:
                then(in_flight)

        for transport in self.transports:
            transport.read_replies(add)

    def cut(self) -> None:
        for transport in self.transports:
            transport.cut()

    async def close(self) -> None:
        await asyncio.gather(*(transport.close() for transport in self.transports))
