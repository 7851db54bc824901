"""Waits until the kernel stamps arriving data.

Stamping begins a moment after the machine's first socket asks for it: 1 to 4 ms later on an idle machine, at any time
on a busy one. Earlier data has no stamp, and gets the time of its read.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol

from bench.clock import NS_PER_MS, Clock, sleep_until

SO_TIMESTAMPING = 37
RX_SOFTWARE, SOFTWARE = 1 << 3, 1 << 4
"""Flags of SO_TIMESTAMPING (linux/net_tstamp.h). Unlike SO_TIMESTAMPNS it does not invent a stamp when a datagram is
read."""

LOOK_NS = NS_PER_MS // 2
MOST_LOOKS = 1_000


class Datagrams(Protocol):
    """A socket that is connected to itself."""

    def send(self, data: bytes, /) -> int: ...

    def recvmsg(self, size: int, ancillary: int, /) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]: ...


def asking_socket() -> socket.socket:
    """A socket that requests stamps, also on behalf of all others, as long as it is open; it receives what it sends."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    # If the machine has no loopback, or no such stamps, the first packets are not stamped.
    with contextlib.suppress(OSError):
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE)
        made.bind(("127.0.0.1", 0))
        made.connect(made.getsockname())
    return made


async def stamps_begun(datagrams: Datagrams, clock: Clock) -> bool:
    """Send datagrams until one comes with a stamp. Returns False if none does, or none can be sent."""
    for _ in range(MOST_LOOKS):
        try:
            datagrams.send(b".")
            _, stamps, _, _ = datagrams.recvmsg(1, 256)
        except BlockingIOError:
            stamps = []
        except OSError:
            return False
        if stamps:
            return True
        await sleep_until(clock, clock.now_ns() + LOOK_NS)
    return False
