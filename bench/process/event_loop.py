"""The event loop that carries a load."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

T = TypeVar("T")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, if installed. The manifest records which loop was used."""
    try:
        import uvloop
    except ImportError:  # Not available on Windows.
        return None
    return uvloop.new_event_loop


def add_message_reader(connection: Connection, call: Callable[..., object], *arguments: object) -> None:
    """Call `call` when a message from another process arrives. Reads and writes of a message block until it is
    complete.

    A loop that polls a descriptor makes it non-blocking. A message of two writes, or one that exceeds the kernel's
    buffer, would then raise BlockingIOError halfway.
    """
    asyncio.get_running_loop().add_reader(connection.fileno(), call, *arguments)
    os.set_blocking(connection.fileno(), True)


async def next_message(connection: Connection, kind: type[T]) -> T:
    """The next message of another process. Raises EOFError or OSError if the process has ended."""
    readable = asyncio.Event()
    add_message_reader(connection, readable.set)
    try:
        await readable.wait()
        message = connection.recv()
    finally:
        asyncio.get_running_loop().remove_reader(connection.fileno())
    assert isinstance(message, kind)
    return message
