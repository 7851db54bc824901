"""The wire transport over WebSockets: each conversation has its own socket, and its messages have kernel stamps.

Sockets, stamps, bounds and records are as for HTTP (connection.py, wire.py). The differences are how a connection is
set up (a handshake over HTTP), how a request and its reply are framed (websocket.py), and which connection a request
may use.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.clock import Clock, now_ns
from bench.records import Outcome, RequestRecord
from bench.transport.connection import READABLE, WRITABLE, Address, Connection, Job
from bench.transport.interface import OnEnd, OnRecord, Reading, Target, ignore
from bench.transport.polled_connection import PolledConnection
from bench.transport.websocket import BrokenSocket, ClientSocket, Refused, is_one_text, left_of_frame
from bench.transport.wire import WireTransport
from bench.workload import Request, Route

if TYPE_CHECKING:
    from bench.transport.connection import Parser

_READ_SIZE = 65_536


class SocketConnection(PolledConnection):
    """A WebSocket. It is set up by TCP, TLS and the handshake; then it serves one request after the other."""

    __slots__ = ("_client", "_hello_ns", "_transport")

    def __init__(self, engine: SocketTransport, address: Address, job: Job | None) -> None:
        self._transport = engine
        route = None if job is None else job.exchange.request.route
        self._client = engine.client(route)
        self._hello_ns = 0
        super().__init__(engine, address, job)

    # Preparing.

    def _ready(self) -> None:
        self._engine.watch(self, self._upgrading, READABLE)
        self._hello_ns = now_ns()
        self._say(self._client.hello)

    def _upgrading(self, events: int) -> None:
        if events & WRITABLE:
            self._flush()
        try:
            data = self.sock.recv(_READ_SIZE)
            if data and self._tls is not None:
                data = self._tls.received(data)
                if not data:
                    return
            if not data:
                raise BrokenSocket("the server closed the connection during the WebSocket handshake")
            done = self._client.feed_handshake(data)
        except BlockingIOError:
            return
        except (OSError, BrokenSocket) as e:  # SSLError is an OSError.
            done = self._client.refused is not None  # Its body ends with the connection.
            if not done:
                self.close()
                self._engine.connect_failed(self, str(e))
                return
        if not done:
            return
        refused = self._client.refused
        if refused is None:
            super()._ready()
            return
        self.close()
        self._transport.refused(self, self._hello_ns, refused)

    def _say(self, data: bytes) -> None:
        """Send bytes of our own."""
        if not data:
            return
        try:
            self._transmit(data if self._tls is None else self._tls.encrypt(data))
        except OSError:
            return  # The next read reports the error.
        if self._unsent:
            call = self._sending if self.connected else self._upgrading
            self._engine.watch(self, call, READABLE | WRITABLE)

    # One request.

    def send(self, job: Job, payload: bytes) -> None:
        """Send the lines of `payload`, each a message."""
        try:
            framed = b"".join(map(self._client.message, payload.split(b"\n")))
        except BrokenSocket as e:
            job.exchange.mark_sent(now_ns())
            self.job = job
            self.reads = 0
            self._engine.loop.call_soon(self._unsendable, job, str(e))
            return
        super().send(job, framed)

    def _new_parser(self) -> Parser:
        self._client.begin(self._transport.words)
        return self._client

    def _head(self, job: Job, parser: Parser) -> None:
        job.exchange.messages()

    _not_spoken = ""  # Its errors already state the problem.

    # Which reads must be parsed.

    _left_of = staticmethod(left_of_frame)

    def _first_piece(self) -> int | None:
        return 0

    def _announces_chunks(self, data: bytes) -> bool:
        return True

    def _may_end(self, data: bytes) -> bool:
        """Whether this read is anything other than one message in the middle of a reply."""
        return self.job is None or not is_one_text(data) or self._transport.words.may_end(data)

    def parse(self) -> None:
        """Parse the buffered data, even if it only concerns the connection."""
        job = self.job
        if job is None:
            self._between_replies()
            return
        super().parse()
        self._say_what_is_due()
        if self.job is job and self._client.closed is not None:
            self.fail(
                Outcome.TRUNCATED, f"the server closed the WebSocket {self._client.closed} before the reply had ended"
            )

    def fail(self, outcome: Outcome, error: str | None) -> None:
        if self.job is not None:
            self.job.exchange.bytes_received += self._client.unfinished_bytes
        super().fail(outcome, error)

    def _between_replies(self) -> None:
        reads, self._put_by = self._put_by, []
        self._put_by_bytes = 0
        self._put = self._put_by.append
        for data, _, _ in reads:
            self._client.feed(data)
        self._say_what_is_due()
        if not self._client.keep_alive:
            self._engine.forget_idle(self)
            self.close()

    def _say_what_is_due(self) -> None:
        due, self._client.outgoing = self._client.outgoing, b""
        if not self.closed:
            self._say(due)

    def close(self) -> None:
        if not self.closed and self.connected:
            self._say_what_is_due()
            self._say(self._client.goodbye())
        super().close()

    def alive(self) -> bool:
        """Whether it can be used: pending data may be a ping, or a close frame."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return not self.closed
        except OSError:
            return False
        self._arrived(READABLE)
        if not self.closed and self._put_by:
            self.parse()
        return not self.closed


class SocketTransport(WireTransport):
    """Sends messages instead of requests: see the module docstring."""

    reads_plainly = False

    def __init__(self, target: Target, reading: Reading, clock: Clock) -> None:
        super().__init__(target, reading, clock)
        assert reading.endpoint.socket is not None
        self.words = reading.endpoint.socket
        self._one_each = reading.endpoint.only_socket
        self._sockets: dict[str, Connection] = {}
        """The sockets of open conversations, by name."""

    def client(self, route: Route | None) -> ClientSocket:
        """The client's side of a new socket, with the headers of the run, or of this route."""
        to = self.target if route is None else self.target.destination(route)
        parts = urlsplit(to.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"user-agent": "trueload", **{name.lower(): value for name, value in to.headers}}
        return ClientSocket(parts.netloc, path, [*headers.items()])

    async def prepare(self, connections: int) -> None:
        """As over HTTP, unless handshakes differ between conversations."""
        if not self.target.own_headers and not self._one_each:
            await super().prepare(connections)

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        def recorded(record: RequestRecord) -> None:
            if record.outcome is not Outcome.OK:
                self._drop_session(request)  # The session sends nothing more.
            done(record)

        super().start(request, intended_ns, eligible_ns, recorded, ended)

    async def close(self) -> None:
        for connection in self._sockets.values():
            connection.close()
        self._sockets.clear()
        await super().close()

    def _new_connection(self, address: Address, job: Job | None) -> Connection:
        return SocketConnection(self, address, job)

    def _take_idle(self, request: Request) -> Connection | None:
        goes_on = request.continuation
        connection = None if goes_on is None else self._sockets.pop(goes_on.conversation, None)
        if connection is not None and connection.alive():
            return connection
        if connection is not None:
            connection.close()
        # A socket made in advance has only the run's headers.
        return None if request.route is not None or self._one_each else super()._take_idle(request)

    def served(self, connection: Connection, job: Job, keep: bool) -> None:
        """A reply is complete: its socket stays with its conversation."""
        request = job.exchange.request
        goes_on = request.continuation
        if keep and goes_on is not None and not goes_on.last:
            self._sockets[goes_on.conversation] = connection
            keep = False
        elif keep and (goes_on is not None or request.route is not None or self._one_each):
            connection.close()
            keep = False
        super().served(connection, job, keep)

    def forget_idle(self, connection: Connection) -> None:
        super().forget_idle(connection)
        for name in [name for name, entry in self._sockets.items() if entry is connection]:
            del self._sockets[name]

    def refused(self, connection: Connection, sent_ns: int, answer: Refused) -> None:
        """The server has answered the handshake over HTTP, which is its answer to the request."""
        job, status = connection.job, answer.status
        if job is None:
            self.connect_failed(connection, f"the WebSocket handshake was refused with status {status}")
            return
        connection.job = None
        exchange = job.exchange
        exchange.mark_connected(sent_ns - connection.began_ns)
        exchange.mark_sent(sent_ns)
        exchange.first_byte_ns = exchange.last_read_ns = now_ns()
        exchange.clock = "user"
        exchange.body_bytes = 0
        if status < 300:
            self.failed(job, Outcome.MALFORMED, f"the server answered the WebSocket handshake with status {status}")
            return
        exchange.head(status, answer.content_type, "", answer.location)
        exchange.feed(bytes(answer.body), exchange.last_read_ns, sent_ns)
        self._conclude(job, exchange.last_read_ns, None, None)

    def _send(self, job: Job, connection: Connection) -> None:
        job.connection = connection
        request = job.exchange.request
        messages = self.words.messages(request.body, request.ids)
        job.exchange.body_bytes = sum(map(len, messages))
        connection.send(job, b"\n".join(messages))
        self._leave_in_time(job)

    def _drop_session(self, request: Request) -> None:
        if request.continuation is None:
            return
        session = request.continuation.conversation.partition(".")[0] + "."
        for name in [name for name in self._sockets if name.startswith(session)]:
            self._sockets.pop(name).close()
