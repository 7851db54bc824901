"""A process of ours that runs during a load, and the messages between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from bench.process import child_process
from bench.process.event_loop import add_message_reader

T = TypeVar("T")


class Companion:
    """Starts the program, which prepares in the background. It has nothing to save, and may be killed at any time."""

    def __init__(self, program: str) -> None:
        self.process, channel = child_process.start(program)
        self.connection = Connection(channel.detach())
        self.reading = False
        """Whether the event loop reads its messages."""

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
        """Call `call` when a message arrives, from now on."""
        self.reading = True
        add_message_reader(self.connection, call, *arguments)

    def stop(self) -> None:
        """Stop listening. Idempotent."""
        if self.reading:
            self.reading = False
            asyncio.get_running_loop().remove_reader(self.connection.fileno())

    def close(self) -> None:
        """End the process, even while `ask` waits. Idempotent."""
        # If the loop still watched a closed descriptor, libuv would abort this process.
        self.stop()
        self.connection.close()
        child_process.end([self.process], 0.0)
