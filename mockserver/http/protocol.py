"""uvicorn's HTTP/1.1 protocol with additions: it stamps arrivals, lets the response write to the connection, and serves
ordinary requests without the application (mockserver/plain/). A connection may become a WebSocket (responses_socket.py)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mockserver.clock import NS_PER_S, now_ns
from mockserver.dialect import refusals
from mockserver.dialect.refusals import Refusal
from mockserver.http.connection_faults import ConnectionFaults
from mockserver.http.responses_socket import PATH, ResponsesSocket, admit, refusal_response
from mockserver.plain.head import PlainHead
from mockserver.replies.wire import EXTENSION, TransportWire
from mockserver.worker import Worker
from mockserver.workers.response_store import LastResponse

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_LOG = logging.getLogger("mockserver")

_BODY = refusals.error_body(408, "The head of the request did not arrive in time (--head-timeout-s).")
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    % (len(_BODY), _BODY)
)


class _Connection:
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
            self.transport.close()
        cycle.on_response()

    def close_after_response(self) -> None:
        self.cycle.keep_alive = False


class _Message:
    """uvicorn's event of new bytes, for a request whose bytes are all there."""

    def set(self) -> None: ...


class PlainCycle:
    """A request that is served without the application, as uvicorn sees one: in the place of its cycle and of its task."""

    __slots__ = ("_connection", "_protocol", "disconnected", "keep_alive", "response_complete", "response_started")
    message_event = _Message()

    def __init__(self, protocol: MockProtocol, connection: _Connection) -> None:
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


class MockProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with a stamp of the read that brought the last byte of a request."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._read_ns = 0
        self._read_clock = "user"
        self._connection: _Connection | None = None
        self._under_way: list[_Connection] = []
        """The responses that this connection has begun, the one it sends and those behind it."""
        self._faults: ConnectionFaults | None = None
        self._held_until_ns: int | None = None
        self._worker: Callable[[], Worker] | None = None
        self._socket: ResponsesSocket | None = None
        self._head_timeout_s = 0.0
        self._in_head = False
        self._in_message = False
        self._timeout: asyncio.TimerHandle | None = None
        """Runs while a connection has sent nothing, or a part of a head."""
        self._held: list[tuple[bytes, int, str]] | None = None
        """Reads that arrived while `slow_accept` holds the connection."""
        self._plain_worker: Worker | None = None
        """The worker, where there may be ordinary requests."""
        self._idle_s: float | None = None
        """When the last response ended, in the loop's time; None while there is one."""

    def with_head_timeout(self, seconds: float) -> MockProtocol:
        """Close the connection if the head of a request takes longer than this."""
        self._head_timeout_s = seconds
        return self

    def with_faults(self, faults: ConnectionFaults) -> MockProtocol:
        """Let these faults decide when the connection is read."""
        self._faults = faults
        return self

    def with_worker(self, worker: Callable[[], Worker]) -> MockProtocol:
        """Serve WebSockets with this worker. Without one there are none."""
        self._worker = worker
        return self

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._worker is not None:
            self._plain_worker = self._worker()
        self._timeout = self.loop.call_later(self.timeout_keep_alive, self._on_timeout)
        hold_ns = 0 if self._faults is None else self._faults.hold_ns()
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
        """Parse what a read brought. `clock` names who stamped it."""
        if self._held is not None:
            # Pausing the transport is not enough: the loop may have started to read.
            self._held.append((bytes(data), read_ns, clock))
            return
        if self._socket is not None:
            self._socket.feed(bytes(data), read_ns, clock)
            return
        self._read_ns = read_ns
        self._read_clock = clock
        if self._timeout is not None and not self._in_head:
            self._stop_timeout()
        if not self._in_message and self._serve_plain(data):
            return
        super().data_received(data)  # type: ignore[arg-type]
        # The deadline counts from the first byte of the head: more bytes do not extend it.
        if self._in_head and self._timeout is None:
            self._timeout = self.loop.call_later(self._head_timeout_s, self._on_timeout)

    def _serve_plain(self, data: bytes | memoryview) -> bool:
        """Serve what was read without parser and application, if it is one whole ordinary request."""
        cycle: Any = self.cycle
        worker = self._plain_worker
        if worker is None or self._held_until_ns is not None or self.pipeline or self.transport.is_closing():
            return False
        if cycle is not None and not cycle.response_complete:
            # A client may ask again before the loop has heard that its response is complete.
            sender = worker.sender
            if sender is None or not isinstance(cycle, PlainCycle):
                return False
            sender.take_back()
            if not cycle.response_complete or self.transport.is_closing():
                return False
        data = bytes(data)
        head = worker.heads.read(data)
        return head is not None and self._begin_plain(worker, head, data[head.body_at :])

    def _begin_plain(self, worker: Worker, head: PlainHead, body: bytes) -> bool:
        before, before_connection = self.cycle, self._connection
        self._connection = connection = self._new_connection()
        connection.received_ns, connection.clock = self._read_ns, self._read_clock
        connection.cycle = cycle = PlainCycle(self, connection)
        self.cycle = cycle  # type: ignore[assignment]
        try:
            served = worker.serve_plain(head.path, body, head.request_id, connection)
        except Exception:  # A bug. The application would say so with a 500.
            _LOG.exception("an ordinary request failed")
            self.transport.close()
            return True
        if not served:
            cycle.leave()
            self.forget(connection)
            self.cycle, self._connection = before, before_connection
        else:
            self._idle_s = None
        return served

    # An idle connection is closed after a while. To set and cancel a timer at each request costs more than to read its head,
    # so one that runs is left alone, and looks when it fires.

    def on_plain_complete(self) -> None:
        """`on_response_complete` of an ordinary request."""
        if self.pipeline:
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._idle_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """A response of the application is complete. Its timer is new."""
        super().on_response_complete()
        self._idle_s = self.loop.time()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if nothing came for long enough, or look again when that may be so."""
        self.timeout_keep_alive_task = None
        if self._idle_s is None or self.transport.is_closing():
            return
        left_s = self._idle_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _new_connection(self) -> _Connection:
        if self._under_way:
            # What the application answered by itself did not say when it ended.
            self._under_way = [c for c in self._under_way if c.cycle is None or not c.cycle.response_complete]
        connection = _Connection(self)
        self._under_way.append(connection)
        return connection

    def forget(self, connection: _Connection) -> None:
        """A response has ended, or never began."""
        if connection in self._under_way:
            self._under_way.remove(connection)

    def _should_upgrade(self) -> bool:
        is_ours = self.url.partition(b"?")[0] == PATH.encode() and self.scope["method"] == "GET"
        return self._worker is not None and is_ours and self._get_upgrade() == b"websocket"

    def _unsupported_upgrade_warning(self) -> None:
        """The request is answered as one of plain HTTP."""

    def handle_websocket_upgrade(self) -> None:
        """Make the connection a WebSocket, or refuse to."""
        assert self._worker is not None
        scope = {**self.scope, "raw_path": self.url}
        try:
            admit(scope, self._worker())
            self._socket = ResponsesSocket(self.transport, scope, self._worker, self.tasks)
        except Refusal as e:
            self.transport.write(refusal_response(e))
            self.transport.close()

    def shutdown(self) -> None:
        if self._socket is None:
            super().shutdown()
        else:
            self._socket.shutdown()

    def _stop_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _on_timeout(self) -> None:
        self._timeout = None
        if self._held is not None:
            return  # `slow_accept` keeps the connection from being read.
        cycle: Any = self.cycle  # None before the first head.
        if cycle is not None and not cycle.response_complete:
            # A pipelined head: the response before it still goes out.
            self._timeout = self.loop.call_later(self._head_timeout_s, self._on_timeout)
            return
        if self._in_head and not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._connection = self._new_connection()
        self._connection.held_until_ns = self._held_until_ns
        self.scope["extensions"] = {EXTENSION: self._connection}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timeout()
        super().on_headers_complete()
        connection = self._connection
        if connection is not None:
            connection.cycle = self.cycle
            connection.http_1_0 = self.parser.get_http_version() == "1.0"

    def on_message_complete(self) -> None:
        self._in_message = False
        connection = self._connection
        if connection is not None:
            connection.received_ns = self._read_ns
            connection.clock = self._read_clock
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timeout()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        for connection in [*self._under_way]:
            if connection.on_lost is not None:
                connection.on_lost()
        if isinstance(self.cycle, PlainCycle):
            self.cycle.leave()
        if self._socket is not None:
            self._socket.lost()
