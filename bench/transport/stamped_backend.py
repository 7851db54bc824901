"""Sockets for httpcore that stamp: each write immediately before it, each read immediately after it.

httpx's own hooks are too late or too early by the time the event loop is busy. Here the asyncio protocol takes the
stamp in `data_received`, before anything else happens to the bytes, and httpcore gets them afterwards, one read at a
time: the piece of a body that httpcore returns always ends in the latest read.

Rule: one request at a time on a connection (HTTP/1.1), and httpcore works inside the task that sends. The context
variable `current` holds the request that a socket works for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar

import httpcore

from bench.clock import now_ns
from bench.transport.exchange import Exchange
from bench.transport.head import HeadReader
from bench.transport.interface import Target
from bench.transport.tunnel import Tunnel, TunnelRefused

UNASKED = "the server sent a response that no request had asked for"

current: ContextVar[Exchange] = ContextVar("current")


class _Connection(asyncio.Protocol):
    """Keeps arriving data with its stamp until httpcore asks for it."""

    def __init__(self) -> None:
        self.reads: deque[tuple[int, bytes]] = deque()
        self.ended = False
        self.error: Exception | None = None
        self._wake: asyncio.Future[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    def data_received(self, data: bytes) -> None:
        stamp = now_ns()
        self.reads.append((stamp, data))
        self._notify()

    def eof_received(self) -> bool:
        self.ended = True
        self._notify()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.error = self.error if self.error is not None else exc
        self._can_write.set()
        self._notify()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def wait_readable(self, timeout_s: float | None) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(timeout_s):
            await self._wake

    async def drain(self) -> None:
        await self._can_write.wait()


class StampedStream(httpcore.AsyncNetworkStream):
    """One connection. `last_read_ns` is the stamp of httpcore's latest read, `bound_ns` of the one before."""

    def __init__(self, transport: asyncio.Transport, connection: _Connection, target: Target) -> None:
        self._transport = transport
        self._connection = connection
        self._target = target
        self.last_read_ns = 0
        self.bound_ns = 0
        self._head = HeadReader()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next data for httpcore's parser: the whole, checked head, then the reads as they came."""
        while True:
            data = await self._read(max_bytes)
            if not data or self._head.complete:
                return data
            if head := self._head.feed(data):
                return head

    async def _read(self, max_bytes: int) -> bytes:
        exchange = current.get()
        connection = self._connection
        limit_ns = (
            self._target.timeout_first_byte_ns if exchange.first_byte_ns is None else self._target.timeout_idle_ns
        )
        while not connection.reads:
            if connection.error is not None:
                raise httpcore.ReadError(str(connection.error)) from connection.error
            if connection.ended:
                exchange.peer_closed = True
                return b""
            try:
                await connection.wait_readable(None if limit_ns is None else limit_ns / 1e9)
            except TimeoutError as e:
                raise httpcore.ReadTimeout from e
        stamp, data = connection.reads.popleft()
        sent_ns = exchange.last_sent_ns
        if exchange.first_byte_ns is None and sent_ns is not None and stamp < sent_ns:
            raise httpcore.ReadError(UNASKED)
        if len(data) > max_bytes:
            connection.reads.appendleft((stamp, data[max_bytes:]))
            data = data[:max_bytes]
        if exchange.first_byte_ns is None:
            exchange.first_byte_ns = stamp
            self.last_read_ns = sent_ns if sent_ns is not None else stamp
        if stamp != self.last_read_ns:
            self.bound_ns, self.last_read_ns = self.last_read_ns, stamp
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        if self._connection.ended:
            raise httpcore.WriteError("the server has closed the connection")
        exchange = current.get()
        if exchange.last_sent_ns is None:
            exchange.mark_sent(now_ns())
            self._head = HeadReader()
        self._transport.write(buffer)
        await self._connection.drain()

    async def aclose(self) -> None:
        self._transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        began_ns = now_ns()
        loop = asyncio.get_running_loop()
        try:
            # The loop's own limit, which it reports as an aborted connection, comes after ours.
            async with asyncio.timeout(timeout):
                secured = await loop.start_tls(
                    self._transport,
                    self._connection,
                    ssl_context,
                    server_hostname=server_hostname,
                    ssl_handshake_timeout=None if timeout is None else timeout + 1.0,
                )
        except TimeoutError as e:
            self._transport.abort()
            raise httpcore.ConnectTimeout from e
        except (OSError, ssl.SSLError) as e:
            self._transport.abort()
            raise httpcore.ConnectError(f"TLS: {e}") from e
        if secured is None:
            raise httpcore.ConnectError("TLS: the server closed the connection during the handshake")
        current.get().mark_connected(now_ns() - began_ns)
        return StampedStream(secured, self._connection, self._target)

    def get_extra_info(self, info: str) -> object:
        if info == "is_readable":
            # httpcore asks this of an idle connection: any data there means that the server has closed it. A second
            # attempt must not use an idle connection: it goes over a fresh one.
            exchange = current.get(None)
            goes_again = exchange is not None and exchange.attempts > 1 and exchange.resent_ns is None
            return goes_again or self._connection.ended or bool(self._connection.reads)
        if info == "ssl_object":
            return self._transport.get_extra_info("ssl_object")
        return None


async def _open(tunnel: Tunnel, transport: asyncio.Transport, connection: _Connection) -> None:
    """Open a tunnel on a new connection. Raises TunnelRefused; on failure the connection is closed."""
    opened = False
    try:
        transport.write(tunnel.hello)
        while not opened:
            if not connection.reads and not connection.ended:
                await connection.wait_readable(None)
            opened = tunnel.feed(connection.reads.popleft()[1] if connection.reads else b"")
    finally:
        if not opened:
            transport.abort()


class StampedBackend(httpcore.AsyncNetworkBackend):
    """Opens StampedStreams."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[object] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        began_ns = now_ns()
        loop = asyncio.get_running_loop()
        proxy = self._target.proxy
        try:
            async with asyncio.timeout(timeout):
                if proxy is None:
                    transport, connection = await loop.create_connection(
                        _Connection, host if self._target.address is None else self._target.address, port
                    )
                else:
                    transport, connection = await loop.create_connection(_Connection, proxy.host, proxy.port)
                    if self._target.url.startswith("https:"):
                        await _open(Tunnel(proxy, host, port), transport, connection)
        except TimeoutError as e:
            raise httpcore.ConnectTimeout from e
        except TunnelRefused as e:
            raise httpcore.ConnectError(str(e)) from e
        except OSError as e:
            raise httpcore.ConnectError(str(e) if proxy is None else proxy.failed(str(e))) from e
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        current.get().mark_connected(now_ns() - began_ns)
        return StampedStream(transport, connection, self._target)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[object] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("Unix sockets are not supported: give an http:// or https:// URL")

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError("httpcore sleeps only between its own retries, which are off")
