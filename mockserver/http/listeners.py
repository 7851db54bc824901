"""The sockets that the mock listens on.

They request the kernel's receive stamps, and their connections inherit that. They also keep stamping enabled: the
kernel starts it a moment after the first socket requests it, and stops it with the last socket.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Sequence

from mockserver.config import MockConfig
from mockserver.errors import UsageError

SO_TIMESTAMPNS = 35
"""Python's socket module has no name for it."""

_BACKLOG = 4096


def listen(config: MockConfig) -> list[socket.socket]:
    """One listening socket per worker, all on the same port. Raises UsageError if the address is not available."""
    listeners: list[socket.socket] = []
    try:
        if config.workers == 1:
            listeners.append(listener_on(config.host, config.port))
        else:
            port = config.port
            if port != 0:
                # Sockets that share a port would also share it with another mock, so check that it is free.
                listener_on(config.host, port).close()
            for _ in range(config.workers):
                listeners.append(listener_on(config.host, port, shared=True))
                port = listeners[0].getsockname()[1]  # With port 0, the kernel has picked a free one.
    except (OSError, TypeError, UnicodeError) as e:  # TypeError: the host name cannot be encoded.
        for listener in listeners:
            listener.close()
        why = getattr(e, "strerror", None) or e
        taken = isinstance(e, OSError) and e.errno == errno.EADDRINUSE
        hint = "; another program uses this port: stop it, or give another --port (0 takes a free one)" if taken else ""
        raise UsageError(f"--host {config.host} --port {config.port}: cannot listen: {why}{hint}") from e
    return listeners


def close_others(listeners: Sequence[socket.socket], number: int) -> None:
    """Close the listening sockets of the other processes."""
    for other in (*listeners[:number], *listeners[number + 1 :]):
        other.close()


def listener_on(host: str, port: int, shared: bool = False) -> socket.socket:
    """A listening socket. `shared` lets our other sockets listen on the same port. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared and sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
