"""Faults that happen to connections before there is a request: `slow_accept` and `refuse`.

The kernel completes a connection before any program hears of it. So a slow accept is a connection that is not read for a
while, which a client cannot tell apart; and to refuse is to close the listening socket and to open it again later. Idle
connections are closed with it, since whoever holds one would notice nothing; those that serve end with their response.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from mockserver import rng
from mockserver.clock import now_ns
from mockserver.faults import Arrived, choose

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from mockserver.worker import Serving

_LOG = logging.getLogger("mockserver")


class Gate:
    """Asks the rules in force. `app.state.serving` is there once the application has started."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    @property
    def serving(self) -> Serving:
        serving: Serving = self._app.state.serving
        return serving

    def hold_ns(self) -> int:
        """For how long the connection that has just come is not read."""
        version = self.serving.settings.now
        rules = version.config.fault
        if not any(rule.fault.name == "slow_accept" for rule in rules):
            return 0
        number = self.serving.shared.take("connections")
        seed, key = version.config.seed, f"connection {number}"
        met = choose(
            rules,
            Arrived(number, now_ns() - version.since_ns, number),
            lambda rule: rng.stream(seed, f"fault:{rule}", key).random(),
            connection=True,
        )
        return next((fault.number("for") for fault in met if fault.name == "slow_accept"), 0)

    def refuses(self) -> bool:
        """Whether connections are to be refused now."""
        self.serving.sync()
        version = self.serving.settings.now
        arrived = Arrived(at_ns=now_ns() - version.since_ns)
        met = choose(version.config.fault, arrived, lambda rule: 1.0, connection=True)
        return any(fault.name == "refuse" for fault in met)


class Door:
    """The listening socket of a running server, closed and opened as the gate says. Ask it every tenth of a second."""

    def __init__(self, server: uvicorn.Server, gate: Gate, listen: Callable[[], socket.socket]) -> None:
        self._server = server
        self._gate = gate
        self._listen = listen
        self._closed = False

    async def tick(self) -> None:
        """Close or open where it is time."""
        refuses = self._gate.refuses()
        if refuses and not self._closed:
            self._closed = True
            for listening in self._server.servers:
                listening.close()
            self._server.servers.clear()
            for connection in list(self._server.server_state.connections):
                connection.shutdown()
        elif self._closed and not refuses:
            await self._open()

    async def _open(self) -> None:
        server = self._server
        config = server.config

        def make() -> asyncio.Protocol:
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=server.server_state, app_state=server.lifespan.state
            )

        try:
            listener = self._listen()
        except OSError as e:
            _LOG.error("cannot listen again: %s; trying on", e.strerror)
            return
        listening = await asyncio.get_running_loop().create_server(make, sock=listener, backlog=config.backlog)
        server.servers.append(listening)
        self._closed = False
