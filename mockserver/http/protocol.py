"""HTTP/1.1 over httptools: a protocol for uvicorn (its `http` setting), which stamps arrivals, lets the response write
to the connection, and serves ordinary requests without the application (mockserver/plain/). A connection may become a
WebSocket (web_socket.py)."""

from __future__ import annotations

import asyncio
import logging
import urllib.parse
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httptools

from mockserver.clock import NS_PER_S, now_ns
from mockserver.dialect.endpoints import SOCKETS
from mockserver.dialect.refusals import Refusal
from mockserver.http.connection_faults import ConnectionFaults
from mockserver.http.exchange import Exchange
from mockserver.http.limits import HEAD_TOO_LARGE, LINGER_S, ArrivingRequest, RequestLimits
from mockserver.http.web_socket import WebSocket, admit, refusal_response
from mockserver.plain.head import PlainHead
from mockserver.replies.wire import EXTENSION
from mockserver.worker import Worker

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_LOG = logging.getLogger("mockserver")
_INVALID = b"Invalid HTTP request received."


class MockProtocol(asyncio.Protocol):
    """One connection. Its requests are answered one after another."""

    transport: asyncio.Transport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._app = config.loaded_app
        self._app_state = app_state
        self._state = server_state
        self.loop = _loop or asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        # A client may send more after a request that closes the connection. It is dropped.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._addresses: dict[str, Any] = {}
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self.exchange: Exchange | None = None
        """The last request whose head is complete."""
        self._next: Exchange | None = None
        """The arriving request."""
        self._pipeline: deque[Exchange] = deque()
        """Requests that wait for earlier responses."""
        self._under_way: list[Exchange] = []
        """Requests whose response is incomplete."""
        self._read_ns = 0
        self._read_clock = "user"
        self._faults: ConnectionFaults | None = None
        self._held_until_ns: int | None = None
        self._worker: Callable[[], Worker] | None = None
        self._socket: WebSocket | None = None
        self._limits = RequestLimits()
        self._arriving = ArrivingRequest(self._limits, self.loop, self._refuse, self._is_held_up)
        self._deaf = False
        """Incoming data is dropped."""
        self._parting = False
        """The last byte has been written, and the connection will be closed soon."""
        self._held: list[tuple[bytes, int, str]] | None = None
        """Reads that arrived while `slow_accept` held the connection."""
        self._plain_worker: Worker | None = None
        """The worker, if ordinary requests can be served directly."""
        self._keep_alive_s = config.timeout_keep_alive
        self._idle_s: float | None = None
        """When the last response ended, in the loop's time. None while a response is in progress."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._is_read_paused = False
        self._writable: asyncio.Event | None = None
        """Set when the transport accepts more. None while it does."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The server's own headers."""
        return self._state.default_headers

    def with_limits(self, limits: RequestLimits) -> MockProtocol:
        """Refuse requests that break these limits."""
        self._limits = limits
        self._arriving = ArrivingRequest(limits, self.loop, self._refuse, self._is_held_up)
        return self

    def with_faults(self, faults: ConnectionFaults) -> MockProtocol:
        """Let these faults delay reads."""
        self._faults = faults
        return self

    def with_worker(self, worker: Callable[[], Worker]) -> MockProtocol:
        """Serve WebSockets with this worker. Without a worker there are none."""
        self._worker = worker
        return self

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._state.connections.add(self)  # type: ignore[arg-type]
        peer, own = (transport.get_extra_info(name) for name in ("peername", "sockname"))
        self._addresses = {"client": peer and peer[:2], "server": own and own[:2]}
        if self._worker is not None:
            self._plain_worker = self._worker()
        self._arriving.wait(self._keep_alive_s)
        hold_ns = 0 if self._faults is None else self._faults.hold_ns()
        if hold_ns:
            self._held_until_ns = now_ns() + hold_ns
            self._held = []
            self.loop.call_later(hold_ns / NS_PER_S, self._let_in)

    def _let_in(self) -> None:
        assert self._held is not None
        arrivals, self._held = self._held, None
        for data, read_ns, clock in arrivals:
            if not self.transport.is_closing():
                self.feed(data, read_ns, clock)

    def data_received(self, data: bytes) -> None:
        self.feed(data, now_ns(), "user")

    def feed(self, data: bytes | memoryview, read_ns: int, clock: str) -> None:
        """Parse the data of a read. `clock` names the source of the stamp."""
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
        self._idle_s = None
        self._parse(data)
        if not self._deaf:
            arriving.read()

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._is_websocket():
                self._become_websocket()
            # Otherwise the request is answered as plain HTTP.
        except httptools.HttpParserError:
            if not self._deaf:
                _LOG.warning(_INVALID.decode())
                self._refuse_invalid()

    def _refuse_invalid(self) -> None:
        headers = (*self.default_headers, (b"content-type", b"text/plain; charset=utf-8"))
        lines = [b"%b: %b\r\n" % pair for pair in headers]
        end = b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_INVALID), _INVALID)
        self.transport.write(b"".join([b"HTTP/1.1 400 Bad Request\r\n", *lines, end]))
        self.transport.close()

    def _serve_plain(self, data: bytes | memoryview) -> bool:
        """Serve the data without parser and application, if it is exactly one complete ordinary request."""
        exchange, worker = self.exchange, self._plain_worker
        if worker is None or self._held_until_ns is not None or self._pipeline or self.transport.is_closing():
            return False
        if exchange is not None and not exchange.complete:
            # A client may send the next request before the loop knows that the response is complete.
            sender = worker.sender
            if sender is None or not exchange.is_plain:
                return False
            sender.take_back()
            if not exchange.complete or self.transport.is_closing():
                return False
        data = bytes(data)
        head = worker.heads.read(data)
        if head is None or head.body_at > self._limits.head_bytes:
            return False
        return self._begin_plain(worker, head, data[head.body_at :])

    def _begin_plain(self, worker: Worker, head: PlainHead, body: bytes) -> bool:
        before, self.exchange = self.exchange, Exchange(self)
        exchange = self.exchange
        exchange.received_ns, exchange.clock = self._read_ns, self._read_clock
        self._under_way.append(exchange)
        # uvicorn waits for its tasks at the end, and cancels the remaining ones.
        self._state.tasks.add(exchange)  # type: ignore[arg-type]
        try:
            served = worker.serve_plain(head.path, body, head.request_id, exchange)
        except Exception:  # A bug. The application would answer with a 500.
            _LOG.exception("an ordinary request failed")
            self.transport.close()
            return True
        if not served:
            self._forget(exchange)
            self.exchange = before
        elif not exchange.complete:
            self._idle_s = None
        return served

    def _forget(self, exchange: Exchange) -> None:
        """Forget an exchange whose response has ended or never began."""
        if exchange in self._under_way:
            self._under_way.remove(exchange)
        if exchange.is_plain:
            self._state.tasks.discard(exchange)

    def on_complete(self, exchange: Exchange) -> None:
        self._forget(exchange)
        self._release_memory()
        self._state.total_requests += 1
        if self.transport.is_closing():
            return
        self.resume_reading()
        if self._pipeline:
            self._start(self._pipeline.popleft())
            return
        # Setting and cancelling a timer for each request costs more than reading its head. So a running timer is left
        # alone and checks the idle time when it fires.
        self._idle_s = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self._keep_alive_s, self._on_idle)

    def _on_idle(self) -> None:
        """Close the connection if it has been idle for long enough; otherwise set the timer again."""
        self._idle_timer = None
        if self._idle_s is None or self.transport.is_closing():
            return
        left_s = self._idle_s + self._keep_alive_s - self.loop.time()
        if left_s > 0:
            self._idle_timer = self.loop.call_later(left_s, self._on_idle)
        else:
            self.transport.close()

    def _start(self, exchange: Exchange) -> None:
        task = self.loop.create_task(exchange.run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    # Flow control.

    def pause_reading(self) -> None:
        """Pause reading: received data waits for the application."""
        if not self._is_read_paused:
            self._is_read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_read_paused:
            self._is_read_paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    async def drain(self) -> None:
        """Wait until the transport accepts more."""
        if self._writable is not None:
            await self._writable.wait()

    def _is_websocket(self) -> bool:
        path = self._url.partition(b"?")[0].decode("latin-1")
        is_ours = path in SOCKETS and self._parser.get_method() == b"GET"
        if self._worker is None or not is_ours or self._deaf:
            return False
        headers = dict(self._headers)
        asked = [token.strip() for token in headers.get(b"connection", b"").lower().split(b",")]
        return b"upgrade" in asked and headers.get(b"upgrade", b"").lower() == b"websocket"

    def _become_websocket(self) -> None:
        """Turn the connection into a WebSocket, or refuse it."""
        assert self._worker is not None
        scope = {**self._scope(), "raw_path": self._url}
        if self._next is not None:
            self._forget(self._next)
        try:
            self._arriving.end()
            admit(scope, self._worker())
            self._socket = WebSocket(self.transport, scope, self._worker, self._state.tasks, self._limits)
        except Refusal as e:
            self.transport.write(refusal_response(e))
            self.transport.close()

    def shutdown(self) -> None:
        if self._parting:
            self.transport.close()
        elif self._socket is not None:
            self._socket.shutdown()
        elif self.exchange is None or self.exchange.complete:
            self.transport.close()
        else:
            self.exchange.keep_alive = False

    # Requests that exceed a limit, and closing connections on which more may arrive.

    def _is_held_up(self) -> bool:
        """Whether the mock itself delays a request's arrival, or cannot answer it yet."""
        if self._held is not None:  # `slow_accept` delays reading.
            return True
        if self._arriving.in_message and not self._arriving.in_head:
            return bool(self._pipeline) or self._is_read_paused
        return self.exchange is not None and not self.exchange.complete

    def _refuse(self, answer: bytes) -> None:
        """Refuse the arriving request, which exceeds a limit."""
        exchange = self.exchange
        is_body = self._arriving.in_message and not self._arriving.in_head
        if exchange is not None and not exchange.complete:
            if not is_body or self._pipeline:
                # The responses to earlier requests are still sent, then the connection is closed.
                self._deaf = True
                exchange.keep_alive = False
                return
            exchange.disconnect()  # The application drops the received part.
            answer = b"" if exchange.started else answer
        elif is_body:
            answer = b""  # It was answered before its body arrived.
        if answer and not self.transport.is_closing():
            self.transport.write(answer)
        self.close()

    def close(self) -> None:
        """Close the connection. While a request is arriving, the client first gets time to read its answer, because
        closing a connection with unread bytes resets it."""
        if self.is_closing():
            return
        if not self._arriving.in_message or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._deaf = self._parting = True
        self._arriving.stop()
        self.transport.write_eof()
        self.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.close)

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._parting or self.transport.is_closing()

    def _release_memory(self) -> None:
        if self._arriving.is_large and self._plain_worker is not None:
            self._arriving.is_large = False
            self._plain_worker.release_memory_soon()

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        if self._deaf:
            return
        self._url, self._headers = b"", []
        self._arriving.begin()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def _scope(self) -> dict[str, Any]:
        url = httptools.parse_url(self._url)
        path = url.path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "root_path": "",
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self._headers,
            "state": self._app_state.copy(),
            **self._addresses,
        }

    def on_headers_complete(self) -> None:
        if not self._deaf and self._arriving.head_is_too_large(self._url, self._headers):
            self._refuse(HEAD_TOO_LARGE)
        if self._deaf:
            return
        self._arriving.end_head()
        if self._parser.should_upgrade() and self._is_websocket():
            self._next = None
            return
        scope = self._scope()
        before, exchange = self.exchange, Exchange(self, scope)
        scope["extensions"] = {EXTENSION: exchange}
        exchange.held_until_ns = self._held_until_ns
        exchange.http_1_0 = scope["http_version"] == "1.0"
        exchange.keep_alive = not exchange.http_1_0 and self._parser.should_keep_alive()
        exchange.awaits_continue = (b"expect", b"100-continue") in [(n, v.lower()) for n, v in self._headers]
        self._under_way.append(exchange)
        self.exchange = self._next = exchange
        if before is None or before.complete:
            self._start(exchange)
        else:
            self.pause_reading()
            self._pipeline.append(exchange)

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        self._arriving.add_body(len(body))
        exchange = self._next
        if exchange is not None and not exchange.complete and exchange.add_body(body):
            self.pause_reading()

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        self._arriving.end()
        exchange, self._next = self._next, None
        if exchange is not None:
            exchange.received_ns, exchange.clock = self._read_ns, self._read_clock
            exchange.end_body()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arriving.stop()
        self._release_memory()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._state.connections.discard(self)
        self.resume_writing()
        for exchange in [*self._under_way]:
            exchange.disconnect()
            if exchange.on_lost is not None:
                exchange.on_lost()
            self._forget(exchange)
        self._parser = None  # They reference each other.
        if self._socket is not None:
            self._socket.lost()
