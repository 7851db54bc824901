"""A process that is ready to export, and ends when the load begins."""

from __future__ import annotations

import socket
from multiprocessing.connection import Connection

from bench.telemetry.task import Ready


def main(descriptor: int) -> int:
    """Be the process."""
    connection = Connection(socket.socket(fileno=descriptor).detach())
    connection.recv()
    connection.send(Ready())
    connection.recv()
    return 1
