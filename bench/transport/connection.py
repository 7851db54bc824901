"""One connection of the wire transport: connects, sends one request at a time, and ends it.

Subclasses decide how it is read: polled_connection.py reads here, when the socket is readable; received_connection.py
leaves that to the compiled receiver.

States, in order: connecting, handshaking (TLS), idle, busy (a job is set), closed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from bench.clock import now_ns
from bench.records import Outcome
from bench.transport.chunkwise_reads import is_loopback
from bench.transport.exchange import Undecodable
from bench.transport.head import HeadTooLarge, ProtocolError
from bench.transport.http1 import ResponseParser
from bench.transport.tls import TlsChannel
from bench.transport.tunnel import Tunnel, TunnelRefused

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from bench.clock import Timer
    from bench.transport.exchange import Exchange
    from bench.transport.interface import OnEnd, OnRecord, Target
    from bench.transport.websocket import ClientSocket

    Parser = ResponseParser | ClientSocket

SO_TIMESTAMPNS = 35
"""asm-generic/socket.h; Python has no name for it."""

READABLE = select.EPOLLIN if hasattr(select, "EPOLLIN") else 1
WRITABLE = select.EPOLLOUT if hasattr(select, "EPOLLOUT") else 4

Address = tuple[socket.AddressFamily, tuple[object, ...]]
"""A family and its argument for `connect`."""


class Job:
    """A request in progress: on one connection, or two."""

    __slots__ = ("connection", "done", "ended", "exchange", "leaves", "started_ns")

    def __init__(self, exchange: Exchange, done: OnRecord, ended: OnEnd) -> None:
        self.exchange = exchange
        self.done = done
        self.ended = ended
        self.started_ns = now_ns()
        self.connection: Connection | None = None
        self.leaves: Timer | None = None
        """The timer of when its user gives up."""


class Engine(Protocol):
    """What a connection needs from its transport."""

    host: str
    port: int
    target: Target
    tunnels: bool
    """Whether connections are tunnels through the target's proxy."""
    tls: ssl.SSLContext | None
    replica_headers: tuple[bytes, ...]
    """The headers that may name the replica, in lower case."""
    loop: asyncio.AbstractEventLoop
    offset_ns: int
    """The kernel's clock minus ours."""
    last_poll_ns: int
    unhurried: bool
    """Whether there is time to read chunk by chunk."""

    def later(self, work: Callable[[], None]) -> None:
        """Do this after the sockets have been polled."""

    def watch(self, connection: Connection, call: Callable[[int], None], events: int) -> None:
        """Call this when one of the events happens."""

    def unwatch(self, connection: Connection) -> None: ...

    def connected(self, connection: Connection) -> None: ...

    def connect_failed(self, connection: Connection, error: str) -> None: ...

    def forget_idle(self, connection: Connection) -> None:
        """An idle connection is closed."""

    def served(self, connection: Connection, job: Job, keep: bool) -> None:
        """The response is complete. `keep`: the connection can take another request."""

    def failed(self, job: Job, outcome: Outcome, error: str | None) -> None: ...

    def retry(self, job: Job) -> None:
        """Send the request again over another connection."""


class Connection(ABC):
    """A socket and its state. `job` is the request being served, None while the connection is idle."""

    __slots__ = (
        "_engine", "_parser", "_patient", "_tls", "_tunnel", "_unsent", "address", "began_ns", "closed", "connected", "fd",
        "job", "pooled", "quiet_since_ns", "reads", "reads_at_sweep", "sock",
    )  # fmt: skip

    _not_spoken = "not HTTP: "
    """The beginning of a protocol error's message."""

    def __init__(self, engine: Engine, address: Address, job: Job | None) -> None:
        self._engine = engine
        self.job = job
        self.connected = self.closed = False
        self.pooled = job is None
        """Whether it existed before the current request: made in advance, or by an earlier request."""
        self.reads = self.reads_at_sweep = 0
        self._parser: Parser | None = None
        self._unsent = bytearray()  # Cutting off its start does not copy the rest.
        self._tls = None if engine.tls is None else TlsChannel(engine.tls, engine.host)
        proxy = engine.target.proxy
        self._tunnel = Tunnel(proxy, engine.host, engine.port) if engine.tunnels and proxy is not None else None
        self.address = address
        family, where = address
        self._patient = self._tls is None and is_loopback(str(where[0]))
        self.began_ns = self.quiet_since_ns = now_ns()
        self.sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.fd = self.sock.fileno()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        engine.watch(self, self._connecting, WRITABLE)
        error = self.sock.connect_ex(where)
        if error not in (0, errno.EINPROGRESS):
            engine.unwatch(self)
            engine.loop.call_soon(self._refused, error)

    # Preparing.

    def _connecting(self, events: int) -> None:
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._refused(error)
        elif self._tunnel is None:
            self._secure()
        else:
            self._engine.watch(self, self._tunnelling, READABLE)
            self._introduce(self._tunnel.hello)

    def _tunnelling(self, events: int) -> None:
        assert self._tunnel is not None
        try:
            opened = self._tunnel.feed(self.sock.recv(65_536))
        except BlockingIOError:
            return
        except TunnelRefused as e:
            self.close()
            self._engine.connect_failed(self, str(e))
            return
        except OSError as e:
            self._refused(e.errno or errno.ECONNRESET)
            return
        if opened:
            self._secure()

    def _secure(self) -> None:
        """Begin the TLS handshake, if there is TLS."""
        if self._tls is None:
            self._ready()
            return
        self._engine.watch(self, self._handshaking, READABLE)
        self._tls.handshake()
        self._introduce(self._tls.outgoing())

    def _introduce(self, data: bytes) -> None:
        try:
            self._transmit(data)
        except OSError as e:
            self._refused(e.errno or errno.ECONNRESET)

    def _refused(self, error: int) -> None:
        if not self.closed:
            self.close()
            why, proxy = os.strerror(error), self._engine.target.proxy
            self._engine.connect_failed(self, why if proxy is None else proxy.failed(why))

    def _handshaking(self, events: int) -> None:
        assert self._tls is not None
        try:
            data = self.sock.recv(65_536)
            if not data:
                raise ConnectionResetError("the server closed the connection during the TLS handshake")
            self._tls.received(data)
            self._transmit(self._tls.outgoing())
        except BlockingIOError:
            return
        except (OSError, ssl.SSLError) as e:
            self.close()
            self._engine.connect_failed(self, f"TLS: {e}")
            return
        if self._tls.ready:
            self._ready()

    def _ready(self) -> None:
        self.connected = True
        self._watch_reading()
        self._engine.connected(self)

    # Sending.

    def alive(self) -> bool:
        """Whether an idle connection can be used: it detects a server that has closed it, or sends data unasked."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            # After a chunked reply, a read that does not look like an end stays unparsed.
            return not self._holds_reads()
        except OSError:
            return False
        if self._tls is None:
            return False
        self._arrived(READABLE)  # TLS may have sent a session ticket, which does not end the connection.
        return not self.closed and not self._holds_reads()

    def send(self, job: Job, payload: bytes) -> None:
        """Send a request. `sent` is taken immediately before the system call that passes its first byte."""
        self.job = job
        self._begin()
        self._parser = self._new_parser()
        if self._tls is not None:
            payload = self._tls.encrypt(payload)
        sent_ns = now_ns()
        try:
            count = self.sock.send(payload)
        except BlockingIOError:
            count = 0
        except OSError as e:
            job.exchange.mark_sent(sent_ns)
            # Not here: this may be inside `start`, which must not answer.
            self._engine.loop.call_soon(self._unsendable, job, f"the connection was reset: {e.strerror}")
            return
        self.quiet_since_ns = sent_ns
        job.exchange.mark_sent(sent_ns)
        if count < len(payload):
            self._unsent += memoryview(payload)[count:]
            self._watch_sending()

    def _watch_sending(self) -> None:
        """Send the rest when the socket is writable, and keep reading."""
        self._engine.watch(self, self._sending, READABLE | WRITABLE)

    def _watch_reading(self) -> None:
        self._engine.watch(self, self._arrived, READABLE)

    def _new_parser(self) -> Parser:
        assert self.job is not None
        return ResponseParser(to_head=self._engine.target.method_of(self.job.exchange.request.route) == "HEAD")

    def _unsendable(self, job: Job, error: str) -> None:
        if self.job is job and not self.closed:  # Nothing else has ended it meanwhile.
            self._lost(error)

    def _transmit(self, data: bytes) -> None:
        if data:
            self._unsent += data
            self._flush()

    def _flush(self) -> None:
        try:
            del self._unsent[: self.sock.send(self._unsent)]
        except BlockingIOError:
            return

    def _sending(self, events: int) -> None:
        if events & WRITABLE and self._unsent:
            try:
                self._flush()
            except OSError as e:
                self._lost(f"the connection was reset: {e.strerror}")
                return
            if not self._unsent:
                self._watch_reading()
        if events & ~WRITABLE:
            self._arrived(events)

    # Receiving: polled_connection.py and received_connection.py.

    @abstractmethod
    def _begin(self) -> None:
        """A request is sent next: everything that arrives from now on is its response."""

    @abstractmethod
    def _arrived(self, events: int) -> None:
        """Data has arrived, or the connection has ended."""

    @abstractmethod
    def _feed(self, job: Job, parser: Parser) -> None:
        """Pass the buffered reads to the parser. Raises ProtocolError, HeadTooLarge and Undecodable."""

    @abstractmethod
    def _set_lazy(self, lazy: bool) -> None:
        """Set whether only the end of the body needs to be detected."""

    @property
    @abstractmethod
    def put_by(self) -> int:
        """Buffered reads that are not parsed yet."""

    @abstractmethod
    def _holds_reads(self) -> bool:
        """Whether some reads have not been parsed."""

    def catch_up(self) -> None:
        """Shrink the buffered data: a long reply then keeps its stamps in memory, but not its bytes."""
        job = self.job
        if job is not None:
            self.parse()
            if self.job is job:
                try:
                    job.exchange.digest()
                except Undecodable as e:
                    self.fail(Outcome.MALFORMED, str(e))

    def parse(self) -> None:
        """Parse the buffered data, and end the request if its response has ended."""
        job, parser = self.job, self._parser
        if job is None or parser is None:
            # Unrequested bytes: the connection cannot be used any more.
            self._engine.forget_idle(self)
            self.close()
            return
        try:
            self._feed(job, parser)
        except ProtocolError as e:
            self.fail(Outcome.MALFORMED, f"{self._not_spoken}{e}")
        except (HeadTooLarge, Undecodable) as e:
            self.fail(Outcome.MALFORMED, str(e))
        else:
            if parser.complete:
                self._complete(job, parser)

    def _bound_memory(self, exchange: Exchange) -> None:
        """Shrink the data of a server that sends a lot. Raises Undecodable if it exceeds the limit of a response."""
        if exchange.is_heavy:
            exchange.digest()
        if exchange.bytes_received > self._engine.target.max_response_bytes:
            raise Undecodable(
                f"the response is larger than the limit of {self._engine.target.max_response_bytes} bytes"
            )

    def _head(self, job: Job, parser: Parser) -> None:
        assert parser.status is not None
        headers = parser.headers
        location = headers.get(b"location")
        # Only a chunked body's end can be seen without counting its bytes.
        self._set_lazy(b"chunked" in headers.get(b"transfer-encoding", b"").lower())
        job.exchange.head(
            parser.status,
            headers.get(b"content-type", b"").decode("latin-1"),
            headers.get(b"content-encoding", b"").decode("latin-1"),
            None if location is None else location.decode("latin-1"),
            sized=b"content-length" in headers,
            replica=self._replica(headers),
        )

    def _replica(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The replica that answered, from the first header that names it."""
        for name in self._engine.replica_headers:
            if (value := headers.get(name)) is not None:
                return value.decode("latin-1")
        return None

    def _complete(self, job: Job, parser: Parser) -> None:
        # An error may come early: if a body is too large, for example.
        if self._unsent and job.exchange.is_whole(None):
            self.fail(Outcome.MALFORMED, "the reply ended before the server had read the request")
            return
        self.job, self._parser = None, None
        parser.close()
        self.pooled = True
        keep = parser.keep_alive and not self._unsent and (self._tls is None or not self._tls.ended)
        if not keep:
            self.close()
        self._engine.served(self, job, keep)

    def _ended(self) -> None:
        """The server has closed its side."""
        job, parser = self.job, self._parser
        if job is None or parser is None:
            self._engine.forget_idle(self)
            self.close()
            return
        if self._holds_reads():
            self.parse()
            if self.job is not job:
                return
        parser.end_of_file()
        if parser.complete:
            parser.keep_alive = False
            self._complete(job, parser)
        elif self.reads:
            self.fail(Outcome.TRUNCATED, "the server closed the connection before the response had ended")
        else:
            self._lost("the server closed the connection before the response had ended")

    def _lost(self, error: str) -> None:
        job = self.job
        if job is None:
            self._engine.forget_idle(self)
            self.close()
        elif not self.reads and self.pooled and job.exchange.attempts == 1 and job.exchange.may_be_stale(now_ns()):
            # It died while idle, and the server had not seen the request: neither is at fault.
            self.close()
            self.job = None
            self._engine.retry(job)
        else:
            self.fail(Outcome.RESET, error)

    def read_out(self) -> None:
        """Read and parse everything that has arrived so far."""
        job = self.job
        self._arrived(READABLE)
        if job is not None and self.job is job and self._holds_reads():
            self.parse()

    def fail(self, outcome: Outcome, error: str | None) -> None:
        """End the request here: close the socket, and make a record of what has come so far."""
        job, parser = self.job, self._parser
        assert job is not None
        if parser is not None and self._holds_reads():
            # The data may be unreadable: the request has already failed, for a better reason.
            with contextlib.suppress(ProtocolError, HeadTooLarge, Undecodable):
                self._feed(job, parser)
        self.job = self._parser = None
        if parser is not None:
            parser.close()
        self.close()
        self._engine.failed(job, outcome, error)

    def close(self) -> None:
        """Close the socket. Idempotent."""
        if not self.closed:
            self.closed = True
            self._engine.unwatch(self)
            self.sock.close()
