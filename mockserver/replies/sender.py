"""The event loop's interface to the compiled sender of scripts (mockserver/native/_sender.c).

A `TextReply` hands over its script if possible: the thread sends the lines, and returns the reply when it is over or
when something needs Python. A stream belongs either to the thread or to the loop, never to both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from mockserver import native

if TYPE_CHECKING:
    from mockserver.native._sender import Sender, Stream

_LOG = logging.getLogger("mockserver")


class Owner(Protocol):
    """The owner of a stream that was handed over."""

    def come_back(self) -> None:
        """Called when the thread has done what it can."""


class StreamSender:
    """The sending threads and their events. Create it inside a running event loop, and close it."""

    def __init__(self, core: Sender) -> None:
        self.core = core
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(core.fileno(), self.take_back)

    def threads(self) -> list[tuple[int, Callable[[], int]]]:
        """The threads by kernel id, each with a function that returns its CPU time in ns."""

        def used_ns(number: int) -> int:
            return self.core.threads()[number][1]

        return [(thread, partial(used_ns, number)) for number, (thread, _) in enumerate(self.core.threads())]

    def take_back(self) -> None:
        owner: Owner
        for owner in self.core.take():  # type: ignore[assignment]
            try:
                owner.come_back()
            except Exception:  # A bug in one reply must not stop the others.
                _LOG.exception("a reply failed")

    def settle(self) -> None:
        """Take back every stream whose client may have its last byte."""
        self.core.settle()
        self.take_back()

    def remove(self, stream: Stream) -> None:
        """Take a stream from the thread, which then sends nothing more of it."""
        self.core.remove(stream)

    def close(self) -> None:
        """End the threads and drop their streams."""
        self._loop.remove_reader(self.core.fileno())
        self.core.close()


def stream_sender(shared_ns: int) -> StreamSender | None:
    """The compiled sender, or None if Python sends everything."""
    made = native.sender()
    return None if made is None else StreamSender(made(shared_ns))
