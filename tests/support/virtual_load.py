"""A load in virtual time: a dispatcher, the scripted transport, and the results, with times in ns from the start."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from bench.clock import LoopClock
from bench.dispatch.closed_loop import ClosedLoop
from bench.dispatch.in_flight import InFlightCounter
from bench.dispatch.open_loop import OpenLoop
from bench.dispatch.sending import Sending
from bench.dispatch.session_arrivals import SessionArrivals
from bench.dispatch.session_users import SessionUsers
from bench.dispatch.sessions import SessionsLoop
from bench.dispatch.stop import Stop
from bench.load.sampling import Sampler
from bench.records import RequestRecord
from bench.rng import stream
from bench.schedule.users import coming_in
from bench.transport.interface import OnEnd, OnRecord, ignore
from bench.transport.scripted import ScriptedReply, ScriptedTransport
from bench.workload import Encoded, Request, Supply
from bench.workload.turns import Conversations, History
from promptset.samples import Sample
from promptset.sessions import Session
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

MS = 1_000_000
START = START_NS + 11
"""The start of the load: an odd instant, so that an offset mistaken for an instant shows."""

QUICK = ScriptedReply(ttft_ns=5 * MS)


class LateRecords(ScriptedTransport):
    """Reports at once that a response has ended, and delivers its record `late_ns` later."""

    late_ns = 0
    read_as: Callable[[RequestRecord], RequestRecord]

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        def read(record: RequestRecord) -> None:
            done(self.read_as(record))

        def later(record: RequestRecord) -> None:
            self._clock.call_at(self._clock.now_ns() + self.late_ns, lambda: read(record))

        super().start(request, intended_ns, eligible_ns, later if self.late_ns else read, ended)


class Load:
    """Run by `open` or `closed`; then `records`, `sent_at`, `stop`, `in_flight` and `transport` have the results."""

    def __init__(
        self,
        script: ScriptedReply | Callable[[Request], ScriptedReply] = QUICK,
        *,
        requests: int | None = None,
        duration_ns: int | None = None,
        warmup_requests: int = 0,
        warmup_ns: int = 0,
        ends_ns: int | None = None,
        one_of_several: bool = False,
        work_ns: int = 0,
        records_late_ns: int = 0,
        meanwhile: Sequence[tuple[int, Callable[[Load], object]]] = (),
        begins_late_ns: int | None = None,
        cancel: Callable[[int], int | None] | None = None,
        read_as: Callable[[RequestRecord], RequestRecord] = lambda record: record,
    ) -> None:
        """`work_ns` is charged for each send, records come `records_late_ns` after the ends, and `meanwhile` has other
        events, as (offset in ns, call). `read_as`: the record that results from reading a reply. With `begins_late_ns`
        the load is sampled as a worker does it, from that long after its start.
        """
        self._script_for = (lambda request: script) if isinstance(script, ScriptedReply) else script
        self._limits = {"requests": requests, "duration_ns": duration_ns, "ends_ns": ends_ns}
        self._one_of_several = one_of_several
        self._warmup = {"warmup_requests": warmup_requests, "warmup_ns": warmup_ns}
        self._work_ns = work_ns
        self._records_late_ns = records_late_ns
        self._meanwhile = meanwhile
        self._begins_late_ns = begins_late_ns
        self._cancel = cancel
        self._read_as = read_as
        self.backlog: Supply | Conversations
        self.samples: list[dict[str, Any]] = []
        self.records: list[RequestRecord] = []

    def open(
        self, offsets: Iterable[int], *, cap: int | None = None, drop_late: bool = False, then_daily: bool = True
    ) -> Load:
        """Arrivals at these offsets, then one every virtual day, or none."""
        days = itertools.count(86_400 * 10**9, 86_400 * 10**9)
        due = itertools.chain(offsets, days) if then_daily else iter(offsets)
        self._run(lambda supply, sending: OpenLoop(supply, sending, offsets=due, cap=cap, drop_late=drop_late))
        return self

    def closed(self, users: int, *, ramp_ns: int = 0, ends_first: int = 0) -> Load:
        changes = coming_in(users, ramp_ns)
        self._run(lambda supply, sending: ClosedLoop(supply, sending, changes=changes, ends_first=ends_first))
        return self

    def changing(self, changes: Iterable[tuple[int, int]]) -> Load:
        """Users who come and go: (offset in ns, number of users from then on)."""
        self._run(lambda supply, sending: ClosedLoop(supply, sending, changes=iter(changes)))
        return self

    def sessions(
        self,
        users: int,
        sessions: Iterable[Session],
        *,
        real: bool = True,
        ramp_ns: int = 0,
        changes: Iterable[tuple[int, int]] | None = None,
        in_middle: tuple[int, int] | None = None,
    ) -> Load:
        """Users who hold these conversations, one after the other. Bodies are the messages as JSON. `in_middle`: the
        seed for the middle of sessions in which the first ones begin, and the number of sessions from which they are
        drawn."""

        def make(_supply: Supply, sending: Sending) -> SessionsLoop:
            conversations = self._conversations(sessions, real)
            if in_middle is not None:
                conversations.begin_in_middle(users, stream(in_middle[0], "begin"), in_middle[1])
            due = coming_in(users, ramp_ns) if changes is None else iter(changes)
            return SessionUsers(conversations, sending, changes=due)

        self._run(make)
        return self

    def session_arrivals(self, offsets: Iterable[int], sessions: Iterable[Session], *, real: bool = True) -> Load:
        """New sessions at these offsets, in ns from the start."""

        def make(_supply: Supply, sending: Sending) -> SessionsLoop:
            return SessionArrivals(self._conversations(sessions, real), sending, offsets=iter(offsets))

        self._run(make)
        return self

    def _conversations(self, sessions: Iterable[Session], real: bool) -> Conversations:
        encode = lambda sample: Encoded(orjson.dumps(sample.messages), True, sample.output_tokens)  # noqa: E731
        self.backlog = Conversations(iter(sessions), encode, "made", History(real), cancel=self._cancel)
        return self.backlog

    def _run(self, make: Callable[[Supply, Sending], OpenLoop | ClosedLoop | SessionsLoop]) -> None:
        async def main(loop: VirtualTimeLoop) -> None:
            clock = LoopClock()
            self.loop = loop
            limits: dict[str, Any] = {**self._limits, **self._warmup, "one_of_several": self._one_of_several}
            self.stop = Stop(clock, start_ns=START, **limits)
            self.in_flight = InFlightCounter()
            self.transport = LateRecords(self._answer, clock)
            self.transport.late_ns = self._records_late_ns
            self.transport.read_as = self._read_as
            encode = lambda sample: Encoded(b"{}", True, None)  # noqa: E731
            supply = self.backlog = Supply(itertools.repeat(Sample(prompt="x")), encode, "made", cancel=self._cancel)
            sending = Sending(
                transport=self.transport,
                clock=clock,
                stop=self.stop,
                in_flight=self.in_flight,
                on_record=self.records.append,
            )
            for offset_ns, call in self._meanwhile:
                clock.call_at(START + offset_ns, lambda call=call: call(self))  # type: ignore[misc]
            self.dispatcher = make(supply, sending)
            sampler = Sampler(clock, self._counts, lambda line: self.samples.append(orjson.loads(line)))
            if self._begins_late_ns is not None:
                loop.charge(START - clock.now_ns() + self._begins_late_ns)
                sampler.start(START)
            await self.dispatcher.run(START)
            if self._begins_late_ns is not None:
                sampler.stop()
            self.ended_ns = clock.now_ns() - START
            self.area_ns = self.in_flight.integral_ns(clock.now_ns())

        run_virtual(main)

    def _answer(self, request: Request) -> ScriptedReply:
        self.loop.charge(self._work_ns)
        return self._script_for(request)

    def _counts(self, at_ns: int) -> dict[str, int]:
        dispatcher = self.dispatcher
        return {
            "in_flight_ns": self.in_flight.integral_ns(at_ns),
            "planned": dispatcher.planned,
            "sent": dispatcher.sent,
            "done": dispatcher.done,
        }

    @property
    def sent_at(self) -> list[int]:
        """When each request was sent, in the order of sending."""
        return [at - START for _, at in self.transport.started]

    def of(self, index: int) -> RequestRecord:
        """The one record of this request."""
        (found,) = [record for record in self.records if record.index == index]
        return found
