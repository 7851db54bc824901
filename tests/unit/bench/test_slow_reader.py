"""The reader that makes the mock wait, in `calibrate --full`, against a socket that records its calls."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from bench.calibrate import measure


class Reader:
    """A socket that has two pieces to read."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.sent = b""
        self._pieces = [b"x", b"y", b""]

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.asked.append(("close",))

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.asked.append(("room", value))

    def settimeout(self, seconds: float) -> None:
        assert seconds >= 1

    def connect(self, address: tuple[str, int]) -> None:
        self.asked.append(("connect", *address))

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, size: int) -> bytes:
        self.asked.append(("read",))
        return self._pieces.pop(0)


def test_it_has_little_room_until_it_has_waited_and_then_reads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    ours = SimpleNamespace(socket=lambda: reader, SOL_SOCKET=socket.SOL_SOCKET, SO_RCVBUF=socket.SO_RCVBUF)
    waits = SimpleNamespace(Event=lambda: SimpleNamespace(wait=lambda seconds: reader.asked.append(("wait", seconds))))
    monkeypatch.setattr(measure, "socket", ours)
    monkeypatch.setattr(measure, "threading", waits)
    measure.read_slowly("http://127.0.0.1:81")
    (_, little), connects, (_, pause_s), (_, much), *rest = reader.asked
    assert connects == ("connect", "127.0.0.1", 81)
    assert (little < 10_000 < much, pause_s > 0) == (True, True)
    assert rest == [("read",)] * 3 + [("close",)]
    head, _, body = reader.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:81\r\n")
    assert f"content-length: {len(body)}".encode() in head.split(b"\r\n")
    asked = orjson.loads(body)
    assert (asked["stream"], asked["max_tokens"] > 1_000) == (True, True)
