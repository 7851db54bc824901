"""A worker's load in progress: it sends, writes, counts and obeys orders."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bench.clock import NS_PER_S, Clock, Timer, cpu_ns
from bench.dispatch.in_flight import InFlightCounter
from bench.dispatch.interface import NeverSent
from bench.dispatch.sending import Sending
from bench.dispatch.stop import Stop
from bench.load.assignment import Assignment, WorkerReport
from bench.load.crew import Followed, Order
from bench.load.replies_in_flight import RepliesInFlight
from bench.load.sampling import ClientState, Sampler
from bench.process.priority import Priority, scheduler
from bench.records import NO_FAILURE, RequestRecord, to_line
from bench.sources.interface import Source

if TYPE_CHECKING:
    from bench.modes.interface import WorkerLoad
    from bench.run_files.run_directory import LineLog
    from bench.transport.interface import Transport


@dataclass(frozen=True, slots=True)
class ReadyWorker:
    """A worker's load, transport, and the files that it writes."""

    assignment: Assignment
    load: WorkerLoad
    source: Source[Any]
    records: LineLog
    samples: LineLog
    transport: Transport
    clock: Clock


class ActiveLoad:
    """A load in progress. It accepts a stop as soon as it is created; `run` sends."""

    def __init__(
        self,
        worker: ReadyWorker,
        *,
        start_ns: int,
        followed: Followed,
        on_change: Callable[[float], None],
    ) -> None:
        """`on_change` is called with the load after each change."""
        assignment, load, transport, clock = worker.assignment, worker.load, worker.transport, worker.clock
        share = self._share = assignment.share
        self._mode = assignment.config.load
        self._number = share.worker
        self._alone = assignment.alone
        self._priority = assignment.config.cpu_priority
        self._backlog = load.backlog
        self._source = worker.source
        self._records = worker.records
        self._samples = worker.samples
        self._transport = transport
        self._clock = clock
        self._start_ns = start_ns
        self._followed = followed
        self._replies = RepliesInFlight(transport, clock, followed.arrive)
        self._on_change = on_change
        self._in_flight = InFlightCounter()
        self.failures = 0
        self.time_over = False
        """Whether the duration has ended the load, if it began with a warm-up of requests. Each worker's warm-up ends at
        a different time, so the first worker whose duration is over ends the load of all."""
        self.on_time_over: Callable[[], None] = lambda: None
        self._stop = Stop(
            clock,
            start_ns=start_ns,
            # Arrivals cut by time end by themselves: their number follows from their rate.
            requests=None if share.until_ns is not None else share.requests,
            duration_ns=share.duration_ns,
            warmup_requests=share.warmup_requests,
            warmup_ns=share.warmup_ns,
            ends_ns=share.ends_ns,
            one_of_several=share.workers > 1,
        )
        sending = Sending(
            transport=transport, clock=clock, stop=self._stop, in_flight=self._in_flight, on_record=self._recorded
        )
        self._dispatcher = load.dispatcher(sending)
        self._never_sent: NeverSent | None = None
        self._counts_warmup = bool(assignment.config.warmup_requests)
        self._stop.on_stop(self._sending_stopped)
        self._sampler = Sampler(clock, self.counts, worker.samples.append, share.worker)

    @property
    def in_flight(self) -> int:
        return self._in_flight.now

    @property
    def client(self) -> ClientState:
        """The state of this process in the last second."""
        return self._sampler.client

    async def run(self) -> WorkerReport:
        """Send the share and record it, until all requests have ended."""
        priority = Priority(self._priority, self._clock, scheduler())
        with collector_at_rest(self._clock):
            priority.take()
            try:
                self._sampler.start(self._start_ns)
                self._replies.start(self._start_ns)
                await self._dispatcher.run(self._start_ns)
                self._replies.stop()
                self._sampler.stop()
            finally:
                priority.restore()
        stop = self._stop
        return WorkerReport(
            run_start_ns=stop.run_start_ns,
            reason="interrupted" if stop.interrupted else stop.reason,
            problems=tuple(p for p in (self._records.close(), self._samples.close()) if p is not None),
            repeated_rows=self._source.repeats(self._backlog.taken),
            late_requests=0 if self._source.in_memory else self._backlog.stock.late,
            never_sent=self._never_sent or NeverSent(),
            priority=priority.use,
        )

    def _sending_stopped(self, reason: str) -> None:
        """Note once which requests are due and not made: the feed may still make them, but they are never sent."""
        if self._never_sent is None:
            now_ns = self._clock.now_ns()
            due_ns = self._dispatcher.unmade(now_ns)
            self._never_sent = NeverSent(n=len(due_ns), waited_ns=sum(now_ns - due for due in due_ns))
        if reason == "duration" and self._counts_warmup and not self.time_over:
            self.time_over = True
            self.on_time_over()

    def _recorded(self, record: RequestRecord) -> None:
        self._records.append(to_line(record if self._alone else replace(record, worker=self._number)))
        if record.phase == "run" and record.outcome not in NO_FAILURE:
            self.failures += 1
        self._followed.add(record, self._replies.take(record.id))

    def tell(self, order: Order, reason: str = "") -> None:
        if order is Order.STOP:
            self._stop.now(reason)
            return
        self._stop.interrupt()
        if order is Order.CUT:
            self._transport.cut()

    def warmup_ends(self, at_ns: int) -> None:
        self._stop.warmup_ends(at_ns)

    def change(self, at_ns: int, load: float) -> None:
        """The load of all workers from this instant on."""
        self._dispatcher.change(at_ns, self._mode.part_of(load, self._share))
        self._on_change(load)

    def counts(self, at_ns: int) -> dict[str, int]:
        return {
            "in_flight": self._in_flight.now,
            "in_flight_ns": self._in_flight.integral_ns(at_ns),
            "planned": self._dispatcher.planned,
            "sent": self._dispatcher.sent,
            "done": self._dispatcher.done,
        }


QUIET_SHARE = 0.3
"""A process that used less than this share of a second has time for garbage collection."""
MANY_OBJECTS = 50_000
"""Fewer surviving new objects are not worth a collection, which would stop the loop for some ms."""


@contextlib.contextmanager
def collector_at_rest(clock: Clock) -> Iterator[None]:
    """Keep the garbage collector from stopping the loop: existing objects are frozen, and new ones wait for a quiet
    second.

    Nothing is collected first: that would take 50 ms before the load, and finds a thousand objects of half a million.

    The measuring path creates no reference cycles, but other libraries may. So a second in which the process was mostly
    idle ends with a collection of objects created since the last one, if there are many.
    """
    gc.freeze()
    gc.disable()
    timer: Timer
    used_ns = cpu_ns()

    def look() -> None:
        nonlocal timer, used_ns
        before_ns, used_ns = used_ns, cpu_ns()
        if used_ns - before_ns < QUIET_SHARE * NS_PER_S and gc.get_count()[0] >= MANY_OBJECTS:
            gc.collect(0)
        timer = clock.call_at(clock.now_ns() + NS_PER_S, look)

    timer = clock.call_at(clock.now_ns() + NS_PER_S, look)
    try:
        yield
    finally:
        timer.cancel()
        gc.enable()
        gc.unfreeze()
