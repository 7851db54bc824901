"""One worker: makes its requests and connections ahead, sends its share of the load, writes down what it sees.

A small run has one worker, and that is the process itself. Of more workers each is a process (`program.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.clock import NS_PER_S, Clock, Timer, cpu_ns
from bench.config import RunConfig
from bench.conversations import Conversations, Talks
from bench.dispatch import ClosedLoop, InFlight, OpenLoop, Sessions, Stop
from bench.errors import UsageError
from bench.records import Outcome, RequestRecord, to_line
from bench.rng import stream
from bench.run_directory import LineLog, shard_names
from bench.sampling import Sampler
from bench.scale.feed import ProcessFeed
from bench.scale.frames import request_of, session_of
from bench.scale.share import Share
from bench.schedule import ARRIVALS
from bench.secrets import redactor, secrets_of
from bench.transport import TRANSPORTS, openai
from bench.transport.interface import Reading, Target, Transport
from bench.workload import Drawn, Encoded, Rows, Supply, simulated_samples
from promptset import recipes
from promptset.errors import SpecError
from promptset.kinds import Style
from promptset.samples import Sample
from promptset.tokens import SERVER, Tokenizer, load_tokenizer

AHEAD = 5_000
"""Requests kept ready at most, those of sessions with them; those beyond are made by another process meanwhile."""

AHEAD_BYTES = 64 * 1024 * 1024
"""Bytes of their bodies at most."""

MOST_AHEAD, MOST_AHEAD_BYTES = 200_000, 512 * 1024 * 1024
"""The same, where all is sent at once, or where making prompts is a load on the target, which counts their tokens."""

QUIET_SHARE = 0.3
"""A process that used less of a second than this has time to collect garbage."""

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


def tokenizer_of(config: RunConfig) -> Tokenizer | None:
    """The tokenizer that makes prompts and, where it is the target's own, counts replies. Raises UsageError."""
    if config.dataset is not None and config.recipe is None and config.tokenizer is None:
        return None
    try:
        key = None if config.api_key is None else config.api_key.get_secret_value()
        return load_tokenizer(config.tokenizer, server=config.url, api_key=key)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {p}" for p in e.problems]) from e


def samples_of(
    config: RunConfig, tokenizer: Tokenizer | None, share: Share | None = None, *, skip: int = 0
) -> Drawn | Rows | Talks:
    """What the requests of a share (None: of the whole load) are made of, but for the first `skip`. Raises UsageError."""
    first, step = (0, 1) if share is None else (share.worker, share.workers)
    first += skip * step
    try:
        if config.mode == "sessions":
            return _sessions_of(config, tokenizer, first, step)
        recipe = None if config.recipe is None else recipes.load(config.recipe)
        if config.dataset is not None and recipe is None:
            return Rows.of_file(
                Path(config.dataset),
                tokenizer,
                config.output_tokens,
                config.seed,
                chat=config.endpoint == "chat",
                columns=config.columns,
                bad_rows=config.bad_rows,
                by_time=config.mode == "trace",
                first=first,
                step=step,
            )
        assert tokenizer is not None
        output_tokens = config.output_tokens
        if output_tokens is None:
            assert recipe is not None
            output_tokens = recipe.output_tokens
        return simulated_samples(
            tokenizer,
            input_tokens=config.input_tokens if recipe is None else recipe.input_tokens,
            output_tokens=output_tokens,
            chat=config.endpoint == "chat",
            seed=config.seed,
            prefix=config.prefix if recipe is None else recipe.prefix,
            times_s=None if recipe is None else recipe.times_s(config.seed),
            style=Style(config.text, config.repeat),
            first=first,
            step=step,
        )
    except SpecError as e:
        raise UsageError(e.problems) from e


def _sessions_of(config: RunConfig, tokenizer: Tokenizer | None, first: int, step: int) -> Talks:
    """Those of the file, or simulated ones. Raises SpecError."""
    if config.dataset is not None:
        return Talks.of_file(Path(config.dataset), first=first, step=step)
    assert tokenizer is not None
    assert config.output_tokens is not None
    return Talks.simulated(
        tokenizer,
        turns="4" if config.turns is None else config.turns,
        think_time="0s" if config.think_time is None else config.think_time,
        input_tokens=config.input_tokens,
        output_tokens=config.output_tokens,
        prefix=config.prefix,
        seed=config.seed,
        first=first,
        step=step,
    )


def target_of(config: RunConfig) -> Target:
    """Where requests go."""

    def ns(seconds: float | None) -> int | None:
        return None if seconds is None else round(seconds * NS_PER_S)

    assert config.endpoint is not None
    headers = [(name, value.strip()) for name, _, value in (h.partition(":") for h in config.header)]
    if config.api_key is not None:
        headers.insert(0, ("authorization", f"Bearer {config.api_key.get_secret_value()}"))
    return Target(
        url=openai.endpoint_url(config.url, config.endpoint),
        headers=tuple(headers),
        ca_file=config.ca_file,
        insecure=config.insecure,
        timeout_connect_ns=ns(config.connect_timeout),
        timeout_first_byte_ns=ns(config.first_byte_timeout),
        timeout_idle_ns=ns(config.idle_timeout),
        timeout_total_ns=ns(config.timeout),
    )


def transport_of(config: RunConfig, tokenizer: Tokenizer | None, clock: Clock) -> Transport:
    """The transport that was chosen, not open yet."""
    target = target_of(config)
    api_key = config.api_key.get_secret_value() if config.api_key is not None else None
    count: Callable[[str], int] | None = None
    # Only the target's own tokenizer can check the target's counts: it must be named. And it must be here: to ask a server
    # would delay the load, and its word would confirm itself.
    if tokenizer is not None and not tokenizer.asks and (config.tokenizer is not None or config.check_usage):
        count = lambda text: tokenizer.count_plain([text])[0]  # noqa: E731
    reading = Reading(count=count, redact=redactor(secrets_of(config.url, target.headers, api_key)))
    return TRANSPORTS[config.transport](target, reading, clock)


class Worker:
    """Prepares and loads, in the running event loop. `tally` takes what has ended since it was last taken."""

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

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return self._in_flight.now

    @property
    def _needs_all(self) -> bool:
        return self._config.mode == "throughput" or self._config.tokenizer == SERVER

    async def prepare(self) -> None:
        """Make requests and connections ahead. Raises UsageError where the data cannot be made."""
        share, config = self._share, self._config
        wanted = share.requests
        if wanted is None:
            assert config.duration is not None
            a_second = config.rate if config.rate is not None else share.users
            wanted = round((a_second if a_second is not None else 1) * config.duration)
        wanted += share.warmup_requests
        connections = share.users if share.users is not None else share.cap
        if connections is None:
            connections = CONNECTIONS_AHEAD
        if self._conversations is None:
            await self._stock_up(self._supply, request_of, wanted)
            connections = connections if share.requests is None else min(connections, share.requests)
        elif not self._at_hand:
            # Besides the sessions that are over when all is sent there is one that each user has begun.
            await self._stock_up(self._conversations, session_of, wanted, begun=connections)
        await self._transport.prepare(connections)

    @property
    def _at_hand(self) -> bool:
        return isinstance(self._samples, Talks) and self._samples.at_hand

    async def _stock_up(
        self, receiver: Supply | Conversations, unpack: Callable[[bytes], Any], wanted: int, *, begun: int = 0
    ) -> None:
        """Have so many requests made, and the sessions that will be begun besides: ahead as many as the limits allow, the
        others by a process beside the load. Raises UsageError where the data cannot be made."""
        stock = receiver.stock
        ahead, ahead_bytes = (MOST_AHEAD, MOST_AHEAD_BYTES) if self._needs_all else (AHEAD, AHEAD_BYTES)
        if self._share.requests is None or wanted > ahead:
            self._feed = ProcessFeed(self._assignment, receiver, unpack)
        try:
            made = stock.make_ahead(min(wanted, ahead), more=begun, most_bytes=ahead_bytes)
        except SpecError as e:
            raise UsageError(e.problems) from e
        if self._feed is None and (stock.requests < wanted or (begun and stock.bytes >= ahead_bytes)):
            self._feed = ProcessFeed(self._assignment, receiver, unpack)
        if self._feed is not None:
            stock.feed_from(self._feed, requests=AHEAD, most_bytes=AHEAD_BYTES)
            await self._feed.begin(made)

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
        with _collector_at_rest(self._clock):
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
        if self._conversations is not None:
            assert share.users is not None
            return Sessions(
                users=share.users,
                ramp_ns=round(config.ramp * NS_PER_S),
                conversations=self._conversations,
                transport=self._transport,
                clock=self._clock,
                stop=self.stop,
                in_flight=self._in_flight,
                on_record=on_record,
            )
        if share.users is not None:
            return ClosedLoop(
                users=share.users,
                ramp_ns=round(config.ramp * NS_PER_S),
                supply=self._supply,
                transport=self._transport,
                clock=self._clock,
                stop=self.stop,
                in_flight=self._in_flight,
                on_record=on_record,
            )
        return OpenLoop(
            offsets=iter(share.offsets_ns) if share.offsets_ns is not None else arrivals_of(config),
            cap=share.cap,
            drop_late=config.drop_late,
            supply=self._supply,
            transport=self._transport,
            clock=self._clock,
            stop=self.stop,
            in_flight=self._in_flight,
            on_record=on_record,
        )


@contextlib.contextmanager
def _collector_at_rest(clock: Clock) -> Iterator[None]:
    """Keep the garbage collector from stopping the loop: what there was before is frozen, what is new waits for quiet.

    The measuring path leaves no reference cycles behind; other libraries may, so a second in which the process was mostly
    idle ends with a look at what was made since the last look.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    timer: Timer
    used_ns = cpu_ns()

    def look() -> None:
        nonlocal timer, used_ns
        before_ns, used_ns = used_ns, cpu_ns()
        if used_ns - before_ns < QUIET_SHARE * NS_PER_S:
            gc.collect(0)
        timer = clock.call_at(clock.now_ns() + NS_PER_S, look)

    timer = clock.call_at(clock.now_ns() + NS_PER_S, look)
    try:
        yield
    finally:
        timer.cancel()
        gc.enable()
        gc.unfreeze()


def arrivals_of(config: RunConfig) -> Iterator[int]:
    """The arrivals of mode rate, without end."""
    assert config.rate is not None
    assert config.arrivals is not None
    return ARRIVALS[config.arrivals](config.rate, config.burstiness, stream(config.seed, "arrivals"))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where there is one. The manifest says which loop it was."""
    try:
        import uvloop
    except ImportError:  # Not made for Windows.
        return None
    return uvloop.new_event_loop
