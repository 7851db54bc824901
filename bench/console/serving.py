"""The console as a process. It listens until Ctrl-C, SIGTERM or SIGHUP (its terminal is closed), and then exits cleanly."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from bench.process.interpreter import TERMINATE

GRACE_S = 2
"""Open connections of pages that follow a task are closed after this time."""


class _Server(uvicorn.Server):
    """Uvicorn re-raises the signal that ended it, so that the exit status shows it. For the console, that end is no
    failure."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a certificate and its key. The certificate's file may hold both."""

    certificate: str
    key: str | None = None


def configured(app: ASGIApp, tls: Tls | None = None) -> uvicorn.Config:
    """The configuration of the server."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # Only --trusted-proxy is trusted, by the guard.
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )


def serve(
    config: uvicorn.Config, listening: socket.socket, *, ready: Callable[[], None], ending: Callable[[], None]
) -> None:
    """Serve until a signal. `ready` is called once signals are handled, `ending` at each signal."""
    server = _Server(config)

    def end() -> None:
        server.should_exit = True
        ending()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, *TERMINATE):
            if signal.getsignal(number) is not signal.SIG_IGN:  # It is ignored under nohup.
                loop.add_signal_handler(number, end)
        ready()
        await server.serve(sockets=[listening])

    asyncio.run(main())
