"""What one response has of its connection: as its wire uses it, and as uvicorn sees a request that it does not serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mockserver.replies.wire import TransportWire
from mockserver.workers.response_store import LastResponse

if TYPE_CHECKING:
    from mockserver.http.protocol import MockProtocol


class ResponseConnection:
    """The connection as one response uses it (replies/wire.py, `Connection`)."""

    __slots__ = (
        "_protocol", "clock", "cycle", "held_until_ns", "http_1_0", "last", "on_lost", "received_ns", "transport", "wire",
    )  # fmt: skip

    def __init__(self, protocol: MockProtocol) -> None:
        self.transport = protocol.transport
        self.received_ns: int | None = None
        self.clock = "user"
        self.http_1_0 = False
        self.last: LastResponse | None = None
        self.on_lost: Callable[[], None] | None = None
        self.wire: TransportWire | None = None
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
        self._protocol.forget(self)
        cycle = self.cycle
        cycle.response_started = True
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._protocol.close()
        cycle.on_response()

    def close_after_response(self) -> None:
        self.cycle.keep_alive = False


class CycleTransport:
    """The transport as uvicorn's cycle uses it."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, protocol: MockProtocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.is_closing
        self.close = protocol.close


class _Message:
    """uvicorn's event of new bytes, for a request whose bytes are all there."""

    def set(self) -> None: ...


class PlainCycle:
    """A request that is served without the application, as uvicorn sees one: in the place of its cycle and of its task."""

    __slots__ = ("_connection", "_protocol", "disconnected", "keep_alive", "response_complete", "response_started")
    message_event = _Message()

    def __init__(self, protocol: MockProtocol, connection: ResponseConnection) -> None:
        self.keep_alive = True
        self.disconnected = False
        self.response_started = self.response_complete = False
        self._protocol = protocol
        self._connection = connection
        protocol.tasks.add(self)  # type: ignore[arg-type]

    def on_response(self) -> None:
        """The response is complete."""
        self.leave()
        self._protocol.on_plain_complete()

    def leave(self) -> None:
        """Nobody has to wait for it any more."""
        self._protocol.tasks.discard(self)

    def cancel(self, msg: object = None) -> None:
        """As a task is cancelled: the drain time of the shutdown is over."""
        del msg
        if self._connection.wire is not None:
            self._connection.wire.shut_down()
