"""How requests are sent. A new transport is one file behind `interface.Transport` and one line in TRANSPORTS.

`sse.py`, `http1.py` and `unpacking.py` do no I/O, and `exchange.py` collects what any transport receives; the
transports themselves are the thin shell around sockets. The endpoint interprets responses (`bench/endpoints`).
`scripted.py` is the fake for tests: it answers from a script, without a network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench.clock import Clock
from bench.transport.interface import Reading, Target, Transport


def _wire(target: Target, reading: Reading, clock: Clock) -> Transport:
    if target.websocket:
        from bench.transport.websocket_wire import SocketTransport

        return SocketTransport(target, reading, clock)
    from bench.transport.wire import WireTransport

    return WireTransport(target, reading, clock)


def _httpx(target: Target, reading: Reading, clock: Clock) -> Transport:
    from bench.transport.httpx_transport import HttpxTransport

    return HttpxTransport(target, reading, clock)


TRANSPORTS: dict[str, Callable[[Target, Reading, Clock], Transport]] = {
    "wire": _wire,
    "httpx": _httpx,
}
"""By the name that `--transport` takes. Each is imported only when it is chosen."""

DEFAULT = "wire" if sys.platform == "linux" else "httpx"
"""epoll and kernel stamps need Linux; elsewhere httpx is the default, and the result has `clock: user`."""


def missing(name: str) -> str | None:
    """Why this system lacks the transport, and what to do. Returns None if it has it."""
    if name == "wire" and sys.platform != "linux":
        return "wire needs Linux (epoll, and the kernel's time stamps): leave --transport out, and httpx sends the requests"
    return None


def present(name: str) -> str:
    """The name, if the transport exists and this system supports it. Raises ValueError otherwise."""
    if name not in TRANSPORTS:
        raise ValueError(f"{name!r} is not one of {', '.join(TRANSPORTS)}")
    if (why := missing(name)) is not None:
        raise ValueError(why)
    return name
