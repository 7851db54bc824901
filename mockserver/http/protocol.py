"""uvicorn's HTTP/1.1 protocol with additions: it stamps arrivals, lets the response write to the connection, and serves
ordinary requests without the application (mockserver/plain/). A connection may become a WebSocket (responses_socket.py)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mockserver.clock import NS_PER_S, now_ns
from mockserver.dialect.refusals import Refusal
from mockserver.http.connection_faults import ConnectionFaults
from mockserver.http.cycles import CycleTransport, PlainCycle, ResponseConnection
from mockserver.http.limits import HEAD_TOO_LARGE, LINGER_S, ArrivingRequest, RequestLimits
from mockserver.http.responses_socket import PATH, ResponsesSocket, admit, refusal_response
from mockserver.plain.head import PlainHead
from mockserver.replies.wire import EXTENSION
from mockserver.worker import Worker

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_LOG = logging.getLogger("mockserver")


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
        self._connection: ResponseConnection | None = None
        self._under_way: list[ResponseConnection] = []
        """The responses that this connection has begun, the one it sends and those behind it."""
        self._faults: ConnectionFaults | None = None
        self._held_until_ns: int | None = None
        self._worker: Callable[[], Worker] | None = None
        self._socket: ResponsesSocket | None = None
        self._limits = RequestLimits()
        self._arriving = ArrivingRequest(self._limits, self.loop, self._refuse, self._is_held_up)
        self._deaf = False
        """What comes is dropped."""
        self._parting = False
        """The last byte has been written, and the connection is closed soon."""
        self._held: list[tuple[bytes, int, str]] | None = None
        """Reads that arrived while `slow_accept` holds the connection."""
        self._plain_worker: Worker | None = None
        """The worker, where there may be ordinary requests."""
        self._idle_s: float | None = None
        """When the last response ended, in the loop's time; None while there is one."""

    def with_limits(self, limits: RequestLimits) -> MockProtocol:
        """Refuse requests that break these limits."""
        self._limits = limits
        self._arriving = ArrivingRequest(limits, self.loop, self._refuse, self._is_held_up)
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
        self._arriving.wait(self.timeout_keep_alive)
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
        if self._deaf:
            return
        if self._held is not None:
            # Pausing the transport is not enough: the loop may have started to read.
            self._held.append((bytes(data), read_ns, clock))
            return
        if self._socket is not None:
            self._socket.feed(bytes(data), read_ns, clock)
            return
        self._read_ns = read_ns
        self._read_clock = clock
        arriving = self._arriving
        arriving.reads(len(data))
        if not arriving.in_message and self._serve_plain(data):
            return
        super().data_received(data)  # type: ignore[arg-type]
        if not self._deaf:
            arriving.read()

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
        if head is None or head.body_at > self._limits.head_bytes:
            return False
        return self._begin_plain(worker, head, data[head.body_at :])

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
        self._release_memory()
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

    def _new_connection(self) -> ResponseConnection:
        if self._under_way:
            # What the application answered by itself did not say when it ended.
            self._under_way = [c for c in self._under_way if c.cycle is None or not c.cycle.response_complete]
        connection = ResponseConnection(self)
        self._under_way.append(connection)
        return connection

    def forget(self, connection: ResponseConnection) -> None:
        """A response has ended, or never began."""
        if connection in self._under_way:
            self._under_way.remove(connection)

    def _should_upgrade(self) -> bool:
        is_ours = self.url.partition(b"?")[0] == PATH.encode() and self.scope["method"] == "GET"
        return self._worker is not None and is_ours and not self._deaf and self._get_upgrade() == b"websocket"

    def _unsupported_upgrade_warning(self) -> None:
        """The request is answered as one of plain HTTP."""

    def handle_websocket_upgrade(self) -> None:
        """Make the connection a WebSocket, or refuse to."""
        assert self._worker is not None
        scope = {**self.scope, "raw_path": self.url}
        try:
            self._arriving.end()
            admit(scope, self._worker())
            self._socket = ResponsesSocket(self.transport, scope, self._worker, self.tasks, self._limits)
        except Refusal as e:
            self.transport.write(refusal_response(e))
            self.transport.close()

    def shutdown(self) -> None:
        if self._parting:
            self.transport.close()
        elif self._socket is None:
            super().shutdown()
        else:
            self._socket.shutdown()

    # A request that breaks a limit, and the end of a connection from which more may come.

    def _is_held_up(self) -> bool:
        """Whether the mock itself keeps a request from arriving, or cannot answer it yet."""
        if self._held is not None:  # `slow_accept` keeps the connection from being read.
            return True
        if self._arriving.in_message and not self._arriving.in_head:
            return bool(self.pipeline) or self.flow.read_paused
        cycle: Any = self.cycle  # None before the first head.
        return cycle is not None and not cycle.response_complete

    def _refuse(self, answer: bytes) -> None:
        """The request that arrives breaks a limit."""
        cycle: Any = self.cycle
        is_body = self._arriving.in_message and not self._arriving.in_head
        if cycle is not None and not cycle.response_complete:
            if not is_body or self.pipeline:
                # The responses to earlier requests still go out, and the connection is closed behind them.
                self._deaf = True
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # The application drops what has come.
            cycle.message_event.set()
            answer = b"" if cycle.response_started else answer
        elif is_body:
            answer = b""  # It has been answered, before its body had come.
        if answer and not self.transport.is_closing():
            self.transport.write(answer)
        self.close()

    def close(self) -> None:
        """Close the connection. While a request is arriving, the client first gets the time to read its answer: a connection
        that is closed with bytes unread is reset."""
        if self.is_closing():
            return
        if not self._arriving.in_message or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._deaf = self._parting = True
        self._arriving.stop()
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.close)

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._parting or self.transport.is_closing()

    def _release_memory(self) -> None:
        if self._arriving.is_large and self._plain_worker is not None:
            self._arriving.is_large = False
            self._plain_worker.release_memory_soon()

    def on_message_begin(self) -> None:
        if self._deaf:
            return
        super().on_message_begin()
        self._arriving.begin()
        self._connection = self._new_connection()
        self._connection.held_until_ns = self._held_until_ns
        self.scope["extensions"] = {EXTENSION: self._connection}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        if not self._deaf and self._arriving.head_is_too_large(self.url, self.headers):
            self._refuse(HEAD_TOO_LARGE)
        if self._deaf:
            return
        self._arriving.end_head()
        super().on_headers_complete()
        cycle: Any = self.cycle  # That of an earlier request, or None, where this one becomes a WebSocket.
        if isinstance(cycle, RequestResponseCycle):
            cycle.transport = CycleTransport(self)  # type: ignore[assignment]
        connection = self._connection
        if connection is not None:
            connection.cycle = cycle
            connection.http_1_0 = self.parser.get_http_version() == "1.0"

    def on_body(self, body: bytes) -> None:
        if not self._deaf:
            self._arriving.add_body(len(body))
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        self._arriving.end()
        connection = self._connection
        if connection is not None:
            connection.received_ns = self._read_ns
            connection.clock = self._read_clock
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if not self._deaf:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arriving.stop()
        self._release_memory()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        for connection in [*self._under_way]:
            if connection.on_lost is not None:
                connection.on_lost()
        if isinstance(self.cycle, PlainCycle):
            self.cycle.leave()
        if self._socket is not None:
            self._socket.lost()
