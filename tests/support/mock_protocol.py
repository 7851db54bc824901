"""The mock's protocol around its application, without sockets: a test feeds reads, and examines the writes."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from mockserver.clock import now_ns
from mockserver.http.connection_faults import ConnectionFaults
from mockserver.http.exchange import Exchange
from mockserver.http.limits import RequestLimits
from mockserver.http.protocol import MockProtocol


class Transport:
    """A connection whose client reads everything at once."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = self.half_closed = self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes) -> None:
        assert not self.half_closed, "nothing can be written after the end"
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Mock:
    """The server around an application."""

    def __init__(self, app: Any, limits: RequestLimits | None = None) -> None:
        self.app = app
        self.state = ServerState()
        self.state.default_headers = [(b"server", b"mock")]
        self.config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
        self._limits = RequestLimits(64_000, 10, 10) if limits is None else limits

    def connect(self, faults: ConnectionFaults | None = None) -> tuple[MockProtocol, Transport]:
        protocol = MockProtocol(self.config, self.state, {}, asyncio.get_running_loop())
        if faults is not None:
            protocol.with_faults(faults)
        protocol.with_worker(lambda: self.app.state.worker).with_limits(self._limits)
        transport = Transport()
        protocol.connection_made(transport)  # type: ignore[arg-type]
        return protocol, transport

    async def ask(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, bool]:
        """The bytes of the answer, and whether it took the short path."""
        protocol, transport = self.connect()
        protocol.feed(request(path, body, headers), now_ns(), "kernel")
        plain = protocol.exchange is not None and protocol.exchange.is_plain
        # It is None until the head has been read, although its type excludes None.
        while (cycle := cast(Any, protocol.exchange)) is None or not (cycle.complete or transport.closed):
            await asyncio.sleep(0)
        assert not any(isinstance(task, Exchange) for task in self.state.tasks)
        transport.close()
        protocol.connection_lost(None)
        return bytes(transport.written), plain

    async def line(self) -> dict[str, Any]:
        """The last line of the ledger."""
        await self.app.state.worker.settle()
        line: dict[str, Any] = json.loads(self.app.state.worker.ledger.read().splitlines()[-1])
        return line


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
