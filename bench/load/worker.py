"""One worker: makes its requests and connections ahead, sends its share of the load, writes down what it sees.

A small run has one worker, and that is the process itself. Of more workers each is a process (`program.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from bench import preflight
from bench.clock import NS_PER_S, Clock
from bench.config import RunConfig
from bench.conversations import Conversations, Talks
from bench.dispatch import ClosedLoop, InFlight, OpenLoop, Sending, Sessions, Stop
from bench.endpoints import openai
from bench.errors import UsageError
from bench.load.collector import collector_at_rest
from bench.load.components import arrivals_of
from bench.load.feed import ProcessFeed
from bench.load.frames import request_of, session_of
from bench.load.sampling import Sampler
from bench.load.share import Share, drawn
from bench.records import Outcome, RequestRecord, to_line
from bench.run_directory import LineLog, shard_names
from bench.transport.interface import Transport
from bench.workload import Drawn, Encoded, Rows, Supply
from promptset.errors import SpecError
from promptset.samples import Sample
from promptset.tokens import SERVER

AHEAD = 5_000
"""Requests kept ready at most, those of sessions with them; those beyond are made by another process meanwhile."""

AHEAD_BYTES = 64 * 1024 * 1024
"""Bytes of their bodies at most."""

LEAST_AHEAD = 256
"""Where it is not known how many are needed, so many are kept ready at least."""

MOST_AHEAD, MOST_AHEAD_BYTES = 200_000, 512 * 1024 * 1024
"""The same, where all is sent at once, or where making prompts is a load on the target, which counts their tokens."""

CONNECTIONS_AHEAD = 512
"""Connections made before an open loop without a cap: nobody knows how many it will need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that a worker must know. `alone` is the worker of a run that has no other."""

    config: RunConfig
    share: Share
    run_id: str
    options: openai.BodyOptions
    directory: Path

    @property
    def alone(self) -> bool:
        return self.share.workers == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a worker ended: when its warm-up was over, why it stopped, what the user must read, rows it sent again, requests
    that were not made yet when they were due."""

    run_start_ns: int | None
    reason: str | None
    problems: tuple[str, ...]
    repeated_rows: int
    late_requests: int


class Worker:
    """Prepares and loads, in the running event loop: `prepare`, `begin`, `load`, `close`, in this order."""

    def __init__(
        self, assignment: Assignment, samples: Drawn | Rows | Talks, transport: Transport, clock: Clock
    ) -> None:
        self._config = assignment.config
        self._share = assignment.share
        self._samples = samples
        self._transport = transport
        self._clock = clock
        options, share = assignment.options, assignment.share

        def encode(sample: Sample) -> Encoded:
            return openai.encode(sample, options)

        numbers = {"first": share.worker, "step": share.workers}
        self._conversations: Conversations | None = None
        if isinstance(samples, Talks):
            real = assignment.config.history == "real"
            self._conversations = Conversations(samples, encode, assignment.run_id, real=real, **numbers)
        self._supply = Supply(iter(()) if isinstance(samples, Talks) else samples, encode, assignment.run_id, **numbers)
        requests, taken = shard_names(None if assignment.alone else share.worker)
        self._records = LineLog(assignment.directory / requests)
        self._sample_log = LineLog(assignment.directory / taken)
        self._in_flight = InFlight()
        self._assignment = assignment
        self._feed: ProcessFeed[Any] | None = None
        self.failures = 0
        self.preparing = "making prompts"
        """What `prepare` is doing, for people."""

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return self._in_flight.now

    @property
    def _ahead(self) -> tuple[int, int]:
        """How many requests, and bytes, are made before the load at most."""
        needs_all = self._config.mode == "throughput" or self._config.tokenizer == SERVER
        return (MOST_AHEAD, MOST_AHEAD_BYTES) if needs_all else (AHEAD, AHEAD_BYTES)

    async def prepare(self) -> None:
        """Make requests and connections ahead. Raises UsageError where the data cannot be made."""
        share = self._share
        wanted, exact = self._wanted()
        connections = share.users if share.users is not None else share.cap
        if connections is None:
            connections = min(CONNECTIONS_AHEAD, preflight.room_for_connections())
        if self._conversations is None:
            await self._stock_up(self._supply, request_of, wanted, exact=exact)
            connections = connections if share.requests is None else min(connections, share.requests)
        elif not self._at_hand:
            # Besides the sessions that are over when all is sent there is one that each user has begun.
            await self._stock_up(self._conversations, session_of, wanted, exact=exact, begun=connections)
        self.preparing = f"making {connections:,} connections"
        await self._transport.prepare(connections)

    def _wanted(self) -> tuple[int, bool]:
        """How many requests will be sent, warm-up included, and whether that is known or a guess."""
        share, config = self._share, self._config
        if share.requests is not None:
            return share.requests + share.warmup_requests, True
        assert config.duration is not None
        if share.users is None:
            planned, _ = drawn(
                islice(arrivals_of(config), self._ahead[0] + 1),
                requests=None,
                duration_ns=share.duration_ns,
                warmup_requests=share.warmup_requests,
                warmup_ns=share.warmup_ns,
            )
            return len(planned), True
        return round(share.users * config.duration) + share.warmup_requests, False

    @property
    def _at_hand(self) -> bool:
        return isinstance(self._samples, Talks) and self._samples.at_hand

    async def _stock_up(
        self,
        receiver: Supply | Conversations,
        unpack: Callable[[bytes], Any],
        wanted: int,
        *,
        exact: bool,
        begun: int = 0,
    ) -> None:
        """Have so many requests made, and the sessions that will be begun besides: ahead as many as the limits allow, the
        others, and those beyond a number that is not `exact`, by a process beside the load. Raises UsageError where the data
        cannot be made."""
        stock = receiver.stock
        ahead, ahead_bytes = self._ahead

        def told(made: int) -> None:
            self.preparing = f"making prompts: {made:,} of {min(wanted, ahead):,}"

        if not exact or wanted > ahead:
            self._feed = ProcessFeed(self._assignment, receiver, unpack)
        try:
            made = stock.make_ahead(min(wanted, ahead), more=begun, most_bytes=ahead_bytes, progress=told)
        except SpecError as e:
            raise UsageError(e.problems) from e
        if self._feed is None and (stock.requests < wanted or (begun and stock.bytes >= ahead_bytes)):
            self._feed = ProcessFeed(self._assignment, receiver, unpack)
        if self._feed is not None:
            await self._feed.begin(made)
            stock.feed_from(self._feed, requests=min(AHEAD, max(stock.requests, LEAST_AHEAD)), most_bytes=AHEAD_BYTES)

    async def load(self, start_ns: int, on_record: Callable[[RequestRecord], None]) -> Ended:
        """Send the share and write what is seen, until all of it has ended. `begin` must have been called."""
        worker, alone = self._share.worker, self._share.workers == 1

        def recorded(record: RequestRecord) -> None:
            self._records.append(to_line(record if alone else replace(record, worker=worker)))
            if record.phase == "run" and record.outcome not in (Outcome.OK, Outcome.INTERRUPTED, Outcome.DROPPED):
                self.failures += 1
            on_record(record)

        dispatcher = self._dispatcher = self._make_dispatcher(recorded)
        sampler = Sampler(self._clock, self.counts, self._sample_log.append, worker)
        with collector_at_rest(self._clock):
            sampler.start()
            await dispatcher.run(start_ns)
            sampler.stop()
        stop = self.stop
        return Ended(
            run_start_ns=stop.run_start_ns,
            reason="interrupted" if stop.interrupted else stop.reason,
            problems=tuple(p for p in (self._records.close(), self._sample_log.close()) if p is not None),
            repeated_rows=self._repeated_rows(),
            late_requests=0 if self._at_hand else (self._conversations or self._supply).stock.late,
        )

    def _repeated_rows(self) -> int:
        if isinstance(self._samples, Talks):
            return self._samples.repeated
        return self._supply.taken_from(len(self._samples)) if isinstance(self._samples, Rows) else 0

    def close(self) -> None:
        """End what was started beside."""
        if self._feed is not None:
            self._feed.close()

    def begin(self, start_ns: int) -> None:
        """The load will begin at this instant: from now on it can be stopped."""
        share = self._share
        self.stop = Stop(
            self._clock,
            start_ns=start_ns,
            requests=share.requests,
            duration_ns=share.duration_ns,
            warmup_requests=share.warmup_requests,
            warmup_ns=share.warmup_ns,
        )

    def tell(self, order: str, argument: object = None) -> None:
        """`stop` with a reason ends the sending, `interrupt` does it for the user, `cut` ends what is in flight too."""
        if order == "stop":
            self.stop.now(str(argument))
            return
        self.stop.interrupt()
        if order == "cut":
            self._transport.cut()

    def counts(self, at_ns: int) -> dict[str, int]:
        """The dispatcher's numbers at an instant."""
        return {
            "in_flight": self._in_flight.now,
            "in_flight_ns": self._in_flight.integral_ns(at_ns),
            "planned": self._dispatcher.planned,
            "sent": self._dispatcher.sent,
            "done": self._dispatcher.done,
        }

    def _make_dispatcher(self, on_record: Callable[[RequestRecord], None]) -> OpenLoop | ClosedLoop | Sessions:
        config, share = self._config, self._share
        sending = Sending(
            transport=self._transport,
            clock=self._clock,
            stop=self.stop,
            in_flight=self._in_flight,
            on_record=on_record,
        )
        ramp_ns = round(config.ramp * NS_PER_S)
        if self._conversations is not None:
            assert share.users is not None
            return Sessions(self._conversations, sending, users=share.users, ramp_ns=ramp_ns)
        if share.users is not None:
            return ClosedLoop(self._supply, sending, users=share.users, ramp_ns=ramp_ns)
        offsets = iter(share.offsets_ns) if share.offsets_ns is not None else arrivals_of(config)
        return OpenLoop(self._supply, sending, offsets=offsets, cap=share.cap, drop_late=config.drop_late)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where there is one. The manifest says which loop it was."""
    try:
        import uvloop
    except ImportError:  # Not made for Windows.
        return None
    return uvloop.new_event_loop
