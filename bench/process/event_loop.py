"""The event loop that carries a load."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

T = TypeVar("T")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where there is one. The manifest says which loop it was."""
    try:
        import uvloop
    except ImportError:  # Not made for Windows.
        return None
    return uvloop.new_event_loop


def add_message_reader(connection: Connection, call: Callable[..., object], *arguments: object) -> None:
    """Have `call` take each message of another process. Who reads or writes one waits for the rest of it.

    A loop that polls a descriptor lets it no longer wait. A message of two writes, or one that does not fit into the
    kernel's buffer, would end in a BlockingIOError in its middle.
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
