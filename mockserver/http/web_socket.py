"""WebSocket connections to the paths of SOCKETS: one response after another on one connection.

`MockProtocol` hands over a connection whose head requests a WebSocket. wsproto parses and builds the frames. Reads keep
their stamps, and writes go to the transport at once, as for HTTP (replies/socket_wire.py).

Rules:
- The talk of the path interprets messages (dialect/socket_talk.py). A message that asks for a reply is a request like any
  other: it has a plan, a ledger line, and an arrival, the read of its last byte. Its byte count includes all messages since
  the last request.
- One response at a time. A message received during a response waits for its end, and arrives then. Once `_MOST_WAITING` of
  them wait, or as many bytes as one message may have, reading pauses.
- A message has the limits of a body: its size (1009), and its time from its first bytes (1008).
- The last response stays on the connection, even with `store: false`. An error forgets the response that the request
  continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, MutableSet, Sequence
from math import inf
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from mockserver.clock import now_ns
from mockserver.dialect import refusals
from mockserver.dialect.cors import cors_headers
from mockserver.dialect.endpoints import SOCKETS
from mockserver.dialect.refusals import Refusal
from mockserver.dialect.socket_talk import Ask
from mockserver.http.limits import LARGE_BYTES, RequestLimits
from mockserver.replies.socket_wire import SocketWire
from mockserver.replies.wire import EXTENSION, WIRE
from mockserver.worker import Worker
from mockserver.workers.response_store import LastResponse

_LOG = logging.getLogger("mockserver")
_MOST_WAITING = 16
_BROKEN = refusals.refusal_of(500, "The mock failed to serve this message: see its log.")


def admit(scope: dict[str, Any], worker: Worker) -> None:
    """Raises Refusal if this handshake must not open a WebSocket."""
    worker.sync()
    request = Request({**scope, "query_string": b""})
    if worker.draining:
        refusals.refuse("The server is shutting down and takes no new connections.", status=503)
    SOCKETS[scope["path"]].endpoint.require_key(request, worker.config)
    # A browser opens a WebSocket for any page, whatever CORS says.
    origin = request.headers.get("origin")
    if origin is not None and not cors_headers(origin, worker.config.cors):
        refusals.refuse(
            "A web page of another origin cannot use this WebSocket: start the mock with --cors ORIGIN.", status=403
        )


class WebSocket:
    """One connection. It also is the connection of its requests (replies/wire.py, `Connection` and `Socket`)."""

    http_1_0 = False
    held_until_ns: int | None = None
    keep_alive = True
    default_headers: Sequence[tuple[bytes, bytes]] = ()

    def __init__(
        self,
        transport: asyncio.Transport,
        scope: dict[str, Any],
        worker: Callable[[], Worker],
        tasks: MutableSet[Any],
        limits: RequestLimits,
    ) -> None:
        """Answers the handshake. Raises Refusal if it is invalid."""
        self.transport = transport
        self.on_lost: Callable[[], None] | None = None
        self.received_ns: int | None = None
        self.clock = "user"
        self.last: LastResponse | None = LastResponse()
        self.bytes_in: int | None = 0
        self._scope = scope
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        self._talk = SOCKETS[scope["path"]](scope["headers"], query)
        self._worker = worker
        self._tasks = tasks
        self._socket = WSConnection(ConnectionType.SERVER)
        self._limits = limits
        self._parts: list[str] = []
        self._size = 0
        """Characters of the arriving message."""
        self._began_s = 0.0
        self._timeout: asyncio.TimerHandle | None = None
        """Runs while a message is arriving."""
        self._waiting_bytes = 0
        self._is_large = False
        """Whether a message was large since memory was last given back."""
        self._since_last = 0
        """Bytes of the messages since the last request."""
        self._continues: str | None = None
        self._waiting: deque[tuple[bytes, int, str]] = deque()
        self._busy = self._leaving = False
        try:
            self._socket.initiate_upgrade_connection(scope["headers"], scope["raw_path"])
            list(self._socket.events())
        except (RemoteProtocolError, LocalProtocolError, ValueError) as e:
            refusals.refuse(f"The handshake of the WebSocket is wrong: {e}.")
        transport.write(self._socket.send(AcceptConnection()))
        self._say(self._talk.greeting())

    # Incoming data.

    def feed(self, data: bytes, read_ns: int, clock: str) -> None:
        """Process the data of a read."""
        if self.transport.is_closing():
            return
        try:
            self._socket.receive_data(data)
            for event in self._socket.events():
                self._take(event, read_ns, clock)
        except (RemoteProtocolError, LocalProtocolError):
            self._leave(CloseReason.PROTOCOL_ERROR)

    def _take(self, event: object, read_ns: int, clock: str) -> None:
        if isinstance(event, Ping):
            self.transport.write(self._socket.send(event.response()))
        elif isinstance(event, CloseConnection):
            self._on_close(event)
        elif isinstance(event, BytesMessage):
            self._leave(CloseReason.UNSUPPORTED_DATA)
        elif isinstance(event, TextMessage):
            self._take_part(event, read_ns, clock)

    def _take_part(self, event: Message[str], read_ns: int, clock: str) -> None:
        if event.data:  # Clients may send any number of empty frames.
            self._parts.append(event.data)
            self._size += len(event.data)
        if self._size > self._most_bytes():
            self._leave(CloseReason.MESSAGE_TOO_BIG)
        elif event.message_finished:
            self._stop_timeout()
            message = "".join(self._parts).encode()
            self._parts, self._size = [], 0
            self._is_large = self._is_large or len(message) >= LARGE_BYTES
            self._waiting.append((message, read_ns, clock))
            self._waiting_bytes += len(message)
            if self._has_enough():
                self.transport.pause_reading()
            self._next()
        elif self._timeout is None and self._limits.body_s < inf:
            self._began_s = asyncio.get_running_loop().time()
            self._wait(self._limits.body_s)

    def _most_bytes(self) -> float:
        return self._worker().config.max_body_mb * 1_000_000

    def _has_enough(self) -> bool:
        """Whether so much is waiting that reading pauses."""
        return len(self._waiting) >= _MOST_WAITING or self._waiting_bytes > self._most_bytes()

    def _wait(self, seconds: float) -> None:
        self._timeout = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timeout = None
        now_s = asyncio.get_running_loop().time()
        if self._has_enough():  # Reading is paused.
            self._began_s = now_s
        left_s = self._began_s + self._limits.body_time_s(self._size) - now_s
        if left_s > 0:
            self._wait(left_s)
        else:
            self._leave(CloseReason.POLICY_VIOLATION, "a message did not arrive in time (--body-timeout-s)")

    def _stop_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _on_close(self, event: CloseConnection) -> None:
        with contextlib.suppress(LocalProtocolError):  # It may answer our own close.
            self.transport.write(self._socket.send(event.response()))
        self._drop()

    # Requests, one after another.

    def _next(self, not_before_ns: int = 0) -> None:
        while not self._busy and self._waiting and not self.transport.is_closing():
            had_enough = self._has_enough()
            message, read_ns, clock = self._waiting.popleft()
            self._waiting_bytes -= len(message)
            if had_enough and not self._has_enough():
                self.transport.resume_reading()
            self._since_last += len(message)
            result = self._talk.take(message)
            if not isinstance(result, Ask):
                self._say(result)
                continue
            self._busy = True
            self.bytes_in, self._since_last = self._since_last, 0
            self.received_ns, self.clock = max(read_ns, not_before_ns), clock if read_ns >= not_before_ns else "user"
            task = asyncio.get_running_loop().create_task(self._serve(result, SocketWire(self)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _say(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self.transport.write(self._socket.send(TextMessage(message.decode())))

    async def _serve(self, ask: Ask, wire: SocketWire) -> None:
        message, self._continues = ask.body, ask.continues
        endpoint = self._talk.endpoint
        scope = {
            **self._scope,
            "method": "POST",
            "path": endpoint.path,
            "raw_path": endpoint.path.encode(),
            "query_string": b"",
            "headers": ask.headers,
            "extensions": {EXTENSION: self, WIRE: wire},
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": message, "more_body": False}

        async def send(_: object) -> None:
            """Does nothing: everything goes through the wire."""

        try:
            response = await self._worker().generate(Request(scope, receive), endpoint)
            await response(scope, receive, send)
        except Exception:  # As in HTTP: one request fails, the connection stays open.
            _LOG.exception("a message of a WebSocket failed")
            wire.respond(500, (), endpoint.refused(_BROKEN).body)

    # The interface `Connection` of a response.

    def frame(self, message: bytes) -> bytes:
        self._talk.on_sent(message)
        return self._socket.send(TextMessage(message.decode()))

    def close(self) -> None:
        """Send a close frame and close the connection."""
        self._leave(CloseReason.NORMAL_CLOSURE)

    def refused(self) -> None:
        """OpenAI's rule: an error forgets the response that the request continues."""
        if self.last is not None and self._continues is not None:
            self.last.forget(self._continues)

    def response_ended(self) -> None:
        """The response is complete; serve the next message."""
        self._busy = False
        self._release_memory()
        if self._leaving:
            self._leave(CloseReason.GOING_AWAY)
        self._next(now_ns())

    def close_after_response(self) -> None:
        """Does nothing: the message has already been read."""

    # Closing.

    def shutdown(self) -> None:
        """The server is shutting down: close the connection after the current response."""
        self._leaving = True
        if not self._busy:
            self._leave(CloseReason.GOING_AWAY)

    def _release_memory(self) -> None:
        if self._is_large:
            self._is_large = False
            self._worker().release_memory_soon()

    def _leave(self, why: CloseReason, reason: str | None = None) -> None:
        if self.transport.is_closing():
            return
        with contextlib.suppress(LocalProtocolError):  # It may have been sent already.
            self.transport.write(self._socket.send(CloseConnection(why, reason)))
        self._drop()

    def _drop(self) -> None:
        self.transport.close()
        self.lost()

    def lost(self) -> None:
        """The connection is lost, and with it the current response."""
        self._stop_timeout()
        self._is_large = self._is_large or self._size >= LARGE_BYTES
        self._waiting.clear()
        self._parts.clear()
        self._release_memory()
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()


def refusal_response(refusal: Refusal) -> bytes:
    """The HTTP response to a refused handshake."""
    head = b"HTTP/1.1 %d Refused\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (refusal.status, len(refusal.body)) + refusal.body
