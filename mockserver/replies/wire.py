"""Sends the bytes of one response and stamps each write.

`DirectWire` bypasses ASGI: it writes to the connection's transport itself and stamps immediately before. `AsgiWire`
works under other servers and in tests through ASGI: it hands events to sse-starlette and stamps the hand-over, and its
`reset` can only end the stream early.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any, Protocol

from sse_starlette import EventSourceResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mockserver.clock import now_ns
from mockserver.dialect.cors import SCOPE_KEY
from mockserver.dialect.sse import LAST_CHUNK, http_chunk
from mockserver.workers.response_store import LastResponse

Headers = tuple[tuple[str, str], ...]

EXTENSION = "mockserver.connection"
"""The key of the connection in the ASGI scope."""

WIRE = "mockserver.wire"
"""The key of an existing wire."""

_EVENT_STREAM = "text/event-stream; charset=utf-8"
_JSON = "application/json"
_PLAIN_HEAD = f"content-type: {_EVENT_STREAM}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
"""The end of the head of an ordinary stream."""
_RST = struct.pack("ii", 1, 0)
"""struct linger {on, 0 s}: closing then resets the connection."""


def _phrase(status: int) -> bytes:
    """The reason phrase of a status line. 529 is Anthropic's own."""
    return b"Overloaded" if status == 529 else HTTPStatus(status).phrase.encode()


_LINES: dict[int, tuple[list[tuple[bytes, bytes]], bytes]] = {}


def _first_lines(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The status line and the server's own headers. The server builds a new list of headers each second."""
    known = _LINES.get(status)
    if known is not None and known[0] is headers:
        return known[1]
    lines = b"".join([b"HTTP/1.1 %d %b\r\n" % (status, _phrase(status)), *(b"%b: %b\r\n" % pair for pair in headers)])
    _LINES[status] = (headers, lines)
    return lines


class Wire(Protocol):
    """One response. `write` and the methods that end the response return the stamp in ns taken immediately before. They
    return None if the client had left: then nothing was sent, and `on_lost` has been called."""

    blocked: bool
    """Whether the last write was buffered, which makes its stamp too early."""
    on_lost: Callable[[str], None] | None
    """Called when the response is cut before its end: `client_closed` or `shutdown`."""

    def gone(self) -> bool:
        """Whether the client has left. If so, `on_lost` has been called."""

    def begin(self, headers: Headers = ()) -> None:
        """Send the head of an event stream."""

    def write(self, event: bytes) -> int | None:
        """Send one event."""

    def finish(self, event: bytes) -> int | None:
        """Send the last event (if it is not empty) and end the response normally."""

    def respond(self, status: int, headers: Headers, body: bytes) -> int | None:
        """Send a whole response."""

    def cut_event(self, event: bytes, keep: int) -> int | None:
        """Send the first `keep` bytes of an event, then close the connection (FIN)."""

    def cut_body(self, status: int, headers: Headers, body: bytes, keep: int) -> int | None:
        """Send the head of a whole response and the first `keep` bytes of its body, then close the connection (FIN)."""

    def truncate(self) -> int | None:
        """Close the connection in the middle of the response (FIN)."""

    def reset(self) -> int | None:
        """Reset the connection (RST)."""

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait until the response has ended or the client has left."""


class Connection(Protocol):
    """The part of the server's protocol that `DirectWire` needs, for one request."""

    transport: asyncio.Transport
    received_ns: int | None
    """When the last byte of the request was received."""
    clock: str
    """The source of this stamp: kernel or user."""
    http_1_0: bool
    last: LastResponse | None
    """The last response on this connection. None for HTTP, which does not remember it."""
    wire: TransportWire | None
    """The wire that writes the response."""
    held_until_ns: int | None
    """The end of a `slow_accept` delay. Requests that arrived earlier waited."""
    on_lost: Callable[[], None] | None

    @property
    def bytes_in(self) -> int | None:
        """The bytes of the request. None: use the bytes of its body."""

    @property
    def keep_alive(self) -> bool: ...

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]: ...

    def response_ended(self) -> None:
        """The response is complete: the connection may serve the next request."""

    def close_after_response(self) -> None:
        """Do not reuse the connection, because the request was not read to its end."""


class OwnConnection(Protocol):
    """A connection of our own server while it carries one response."""

    transport: asyncio.Transport
    on_lost: Callable[[], None] | None

    def response_ended(self) -> None:
        """The response is complete: the connection may serve the next request."""


class TransportWire:
    """The common part of the wires that write to a connection's transport themselves."""

    def __init__(self, connection: OwnConnection) -> None:
        self.blocked = False
        self.on_lost: Callable[[str], None] | None = None
        self.transport = connection.transport
        self._own = connection
        self._over = False
        self._ended: asyncio.Future[None] | None = None
        """Created only if something waits: a response that is over at once, or that needs no task, has no waiter."""
        connection.on_lost = self._lost

    def gone(self) -> bool:
        if not self.transport.is_closing():
            return False
        self._lost()
        return True

    def _send(self, data: bytes) -> int | None:
        transport = self.transport
        if transport.is_closing():
            self._lost()
            return None
        waiting = transport.get_write_buffer_size()
        stamp_ns = now_ns()
        transport.write(data)
        self.blocked = waiting > 0 or transport.get_write_buffer_size() > 0
        return stamp_ns

    def truncate(self) -> int | None:
        if self.transport.is_closing():
            self._lost()
            return None
        stamp_ns = now_ns()
        self.transport.close()
        self._end()
        return stamp_ns

    def reset(self) -> int | None:
        if self.transport.is_closing():
            self._lost()
            return None
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        stamp_ns = now_ns()
        self.transport.abort()
        self._end()
        return stamp_ns

    def _end(self) -> None:
        self._own.on_lost = None
        self._own.response_ended()
        self._settle()

    over = _end
    """Another sender has sent the response to its end."""

    def lost(self) -> None:
        """The client has left."""
        self._lost()

    def _lost(self, why: str = "client_closed") -> None:
        if self.on_lost is not None:
            self.on_lost(why)
        self._settle()

    def _settle(self) -> None:
        self._over = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def shut_down(self) -> None:
        """The drain time of the shutdown is over: cut the response."""
        self._own.on_lost = None
        self._lost("shutdown")
        self.transport.close()

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._over:
            return
        self._ended = asyncio.get_running_loop().create_future()
        try:
            await self._ended
        except asyncio.CancelledError:
            self.shut_down()
            raise


class DirectWire(TransportWire):
    """Writes an HTTP response, and frames HTTP chunks."""

    def __init__(self, connection: Connection, headers: Headers = ()) -> None:
        """`headers` are added to the response's own headers."""
        super().__init__(connection)
        connection.wire = self
        self._connection = connection
        self._headers = headers
        self.framed = not connection.http_1_0
        """Whether events travel as HTTP chunks."""

    def _head(self, status: int, headers: Headers) -> bytes:
        lines = [_first_lines(status, self._connection.default_headers)]
        lines += [f"{name}: {value}\r\n".encode("latin-1") for name, value in (*headers, *self._headers)]
        if not self._connection.keep_alive:
            lines.append(b"connection: close\r\n")
        return b"".join((*lines, b"\r\n"))

    def begin(self, headers: Headers = ()) -> None:
        if headers or self._headers or not self.framed or not self._connection.keep_alive:
            kind = () if any(name == "content-type" for name, _ in headers) else (("content-type", _EVENT_STREAM),)
            headers = (*kind, *headers)
            self._send(self._head(200, (*headers, ("transfer-encoding", "chunked")) if self.framed else headers))
        else:
            self._send(_first_lines(200, self._connection.default_headers) + _PLAIN_HEAD)

    def write(self, event: bytes) -> int | None:
        return self._send(http_chunk(event) if self.framed else event)

    def finish(self, event: bytes) -> int | None:
        framed = (http_chunk(event) if event else b"") + LAST_CHUNK
        stamp_ns = self._send(framed if self.framed else event)
        self._end()
        return stamp_ns

    def _whole_head(self, status: int, headers: Headers, body: bytes) -> bytes:
        length = ("content-length", str(len(body)))
        json = () if any(name == "content-type" for name, _ in headers) else (("content-type", _JSON),)
        return self._head(status, (*json, *headers, length))

    def respond(self, status: int, headers: Headers, body: bytes) -> int | None:
        stamp_ns = self._send(self._whole_head(status, headers, body) + body)
        self._end()
        return stamp_ns

    def cut_event(self, event: bytes, keep: int) -> int | None:
        self._send(http_chunk(event)[: len(b"%x" % len(event)) + 2 + keep] if self.framed else event[:keep])
        return self.truncate()

    def cut_body(self, status: int, headers: Headers, body: bytes, keep: int) -> int | None:
        self._send(self._whole_head(status, headers, body) + body[:keep])
        return self.truncate()


class AsgiWire:
    """Hands events to sse-starlette, or one response to Starlette."""

    def __init__(self) -> None:
        self.blocked = False
        self.on_lost: Callable[[str], None] | None = None
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._whole: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self._ended = False
        self._headers: Headers = ()

    def gone(self) -> bool:
        return False  # `run` learns of it, and calls `on_lost`.

    def begin(self, headers: Headers = ()) -> None:
        self._headers = headers
        if not self._whole.done():
            self._whole.set_result(None)

    def write(self, event: bytes) -> int:
        stamp_ns = now_ns()
        if event:
            self._events.put_nowait(event)
        return stamp_ns

    def finish(self, event: bytes) -> int:
        stamp_ns = self.write(event)
        self._end()
        return stamp_ns

    def respond(self, status: int, headers: Headers, body: bytes) -> int:
        response = Response(body, status, dict(headers), _JSON)
        stamp_ns = now_ns()
        self._ended = True
        if not self._whole.done():
            self._whole.set_result(response)
        return stamp_ns

    def cut_event(self, event: bytes, keep: int) -> int:
        self.write(event[:keep])
        return self.truncate()

    def cut_body(self, status: int, headers: Headers, body: bytes, keep: int) -> int:
        return self.respond(status, headers, body[:keep])

    def truncate(self) -> int:
        stamp_ns = now_ns()
        self.begin(self._headers)
        self._end()
        return stamp_ns

    reset = truncate

    def _end(self) -> None:
        self._ended = True
        self._events.put_nowait(None)

    async def _iterate(self) -> AsyncIterator[bytes]:
        while (event := await self._events.get()) is not None:
            yield event

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response: Any = await self._whole
            if response is None:
                # sse-starlette must not send its own comments: they are not in the ledger.
                response = EventSourceResponse(self._iterate(), ping=86_400, headers=dict(self._headers))
            await response(scope, receive, send)
        finally:
            if not self._ended and self.on_lost is not None:
                self.on_lost("client_closed")


def wire_of(scope: Scope) -> tuple[Wire, Connection | None]:
    """The wire for a request, and its connection if it came through our server."""
    extensions = scope.get("extensions", {})
    connection: Connection | None = extensions.get(EXTENSION)
    if WIRE in extensions:
        return extensions[WIRE], connection
    return (AsgiWire() if connection is None else DirectWire(connection, scope.get(SCOPE_KEY, ()))), connection
