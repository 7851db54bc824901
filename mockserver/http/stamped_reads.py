"""When a request arrived: reads that carry the kernel's receive stamp.

Rules:
- An arrival is the kernel's receive stamp of the request's last byte. The listening socket asks for stamps and the
  connections inherit that (listening.py); before each read the waiting bytes are looked at (MSG_PEEK) for the stamp of
  their last one.
- A read takes no more bytes than the look before it has seen: what comes between the two waits for the next look, so
  that each read has the stamp of its own last byte, also where a request comes in pieces or several come at once.
- Where there is no kernel stamp it is the time of the read, taken before anything is parsed. `GET /truth` counts both.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from mockserver.clock import NS_PER_S, RealtimeOffset, now_ns
from mockserver.http.connection_faults import Gate
from mockserver.http.listeners import SO_TIMESTAMPNS
from mockserver.http.protocol import MockProtocol

_TIMESPEC = struct.Struct("qq")
_CONTROL_BYTES = socket.CMSG_SPACE(_TIMESPEC.size) if sys.platform != "win32" else 0
_READ_BYTES = 65_536


class KernelStampedReads(asyncio.BufferedProtocol):
    """Reads for a `MockProtocol`, and looks at the kernel's stamp of the waiting bytes before each read (Linux).

    A protocol around the other and no subclass of it: a loop that finds an `asyncio.Protocol` never asks for a buffer.
    """

    # One buffer serves all connections: it is filled and parsed within one call of the loop.
    _buffer = memoryview(bytearray(_READ_BYTES))

    def __init__(self, inner: MockProtocol, offset: RealtimeOffset) -> None:
        self._inner = inner
        self._offset = offset
        self._socket: socket.socket | None = None
        self._looked_at = 0
        self._stamp: tuple[int, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A second handle on the same descriptor, since uvloop's own has no recvmsg; it is let go without closing.
        self._socket = socket.socket(fileno=transport.get_extra_info("socket").fileno())
        self._inner.connection_made(transport)  # type: ignore[arg-type]

    def get_buffer(self, sizehint: int) -> memoryview:
        assert self._socket is not None
        self._stamp = None
        try:
            self._looked_at, control, _, _ = self._socket.recvmsg_into(
                # MSG_TRUNC: with TCP the bytes are counted and not copied.
                [self._buffer],
                _CONTROL_BYTES,
                socket.MSG_PEEK | socket.MSG_TRUNC | socket.MSG_DONTWAIT,
            )
        except OSError:  # Nothing waits, or the connection is broken: the read that follows will say which.
            return self._buffer
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                self._stamp = _TIMESPEC.unpack(data)
        return self._buffer[: self._looked_at] if self._looked_at else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        read_ns = now_ns()
        data = self._buffer[:nbytes]
        if self._stamp is None or nbytes != self._looked_at:
            self._inner.feed(data, read_ns, "user")
            return
        seconds, nanoseconds = self._stamp
        self._inner.feed(data, self._offset.to_monotonic_ns(seconds * NS_PER_S + nanoseconds), "kernel")

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._socket is not None:
            self._socket.detach()
            self._socket = None
        self._inner.connection_lost(exc)


def protocol_factory(offset: RealtimeOffset, gate: Gate) -> Callable[..., asyncio.BaseProtocol]:
    """What uvicorn calls for each connection."""

    def make(
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.BaseProtocol:
        inner = MockProtocol(config, server_state, app_state, _loop).behind(gate)
        return KernelStampedReads(inner, offset) if sys.platform == "linux" else inner

    return make
