"""The compiled sender of scripts (mockserver/native/_sender.c), as the event loop uses it.

A `TextReply` hands it a script if it can: the thread sends the lines, and gives the reply back when it is over, or when
something comes up that only Python can do. Either the thread has a stream or the loop has it, never both.
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
    """Who hands a stream over."""

    def come_back(self) -> None:
        """The thread has done what it could."""


class StreamSender:
    """The thread and its events. Create it inside a running event loop, and close it."""

    def __init__(self, core: Sender) -> None:
        self.core = core
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(core.fileno(), self.take_back)

    def threads(self) -> list[tuple[int, Callable[[], int]]]:
        """Its threads, as the kernel numbers them, and the CPU time of each, in ns."""

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

    def remove(self, stream: Stream) -> None:
        """The thread sends nothing more of it."""
        self.core.remove(stream)

    def close(self) -> None:
        """End the thread. Streams that it has are dropped."""
        self._loop.remove_reader(self.core.fileno())
        self.core.close()


def stream_sender(shared_ns: int) -> StreamSender | None:
    """The thread, or None where Python sends everything."""
    made = native.sender()
    return None if made is None else StreamSender(made(shared_ns))
