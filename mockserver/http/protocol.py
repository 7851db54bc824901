"""uvicorn's HTTP/1.1 protocol, which stamps arrivals and hands its connection to the response, which writes for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mockserver.clock import NS_PER_S, now_ns
from mockserver.http.connection_faults import Gate
from mockserver.replies.wire import EXTENSION


class _Connection:
    """What the response needs of its connection (see wire.Connection), for one request."""

    def __init__(self, protocol: MockProtocol) -> None:
        self.transport = protocol.transport
        self.received_ns: int | None = None
        self.clock = "user"
        self.http_1_0 = False
        self.on_lost: Callable[[], None] | None = None
        self.held_until_ns: int | None = None
        self._protocol = protocol
        self.cycle: Any = None

    @property
    def keep_alive(self) -> bool:
        keep: bool = self.cycle.keep_alive
        return keep

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return self._protocol.server_state.default_headers

    def response_ended(self) -> None:
        cycle = self.cycle
        cycle.response_started = True
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def close_after_response(self) -> None:
        self.cycle.keep_alive = False


class MockProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with the stamp of the read that brought a request's last byte."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read_ns = 0
        self._read_clock = "user"
        self._connection: _Connection | None = None
        self._gate: Gate | None = None
        self._held_until_ns: int | None = None
        self._held: list[tuple[bytes, int, str]] | None = None
        """What came while the connection is not to be read."""

    def behind(self, gate: Gate) -> MockProtocol:
        """Let this gate decide when the connection is read."""
        self._gate = gate
        return self

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        hold_ns = 0 if self._gate is None else self._gate.hold_ns()
        if hold_ns:
            self._held_until_ns = now_ns() + hold_ns
            self._held = []
            self.loop.call_later(hold_ns / NS_PER_S, self._let_in)

    def _let_in(self) -> None:
        assert self._held is not None
        held, self._held = self._held, None
        for data, read_ns, clock in held:
            if not self.transport.is_closing():
                self.feed(data, read_ns, clock)

    def data_received(self, data: bytes) -> None:
        self.feed(data, now_ns(), "user")

    def feed(self, data: bytes | memoryview, read_ns: int, clock: str) -> None:
        """Parse what a read brought, stamped."""
        if self._held is not None:
            # To pause the transport is not enough: the loop may have begun to read.
            self._held.append((bytes(data), read_ns, clock))
            return
        self._read_ns = read_ns
        self._read_clock = clock
        super().data_received(data)  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._connection = _Connection(self)
        self._connection.held_until_ns = self._held_until_ns
        self.scope["extensions"] = {EXTENSION: self._connection}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        connection = self._connection
        if connection is not None:
            connection.cycle = self.cycle
            connection.http_1_0 = self.parser.get_http_version() == "1.0"

    def on_message_complete(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.received_ns = self._read_ns
            connection.clock = self._read_clock
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        connection = self._connection
        if connection is not None and connection.on_lost is not None:
            connection.on_lost()
