"""A worker's load under way: what it sends, writes, counts, and can be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bench.dispatch.in_flight import InFlightCounter
from bench.dispatch.sending import Sending
from bench.dispatch.stop import Stop
from bench.load.assignment import Assignment, WorkerReport
from bench.load.collector import collector_at_rest
from bench.load.crew import Order
from bench.load.sampling import ClientState, Sampler
from bench.process.priority import Priority, scheduler
from bench.records import NO_FAILURE, RequestRecord, to_line

if TYPE_CHECKING:
    from bench.clock import Clock
    from bench.modes.interface import WorkerLoad
    from bench.run_files.run_directory import LineLog
    from bench.sources.interface import Source
    from bench.transport.interface import Transport


class ActiveLoad:
    """From its creation on it can be told to stop; `run` sends."""

    def __init__(
        self,
        assignment: Assignment,
        load: WorkerLoad,
        source: Source[Any],
        records: LineLog,
        samples: LineLog,
        transport: Transport,
        clock: Clock,
        *,
        start_ns: int,
        on_record: Callable[[RequestRecord], None],
        on_change: Callable[[float], None],
    ) -> None:
        """`on_record` is handed every record, `on_change` every load that will be another one."""
        share = self._share = assignment.share
        self._mode = assignment.config.load
        self._number = share.worker
        self._alone = assignment.alone
        self._priority = assignment.config.cpu_priority
        self._backlog = load.backlog
        self._source = source
        self._records = records
        self._samples = samples
        self._transport = transport
        self._clock = clock
        self._start_ns = start_ns
        self._on_record = on_record
        self._on_change = on_change
        self._in_flight = InFlightCounter()
        self.failures = 0
        self._stop = Stop(
            clock,
            start_ns=start_ns,
            # Arrivals that a time has cut end by themselves: how many there are follows from their rate.
            requests=None if share.until_ns is not None else share.requests,
            duration_ns=share.duration_ns,
            warmup_requests=share.warmup_requests,
            warmup_ns=share.warmup_ns,
            ends_ns=share.ends_ns,
        )
        sending = Sending(
            transport=transport, clock=clock, stop=self._stop, in_flight=self._in_flight, on_record=self._recorded
        )
        self._dispatcher = load.dispatcher(sending)
        self._sampler = Sampler(clock, self.counts, samples.append, share.worker)

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return self._in_flight.now

    @property
    def client(self) -> ClientState:
        """How this process was in the last second."""
        return self._sampler.client

    async def run(self) -> WorkerReport:
        """Send the share and write what is seen, until all of it has ended."""
        priority = Priority(self._priority, self._clock, scheduler())
        with collector_at_rest(self._clock):
            priority.take()
            try:
                self._sampler.start(self._start_ns)
                await self._dispatcher.run(self._start_ns)
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
            priority=priority.use,
        )

    def _recorded(self, record: RequestRecord) -> None:
        self._records.append(to_line(record if self._alone else replace(record, worker=self._number)))
        if record.phase == "run" and record.outcome not in NO_FAILURE:
            self.failures += 1
        self._on_record(record)

    def tell(self, order: Order, reason: str = "") -> None:
        """Obey an order."""
        if order is Order.STOP:
            self._stop.now(reason)
            return
        self._stop.interrupt()
        if order is Order.CUT:
            self._transport.cut()

    def warmup_ends(self, at_ns: int) -> None:
        """The warm-up is over at this instant."""
        self._stop.warmup_ends(at_ns)

    def change(self, at_ns: int, load: float) -> None:
        """The load of all workers from this instant on."""
        self._dispatcher.change(at_ns, self._mode.part_of(load, self._share))
        self._on_change(load)

    def counts(self, at_ns: int) -> dict[str, int]:
        """The dispatcher's numbers at an instant."""
        return {
            "in_flight": self._in_flight.now,
            "in_flight_ns": self._in_flight.integral_ns(at_ns),
            "planned": self._dispatcher.planned,
            "sent": self._dispatcher.sent,
            "done": self._dispatcher.done,
        }
