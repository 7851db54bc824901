"""A loopback WebSocket server of literal bytes: it reads frames and writes what a script returns, with nothing checked.

    with SocketServer(script) as server: ...

A script gets a message (`Said`) and returns what to write: bytes, each in one write, or `CLOSE`, which closes the
connection. `frame` and `text` make frames. The code is independent of the code under test and of wsproto.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.literal_server import CERTIFICATE

CLOSE = b""
TEXT, BINARY, GOODBYE, PING, PONG = 1, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Said:
    """A client's message: the number of its connection and its own number on it, both from 0; masked as RFC 6455
    requires."""

    connection: int
    number: int
    row: dict[str, Any]
    size: int


Script = Callable[[Said], Sequence[bytes]]


def frame(payload: bytes, opcode: int = TEXT, *, last: bool = True) -> bytes:
    """A server's frame."""
    first = opcode | (0x80 if last else 0)
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    if len(payload) < 65_536:
        return bytes([first, 126]) + struct.pack("!H", len(payload)) + payload
    return bytes([first, 127]) + struct.pack("!Q", len(payload)) + payload


def text(row: Any) -> bytes:
    """A message of one frame: this JSON."""
    return frame(json.dumps(row, separators=(",", ":")).encode())


def goodbye(code: int, reason: str = "") -> bytes:
    return frame(struct.pack("!H", code) + reason.encode(), GOODBYE)


class SocketServer:
    """`heads` has the handshakes, `said` the messages, `controls` the (opcode, payload) of other frames, and `writes`
    the instants before and after each write of a script."""

    def __init__(self, script: Script, *, refuses: bytes | None = None, tls: bool = False, behind: bytes = b"") -> None:
        """`refuses`: the answer to each handshake. `behind`: bytes written together with the answer to a handshake."""
        self._script = script
        self._refuses = refuses
        self._behind = behind
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE)
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self.heads: list[str] = []
        self.said: list[Said] = []
        self.controls: list[tuple[int, bytes]] = []
        self.writes: list[tuple[int, int]] = []
        self.ended = threading.Semaphore(0)
        """Released when a connection has ended."""

    def __enter__(self) -> SocketServer:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://localhost:{self._listening.getsockname()[1]}"
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listening.close()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                # SSLSocket.shutdown would also end TLS, and the connection's thread would read later encrypted bytes as
                # plain ones.
                socket.socket.shutdown(one, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(one, len(self._threads)))
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket, connection: int) -> None:
        one = raw
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                one = self._tls.wrap_socket(raw, server_side=True)
            self._sockets.add(one)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                if not (byte := one.recv(1)):
                    return
                head += byte
            self.heads.append(head.decode())
            if self._refuses is not None:
                one.sendall(self._refuses)
                return
            one.sendall(accepting(head) + self._behind)
            number = 0
            while (read := _frame(one)) is not None:
                opcode, payload = read
                if opcode != TEXT:
                    self.controls.append(read)
                    continue
                said = Said(connection, number, json.loads(payload), len(payload))
                self.said.append(said)
                number += 1
                for data in self._script(said):
                    if data == CLOSE:
                        _end(one)
                        return
                    before = time.monotonic_ns()
                    one.sendall(data)
                    self.writes.append((before, time.monotonic_ns()))
        except OSError:
            pass  # The client may close its connection at any time.
        finally:
            self._sockets.discard(one)
            one.close()
            self.ended.release()


def accepting(head: bytes) -> bytes:
    """A server's answer to this handshake."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    (key,) = [value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key"]
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
        + accept
        + b"\r\n\r\n"
    )


def _end(one: socket.socket) -> None:
    """End this side, and read until the client has ended its side: closing with unread data (an answer to a ping, say)
    would reset the connection."""
    socket.socket.shutdown(one, socket.SHUT_WR)
    while one.recv(65_536):
        pass


def _exactly(one: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        if not (piece := one.recv(size - len(data))):
            return None
        data += piece
    return data


def _frame(one: socket.socket) -> tuple[int, bytes] | None:
    """A client's frame, which must be whole and masked; None at the end of the connection."""
    head = _exactly(one, 2)
    if head is None:
        return None
    assert head[0] & 0x80, "the tests' clients send messages in one frame"
    assert head[1] & 0x80, "a client must mask its frames"
    length = head[1] & 0x7F
    size = _exactly(one, {126: 2, 127: 8}.get(length, 0))
    if size:
        length = int.from_bytes(size, "big")
    mask = _exactly(one, 4)
    payload = _exactly(one, length)
    if size is None or mask is None or payload is None:
        return None  # A client may close its connection while its last frame is on its way.
    return head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
