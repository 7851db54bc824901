"""The HTTP server: uvicorn with a protocol of ours that stamps arrivals and lets the response write for itself.

Rules:
- An arrival is the kernel's receive stamp of the request's last byte. The listening socket asks for stamps and the
  connections inherit that; before each read the waiting bytes are looked at (MSG_PEEK) for the stamp of their last one.
  The listening socket is also the one that holds stamping open: the kernel starts it a moment after the first socket
  asks, and stops it with the last.
- A read takes no more bytes than the look before it has seen: what comes between the two waits for the next look, so
  that each read has the stamp of its own last byte, also where a request comes in pieces or several come at once.
- Where there is no kernel stamp it is the time of the read, taken before anything is parsed. `GET /truth` counts both.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mockserver.app import Means, create_app, make_means
from mockserver.clock import NS_PER_S, RealtimeOffset, now_ns
from mockserver.config import MockConfig
from mockserver.errors import UsageError
from mockserver.gate import Door, Gate
from mockserver.peers import Peers
from mockserver.wire import EXTENSION
from mockserver.workers import Reins, Workers

_LOG = logging.getLogger("mockserver")

_SO_TIMESTAMPNS = 35  # Python's socket module does not name it.
_TIMESPEC = struct.Struct("qq")
_CONTROL_BYTES = socket.CMSG_SPACE(_TIMESPEC.size) if sys.platform != "win32" else 0
_BACKLOG = 4096
_READ_BYTES = 65_536
_LAST_BYTES_S = 0.05


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


class KernelStampedReads(asyncio.BufferedProtocol):
    """Reads for a `MockProtocol`, and looks at the kernel's stamp of the waiting bytes before each read (Linux).

    A protocol around the other and no subclass of it: a loop that finds an `asyncio.Protocol` never asks for a buffer.
    """

    # One buffer serves all connections: it is filled and parsed within one call of the loop.
    _buffer = memoryview(bytearray(_READ_BYTES))

    def __init__(self, inner: MockProtocol, offset: RealtimeOffset) -> None:
        self._inner = inner
        self._offset = offset
        self._socket: socket.socket | None = None
        self._looked_at = 0
        self._stamp: tuple[int, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A second handle on the same descriptor, since uvloop's own has no recvmsg; it is let go without closing.
        self._socket = socket.socket(fileno=transport.get_extra_info("socket").fileno())
        self._inner.connection_made(transport)  # type: ignore[arg-type]

    def get_buffer(self, sizehint: int) -> memoryview:
        assert self._socket is not None
        self._stamp = None
        try:
            self._looked_at, control, _, _ = self._socket.recvmsg_into(
                # MSG_TRUNC: with TCP the bytes are counted and not copied.
                [self._buffer],
                _CONTROL_BYTES,
                socket.MSG_PEEK | socket.MSG_TRUNC | socket.MSG_DONTWAIT,
            )
        except OSError:  # Nothing waits, or the connection is broken: the read that follows will say which.
            return self._buffer
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                self._stamp = _TIMESPEC.unpack(data)
        return self._buffer[: self._looked_at] if self._looked_at else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        read_ns = now_ns()
        data = self._buffer[:nbytes]
        if self._stamp is None or nbytes != self._looked_at:
            self._inner.feed(data, read_ns, "user")
            return
        seconds, nanoseconds = self._stamp
        self._inner.feed(data, self._offset.to_monotonic_ns(seconds * NS_PER_S + nanoseconds), "kernel")

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._socket is not None:
            self._socket.detach()
            self._socket = None
        self._inner.connection_lost(exc)


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready and takes signals as the ordinary end."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        offset: RealtimeOffset,
        on_ready: Callable[[], object],
        parent: int | None = None,
    ) -> None:
        """`parent`: a descriptor that becomes readable when the parent process is gone; only workers have one."""
        super().__init__(config)
        self._app = app
        self._offset = offset
        self._on_ready = on_ready
        self._parent = parent
        self._drain_until_ns: int | None = None
        self.door: Door | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the drain: health checks and new requests are told so, what is in flight goes on. A
        second one ends it."""
        if self._drain_until_ns is None and self.started:
            self._drain_until_ns = now_ns() + round((self.config.timeout_graceful_shutdown or 0) * NS_PER_S)
            self._app.state.serving.draining = True
        else:
            super().handle_exit(sig, frame)
            self.config.timeout_graceful_shutdown = _LAST_BYTES_S  # type: ignore[assignment]  # a float does as well

    async def on_tick(self, counter: int) -> bool:
        if self._drain_until_ns is not None:
            left_ns = self._drain_until_ns - now_ns()
            if left_ns <= 0 or self._app.state.serving.running == 0:
                self.should_exit = True
                # What is left of the drain is uvicorn's to wait: bytes that are handed over and not yet sent.
                left_s = max(left_ns / NS_PER_S, _LAST_BYTES_S)
                self.config.timeout_graceful_shutdown = left_s  # type: ignore[assignment]  # a float does as well
        elif self.door is not None:
            await self.door.tick()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        if self._offset.watch_fd is not None:
            loop.add_reader(self._offset.watch_fd, self._on_clock_step)
        # What was made until now stays: the collector need not look at it again, and its pauses stay short.
        gc.collect()
        gc.freeze()
        if self._parent is not None:
            loop.add_reader(self._parent, self._on_orphaned)
        self._on_ready()

    def _on_orphaned(self) -> None:
        assert self._parent is not None
        asyncio.get_running_loop().remove_reader(self._parent)
        _LOG.error("the parent process is gone: this worker ends")
        self.handle_exit(signal.SIGTERM, None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._offset.watch_fd is not None:
            asyncio.get_running_loop().remove_reader(self._offset.watch_fd)
        await super().shutdown(sockets)

    def _on_clock_step(self) -> None:
        self._offset.on_step()
        _LOG.warning("the wall clock was stepped: kernel stamps are carried over by an offset measured anew")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, and the exit status would say that we were killed.
        # A worker leaves SIGINT to its parent.
        numbers = (signal.SIGINT, signal.SIGTERM) if self._parent is None else (signal.SIGTERM,)
        handlers = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def listen(config: MockConfig) -> list[socket.socket]:
    """A listening socket for each worker, all on one port. Raises UsageError where the address cannot be had."""
    listeners: list[socket.socket] = []
    try:
        if config.workers == 1:
            listeners.append(_listener(config.host, config.port))
        else:
            # Sockets that share a port would share it with another mock's too: first see that it is free.
            with _listener(config.host, config.port) as alone:
                port = alone.getsockname()[1]
            for _ in range(config.workers):
                listeners.append(_listener(config.host, port, shared=True))
    except OSError as e:
        for listener in listeners:
            listener.close()
        raise UsageError(f"--host {config.host} --port {config.port}: cannot listen there: {e.strerror}") from e
    return listeners


def _listener(host: str, port: int, shared: bool = False) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def protocol_factory(offset: RealtimeOffset, gate: Gate) -> Callable[..., asyncio.BaseProtocol]:
    """What uvicorn calls for each connection."""

    def make(
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.BaseProtocol:
        inner = MockProtocol(config, server_state, app_state, _loop).behind(gate)
        return KernelStampedReads(inner, offset) if sys.platform == "linux" else inner

    return make


def serve(config: MockConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises UsageError where it cannot start, MockError where a worker has died."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="mockserver: %(levelname)s: %(message)s")
    # Prompts are counted by one thread that gives way to the loop; the tokenizer's own pool of threads would not.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if config.workers > 1 and sys.platform != "linux":
        raise UsageError("--workers: more than one needs Linux, whose kernel deals connections out to processes")
    means = make_means(config)
    listeners = listen(config)
    host, port = listeners[0].getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def tell() -> None:
        print(f"mockserver ready at {address}", flush=True)

    if config.workers == 1:
        _serve(config, create_app(config, means), listeners[0], tell, None)
    else:
        _serve_with_workers(config, means, listeners, tell)


def _serve_with_workers(
    config: MockConfig, means: Means, listeners: list[socket.socket], tell: Callable[[], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="mockserver-") as folder:

        def work(number: int, reins: Reins) -> None:
            for other in (*listeners[:number], *listeners[number + 1 :]):
                other.close()
            app = create_app(config, means, Peers(Path(folder), number, config.workers))
            _serve(config, app, listeners[number], lambda: os.write(reins.ready, b"1"), reins.parent)

        def on_ready() -> None:
            # Only the workers hold them: what a dead worker had not accepted is refused and does not hang.
            for listener in listeners:
                listener.close()
            tell()

        Workers(config.workers, work).run(on_ready)


def _serve(
    config: MockConfig, app: FastAPI, listener: socket.socket, on_ready: Callable[[], object], parent: int | None
) -> None:
    offset = RealtimeOffset()
    gate = Gate(app)
    settings = uvicorn.Config(
        app,
        http=protocol_factory(offset, gate),  # type: ignore[arg-type]
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_keep_alive=config.keep_alive_s,  # type: ignore[arg-type]
        timeout_graceful_shutdown=config.drain_s,  # type: ignore[arg-type]
    )
    server = _Server(settings, app, offset, on_ready, parent)
    port = listener.getsockname()[1]
    server.door = Door(server, gate, lambda: _listener(config.host, port, shared=config.workers > 1))
    # A request and its connection refer to each other, so the collector is needed; seldom is enough.
    gc.set_threshold(20_000, 20, 50)
    # The thread that counts tokens hands the interpreter over sooner than after the usual 5 ms.
    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(server.serve(sockets=[listener]))
    offset.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # It does not exist for Windows.
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
