"""Faults that hit connections before a request exists: `slow_accept` and `refuse`.

The kernel completes a connection before any program learns of it. So `slow_accept` delays the first read of a
connection, which looks the same to a client. `refuse` closes the listening socket and opens it again later. It also
closes idle connections, because their clients would otherwise notice nothing; a busy connection closes after its
response.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from mockserver import rng
from mockserver.clock import now_ns
from mockserver.faults import ArrivalFacts, choose

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

    from mockserver.worker import Worker

_LOG = logging.getLogger("mockserver")


class ConnectionFaults:
    """Applies the current fault rules to connections. `app.state.worker` exists once the application has started."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    @property
    def _worker(self) -> Worker:
        worker: Worker = self._app.state.worker
        return worker

    def hold_ns(self) -> int:
        """How long to delay reading from a new connection, in ns."""
        version = self._worker.settings.current
        rules = version.config.fault
        if not any(rule.fault.name == "slow_accept" for rule in rules):
            return 0
        number = self._worker.shared.take("connections")
        seed, key = version.config.seed, f"connection {number}"
        hits = choose(
            rules,
            ArrivalFacts(number, now_ns() - version.since_ns, number),
            lambda rule: rng.stream(seed, f"fault:{rule}", key).random(),
            connection=True,
        )
        return next((fault.number("for") for fault in hits if fault.name == "slow_accept"), 0)

    def refuses(self) -> bool:
        self._worker.sync()
        version = self._worker.settings.current
        facts = ArrivalFacts(at_ns=now_ns() - version.since_ns, before=self._worker.shared.taken("arrivals"))
        hits = choose(version.config.fault, facts, lambda rule: 1.0, connection=True)
        return any(fault.name == "refuse" for fault in hits)


class ListenerSwitch:
    """Closes and reopens the listening socket of a running server, as the faults require. Call `tick` every 0.1 s."""

    def __init__(self, server: uvicorn.Server, faults: ConnectionFaults, listen: Callable[[], socket.socket]) -> None:
        self._server = server
        self._faults = faults
        self._listen = listen
        self._closed = False

    async def tick(self) -> None:
        """Close or open the socket if it is due."""
        refuses = self._faults.refuses()
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
            _LOG.error("cannot listen again: %s; will retry", e.strerror)
            return
        listening = await asyncio.get_running_loop().create_server(make, sock=listener, backlog=config.backlog)
        server.servers.append(listening)
        self._closed = False
