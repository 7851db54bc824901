"""A connection read by the compiled receiver, in a thread that never waits for Python.

It connects and sends like any other connection (connection.py). `_core.c` reads, stamps and keeps arriving data, by the
same rules. It notifies the engine when a response may have ended, when much is buffered, and when the connection has
ended. It also cuts events in their usual form; everything else goes through the same parsers as without it.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Protocol

from bench.native import core
from bench.transport.connection import WRITABLE, Address, Connection, Engine
from bench.transport.head import ProtocolError

if TYPE_CHECKING:
    from bench.native._core import Stream
    from bench.transport.connection import Job, Parser

_names = itertools.count(1)


class ReceivingEngine(Engine, Protocol):
    """A transport with a compiled receiver."""

    def receive(self, connection: ReceivedConnection, patient: bool) -> Stream:
        """Let the receiver read the connection from now on."""

    def forget_name(self, name: int) -> None:
        """The connection with this name is closed."""


class ReceivedConnection(Connection):
    """See the module docstring. `name` identifies it to the receiver."""

    _engine: ReceivingEngine

    __slots__ = ("_stream", "name")

    def __init__(self, engine: ReceivingEngine, address: Address, job: Job | None) -> None:
        self._stream: Stream | None = None
        self.name = next(_names)
        super().__init__(engine, address, job)

    @property
    def reads(self) -> int:
        return 0 if self._stream is None else self._stream.reads

    @reads.setter
    def reads(self, value: int) -> None:
        del value  # The receiver counts reads.

    # The receiver does the reading.

    def _watch_reading(self) -> None:
        self._engine.unwatch(self)
        if self._stream is None:
            self._stream = self._engine.receive(self, self._patient)

    def _watch_sending(self) -> None:
        self._engine.watch(self, self._sending, WRITABLE)

    def _arrived(self, events: int) -> None:
        """Does nothing: the receiver reads the connection, whatever woke the sending."""
        del events

    def attend(self, event: int) -> None:
        """Handle a notification of the receiver: a response may have ended, much is buffered, or the connection has
        ended."""
        stream = self._stream
        if self.closed or stream is None:
            return
        # Before anything is collected: data before the end is collected with it, and a later end is notified again.
        ended, error = stream.heed()
        if ended or error:
            if error:
                self._parse_what_came()  # A response may have ended before the connection broke.
                if not self.closed:
                    self._lost(f"the connection was reset: {os.strerror(error)}")
            else:
                self._ended()
        elif core is not None and event == core.CATCH_UP:
            self._engine.later(self.catch_up)
        elif stream.waiting or stream.holds:
            self.parse()

    def _parse_what_came(self) -> None:
        if self.job is not None and self._holds_reads():
            self.parse()

    @property
    def put_by(self) -> int:
        return 0 if self._stream is None else self._stream.put_by

    def _holds_reads(self) -> bool:
        return self._stream is not None and (self._stream.waiting or self._stream.holds)

    def alive(self) -> bool:
        stream = self._stream
        if stream is None or stream.ended or stream.error:
            return False
        return super().alive()

    def _begin(self) -> None:
        self.reads_at_sweep = 0
        if self._stream is not None:
            self._stream.begin()

    def send(self, job: Job, payload: bytes) -> None:
        super().send(job, payload)
        if self._stream is not None and (sent_ns := job.exchange.last_sent_ns) is not None:
            self._stream.sent(sent_ns)

    def _set_lazy(self, lazy: bool) -> None:
        if self._stream is not None:
            self._stream.set_lazy(lazy)

    def _feed(self, job: Job, parser: Parser) -> None:
        stream, exchange, offset_ns = self._stream, job.exchange, self._engine.offset_ns
        if stream is None or not stream.collect():
            return
        while True:
            if parser.status is not None and not parser.complete and exchange.takes_events():
                plain_events = stream.events(offset_ns, exchange.last_chunk_ns)
                if plain_events is not None:
                    events, stamps, bounds, size, exchange.last_read_ns = plain_events
                    exchange.feed_events(events, stamps, bounds, size)
            chunk = stream.take(offset_ns, exchange.first_byte_ns is None)
            if chunk is None:
                break
            data, stamp_ns, bound_ns = chunk
            if parser.complete:
                parser.behind(data)
                continue
            if exchange.first_byte_ns is None:
                exchange.first_byte_ns = stamp_ns
            pieces = parser.feed(data)
            if exchange.status is None and parser.status is not None:
                self._head(job, parser)
            for piece in pieces:
                exchange.feed(piece, stamp_ns, bound_ns)
            exchange.last_read_ns = stamp_ns
            if parser.error is not None:
                raise ProtocolError(parser.error)
        if stream.mixed:
            exchange.clock = "mixed"
        self._bound_memory(exchange)

    def read_out(self) -> None:
        if self._stream is not None:
            self._stream.read()
        self._parse_what_came()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.forget()
            self._engine.forget_name(self.name)
        super().close()
