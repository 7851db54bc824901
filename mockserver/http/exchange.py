"""One request on a connection, and its response.

There are three ways to send the response: a wire writes it (replies/wire.py, `Connection`); the application sends it
through ASGI; or, for an ordinary request, a wire writes it without an application or a task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message

from mockserver.replies.wire import TransportWire
from mockserver.workers.response_store import LastResponse

if TYPE_CHECKING:
    from mockserver.http.protocol import MockProtocol

_LOG = logging.getLogger("mockserver")
_MOST_WAITING = 65_536
"""The number of body bytes that may wait for the application before reading is paused."""


class Exchange:
    """A request and its response."""

    __slots__ = (
        "_body", "_chunked", "_event", "_has_body", "_is_taken", "_protocol", "awaits_continue", "clock", "complete",
        "disconnected", "held_until_ns", "http_1_0", "is_plain", "keep_alive", "last", "on_lost", "received_ns", "scope",
        "started", "transport", "wire",
    )  # fmt: skip

    def __init__(self, protocol: MockProtocol, scope: dict[str, Any] | None = None) -> None:
        """Without a scope it is an ordinary request, served without the application."""
        self.transport = protocol.transport
        self.scope = scope
        self.is_plain = scope is None
        self.received_ns: int | None = None
        self.clock = "user"
        self.http_1_0 = False
        self.keep_alive = True
        self.last: LastResponse | None = None
        self.on_lost: Callable[[], None] | None = None
        self.wire: TransportWire | None = None
        self.held_until_ns: int | None = None
        self.started = self.complete = self.disconnected = self.awaits_continue = False
        self._protocol = protocol
        self._event: asyncio.Event | None = None
        self._body = bytearray()
        self._has_body = False
        """The body is complete."""
        self._is_taken = False
        """The application has taken the whole body."""
        self._chunked = False

    # The interface `Connection` of a wire.

    bytes_in: int | None = None

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return self._protocol.default_headers

    def response_ended(self) -> None:
        self.started = self.complete = True
        self._wake()
        if not self.keep_alive:
            self._protocol.close()
        self._protocol.on_complete(self)

    def close_after_response(self) -> None:
        self.keep_alive = False

    # The incoming request.

    def add_body(self, body: bytes) -> bool:
        """Returns whether so much is buffered that reading should pause."""
        self._body += body
        self._wake()
        return len(self._body) > _MOST_WAITING

    def end_body(self) -> None:
        self._has_body = True
        self._wake()

    def disconnect(self) -> None:
        """The client has left, or its request is dropped."""
        if not self.complete:
            self.disconnected = True
        self._wake()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    # The interface of a task for the server, which tracks an ordinary request like one.

    def cancel(self, msg: object = None) -> None:
        """The drain time of the shutdown is over, for an ordinary request."""
        del msg
        if self.wire is not None:
            self.wire.shut_down()

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer."""
        assert self.scope is not None
        try:
            await app(self.scope, self._receive, self._send)
            why = "" if self.complete or self.disconnected else "ASGI callable returned without completing response."
            if why:
                _LOG.error(why)
        except Exception:
            why = "it failed"
            _LOG.exception("Exception in ASGI application")
        if why and not self.started and not self.disconnected:
            self.keep_alive = False
            await self._send({"type": "http.response.start", "status": 500, "headers": _PLAIN_TEXT})
            await self._send({"type": "http.response.body", "body": b"Internal Server Error"})
        elif why:
            self.transport.close()

    async def _receive(self) -> Message:
        if self.awaits_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.awaits_continue = False
        while not (self._body or (self._has_body and not self._is_taken) or self.disconnected or self.complete):
            self._event = asyncio.Event()
            await self._event.wait()
        if self.disconnected or self.complete:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        self._is_taken = self._has_body
        if not self._has_body:
            self._protocol.resume_reading()
        return {"type": "http.request", "body": body, "more_body": not self._has_body}

    async def _send(self, message: Message) -> None:
        await self._protocol.drain()
        if self.disconnected or self._protocol.is_closing():
            return
        if message["type"] == "http.response.start":
            self.started = True
            self.awaits_continue = False
            self.transport.write(self._head(message["status"], list(message.get("headers", ()))))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        assert self.scope is not None
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if body:
            self.transport.write(body)
        if not more:
            self.response_ended()

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        assert self.scope is not None
        names = {name.lower(): value for name, value in headers}
        if b"close" in names.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        if b"content-length" not in names and status not in (204, 304) and self.scope["method"] != "HEAD":
            self._chunked = True
            headers.append((b"transfer-encoding", b"chunked"))
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b""))]
        lines += [b"%b: %b\r\n" % pair for pair in (*self.default_headers, *headers)]
        return b"".join([*lines, b"\r\n"])


_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_PLAIN_TEXT = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")]
