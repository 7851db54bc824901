"""The direct wire on a transport that only counts: when a chunk blocks, and how a response is framed and ended."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from mockserver.replies.socket_wire import SocketWire
from mockserver.replies.wire import AsgiWire, DirectWire, TransportWire, wire_of
from mockserver.workers.response_store import LastResponse


class CountingTransport:
    """Takes all writes; `sizes` are the buffer sizes that it reports, in order."""

    def __init__(self, sizes: list[int]) -> None:
        self.written: list[bytes] = []
        self.closing = False
        self._sizes = sizes

    def get_write_buffer_size(self) -> int:
        return self._sizes.pop(0) if self._sizes else 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.written.append(b"aborted")

    def get_extra_info(self, name: str) -> Any:
        assert name == "socket"
        return self

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self.written.append(b"linger %d for %d s" % struct.unpack("ii", value))


class FakeConnection:
    def __init__(self, transport: CountingTransport, http_1_0: bool = False, keep_alive: bool = True) -> None:
        self.transport: Any = transport
        self.received_ns: int | None = 1
        self.last: LastResponse | None = None
        self.wire: TransportWire | None = None
        self.held_until_ns: int | None = None
        self.clock = "kernel"
        self.bytes_in: int | None = None
        self.http_1_0 = http_1_0
        self.on_lost: Callable[[], None] | None = None
        self.keep_alive = keep_alive
        self.default_headers = [(b"server", b"mock")]
        self.ended = 0

    def response_ended(self) -> None:
        self.ended += 1

    def close_after_response(self) -> None:
        self.keep_alive = False


def on_wire(
    say: Callable[[DirectWire, CountingTransport], Any], sizes: list[int] | None = None, **connection: bool
) -> tuple[Any, FakeConnection]:
    transport = CountingTransport(sizes if sizes is not None else [])
    fake = FakeConnection(transport, **connection)

    async def main() -> Any:
        return say(DirectWire(fake), transport)

    return asyncio.run(main()), fake


@pytest.mark.parametrize(("before", "after", "blocked"), [(0, 0, False), (0, 1, True), (1, 0, True), (1, 2, True)])
def test_a_chunk_is_blocked_where_bytes_wait_before_or_after_it(before: int, after: int, blocked: bool) -> None:
    def say(wire: DirectWire, transport: CountingTransport) -> bool:
        wire.write(b"x")
        return wire.blocked

    assert on_wire(say, [before, after])[0] is blocked


def test_the_last_event_and_the_end_of_the_body_are_one_write() -> None:
    def say(wire: DirectWire, transport: CountingTransport) -> list[bytes]:
        wire.begin()
        wire.write(b"one")
        wire.finish(b"two")
        return transport.written

    written, connection = on_wire(say)
    assert written[0].startswith(b"HTTP/1.1 200 OK\r\nserver: mock\r\n")
    assert written[1:] == [b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n"]
    assert connection.ended == 1


def test_a_connection_that_will_close_says_so() -> None:
    def say(wire: DirectWire, transport: CountingTransport) -> bytes:
        wire.respond(429, (("retry-after", "2"),), b"{}")
        return transport.written[0]

    kept, _ = on_wire(say)
    closed, _ = on_wire(say, keep_alive=False)
    assert b"connection: close" not in kept
    assert b"connection: close\r\n" in closed
    assert kept.endswith(b"retry-after: 2\r\ncontent-length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    "send",
    [
        lambda wire: wire.write(b"x"),
        lambda wire: wire.finish(b"x"),
        lambda wire: wire.respond(200, (), b"x"),
        lambda wire: wire.truncate(),
        lambda wire: wire.reset(),
    ],
    ids=["write", "finish", "respond", "truncate", "reset"],
)
def test_nothing_is_sent_on_a_connection_that_is_gone_and_the_reply_hears_of_it(
    send: Callable[[DirectWire], Any],
) -> None:
    heard: list[str] = []

    def say(wire: DirectWire, transport: CountingTransport) -> tuple[Any, list[bytes]]:
        wire.on_lost = heard.append
        transport.closing = True
        return send(wire), transport.written

    (stamp, written), _ = on_wire(say)
    assert (stamp, written) == (None, [])
    assert heard[0] == "client_closed"


LONG = b"data: 0123456789\n\n"
"""18 bytes: 12 in hexadecimal."""


@pytest.mark.parametrize(
    ("cut", "http_1_0", "written"),
    [
        (lambda wire: wire.cut_event(b"data: 0\n\n", 6), False, b"9\r\ndata: "),
        (lambda wire: wire.cut_event(LONG, 7), False, b"12\r\ndata: 0"),
        (lambda wire: wire.cut_event(LONG, 7), True, b"data: 0"),
        (
            lambda wire: wire.cut_body(529, (), b"0123", 3), False,
            b"HTTP/1.1 529 Overloaded\r\nserver: mock\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n012",
        ),
    ],
)  # fmt: skip
def test_a_cut_leaves_the_start_of_what_was_announced(
    cut: Callable[[DirectWire], Any], http_1_0: bool, written: bytes
) -> None:
    def say(wire: DirectWire, transport: CountingTransport) -> tuple[Any, ...]:
        stamp = cut(wire)
        return stamp is not None, transport.written, transport.closing

    assert on_wire(say, http_1_0=http_1_0)[0] == (True, [written], True)


def test_a_reset_is_a_close_that_does_not_linger() -> None:
    def say(wire: DirectWire, transport: CountingTransport) -> tuple[Any, ...]:
        wire.write(b"x")
        return wire.reset() is not None, transport.written[1:]

    said, connection = on_wire(say)
    assert said == (True, [b"linger 1 for 0 s", b"aborted"])
    assert (connection.ended, connection.on_lost) == (1, None)


def test_a_stream_of_http_1_0_has_no_chunks_and_ends_with_its_connection() -> None:
    def say(wire: DirectWire, transport: CountingTransport) -> bytes:
        wire.begin((("content-type", "audio/wav"), ("x", "1")))
        wire.write(b"one")
        wire.finish(b"two")
        return b"".join(transport.written)

    assert on_wire(say, http_1_0=True, keep_alive=False)[0] == (
        b"HTTP/1.1 200 OK\r\nserver: mock\r\ncontent-type: audio/wav\r\nx: 1\r\nconnection: close\r\n\r\nonetwo"
    )


def test_a_stream_with_headers_of_its_own_is_chunked_as_any_other() -> None:
    def say(wire: DirectWire, transport: CountingTransport) -> list[bytes]:
        wire.begin((("x", "1"),))
        wire.finish(b"")
        return transport.written

    assert on_wire(say)[0] == [
        b"HTTP/1.1 200 OK\r\nserver: mock\r\ncontent-type: text/event-stream; charset=utf-8\r\nx: 1\r\n"
        b"transfer-encoding: chunked\r\n\r\n",
        b"0\r\n\r\n",
    ]


def test_a_message_is_cut_after_its_head_and_so_much_of_its_text() -> None:
    class Socket(FakeConnection):
        def frame(self, message: bytes) -> bytes:
            return b"head " + message

        def refused(self) -> None: ...

        def close(self) -> None: ...

    transport = CountingTransport([])
    SocketWire(Socket(transport)).cut_event(b"message", 3)
    assert (transport.written, transport.closing) == ([b"head mes"], True)


def test_a_response_that_outlives_the_shutdown_is_cut_and_its_reply_hears_why() -> None:
    heard: list[str] = []
    transport = CountingTransport([])
    connection = FakeConnection(transport)

    async def main() -> None:
        wire = DirectWire(connection)
        wire.on_lost = heard.append
        waiting = asyncio.ensure_future(wire.run({}, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await wire.run({}, None, None)  # type: ignore[arg-type]  # It is over: nothing to wait for.

    asyncio.run(main())
    assert (heard, transport.closing, connection.on_lost) == (["shutdown"], True, None)


@pytest.mark.parametrize(
    ("say", "status", "body"),
    [
        (lambda wire: (wire.respond(429, (("x", "1"),), b"{}"),), 429, b"{}"),
        (lambda wire: (wire.begin(), wire.write(b"one"), wire.write(b""), wire.finish(b"two")), 200, b"onetwo"),
        (lambda wire: (wire.begin(), wire.write(b"one"), wire.finish(b"")), 200, b"one"),
        (lambda wire: (wire.begin(), wire.cut_event(b"three", 2)), 200, b"th"),
        (lambda wire: (wire.cut_body(503, (), b"0123", 3),), 503, b"012"),
        (lambda wire: (wire.reset(),), 200, b""),
    ],
)
def test_another_server_sends_what_was_said_and_the_reply_hears_nothing_more(
    say: Callable[[AsgiWire], tuple[int | None, ...]], status: int, body: bytes
) -> None:
    sent, heard = list[Any](), list[str]()

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        wire = AsgiWire()
        wire.on_lost = heard.append
        assert say(wire)[-1] is not None
        await wire.run({"type": "http", "method": "POST"}, asyncio.get_running_loop().create_future, send)

    asyncio.run(main())
    assert (sent[0]["status"], b"".join(message.get("body", b"") for message in sent)) == (status, body)
    assert (dict(sent[0]["headers"]).get(b"x"), heard) == (b"1" if status == 429 else None, [])


def test_another_server_that_cuts_a_reply_has_it_hear_of_it() -> None:
    heard = list[str]()

    async def main() -> None:
        wire = AsgiWire()
        wire.on_lost = heard.append
        wire.begin()
        running = asyncio.ensure_future(wire.run({"type": "http"}, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(main())
    assert heard == ["client_closed"]


def test_a_request_of_another_server_gets_the_asgi_wire() -> None:
    async def main() -> bool:
        wire, connection = wire_of({"type": "http"})
        return isinstance(wire, AsgiWire) and connection is None

    assert asyncio.run(main())
