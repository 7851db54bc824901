"""Reads with the kernel's receive stamp, which gives the arrival time of a request.

Rules:
- A request arrives at the kernel's receive stamp of its last byte. The listening socket requests stamps and its connections
  inherit that (listeners.py). Before each read, MSG_PEEK shows the waiting bytes and the stamp of the last.
- A read takes only the bytes that the preceding peek saw. Later bytes wait for the next peek, so each read has the stamp of
  its own last byte, even if a request arrives in pieces or several arrive at once.
- Without a kernel stamp, the time of the read counts, taken before parsing. `GET /truth` counts both kinds.
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
from mockserver.http.connection_faults import ConnectionFaults
from mockserver.http.limits import RequestLimits
from mockserver.http.listeners import SO_TIMESTAMPNS
from mockserver.http.protocol import MockProtocol
from mockserver.worker import Worker

_TIMESPEC = struct.Struct("qq")
_CONTROL_BYTES = socket.CMSG_SPACE(_TIMESPEC.size) if sys.platform != "win32" else 0
_READ_BYTES = 65_536
# Plain ints: combining flags by name on each read costs as much as the read.
_PEEK = int(socket.MSG_PEEK) | int(getattr(socket, "MSG_TRUNC", 0)) | int(getattr(socket, "MSG_DONTWAIT", 0))
"""MSG_TRUNC: for TCP, count the bytes without copying them."""


class KernelStampedReads(asyncio.BufferedProtocol):
    """Reads for a `MockProtocol`, and peeks at the kernel's stamp of the waiting bytes before each read (Linux).

    It wraps the other protocol rather than inheriting from it: a loop never asks an `asyncio.Protocol` for a buffer.
    """

    # One buffer serves all connections: the loop fills and parses it in one call.
    _buffer = memoryview(bytearray(_READ_BYTES))
    _buffers = (_buffer,)

    def __init__(self, inner: MockProtocol, offset: RealtimeOffset) -> None:
        self._inner = inner
        self._offset = offset
        self._socket: socket.socket | None = None
        self._looked_at = 0
        self._stamp: tuple[int, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A second handle on the same descriptor, because uvloop's has no recvmsg. It is detached, never closed.
        self._socket = socket.socket(fileno=transport.get_extra_info("socket").fileno())
        self._inner.connection_made(transport)  # type: ignore[arg-type]

    def get_buffer(self, sizehint: int) -> memoryview:
        assert self._socket is not None
        self._stamp = None
        try:
            self._looked_at, control, _, _ = self._socket.recvmsg_into(self._buffers, _CONTROL_BYTES, _PEEK)
        except BlockingIOError:
            # Nothing is waiting, and bytes that arrive before the read would have no stamp: read one byte and leave the
            # rest.
            return self._buffer[:1]
        except OSError:  # The connection is broken; the read reports how.
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


def protocol_factory(
    offset: RealtimeOffset, faults: ConnectionFaults, limits: RequestLimits, worker: Callable[[], Worker]
) -> Callable[..., asyncio.BaseProtocol]:
    """Returns the function that uvicorn calls for each connection."""

    def make(
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.BaseProtocol:
        inner = MockProtocol(config, server_state, app_state, _loop).with_faults(faults).with_worker(worker)
        inner.with_limits(limits)
        return KernelStampedReads(inner, offset) if sys.platform == "linux" else inner

    return make
