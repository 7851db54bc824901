"""Requests that exceed a limit on size or time are refused, and the connection is closed, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mockserver.cli import read_arguments
from mockserver.clock import now_ns
from mockserver.http.app import create_app
from mockserver.http.limits import LARGE_BYTES, LINGER_S, ArrivingRequest, RequestLimits
from mockserver.http.protocol import MockProtocol
from tests.support.mock_protocol import Mock, Transport, request
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HEAD_BYTES, HEAD_S, BODY_S = 4_000, 7.0, 20.0
BODY = b'{"prompt": "hello", "max_tokens": 2, "stream": true}'
OPEN = f"POST {COMPLETIONS} HTTP/1.1\r\nhost: x\r\n".encode()
CHUNKED = OPEN + b"transfer-encoding: chunked\r\n\r\n"
Call = Callable[[Mock, VirtualTimeLoop], Awaitable[None]]


def with_mock(call: Call, *flags: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        app = create_app(
            read_arguments(["--ttft", "0ms", "--tpot", "0ms", "--max-body-mb", "3", "--admin", "everyone", *flags])
        )
        async with app.router.lifespan_context(app):
            await call(Mock(app, RequestLimits(HEAD_BYTES, HEAD_S, BODY_S)), loop)
            busy = asyncio.create_task(let_time_pass())  # Closing waits for threads, which have no virtual time.
        busy.cancel()

    run_virtual(main)


def feed(protocol: MockProtocol, *pieces: bytes) -> None:
    """Reads of these bytes, one after the other."""
    for piece in pieces:
        protocol.feed(piece, now_ns(), "kernel")


async def let_time_pass() -> None:
    while True:
        await asyncio.sleep(0.001)


async def until(done: Callable[[], bool]) -> None:
    """Let the loop run without moving its time."""
    while not done():
        await asyncio.sleep(0)


async def is_left(loop: VirtualTimeLoop, protocol: MockProtocol, transport: Transport) -> None:
    """The client can read its answer while the rest of its data is dropped, and then the connection is closed."""
    assert transport.half_closed
    assert not transport.closed
    written = len(transport.written)
    feed(protocol, *[b"x" * 60_000] * 3, OPEN, b"\x16\r\n\r\n")
    assert len(transport.written) == written
    await asyncio.sleep(LINGER_S)
    assert transport.closed
    protocol.connection_lost(None)


HEADS: dict[str, list[bytes]] = {
    "many headers": [OPEN, *[b"x-a: " + b"y" * 100 + b"\r\n"] * 60],
    "one header without an end": [OPEN + b"x-a: ", *[b"y" * 1_000] * 6],
    "an address without an end": [b"GET /", *[b"y" * 1_000] * 6],
    "complete, in one read": [OPEN + b"x-a: " + b"y" * HEAD_BYTES + b"\r\n\r\n"],
    "complete, ordinary, with its body": [request(COMPLETIONS, BODY, {"X-A": "y" * HEAD_BYTES})],
    "complete, in two reads": [OPEN + b"x-a: " + b"y" * 3_000, b"y" * 2_000 + b"\r\n\r\n"],
    "trailers without an end": [CHUNKED + b"1\r\nx\r\n0\r\n", *[b"x-a: " + b"y" * 1_000 + b"\r\n"] * 6],
    "an extension without an end": [CHUNKED + b"1;a=", *[b"y" * 1_000] * 6],
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_is_too_large_gets_a_431(name: str) -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, *HEADS[name])
        assert transport.written.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n")
        assert b"(--max-head-kb)" in transport.written
        assert transport.written.count(b"HTTP/1.1") == 1
        await is_left(loop, protocol, transport)
        await until(lambda: not mock.state.tasks)
        assert mock.app.state.worker.ledger.lines == 0

    with_mock(call)


@pytest.mark.parametrize("more", [0, 1])
def test_a_head_in_a_large_read_is_measured_by_its_address_and_headers(more: int) -> None:
    refused: list[bytes] = []

    async def main() -> None:
        arriving = ArrivingRequest(RequestLimits(100), asyncio.get_running_loop(), refused.append, lambda: False)
        for size in (50, 100):  # With a read of twice the limit, the head alone may still be small enough.
            arriving.reads(size)
            arriving.begin()
            assert not arriving.head_is_too_large(b"/" * 200, [])
        arriving.reads(101)
        arriving.begin()
        # The address has 10 bytes, and each header 4 more than its name and value.
        assert arriving.head_is_too_large(b"/" * 10, [(b"name", b"y" * (37 + more)), (b"n", b"v" * 40)]) is (more == 1)

    asyncio.run(main())
    assert refused == []


@pytest.mark.parametrize(("part", "again_s"), [("nothing", 5.0), ("head", 5.0), ("body", 50.0)])
def test_time_in_which_the_mock_itself_delays_a_request_does_not_count(part: str, again_s: float) -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        held_up, refused = iter((True, False)), list[float]()
        began_s = loop.time()
        limits = RequestLimits(head_s=5.0, body_s=50.0)
        arriving = ArrivingRequest(
            limits, loop, lambda answer: refused.append(loop.time() - began_s), lambda: next(held_up)
        )
        if part != "nothing":
            arriving.begin()
        if part == "body":
            arriving.end_head()
        arriving.wait(1.0)
        await asyncio.sleep(200)
        (at_s,) = refused
        return at_s

    assert run_virtual(main) == pytest.approx(1.0 + again_s, abs=1e-3)


@pytest.mark.parametrize("pieces", [1, 2, 900])
def test_a_head_that_is_as_large_as_it_may_be_is_served(pieces: int) -> None:
    line = OPEN + b"content-length: %d\r\nx-a: \r\n\r\n" % len(BODY)
    head = line.replace(b"x-a: ", b"x-a: " + b"y" * (HEAD_BYTES - len(line)))
    size = -(-len(head + BODY) // pieces)

    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        for _ in range(2):
            before = transport.written.count(b"[DONE]")
            feed(protocol, *[(head + BODY)[at : at + size] for at in range(0, len(head + BODY), size)])
            await until(lambda before=before: transport.written.count(b"[DONE]") > before)  # type: ignore[misc]
        assert transport.written.count(b"HTTP/1.1 200 ") == 2
        protocol.connection_lost(None)

    with_mock(call)


def test_what_comes_before_a_head_in_its_read_is_not_part_of_it() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        long = request(COMPLETIONS, BODY[:-1] + b" " * HEAD_BYTES + b"}", {"TE": "trailers"})
        feed(protocol, long + OPEN, b"x-a: " + b"y" * (HEAD_BYTES - 1_000) + b"\r\n\r\n")
        await until(lambda: transport.written.count(b"HTTP/1.1") == 2)
        assert b"HTTP/1.1 431" not in transport.written
        protocol.connection_lost(None)

    with_mock(call)


def test_a_head_that_is_too_large_does_not_cut_the_responses_before_it() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        two = request(COMPLETIONS, BODY, {"TE": "trailers"}) * 2
        feed(protocol, two + OPEN, *[b"x-a: " + b"y" * 1_000] * 6)
        assert transport.written == b""
        await until(lambda: transport.half_closed)
        await is_left(loop, protocol, transport)
        assert transport.written.count(b"HTTP/1.1 200") == transport.written.count(b"[DONE]") == 2
        assert b"HTTP/1.1 4" not in transport.written

    with_mock(call)


async def seconds_to_the_end(loop: VirtualTimeLoop, transport: Transport) -> float:
    began_s = loop.time()
    while not (transport.half_closed or transport.closed):
        await asyncio.sleep(0.125)
    return loop.time() - began_s


def test_a_head_that_takes_too_long_gets_a_408() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, OPEN)
        await asyncio.sleep(HEAD_S - 1)
        feed(protocol, b"x-a: y\r\n")
        assert await seconds_to_the_end(loop, transport) == pytest.approx(1, abs=0.2)
        assert transport.written.startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")
        assert b"(--head-timeout-s)" in transport.written
        await is_left(loop, protocol, transport)

    with_mock(call)


PATHS = (CHAT, "/v1/embeddings", "/v1/messages", "/tokenize", "/admin/config")


def head(path: str, length: int, *lines: str) -> bytes:
    rest = "\r\n".join(["host: localhost", f"content-length: {length}", *lines])
    return f"POST {path} HTTP/1.1\r\n{rest}\r\n\r\n".encode()


async def feed_body(protocol: MockProtocol, transport: Transport, size: int, pause_s: float = 0.0) -> None:
    """Feed a part of a body in reads of 50 KB, like a connection."""
    for _ in range(size // 50_000):
        await until(lambda: not transport.paused)
        feed(protocol, b" " * 50_000)
        if pause_s:
            await asyncio.sleep(pause_s)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("came", [0, 900_000])
def test_half_a_body_gets_a_408_after_its_time_and_a_second_for_each_mb(path: str, came: int) -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, head(path, came + 1))
        await feed_body(protocol, transport, came)
        took_s = await seconds_to_the_end(loop, transport)
        assert took_s == pytest.approx(BODY_S + came / 1_000_000, abs=0.2)
        assert transport.written.startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")
        assert b"(--body-timeout-s)" in transport.written
        await is_left(loop, protocol, transport)
        await until(lambda: not mock.state.tasks)
        assert mock.app.state.worker.ledger.lines == 0

    with_mock(call)


def test_a_body_that_trickles_does_not_extend_its_time() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, head(CHAT, 1_000))
        began_s = loop.time()
        while not transport.half_closed:
            feed(protocol, b" ")
            await asyncio.sleep(0.125)
        assert loop.time() - began_s == pytest.approx(BODY_S, abs=0.2)
        protocol.connection_lost(None)

    with_mock(call)


def test_a_large_body_that_comes_slowly_is_served() -> None:
    size = 2_500_000

    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        mock.config.timeout_keep_alive = 100
        protocol, transport = mock.connect()
        feed(protocol, head(COMPLETIONS, size + len(BODY)))
        await feed_body(protocol, transport, size, pause_s=(BODY_S + 1.5) / (size // 50_000))
        feed(protocol, BODY)
        await until(lambda: b"[DONE]" in transport.written)
        # The connection continues to serve, and the time left for the body does not affect the next request.
        await asyncio.sleep(BODY_S)
        feed(protocol, request(COMPLETIONS, BODY, {}))
        await until(lambda: transport.written.count(b"[DONE]") == 2)
        protocol.connection_lost(None)

    with_mock(call)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("line", ["x: y", "expect: 100-continue"])
def test_a_body_whose_head_says_that_it_is_too_large_gets_a_413_at_once(path: str, line: str) -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, head(path, 200_000_000, line))
        await until(lambda: bool(transport.written))
        assert transport.written.startswith(b"HTTP/1.1 413 ")
        assert transport.written.lower().count(b"\r\nconnection: close\r\n") == 1
        assert b" MB" in transport.written
        await until(lambda: transport.half_closed)
        await is_left(loop, protocol, transport)
        if path in (CHAT, "/v1/embeddings", "/v1/messages"):
            assert (await mock.line())["status"] == 413

    with_mock(call)


@pytest.mark.parametrize("path", PATHS)
def test_a_body_of_unknown_size_gets_a_413_when_it_is_too_large(path: str) -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, CHUNKED.replace(COMPLETIONS.encode(), path.encode()).replace(b"host: x", b"host: localhost"))
        sent = 0
        while not transport.written:
            await until(lambda: not transport.paused)
            feed(protocol, b"%x\r\n%b\r\n" % (50_000, b" " * 50_000))
            sent += 50_000
            await asyncio.sleep(0)
        assert sent <= 3_300_000
        assert transport.written.startswith(b"HTTP/1.1 413 ")
        await until(lambda: transport.half_closed)
        await is_left(loop, protocol, transport)

    with_mock(call)


def test_a_body_of_a_request_that_is_answered_already_is_not_waited_for_without_end() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, head("/v1/models", 1_000))
        await until(lambda: b"HTTP/1.1 405 " in transport.written)
        written = len(transport.written)
        began_s = loop.time()
        while not transport.half_closed:
            feed(protocol, b" ")
            await asyncio.sleep(0.125)
        assert loop.time() - began_s == pytest.approx(BODY_S, abs=0.2)
        assert len(transport.written) == written
        await is_left(loop, protocol, transport)

    with_mock(call)


def test_time_in_which_the_mock_does_not_read_does_not_count() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, request(COMPLETIONS, BODY, {"x-mock-ttft": "1000s"}) + head(COMPLETIONS, 1_000))
        await asyncio.sleep(5 * BODY_S)
        assert not transport.half_closed
        assert not transport.closed
        assert protocol.exchange is not None
        assert protocol.exchange.keep_alive, "it is not refused when its turn comes, either"
        protocol.connection_lost(None)

    with_mock(call)


def test_the_shutdown_does_not_wait_for_a_connection_that_was_refused() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, *HEADS["many headers"])
        assert not transport.closed
        protocol.shutdown()
        assert transport.closed
        protocol.connection_lost(None)

    with_mock(call)


# ---- WebSockets --------------------------------------------------------------------------------------------------------

HANDSHAKE = (
    b"GET /v1/responses HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(data: bytes, *, first: bool = True, last: bool = True) -> bytes:
    """A text message, or a piece of it, with a mask of zeros."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xff" + len(data).to_bytes(8)
    return bytes([(0x80 if last else 0) | (1 if first else 0)]) + length + bytes(4) + data


def closes_with(transport: Transport) -> int:
    """The code of the last frame, which closes the connection."""
    at = transport.written.rindex(b"\x88")
    return int.from_bytes(transport.written[at + 2 : at + 4])


@pytest.mark.parametrize("came", [0, 900_000])
@pytest.mark.parametrize("empty", [False, True], ids=["nothing more", "empty frames"])
def test_a_message_that_does_not_arrive_in_time_closes_the_websocket(came: int, empty: bool) -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, HANDSHAKE)
        assert transport.written.startswith(b"HTTP/1.1 101 ")
        await asyncio.sleep(10 * BODY_S)
        assert not transport.closed, "an idle connection is not closed"
        began_s = loop.time()
        feed(protocol, frame(b" " * came, last=False))
        while not transport.closed:
            if empty:
                feed(protocol, frame(b"", first=False, last=False))
            await asyncio.sleep(0.125)
        assert loop.time() - began_s == pytest.approx(BODY_S + came / 1_000_000, abs=0.2)
        assert closes_with(transport) == 1008
        protocol.connection_lost(None)

    with_mock(call)


def test_a_message_that_is_too_large_closes_the_websocket() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, HANDSHAKE)
        piece, sent = frame(b" " * 200_000_000)[:14], 0
        while not transport.closed:
            feed(protocol, piece)
            piece, sent = b" " * 60_000, sent + 60_000
        assert sent <= 3_200_000
        assert closes_with(transport) == 1009
        protocol.connection_lost(None)

    with_mock(call)


def test_messages_that_wait_are_not_more_than_one_may_be() -> None:
    message = b'{"type": "response.create", "input": "hello", "pad": "%b"}' % (b"x" * 1_000_000)

    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, HANDSHAKE)
        read = 0
        while not transport.paused:
            feed(protocol, frame(message))
            read += 1
        assert read == 4  # One is served, and the three that wait exceed 3 MB.
        protocol.connection_lost(None)

    with_mock(call, "--ttft", "1000s")


def test_what_a_large_body_took_is_given_back_once_for_several() -> None:
    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        released: list[float] = []
        mock.app.state.worker.release_memory_soon = lambda: released.append(loop.time())
        small, large = (mock.connect() for _ in range(2))
        for (protocol, transport), size in ((small, LARGE_BYTES - 50_000), (large, LARGE_BYTES)):
            feed(protocol, head(CHAT, 2_000_000))
            await feed_body(protocol, transport, size)
            assert released == []
            protocol.connection_lost(None)
        assert len(released) == 1

    with_mock(call)


def test_a_request_of_a_websocket_has_the_bytes_of_all_messages_since_the_last_one() -> None:
    update = b'{"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}}'
    create = b'{"type": "response.create", "response": {"max_output_tokens": 3}}'

    async def call(mock: Mock, loop: VirtualTimeLoop) -> None:
        protocol, transport = mock.connect()
        feed(protocol, HANDSHAKE.replace(b"/v1/responses", b"/v1/realtime?model=mock-model"))
        for done, messages in enumerate(((update, update, create), (create,)), 1):
            feed(protocol, *map(frame, messages))
            while transport.written.count(b'"response.done"') < done:
                await asyncio.sleep(0.001)
            assert (await mock.line())["bytes_in"] == sum(map(len, messages))
        protocol.connection_lost(None)

    with_mock(call)
