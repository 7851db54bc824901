"""Both senders, the thread and the event loop, with the same scripts: the same bytes and the same notes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import pytest

from mockserver import native
from mockserver.clock import now_ns
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.messages import MESSAGES
from mockserver.dialect.openai import CHAT, COMPLETION
from mockserver.dialect.params import RequestParams
from mockserver.pacing import Pacer
from mockserver.plans.plan import Plan
from mockserver.replies.choice import ReplyStyle, text_choice, writer_of
from mockserver.replies.reply import Reply
from mockserver.replies.sender import StreamSender
from mockserver.replies.text_reply import TextReply, reply_of
from mockserver.replies.wire import DirectWire, TransportWire
from mockserver.tokencount import TokenCount, known_count
from mockserver.workers.response_store import LastResponse

MS = 1_000_000
PIECES = ["One", " two", ' "three"', " vier\u2028", " five", " 六", " " + "s" * 300, " two", " end"]

DONE = b"data: [DONE]\n\n\r\n0\r\n\r\n"

compiled = pytest.mark.skipif(native.sender() is None, reason="the sender is not compiled: install with a C compiler")
WAYS = [pytest.param("compiled", marks=compiled), "python"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Connection:
    """A connection of the mock, over one end of a socket pair."""

    received_ns: int | None = 0
    clock = "kernel"
    bytes_in: int | None = None
    http_1_0 = False
    keep_alive = True
    last: LastResponse | None = None
    held_until_ns: int | None = None
    wire: TransportWire | None = None

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.on_lost: Callable[[], None] | None = None
        self.ended = 0

    def response_ended(self) -> None:
        self.ended += 1

    def close_after_response(self) -> None: ...


class Protocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.connection: Connection | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self.connection is not None and self.connection.on_lost is not None:
            self.connection.on_lost()


@dataclass
class Played:
    """A reply that was sent."""

    reply: Reply
    received_ns: int
    connection: Connection
    bytes: bytearray = field(default_factory=bytearray)
    ends: int = 0

    def noted(self) -> dict[str, Any]:
        reply = self.reply
        return {
            "kinds": "".join(reply.chunk_kinds),
            "tokens": reply.chunk_tokens,
            "bytes": reply.bytes_out,
            "stamps": len(reply.write_ns),
            "cut": reply.cut,
            "out": reply.tokens_out,
            "ends": self.ends,
            "responses": self.connection.ended,
        }


class Scene:
    """One reply on one connection, with disturbances."""

    def __init__(
        self, way: str, pieces: list[str], endpoint: Endpoint = CHAT, usage: bool = False, finish: str = "last"
    ) -> None:
        self.way, self.pieces, self.endpoint, self.usage = way, pieces, endpoint, usage
        self.style = ReplyStyle(finish=finish)
        self.count: TokenCount = known_count(5)
        self.gaps_ns = (MS,) * (len(pieces) - 1)
        self.ttft_ns = 2 * MS
        self.buffer: int | None = None

    def play(self, disturb: Callable[[Played, socket.socket], Any] | None = None) -> Played:
        """Send the reply to a reader that reads to the end after `disturb`, which may be a coroutine."""
        return asyncio.run(self._play(disturb))

    async def _play(self, disturb: Callable[[Played, socket.socket], Any] | None) -> Played:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        if self.buffer is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffer)
        theirs.setblocking(False)
        transport, protocol = await loop.connect_accepted_socket(Protocol, ours)
        connection = protocol.connection = Connection(transport)
        pacer = Pacer()
        make = native.sender() if self.way == "compiled" else None
        sender = None if make is None else StreamSender(make(pacer.shared_ns))
        plan = Plan(self.ttft_ns, self.gaps_ns, len(self.pieces))
        params = RequestParams(True, self.usage, self.endpoint is MESSAGES, len(self.pieces), prompt="x")
        over = asyncio.Event()

        def on_end(reply: Reply) -> None:
            played.ends += 1
            over.set()

        content = self.style.content_of(
            params, (text_choice(params, plan, [*self.pieces]),), self.endpoint, "id", 9, "m", self.count
        )
        reply = reply_of(DirectWire(connection), writer_of(content, pacer.now_ns), pacer, on_end)
        assert isinstance(reply, TextReply)
        played = Played(reply, now_ns(), connection)
        reply.begin()
        reply.follow(played.received_ns, sender)
        assert (reply._stream is not None) == (sender is not None)
        if disturb is not None and (more := disturb(played, theirs)) is not None:
            await more
        while not (over.is_set() and transport.get_write_buffer_size() == 0):
            await self._read(theirs, played)
        await self._read(theirs, played)
        if sender is not None:
            sender.close()
        pacer.close()
        transport.close()
        await asyncio.sleep(0)
        theirs.close()
        return played

    @staticmethod
    async def _read(theirs: socket.socket, played: Played) -> None:
        try:
            while theirs.fileno() >= 0 and (part := theirs.recv(65536)):
                played.bytes += part
        except BlockingIOError:
            pass
        await asyncio.sleep(0.0005)


def both(scene: Callable[[str], Played]) -> tuple[Played, Played]:
    return scene("compiled"), scene("python")


@compiled
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETION, MESSAGES], ids=["chat", "completion", "messages"])
@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("finish", ["last", "separate"])
@pytest.mark.parametrize("pieces", [PIECES, PIECES[:2], ["One"]], ids=["some", "two", "one"])
def test_both_send_and_note_the_same(endpoint: Endpoint, usage: bool, finish: str, pieces: list[str]) -> None:
    thread, loop = both(lambda way: Scene(way, pieces, endpoint, usage, finish).play())
    assert thread.bytes == loop.bytes
    assert thread.bytes.endswith(b'{"type":"message_stop"}\n\n\r\n0\r\n\r\n' if endpoint is MESSAGES else DONE)
    assert thread.noted() == loop.noted()
    assert thread.noted()["responses"] == 1


def test_no_token_is_early_and_stamps_rise(way: str) -> None:
    scene = Scene(way, PIECES * 3)
    scene.gaps_ns = tuple((i % 3) * MS for i in range(len(scene.pieces) - 1))
    played = scene.play()
    done = [at for at, kind in zip(played.reply.write_ns, played.reply.chunk_kinds, strict=True) if kind == "c"]
    due = accumulate(scene.gaps_ns, initial=played.received_ns + scene.ttft_ns)
    assert all(at - want >= -100_000 for at, want in zip(done, due, strict=True))
    assert list(played.reply.write_ns) == sorted(played.reply.write_ns)
    assert played.reply.end_ns == played.reply.write_ns[-1]


@pytest.mark.parametrize("late", ["before the last token", "behind it"])
def test_usage_waits_for_its_count(way: str, late: str) -> None:
    scene = Scene(way, PIECES, usage=True)
    scene.count = TokenCount()

    async def settle(played: Played, theirs: socket.socket) -> None:
        while late == "behind it" and b'"finish_reason":"length"' not in played.bytes:
            await scene._read(theirs, played)
        scene.count.settle(41)

    played = scene.play(settle)
    assert b'"prompt_tokens":41' in played.bytes
    assert played.noted()["kinds"] == "r" + "c" * len(PIECES) + "uo"


def test_a_reader_that_is_too_slow_gets_all_bytes_and_its_chunks_are_named(way: str) -> None:
    whole = Scene("python", PIECES * 40).play()
    scene = Scene(way, PIECES * 40)
    scene.gaps_ns = (0,) * (len(scene.pieces) - 1)
    scene.buffer = 4096

    async def wait(played: Played, theirs: socket.socket) -> None:
        while not played.reply.blocked and not played.ends:
            await asyncio.sleep(0.001)

    played = scene.play(wait)
    assert played.bytes == whole.bytes
    assert played.noted() == whole.noted()
    assert played.reply.blocked, "nothing was blocked: the buffer is too large for this test"
    assert set(played.reply.blocked) < set(range(len(played.reply.chunk_kinds)))


def test_a_client_that_leaves_cuts_it(way: str) -> None:
    scene = Scene(way, PIECES * 400)

    async def leave(played: Played, theirs: socket.socket) -> None:
        while played.bytes.count(b'"content":') < 4:
            await scene._read(theirs, played)
        theirs.close()

    played = scene.play(leave)
    noted = played.noted()
    assert (noted["cut"], noted["ends"]) == ("client_closed", 1)
    assert 3 <= noted["out"] < len(scene.pieces)
    assert noted["kinds"] == "r" + "c" * noted["out"]
    assert noted["stamps"] == len(noted["kinds"])


@pytest.mark.parametrize("after", [0, 3])
def test_a_shutdown_cuts_it_and_nothing_more_is_sent(way: str, after: int) -> None:
    scene = Scene(way, PIECES * 400)
    scene.ttft_ns = 2 * MS if after else 5_000 * MS

    async def shut(played: Played, theirs: socket.socket) -> None:
        while played.bytes.count(b'"content":') < after:
            await scene._read(theirs, played)
        played.reply.close("shutdown")
        played.connection.transport.write(b"END")

    played = scene.play(shut)
    noted = played.noted()
    assert played.bytes.endswith(b"END")
    assert noted["kinds"] == ("r" if after else "") + "c" * noted["out"]
    assert played.bytes.count(b"data: ") == len(noted["kinds"])
    assert (noted["cut"], noted["ends"]) == ("shutdown", 1)


def test_many_at_once_end_as_they_should(way: str) -> None:
    """Streams that begin, end and are cut at the same time, on one thread."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        pacer = Pacer()
        make = native.sender() if way == "compiled" else None
        sender = None if make is None else StreamSender(make(pacer.shared_ns))
        ends: list[Reply] = []
        begun: list[tuple[Reply, socket.socket, asyncio.Transport]] = []
        for number in range(200):
            ours, theirs = socket.socketpair()
            transport, protocol = await loop.connect_accepted_socket(Protocol, ours)
            connection = protocol.connection = Connection(transport)
            tokens = 1 + number % 30
            plan = Plan(MS, (MS // 5,) * (tokens - 1), tokens)
            params = RequestParams(True, number % 2 == 0, False, tokens, prompt="x")
            content = ReplyStyle().content_of(
                params, (text_choice(params, plan, (PIECES * 4)[:tokens]),), CHAT, f"{number}", 9, "m", known_count(1)
            )
            reply = reply_of(DirectWire(connection), writer_of(content, pacer.now_ns), pacer, ends.append)
            assert isinstance(reply, TextReply)
            reply.begin()
            reply.follow(now_ns(), sender)
            begun.append((reply, theirs, transport))
            if number % 7 == 0:
                reply.close("shutdown")
            if number % 11 == 0:
                theirs.close()
            if number % 20 == 0:
                await asyncio.sleep(0)
        while len(ends) < len(begun):
            await asyncio.sleep(0.001)
        assert len({id(reply) for reply in ends}) == len(begun)
        for number, (reply, theirs, transport) in enumerate(begun):
            assert len(reply.write_ns) == len(reply.chunk_kinds) == len(reply.chunk_tokens)
            if number % 7 and number % 11:
                assert reply.cut is None
                assert "".join(reply.chunk_kinds) == "r" + "c" * (1 + number % 30) + ("uo" if number % 2 == 0 else "o")
                theirs.setblocking(False)
                assert theirs.recv(1 << 20).endswith(b"0\r\n\r\n")
            transport.close()
            theirs.close()
        if sender is not None:
            assert sum(used for _, used in sender.core.threads()) > 0
            sender.close()
        pacer.close()

    asyncio.run(main())
