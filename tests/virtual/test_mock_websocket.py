"""WebSockets of the mock without sockets: who may open one, the order of its responses, and each way in which it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mockserver.cli import read_arguments
from mockserver.clock import now_ns
from mockserver.http.app import create_app
from mockserver.worker import Worker
from tests.support.mock_protocol import Mock, request

HANDSHAKE = (
    b"GET /v1/responses HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SLOW, BINARY, CLOSE, PING, PONG = {"x-mock-ttft": "1000s"}, 2, 8, 9, 10
QUICK = ("--ttft", "0ms", "--tpot", "0ms")


def frame(data: bytes, opcode: int = 1, *, last: bool = True) -> bytes:
    """A frame of a client, with a mask of zeros."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
    return bytes([(0x80 if last else 0) | opcode]) + length + bytes(4) + data


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """The opcodes and payloads of complete frames of the server."""
    frames = []
    while len(data) >= 2:
        size, at = data[1], 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at])
        if len(data) < at + size:
            break
        frames.append((data[0] & 15, data[at : at + size]))
        data = data[at + size :]
    return frames


class Client:
    """A client of a WebSocket that reads everything at once."""

    def __init__(self, mock: Mock, handshake: bytes = HANDSHAKE) -> None:
        self.mock = mock
        self.protocol, self.transport = mock.connect()
        self.protocol.feed(handshake, now_ns(), "kernel")

    @property
    def answer(self) -> bytes:
        """The response to the handshake."""
        return bytes(self.transport.written).partition(b"\r\n\r\n")[0]

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        return frames_in(bytes(self.transport.written).partition(b"\r\n\r\n")[2])

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(data) for opcode, data in self.frames if opcode == 1]

    @property
    def ends(self) -> list[dict[str, Any]]:
        """The last events of the responses so far."""
        return [event for event in self.events if event["type"] in ("response.completed", "error")]

    def send(self, data: bytes, opcode: int = 1, **flags: bool) -> None:
        self.protocol.feed(frame(data, opcode, **flags), now_ns(), "kernel")

    def ask(self, name: str, headers: dict[str, str] | None = None, **fields: Any) -> None:
        metadata = {"x-request-id": name, **(headers or {})}
        row = {"type": "response.create", "input": "hello", "max_output_tokens": 3, "metadata": metadata}
        self.send(json.dumps({**row, **fields}).encode())

    async def until(self, ends: int) -> list[dict[str, Any]]:
        written = -1
        while not self.transport.closed:
            if written != len(self.transport.written) and len(self.ends) >= ends:
                break
            written = len(self.transport.written)
            await asyncio.sleep(0)
        return self.ends

    async def until_closed(self) -> int:
        """The code of the server's close frame."""
        while not self.transport.closed:
            await asyncio.sleep(0)
        (data,) = (data for opcode, data in self.frames if opcode == CLOSE)
        return int.from_bytes(data[:2])

    async def lines(self) -> dict[str, dict[str, Any]]:
        """The ledger, by the id of the request."""
        await self.mock.app.state.worker.settle()
        lines = map(json.loads, self.mock.app.state.worker.ledger.read().splitlines())
        return {line["id"]: line for line in lines}


def with_mock(call: Callable[[Mock], Awaitable[None]], *flags: str) -> None:
    async def main() -> None:
        app = create_app(read_arguments([*QUICK, "--admin", "everyone", *flags]))
        async with app.router.lifespan_context(app):
            await call(Mock(app))

    asyncio.run(main())


def test_a_handshake_is_accepted_with_the_digest_of_its_key() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        assert client.answer.startswith(b"HTTP/1.1 101 ")
        # The example of RFC 6455, 1.3.
        assert b"\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in client.answer.lower()
        assert client.frames == []
        client.protocol.connection_lost(None)

    with_mock(call)


@pytest.mark.parametrize(
    ("flags", "old", "new", "status", "says"),
    [
        (("--api-key", "k"), b"", b"", 401, "Unauthorized"),
        (("--api-key", "k"), b"host: x", b"host: x\r\nauthorization: Bearer k", 101, ""),
        ((), b"host: x", b"host: x\r\norigin: http://page.example", 403, "start the mock with --cors ORIGIN."),
        (("--cors", "http://page.example"), b"host: x", b"host: x\r\norigin: http://page.example", 101, ""),
        ((), b"version: 13", b"version: 12", 400, "The handshake of the WebSocket is wrong: "),
        ((), b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400, "The handshake of the WebSocket is wrong: "),
        ((), b"upgrade: websocket", b"upgrade: WebSocket", 101, ""),
    ],
)
def test_who_may_open_a_websocket(flags: tuple[str, ...], old: bytes, new: bytes, status: int, says: str) -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock, HANDSHAKE.replace(old, new) if old else HANDSHAKE)
        assert client.answer.startswith(b"HTTP/1.1 %d " % status)
        assert says in bytes(client.transport.written).decode()
        assert client.transport.closed is (status != 101)
        if status != 101:
            head, _, body = bytes(client.transport.written).partition(b"\r\n\r\n")
            assert b"content-length: %d" % len(body) in head
            json.loads(body)
        client.protocol.connection_lost(None)

    with_mock(call, *flags)


def test_a_draining_mock_opens_no_websocket() -> None:
    async def call(mock: Mock) -> None:
        mock.app.state.worker.drain()
        client = Client(mock)
        assert client.answer.startswith(b"HTTP/1.1 503 ")
        assert b"The server is shutting down and takes no new connections." in client.transport.written
        client.protocol.connection_lost(None)

    with_mock(call)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/v1/responses", b"/v1/chat/completions"),
        (b"upgrade: websocket", b"upgrade: h2c"),
        (b"GET", b"POST"),
    ],
)
def test_a_request_for_anything_else_is_answered_as_http(old: bytes, new: bytes) -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock, HANDSHAKE.replace(old, new))
        while not client.transport.written:
            await asyncio.sleep(0)
        assert client.answer.startswith(b"HTTP/1.1 4")
        assert b"handshake" not in client.transport.written
        client.protocol.connection_lost(None)

    with_mock(call)


def test_messages_are_answered_one_after_another_and_arrive_when_the_one_before_has_ended() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        for name in ("a", "b", "c"):
            client.ask(name)
        ends = await client.until(3)
        assert [end["response"]["status"] for end in ends] == [
            "incomplete"
        ] * 3  # Their length is that of max_output_tokens.
        lines = await client.lines()
        assert [*lines] == ["a", "b", "c"]
        counts = await mock.app.state.worker.all_counts()
        assert counts["arrival_clock"] == {"kernel": 1, "user": 2}
        for before, after in (("a", "b"), ("b", "c")):
            assert lines[after]["received_ns"] >= lines[before]["write_ns"][-1]
        client.ask("d")  # Nothing waits any more, so it arrives when it is read.
        await client.until(4)
        counts = await mock.app.state.worker.all_counts()
        assert counts["arrival_clock"] == {"kernel": 2, "user": 2}
        client.protocol.connection_lost(None)
        while mock.state.tasks:
            await asyncio.sleep(0)

    with_mock(call)


def test_a_message_may_come_in_pieces() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        client.send(b'{"type": "response.create",', last=False)
        client.send(b"", 0, last=False)
        client.send(b"", PING)  # Control frames may come between them.
        client.send(b' "input": "h\xc3\xa9", "max_output_tokens": 3}', 0)
        (end,) = await client.until(1)
        assert end["response"]["usage"]["output_tokens"] == 3
        assert client.frames[0] == (PONG, b"")
        client.protocol.connection_lost(None)

    with_mock(call)


def test_a_wrong_message_gets_an_error_and_the_next_one_a_response() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        for message in (b"{", b"[]", b'{"type": "x"}', b'{"type": "response.create"}'):
            client.send(message)
        client.ask("good")
        *errors, good = await client.until(5)
        assert [error["status"] for error in errors] == [400] * 4
        assert good["type"] == "response.completed"
        assert not client.transport.closed
        client.protocol.connection_lost(None)

    with_mock(call)


def test_the_last_response_stays_on_its_connection_until_an_error() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        client.ask("a", store=False)
        (first,) = await client.until(1)
        name = first["response"]["id"]
        client.ask("b", store=False, previous_response_id=name)
        _, second = await client.until(2)
        assert second["response"]["usage"]["input_tokens"] > first["response"]["usage"]["input_tokens"]
        client.ask("c", store=False, previous_response_id=name)  # Only the last response is kept.
        assert (await client.until(3))[2]["error"]["code"] == "previous_response_not_found"
        name = second["response"]["id"]
        client.ask("d", previous_response_id=name, max_output_tokens=0)
        assert (await client.until(4))[3]["error"]["param"] == "max_output_tokens"
        client.ask("e", previous_response_id=name)
        assert (await client.until(5))[4]["error"]["code"] == "previous_response_not_found"
        other = Client(mock)
        other.ask("f", previous_response_id=name)
        assert (await other.until(1))[0]["error"]["code"] == "previous_response_not_found"
        for each in (client, other):
            each.protocol.connection_lost(None)

    with_mock(call)


def test_pings_and_closes_are_answered() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        client.send(b"are you there", PING)
        assert client.frames == [(PONG, b"are you there")]
        client.send((4000).to_bytes(2) + b"bye", CLOSE)
        assert client.frames[1:] == [(CLOSE, (4000).to_bytes(2) + b"bye")]
        assert client.transport.closed
        client.ask("late")  # Whatever follows is dropped.
        assert len(client.frames) == 2
        client.protocol.connection_lost(None)

    with_mock(call)


def test_what_follows_a_close_in_its_read_is_not_answered() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        client.protocol.feed(frame(b"", CLOSE) + frame(b"x", PING) + frame(b"{}"), now_ns(), "kernel")
        assert [opcode for opcode, _ in client.frames] == [CLOSE]
        assert client.transport.closed
        client.protocol.connection_lost(None)

    with_mock(call)


@pytest.mark.parametrize(
    ("sent", "code"),
    [(frame(b"x", BINARY), 1003), (b"\x81\x01x", 1002), (b"\xf1\x80" + bytes(4), 1002), (frame(b"\xff"), 1007)],
    ids=["binary", "no mask", "reserved bits", "no UTF-8"],
)
def test_what_is_no_text_closes_the_connection(sent: bytes, code: int) -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        client.protocol.feed(sent, now_ns(), "kernel")
        assert await client.until_closed() == code
        client.protocol.connection_lost(None)

    with_mock(call)


def test_an_idle_connection_leaves_at_once_and_a_busy_one_after_its_response() -> None:
    async def call(mock: Mock) -> None:
        idle, busy = Client(mock), Client(mock)
        busy.ask("a")
        busy.ask("b")
        for client in (idle, busy):
            client.protocol.shutdown()
        assert idle.transport.closed
        assert not busy.transport.closed
        assert [await client.until_closed() for client in (idle, busy)] == [1001, 1001]
        # The message that waited is not served any more.
        assert [event["type"] for event in busy.ends] == ["response.completed"]
        for client in (idle, busy):
            client.protocol.connection_lost(None)
        assert [*await busy.lines()] == ["a"]

    with_mock(call)


def test_reading_pauses_while_sixteen_messages_wait() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        for number in range(17):  # The first is being answered.
            assert not client.transport.paused
            client.ask(f"r-{number}")
        assert client.transport.paused
        await client.until(1)
        assert not client.transport.paused
        assert len(await client.until(17)) == 17
        client.protocol.connection_lost(None)

    with_mock(call)


def test_a_client_that_leaves_cuts_its_response_and_drops_what_waits() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        client.ask("a", SLOW)
        client.ask("b", SLOW)
        while not mock.app.state.worker.running:
            await asyncio.sleep(0)
        client.protocol.connection_lost(None)
        while mock.state.tasks:
            await asyncio.sleep(0)
        lines = await client.lines()
        assert [(name, line["engine"]["cut"]) for name, line in lines.items()] == [("a", "client_closed")]
        assert mock.app.state.worker.running == 0

    with_mock(call)


def test_a_close_in_the_middle_of_a_response_cuts_it_at_once() -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        client.ask("a", SLOW)
        while not mock.app.state.worker.running:
            await asyncio.sleep(0)
        client.send((1000).to_bytes(2), CLOSE)
        assert (await client.lines())["a"]["engine"]["cut"] == "client_closed"
        client.protocol.connection_lost(None)

    with_mock(call)


@pytest.mark.parametrize(("size", "released"), [(999_999, 0), (1_000_000, 1)])
def test_the_memory_of_a_large_message_that_never_ended_is_given_back(size: int, released: int) -> None:
    async def call(mock: Mock) -> None:
        calls: list[None] = []
        mock.app.state.worker.release_memory_soon = lambda: calls.append(None)
        client = Client(mock)
        sent = 0
        while sent < size:
            part = min(60_000, size - sent)
            client.send(b" " * part, 1 if sent == 0 else 0, last=False)
            sent += part
        client.protocol.connection_lost(None)
        assert len(calls) == released

    with_mock(call)


@pytest.mark.parametrize(
    ("fault", "code"),
    [("truncate:after=1", None), ("cut_frame:after=1", None), ("no_done", 1000)],
)
def test_a_response_without_its_last_event_ends_the_connection(fault: str, code: int | None) -> None:
    async def call(mock: Mock) -> None:
        client = Client(mock)
        client.ask("a", {"x-mock-fault": fault})
        while not (client.transport.closed or client.transport.half_closed):
            await asyncio.sleep(0)
        assert client.ends == []
        assert [int.from_bytes(data[:2]) for opcode, data in client.frames if opcode == CLOSE] == (
            [code] if code else []
        )
        client.protocol.connection_lost(None)
        assert (await client.lines())["a"]["fault"] == fault.partition(":")[0]

    with_mock(call)


def test_a_message_that_the_mock_fails_to_serve_leaves_the_connection_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    async def call(mock: Mock) -> None:
        client = Client(mock)
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "generate", broken)
            client.ask("a")
            (error,) = await client.until(1)
        assert (error["status"], error["error"]["message"]) == (
            500, "The mock failed to serve this message: see its log.",
        )  # fmt: skip
        client.ask("b")
        assert (await client.until(2))[1]["type"] == "response.completed"
        client.protocol.connection_lost(None)

    with_mock(call)
    assert "a message of a WebSocket failed" in caplog.text


def test_a_request_before_the_handshake_is_answered_first() -> None:
    body = json.dumps({"prompt": "x", "max_tokens": 1, "stream": True}).encode()

    async def call(mock: Mock) -> None:
        protocol, transport = mock.connect()
        protocol.feed(request("/v1/completions", body, {}), now_ns(), "kernel")
        while b"[DONE]" not in transport.written:
            await asyncio.sleep(0)
        before = len(transport.written)
        protocol.feed(HANDSHAKE, now_ns(), "kernel")
        assert transport.written[before:].startswith(b"HTTP/1.1 101 ")
        protocol.connection_lost(None)

    with_mock(call)
