"""The mock's HTTP layer with the test's own application: what is written, and when the connection is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from mockserver.clock import now_ns
from mockserver.http.protocol import MockProtocol
from tests.support.mock_protocol import Transport

TEXT = [(b"content-type", b"text/plain")]
OK = b"HTTP/1.1 200 OK\r\nserver: mock\r\ncontent-type: text/plain\r\n"
FAILED = (
    b"HTTP/1.1 500 Internal Server Error\r\nserver: mock\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 21\r\nconnection: close\r\n\r\nInternal Server Error"
)
SEVEN = OK + b"content-length: 1\r\n\r\n7"
STREAM = OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"

WITHOUT_BODY = {"/empty": 204, "/unchanged": 304, "/reset content": 205}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The path selects the action. `/size` answers with the size of the body."""

    async def start(status: int, *headers: tuple[bytes, bytes]) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [*TEXT, *headers]})

    async def body(data: bytes, more: bool = False) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": more})

    path = scope["path"]
    if path == "/size":
        size, more = 0, True
        while more:
            message: Message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        await start(200, (b"content-length", b"%d" % len(str(size))))
        await body(str(size).encode())
    elif path == "/stream":
        await start(200)
        await body(b"ab", more=True)
        await body(b"c", more=True)
        await body(b"")
    elif path in WITHOUT_BODY:
        await start(WITHOUT_BODY[path])
        await body(b"")
    elif path == "/closes":
        await start(200, (b"content-length", b"1"), (b"connection", b"close"))
        await body(b"x")
    elif path == "/fails":
        raise RuntimeError
    elif path == "/fails late":
        await start(200, (b"content-length", b"9"))
        await body(b"x", more=True)
        raise RuntimeError
    elif path == "/leaves":
        while (await receive())["type"] != "http.disconnect":
            pass
        scope["state"]["left"].append(path)
        await start(200)
        await body(b"too late")


def talk(call: Callable[[MockProtocol, Transport], Awaitable[Any]], **state: Any) -> None:
    async def main() -> None:
        server = ServerState()
        server.default_headers = [(b"server", b"mock")]
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
        protocol = MockProtocol(config, server, state, asyncio.get_running_loop())
        transport = Transport()
        protocol.connection_made(transport)  # type: ignore[arg-type]
        assert server.connections == {protocol}
        await call(protocol, transport)
        while server.tasks:
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        assert not server.connections

    asyncio.run(main())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "host: x", *headers, "", ""]).encode()


SIZE = get("/size", "content-length: 7", method="POST") + b"1234567"
CASES: dict[str, tuple[list[bytes], bytes, bool]] = {
    # Reads, writes, and whether the connection is closed.
    "a body": ([SIZE], SEVEN, False),
    "a body in pieces": ([SIZE[at : at + 1] for at in range(len(SIZE))], SEVEN, False),
    "a chunked body": (
        [get("/size", "transfer-encoding: chunked", method="POST") + b"3\r\nabc\r\n", b"4\r\nabcd\r\n0\r\n\r\n"],
        SEVEN, False,
    ),
    "a client that waits": (
        [get("/size", "Expect: 100-Continue", "content-length: 7", method="POST")], b"HTTP/1.1 100 Continue\r\n\r\n", False,
    ),
    "a stream": ([get("/stream")], STREAM, False),
    "no content": ([get("/empty")], OK.replace(b"200 OK", b"204 No Content") + b"\r\n", False),
    "unchanged": ([get("/unchanged")], OK.replace(b"200 OK", b"304 Not Modified") + b"\r\n", False),
    "no other status is without a body": (
        [get("/reset%20content")],
        OK.replace(b"200 OK", b"205 Reset Content") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", False,
    ),
    "no body for HEAD": ([get("/stream", method="HEAD")], OK + b"\r\n", False),
    "three in one read": ([get("/stream") + SIZE + get("/size")], STREAM + SEVEN + SEVEN[:-1] + b"0", False),
    "HTTP/1.0": ([get("/size", version="1.0")], OK + b"content-length: 1\r\nconnection: close\r\n\r\n0", True),
    "HTTP/1.0 that would stay": (
        [get("/size", "connection: keep-alive", version="1.0")],
        OK + b"content-length: 1\r\nconnection: close\r\n\r\n0", True,
    ),
    "a client that closes": (
        [get("/size", "connection: close")], OK + b"content-length: 1\r\nconnection: close\r\n\r\n0", True,
    ),
    "an application that closes": ([get("/closes")], OK + b"content-length: 1\r\nconnection: close\r\n\r\nx", True),
    "an application that fails": ([get("/fails")], FAILED, True),
    "an application that answers nothing": ([get("/nothing")], FAILED, True),
    "an application that fails late": ([get("/fails%20late")], OK + b"content-length: 9\r\n\r\nx", True),
    "an upgrade to nothing known": (
        [get("/size", "connection: upgrade", "upgrade: h2c")], OK + b"content-length: 1\r\n\r\n0", False,
    ),
    "no HTTP": (
        [b"hello\r\n\r\n"],
        b"HTTP/1.1 400 Bad Request\r\nserver: mock\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\n"
        b"connection: close\r\n\r\nInvalid HTTP request received.",
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_and_whether_the_connection_stays(name: str) -> None:
    reads, written, closed = CASES[name]

    async def call(protocol: MockProtocol, transport: Transport) -> None:
        for data in reads:
            protocol.feed(data, now_ns(), "kernel")
        await settle()
        assert (bytes(transport.written), transport.closed) == (written, closed)
        if name == "a client that waits":
            for part in (b"123", b"4567"):
                protocol.feed(part, now_ns(), "kernel")
                await settle()
            assert transport.written == written + SEVEN

    talk(call)


def test_an_application_that_answers_nothing_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def call(protocol: MockProtocol, transport: Transport) -> None:
        for path in ("/nothing", "/fails"):
            protocol.feed(get(path), now_ns(), "kernel")
            await settle()
            transport.closed = False

    async def silent(protocol: MockProtocol, transport: Transport) -> None:
        protocol.feed(get("/stream"), now_ns(), "kernel")
        await settle()

    talk(silent)
    assert caplog.messages == []
    talk(call)
    assert caplog.messages == [
        "ASGI callable returned without completing response.", "Exception in ASGI application",
    ]  # fmt: skip


def test_a_body_that_nobody_takes_is_not_read_on() -> None:
    async def call(protocol: MockProtocol, transport: Transport) -> None:
        protocol.feed(get("/size", "content-length: 140000", method="POST"), now_ns(), "kernel")
        protocol.feed(b"x" * 70_000, now_ns(), "kernel")
        assert transport.paused
        await settle()
        assert not transport.paused
        protocol.feed(b"x" * 70_000, now_ns(), "kernel")
        await settle()
        assert transport.written.endswith(b"\r\n\r\n140000")

    talk(call)


def test_a_reader_that_is_slow_is_waited_for() -> None:
    async def call(protocol: MockProtocol, transport: Transport) -> None:
        protocol.pause_writing()
        protocol.feed(get("/stream"), now_ns(), "kernel")
        await settle()
        assert transport.written == b""
        protocol.resume_writing()
        await settle()
        assert transport.written == STREAM

    talk(call)


def test_the_application_hears_of_a_client_that_leaves() -> None:
    left: list[str] = []

    async def call(protocol: MockProtocol, transport: Transport) -> None:
        protocol.feed(get("/leaves"), now_ns(), "kernel")
        await settle()
        protocol.connection_lost(None)
        await settle()
        assert left == ["/leaves"]
        assert transport.written == b""

    talk(call, left=left)


def test_a_shutdown_closes_an_idle_connection_at_once_and_a_busy_one_behind_its_response() -> None:
    async def call(protocol: MockProtocol, transport: Transport) -> None:
        protocol.feed(SIZE[:-1], now_ns(), "kernel")
        await settle()
        protocol.shutdown()
        assert not transport.closed
        protocol.feed(SIZE[-1:], now_ns(), "kernel")
        await settle()
        assert transport.written == SEVEN.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        assert transport.closed

    async def idle(protocol: MockProtocol, transport: Transport) -> None:
        protocol.shutdown()
        assert transport.closed

    talk(call)
    talk(idle)
