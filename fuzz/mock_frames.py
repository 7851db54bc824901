"""Frames of a WebSocket as the mock reads them: messages that wait or are served, a goodbye, and never an error.

An input: cuts, then what a client sends behind its handshake.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fuzz.target import Target, split, split_input
from mockserver.http.limits import RequestLimits
from mockserver.http.web_socket import WebSocket

_HEAD = [
    (b"host", b"h"),
    (b"upgrade", b"websocket"),
    (b"connection", b"upgrade"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]


class _Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        """Reading goes on: an input has an end."""

    resume_reading = pause_reading


class _Socket(WebSocket):
    """One that serves nothing: messages only wait."""

    def _next(self, not_before_ns: int = 0) -> None:
        if not self.transport.is_closing():  # Else they are not served.
            self.messages = [message for message, _, _ in self._waiting]


def _waiting(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    transport: Any = _Transport()
    worker: Any = SimpleNamespace(config=SimpleNamespace(max_body_mb=0.001))
    scope = {"headers": _HEAD, "path": "/v1/responses", "raw_path": b"/v1/responses", "query_string": b""}
    socket = _Socket(transport, scope, lambda: worker, set(), RequestLimits())
    socket.messages = []
    for piece in pieces:
        socket.feed(piece, 1, "user")
    found = list(socket.messages), transport.closing
    socket.shutdown()
    return found


def read(data: bytes) -> None:
    """One input."""
    cuts, data = split_input(data)
    whole = _waiting([data])
    assert sum(map(len, whole[0])) <= len(data)
    assert _waiting(split(data, cuts)) == whole


WORDS = (
    b"\x81\x85\x00\x00\x00\x00hello",
    b"\x81\xfe\x00\x80\x00\x00\x00\x00",
    b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00",
    b"\x89\x80\x00\x00\x00\x00",
    b"\x88\x82\x00\x00\x00\x00\x03\xe8",
    b"\x01\x82\x00\x00\x00\x00he",
    b"\x80\x83\x00\x00\x00\x00llo",
    b"\x82\x81\x00\x00\x00\x00a",
    b"\x81\x05hello",
    b"\x88\x80\x01\x02\x03\x04",
)
TARGET = Target(read, words=WORDS)
