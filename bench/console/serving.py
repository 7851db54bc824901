"""The console as a process: it listens until Ctrl-C or SIGTERM, and ends well then."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

GRACE_S = 2
"""Open connections, of pages that follow a task, are closed after this time."""


class _Server(uvicorn.Server):
    """uvicorn raises the signal that ended it once more, so that the exit status says so. Ending is no failure here."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(app: ASGIApp, listening: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until a signal ends it. `ready` is called when a signal would end it well."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        ready()
        await server.serve(sockets=[listening])

    asyncio.run(main())
