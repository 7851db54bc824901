"""A port for a server that a test will start, reserved on this machine until then."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """A free port of 127.0.0.1, bound but not listening. The system assigns it to no other program, but a server with
    SO_REUSEADDR, which all servers set, may listen there."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
