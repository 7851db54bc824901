"""A process of ours beside a load, and the messages between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from bench.process import child_process
from bench.process.event_loop import add_message_reader

T = TypeVar("T")


class Companion:
    """Starts the program, which gets ready in the background. It has nothing to save, and may be stopped."""

    def __init__(self, program: str) -> None:
        self.process, ours = child_process.start(program)
        self.connection = Connection(ours.detach())
        self.reading = False
        """Whether the loop listens to it."""

    async def ask(self, message: object, kind: type[T]) -> T:
        """Send a message and wait for the next one. Raises EOFError or OSError if the process has ended."""
        readable = asyncio.Event()
        self.listen(readable.set)
        try:
            self.connection.send(message)
            await readable.wait()
            answer = self.connection.recv()
        finally:
            self.stop()
        assert isinstance(answer, kind)
        return answer

    def listen(self, call: Callable[..., object], *arguments: object) -> None:
        """Have `call` take each message from now on."""
        self.reading = True
        add_message_reader(self.connection, call, *arguments)

    def stop(self) -> None:
        """Listen no more. Stopping again does nothing."""
        if self.reading:
            self.reading = False
            asyncio.get_running_loop().remove_reader(self.connection.fileno())

    def close(self) -> None:
        """End the process, even while `ask` waits. Closing again does nothing."""
        # A loop that was still to watch a closed descriptor would end this process (libuv aborts).
        self.stop()
        self.connection.close()
        child_process.end([self.process], 0.0)
