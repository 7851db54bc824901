"""One worker: prepares its requests and connections, and begins its share of the load.

A small run has one worker, in the process itself. With several workers, each is a process (bench/scale/program.py).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from bench import endpoints
from bench.clock import NS_PER_S
from bench.endpoints.choice import endpoint_of
from bench.errors import UsageError
from bench.load.active_load import ActiveLoad, ReadyWorker
from bench.load.feed import FeedProcess, ProcessFeed
from bench.load.feed_on_change import FeedOnChange, may_need_more
from bench.machine import preflight
from bench.modes.interface import Expected, Mode, Numbering, UsersMode
from bench.run_files.run_directory import LineLog, shard_names
from promptset.errors import SpecError
from promptset.tokens import SERVER

if TYPE_CHECKING:
    from bench.clock import Clock
    from bench.config import RunConfig
    from bench.load.assignment import Assignment
    from bench.load.crew import Followed
    from bench.modes.share import WorkerShare
    from bench.sources.interface import Source
    from bench.transport.interface import Transport
    from bench.workload import Encoded
    from promptset.samples import Sample

AHEAD = 5_000
"""The most requests kept ready, including those of sessions. Another process makes further ones during the load."""

AHEAD_BYTES = 64 * 1024 * 1024
"""The most bytes of their bodies."""

LEAST_AHEAD = 256
"""The fewest requests kept ready if the number needed is not known."""

MOST_AHEAD, MOST_AHEAD_BYTES = 200_000, 512 * 1024 * 1024
"""The same if the run sends everything immediately, or if the target counts tokens, so that making prompts loads it."""

CONNECTIONS_AHEAD = 512
"""The most connections made before sessions with sub-agents or an open loop."""
AHEAD_S = 0.25
"""A load starts with connections for the arrivals or users of this time and makes others as it needs them. A server with
a thread for each connection, such as llama.cpp's, answers no other client while its threads wait on idle connections."""


def connections_ahead(share: WorkerShare, at_once: int, room: int, requests: int | None, due: int) -> int:
    """Connections to make before the load: one for each user or arrival that is `due` soon. For the `at_once` requests
    of a session with sub-agents, as many as are likely to be needed. Never more than there are `requests`, if their
    number is known."""
    if share.users is not None:
        needed = max(due, min(due * at_once, CONNECTIONS_AHEAD, room))
    else:
        most = min(CONNECTIONS_AHEAD, room) if share.cap is None else share.cap
        needed = min(most, max(1, due * at_once))
    return needed if requests is None else min(needed, requests)


def due_soon(load: Mode, share: WorkerShare) -> int:
    """The users in a share at AHEAD_S after the start. Of an open loop, the arrivals within AHEAD_S: at its start, or the
    most in a recording; 0 if unknown."""
    if isinstance(load, UsersMode) and share.users is not None:
        return max((users for at_ns, users in load.user_changes(share) if at_ns < AHEAD_S * NS_PER_S), default=0)
    planned = load.load_at(0)
    if planned is not None:
        return math.ceil(planned * AHEAD_S / share.workers)
    offsets, window_ns = share.offsets_ns or array("q"), AHEAD_S * NS_PER_S
    return max((at + 1 - bisect_left(offsets, offset - window_ns) for at, offset in enumerate(offsets)), default=0)


def feed_ahead(config: RunConfig) -> FeedProcess | None:
    """The process of a feed, if the load is likely to need one: it starts while this one loads its tokenizer."""
    return FeedProcess(config) if needs_feed(config) else None


def needs_feed(config: RunConfig) -> bool:
    """Whether requests will probably be made during the load: not if they come from a file, are few enough to make in
    advance, or are counted by a server."""
    makes_texts = config.dataset is None or config.recipe is not None
    if not endpoint_of(config).counts_tokens:
        makes_texts = config.body_template is not None
    elif endpoint_of(config).takes_audio:
        makes_texts = True  # A row names a file, which is read for each request.
    here = config.tokenizer is None or (config.tokenizer != SERVER and "://" not in config.tokenizer)
    total = config.length.total
    return makes_texts and here and (total is None or total > AHEAD)


class Worker:
    """In the running event loop, call `prepare`, `begin`, `close`, in this order, and run what `begin` returns."""

    def __init__(
        self,
        assignment: Assignment,
        source: Source[Any],
        transport: Transport,
        clock: Clock,
        feed: FeedProcess | None = None,
    ) -> None:
        """`feed`: a process already started for it (`feed_ahead`)."""
        config, share, options = assignment.config, assignment.share, assignment.options

        def encode(sample: Sample) -> Encoded:
            return endpoints.encode(sample, options)

        self._assignment = assignment
        self._source = source
        self._transport = transport
        self._clock = clock
        numbering = Numbering(
            assignment.run_id,
            first=share.worker,
            step=share.workers,
            cancel=config.cancel_of,
            class_of=config.class_of,
            probe_of=config.probe_of,
            tracing=config.tracing,
        )
        self._load = config.load.worker_load(source, encode, numbering, share)
        requests, samples = shard_names(None if assignment.alone else share.worker)
        self._records = LineLog(assignment.directory / requests)
        self._samples = LineLog(assignment.directory / samples)
        self._feed_process = feed
        self._feed: ProcessFeed | None = None
        self._on_change: FeedOnChange | None = None
        self.preparing = "making prompts"
        """What `prepare` is doing, for display."""

    @property
    def _ahead(self) -> tuple[int, int]:
        """The most requests, and bytes, that are made before the load."""
        config = self._assignment.config
        needs_all = config.load.all_at_once or config.tokenizer == SERVER
        return (MOST_AHEAD, MOST_AHEAD_BYTES) if needs_all else (AHEAD, AHEAD_BYTES)

    async def prepare(self) -> None:
        """Prepare requests and connections. Raises UsageError if the data cannot be made."""
        share, begun = self._assignment.share, self._load.begun
        expected = self._assignment.config.load.expected(share, self._ahead[0])
        requests = expected.requests if expected.exact else share.total
        connections = connections_ahead(
            share,
            self._source.at_once,
            preflight.room_for_connections(),
            None if begun else requests,
            due_soon(self._assignment.config.load, share),
        )
        if not self._source.in_memory:
            await self._stock_up(expected, begun)
        try:
            self._load.get_ready()
        except SpecError as e:
            raise UsageError(e.problems) from e
        self.preparing = f"making {connections:,} connections"
        await self._transport.prepare(connections)

    async def _stock_up(self, expected: Expected, begun: int) -> None:
        """Make the expected requests, and the sessions that will begin in addition.

        As many as the limits allow are made in advance; the others, and any beyond an estimate, by another process
        during the load. Raises UsageError if the data cannot be made.
        """
        stock = self._load.backlog.stock
        wanted = expected.requests
        ahead, ahead_bytes = self._ahead

        def show_progress(made: int) -> None:
            self.preparing = f"making prompts: {made:,} of {min(wanted, ahead):,}"

        if not expected.exact or wanted > ahead:
            self._feed = ProcessFeed(self._assignment, self._load.backlog, self._feed_process)
        try:
            made = stock.make_ahead(min(wanted, ahead), more=begun, most_bytes=ahead_bytes, progress=show_progress)
            # All users begin together, so each needs a session by then, even if sessions are long.
            made += stock.make_ahead(0, more=begun - len(stock), most_bytes=MOST_AHEAD_BYTES)
        except SpecError as e:
            raise UsageError(e.problems) from e
        if self._feed is None and (stock.requests < wanted or (begun and stock.bytes >= ahead_bytes)):
            self._feed = ProcessFeed(self._assignment, self._load.backlog, self._feed_process)
        if self._feed is not None:
            await self._feed.begin(made)
            stock.feed_from(self._feed, requests=min(AHEAD, max(stock.requests, LEAST_AHEAD)), most_bytes=AHEAD_BYTES)
        elif self._feed_process is not None:
            self._feed_process.end()
        if self._feed is None and may_need_more(self._assignment.share):
            self._on_change = FeedOnChange(self._assignment, self._load.backlog, requests=AHEAD, most_bytes=AHEAD_BYTES)

    @property
    def stocked(self) -> int | None:
        """Requests that are ready, if a higher load would need more and nothing makes them; else None."""
        return None if self._on_change is None else self._on_change.stocked

    @property
    def planned_load(self) -> float | None:
        """The load of all workers at the start; None in a mode that plans no number."""
        return self._assignment.config.load.load_at(0)

    def begin(self, start_ns: int, followed: Followed) -> ActiveLoad:
        """Begin the load at this instant; `followed` is told about arrivals and every record."""
        ready = ReadyWorker(
            self._assignment,
            self._load,
            self._source,
            self._records,
            self._samples,
            self._transport,
            self._clock,
        )
        return ActiveLoad(
            ready,
            start_ns=start_ns,
            followed=followed,
            on_change=lambda load: None if self._on_change is None else self._on_change.load_changes(load),
        )

    def close(self) -> None:
        """End the processes that were started."""
        if self._feed is not None:
            self._feed.close()
        elif self._feed_process is not None:
            self._feed_process.end()
        if self._on_change is not None:
            self._on_change.close()
