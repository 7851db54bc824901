"""Sends the messages of one response over a WebSocket, and stamps each write.

Differences from `DirectWire` (wire.py): the head is the handshake's, an event is a text message, and a whole response
(a refusal) is one message. The connection stays open after it. If a stream lacks its last event, a client could not see
its end, so the server then closes the connection.
"""

from __future__ import annotations

from typing import Protocol

from mockserver.replies.wire import Headers, OwnConnection, TransportWire


class Socket(OwnConnection, Protocol):
    """A WebSocket connection while it carries one response."""

    def frame(self, message: bytes) -> bytes:
        """The bytes of a text message."""

    def refused(self) -> None:
        """Called when the request is refused."""

    def close(self) -> None:
        """Send a close frame and close the connection."""


class SocketWire(TransportWire):
    """One response on a WebSocket."""

    def __init__(self, socket: Socket) -> None:
        super().__init__(socket)
        self._socket = socket

    def begin(self, headers: Headers = ()) -> None:
        """Does nothing: the handshake was the head."""

    def write(self, event: bytes) -> int | None:
        return self._send(self._socket.frame(event))

    def finish(self, event: bytes) -> int | None:
        stamp_ns = self.write(event) if event else self._send(b"")
        if stamp_ns is not None:
            self._own.on_lost = None
            if not event:
                self._socket.close()
            self._end()
        return stamp_ns

    def respond(self, status: int, headers: Headers, body: bytes) -> int | None:
        self._socket.refused()
        return self.finish(body)

    def cut_event(self, event: bytes, keep: int) -> int | None:
        frame = self._socket.frame(event)
        self._send(frame[: len(frame) - len(event) + keep])
        return self.truncate()

    def cut_body(self, status: int, headers: Headers, body: bytes, keep: int) -> int | None:
        return self.cut_event(body, keep)
