"""The cheap way of an ordinary stream says and notes exactly what the ordinary way does."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest

from mockserver.clock import now_ns
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.openai import CHAT, COMPLETION, Frames
from mockserver.dialect.params import RequestParams
from mockserver.plans.plan import Plan
from mockserver.replies import plain_stream
from mockserver.replies.plain_stream import PlainStream
from mockserver.replies.reply import Content, ReplyWriter, StreamedReply
from mockserver.replies.wire import DirectWire, TransportWire
from mockserver.tokencount import TokenCount, known_count
from mockserver.workers.response_store import LastResponse

PIECES = ["One", " two", ' "three"', " vier\u2028", " five", " 六", " " + "s" * 300, " two", " end"]
N = len(PIECES)
RECEIVED = 7_000
GAPS = tuple(range(10, 10 + N - 1))


class Transport:
    """Keeps what is written and when. After the writes numbered in `full` bytes wait in its buffer, until the next write
    that is not one of them; it closes after `gone_after` writes."""

    def __init__(self, full: frozenset[int] = frozenset(), gone_after: int | None = None) -> None:
        self.written: list[bytes] = []
        self.written_ns: list[int] = []
        self._full, self._gone_after = full, gone_after
        self._after_write = False

    def write(self, data: bytes) -> None:
        self.written_ns.append(now_ns())
        self.written.append(data)
        self._after_write = True

    def get_write_buffer_size(self) -> int:
        n = len(self.written)
        if self._after_write:
            return int(n - 1 in self._full)
        return int(n - 1 in self._full and n in self._full)

    def is_closing(self) -> bool:
        self._after_write = False
        return self._gone_after is not None and len(self.written) >= self._gone_after


class Connection:
    received_ns: int | None = RECEIVED
    clock = "kernel"
    last: LastResponse | None = None
    held_until_ns: int | None = None
    wire: TransportWire | None = None
    http_1_0 = False
    keep_alive = True
    on_lost: Callable[[], None] | None = None

    def __init__(self, transport: Transport) -> None:
        self.transport: Any = transport
        self.default_headers: list[tuple[bytes, bytes]] = []

    def response_ended(self) -> None: ...

    def close_after_response(self) -> None: ...


def content(endpoint: Endpoint, usage: bool = False, count: TokenCount | None = None) -> Content:
    plan = Plan(50, GAPS, N)
    frames = Frames(endpoint, "id", 9, "m")
    return Content(
        RequestParams(True, usage, False, N, prompt="x"), plan, PIECES, b"length", frames, count or known_count(5)
    )


def play(
    kind: type[StreamedReply], steps: list[int], transport: Transport, endpoint: Endpoint = CHAT, usage: bool = False
) -> ReplyWriter:
    """A reply that is handed these numbers of tokens."""
    ended: list[ReplyWriter] = []

    async def main() -> ReplyWriter:
        reply = kind(DirectWire(Connection(transport)), content(endpoint, usage), ended.append)
        reply.begin()
        for tokens in steps:
            if tokens == 1 and isinstance(reply, PlainStream):
                reply.step()
            else:
                reply.take(tokens)
        return reply

    reply = asyncio.run(main())
    assert len(ended) <= 1
    return reply


def noted(reply: ReplyWriter) -> dict[str, Any]:
    return {
        "kinds": "".join(reply.chunk_kinds),
        "tokens": reply.chunk_tokens,
        "bytes": reply.bytes_out,
        "blocked": reply.blocked,
        "stamps": len(reply.write_ns),
        "cut": reply.cut,
        "out": reply.tokens_out,
    }


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETION], ids=["chat", "completion"])
@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize(
    "steps",
    [[1] * N, [1] * 4, [1, 1, 3, 1, 1, 2], [2] + [1] * (N - 2), [N], [1] * (N - 3) + [3]],
    ids=["whole", "part", "mixed", "two first", "at once", "three last"],
)
@pytest.mark.parametrize(
    ("full", "gone_after"),
    [
        (frozenset(), None),
        (frozenset({1, 3, 4, 7}), None),
        (frozenset(range(20)), None),
        (frozenset(), 4),
        (frozenset(), 1),
    ],
    ids=["free", "full at times", "full", "gone", "gone at once"],
)
def test_both_ways_send_the_same_bytes_and_note_the_same(
    endpoint: Endpoint, usage: bool, steps: list[int], full: frozenset[int], gone_after: int | None
) -> None:
    general, plain = Transport(full, gone_after), Transport(full, gone_after)
    expected = play(StreamedReply, steps, general, endpoint, usage)
    reply = play(PlainStream, steps, plain, endpoint, usage)
    if sum(steps) < N:
        expected.close("shutdown")
        reply.close("shutdown")
    assert plain.written == general.written
    assert noted(reply) == noted(expected)


def test_each_stamp_is_taken_right_before_its_write() -> None:
    transport = Transport()
    reply = play(PlainStream, [1] * N, transport)
    written_ns = transport.written_ns[1:]  # The head bears no stamp.
    assert len(written_ns) == len(reply.write_ns) == N + 2
    both = [at for pair in zip(reply.write_ns, written_ns, strict=True) for at in pair]
    assert both == sorted(both)


def test_the_deadlines_are_those_of_the_plan_and_end_with_it() -> None:
    async def main() -> list[int | None]:
        reply = PlainStream(DirectWire(Connection(Transport())), content(CHAT), lambda reply: None)
        reply.begin()
        step = reply.pace(RECEIVED)
        return [step() for _ in range(N + 1)]

    assert asyncio.run(main()) == [*list(accumulate(GAPS, initial=RECEIVED + 50))[1:], None, None]


def test_the_deadlines_end_where_the_client_is_gone() -> None:
    async def main() -> list[int | None]:
        reply = PlainStream(DirectWire(Connection(Transport(gone_after=4))), content(CHAT), lambda reply: None)
        reply.begin()
        step = reply.pace(RECEIVED)
        return [step() for _ in range(4)]

    assert asyncio.run(main())[2:] == [None, None]


def test_usage_may_wait_for_its_count_behind_plain_chunks() -> None:
    async def main() -> tuple[str, str]:
        count = TokenCount()
        reply = PlainStream(DirectWire(Connection(Transport())), content(CHAT, True, count), lambda reply: None)
        reply.begin()
        for _ in range(N):
            reply.step()
        before = "".join(reply.chunk_kinds)
        count.settle(3)
        return before, "".join(reply.chunk_kinds)

    assert asyncio.run(main()) == ("r" + "c" * N, "r" + "c" * N + "uo")


def test_a_remembered_piece_takes_no_more_memory_than_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: dict[str, bytes] = {}
    monkeypatch.setattr(plain_stream, "_JSON", remembered)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        plain_stream.remember(f"piece{i}" for i in range(500))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert remembered["piece7"] == b'"piece7"'
    assert after - before < 500 * 300
