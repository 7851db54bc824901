"""The fast path for text streams gives the same bytes and notes as the path line by line."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import pytest

from mockserver.clock import now_ns
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Block
from mockserver.dialect.messages import MESSAGES
from mockserver.dialect.openai import CHAT, COMPLETION
from mockserver.dialect.params import RequestParams
from mockserver.dialect.responses import RESPONSES
from mockserver.plans.plan import Plan
from mockserver.replies import text_reply as text_reply_module
from mockserver.replies.choice import ReplyStyle, text_choice
from mockserver.replies.reply import Reply
from mockserver.replies.stream import StreamWriter
from mockserver.replies.text_reply import TextReply, reply_of
from mockserver.replies.wire import DirectWire, TransportWire
from mockserver.tokencount import TokenCount, known_count
from mockserver.workers.response_store import LastResponse
from tests.support.played_reply import ByHand, Played

PIECES = ["One", " two", ' "three"', " vier\u2028", " five", " 六", " " + "s" * 300, " two", " end"]
N = len(PIECES)
RECEIVED = 7_000
GAPS = tuple(range(10, 10 + N - 1))


class Transport:
    """Records writes and their times. After each write whose number is in `full`, bytes stay in the buffer until the
    next write whose number is not. Closes after `gone_after` writes."""

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
    bytes_in: int | None = None
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


def writer_for(
    endpoint: Endpoint, usage: bool = False, count: TokenCount | None = None, style: ReplyStyle | None = None
) -> StreamWriter:
    plan = Plan(50, GAPS, N)
    params = RequestParams(True, usage, endpoint is MESSAGES, N, prompt="x")
    content = (style or ReplyStyle()).content_of(
        params, (text_choice(params, plan, PIECES),), endpoint, "id", 9, "m", count or known_count(5)
    )
    return StreamWriter(content, now_ns)


def text_reply(
    transport: Transport,
    writer: StreamWriter,
    timer: ByHand | None = None,
    on_end: Callable[[Reply], None] = lambda reply: None,
) -> TextReply:
    reply = reply_of(DirectWire(Connection(transport)), writer, timer or ByHand(), on_end)
    assert isinstance(reply, TextReply)
    return reply


def play(kind: str, steps: list[int], transport: Transport, endpoint: Endpoint = CHAT, usage: bool = False) -> Reply:
    """A reply that gets these numbers of tokens."""
    ended: list[Reply] = []

    async def main() -> Reply:
        writer = writer_for(endpoint, usage)
        if kind == "text":
            reply: Reply = text_reply(transport, writer, on_end=ended.append)
        else:
            reply = Reply(DirectWire(Connection(transport)), writer, ByHand(), ended.append)
        reply.begin()
        for tokens in steps:
            reply.take(tokens)
        return reply

    reply = asyncio.run(main())
    assert len(ended) <= 1
    return reply


class Stepped(ByHand):
    """A timer whose call is made by the test."""

    def at(self, deadline_ns: int, call: Callable[[], int | None]) -> None:
        self.due_ns, self.call = deadline_ns, call


def noted(reply: Reply) -> dict[str, Any]:
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
    expected = play("general", steps, general, endpoint, usage)
    reply = play("text", steps, plain, endpoint, usage)
    if sum(steps) < N:
        expected.close("shutdown")
        reply.close("shutdown")
    assert plain.written == general.written
    assert noted(reply) == noted(expected)


@pytest.mark.parametrize("kind", ["text", "general"])
@pytest.mark.parametrize("steps", [[1] * N, [1, 1, 3, 1, 1, 2], [2] + [1] * (N - 2)], ids=["one", "mixed", "two first"])
def test_no_token_is_counted_that_comes_after_the_client_has_left(kind: str, steps: list[int]) -> None:
    """The client leaves after the head, the role, and the first four tokens or three pieces of them."""
    transport = Transport(gone_after=1 + 1 + 4)
    reply = play(kind, steps, transport)
    assert (reply.cut, reply.tokens_out) == ("client_closed", sum(steps[:4]))
    assert sum(reply.chunk_tokens) == reply.tokens_out


def test_each_stamp_is_taken_right_before_its_write() -> None:
    transport = Transport()
    reply = play("text", [1] * N, transport)
    written_ns = transport.written_ns[1:]  # The head has no stamp.
    assert len(written_ns) == len(reply.write_ns) == N + 2
    both = [at for pair in zip(reply.write_ns, written_ns, strict=True) for at in pair]
    assert both == sorted(both)


def follow(transport: Transport, writer: StreamWriter) -> tuple[TextReply, Stepped]:
    """A reply that follows its plan."""
    timer = Stepped()
    reply = text_reply(transport, writer, timer)
    reply.begin()
    reply.follow(RECEIVED, None)
    return reply, timer


def test_the_deadlines_are_those_of_the_plan_and_end_with_it() -> None:
    async def main() -> list[int | None]:
        _, timer = follow(Transport(), writer_for(CHAT))
        return [timer.due_ns, *(timer.call() for _ in range(N + 1))]

    assert asyncio.run(main()) == [*accumulate(GAPS, initial=RECEIVED + 50), None, None]


def test_the_deadlines_end_where_the_client_is_gone() -> None:
    async def main() -> tuple[list[int | None], Reply]:
        """The client leaves after the head, the role, and the first two tokens."""
        reply, timer = follow(Transport(gone_after=4), writer_for(CHAT))
        return [timer.call() for _ in range(4)], reply

    deadlines, reply = asyncio.run(main())
    assert deadlines[2:] == [None, None]
    assert (reply.cut, reply.tokens_out) == ("client_closed", 2)


def test_usage_may_wait_for_its_count_behind_plain_chunks() -> None:
    async def main() -> tuple[str, str]:
        count = TokenCount()
        reply, timer = follow(Transport(), writer_for(CHAT, True, count))
        for _ in range(N):
            timer.call()
        before = "".join(reply.chunk_kinds)
        count.settle(3)
        return before, "".join(reply.chunk_kinds)

    assert asyncio.run(main()) == ("r" + "c" * N, "r" + "c" * N + "uo")


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETION, MESSAGES], ids=["chat", "completion", "messages"])
@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("style", [ReplyStyle(), ReplyStyle(finish="separate"), ReplyStyle(reasons=True)], ids=str)
def test_a_script_has_the_lines_that_come_with_the_tokens(endpoint: Endpoint, usage: bool, style: ReplyStyle) -> None:
    live, whole = writer_for(endpoint, usage, style=style), writer_for(endpoint, usage, style=style)
    lines = [line for _ in range(N) for line in live.take(0, 1)]
    if live.waits:
        lines += live.end()
    around = whole.around()
    assert around is not None
    script = whole.script(RECEIVED, around)
    assert (script.ends is None) == usage
    script.ends = script.ends or whole.closing(usage=True)
    assert [line._replace(due_ns=0) for line in script.lines()] == lines
    with_token = [line.due_ns for line in script.lines() if sum(chunk.tokens for chunk in line.chunks)]
    assert with_token == [*accumulate(GAPS, initial=RECEIVED + 50)]


def test_a_stream_that_is_more_than_text_is_sent_line_by_line() -> None:
    for faults, more in (
        ("none", {"stop": ("x",)}),
        ("crlf", {}),
        ("none", {"reasoning": 2}),
        ("none", {"usage": True}),
    ):
        played = Played(faults, continuous="usage" in more, **more)
        assert isinstance(played.reply.writer, StreamWriter)
        assert played.reply.writer.around() is None
    writer = writer_for(CHAT)
    choice = writer.content.choices[0]
    alone = writer.content
    writer.content = alone._replace(choices=(choice, choice))
    assert writer.around() is None, "events of two choices alternate"
    writer.content = alone
    assert writer.around() is not None
    blocks = (Block("text", 0, 2), Block("reasoning", 2, N))
    writer.content = writer.content._replace(choices=(choice._replace(blocks=blocks),))
    assert writer.around() is None
    responses = Played(endpoint=RESPONSES).reply.writer  # Its events are numbered.
    assert isinstance(responses, StreamWriter)
    assert responses.around() is None


def test_a_remembered_piece_takes_no_more_memory_than_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: dict[str, bytes] = {}
    monkeypatch.setattr(text_reply_module, "_JSON", remembered)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        text_reply_module.remember(f"piece{i}" for i in range(500))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert remembered["piece7"] == b'"piece7"'
    assert after - before < 500 * 300


@pytest.mark.parametrize(("rest", "chunks"), [(1, 1), (9, 1), (10, 2), (18, 2), (19, 3), (27, 3)])
def test_of_lines_in_one_write_those_are_blocked_whose_end_was_not_taken(rest: int, chunks: int) -> None:
    assert text_reply_module._unsent([b"4\r\nfour\r\n"] * 3, rest) == chunks


@dataclass
class Stream:
    """The thread's report about a stream."""

    tokens: int
    ended: int
    rest: bytes
    stamps: bytes
    text_bytes: int = 0
    due_ns: int = 0
    complete: bool = False


@pytest.mark.parametrize(
    ("tokens", "ended", "rest", "finish", "blocked"),
    [
        (1, 0, 1, "last", [1]),  # The role and the first token are one write.
        (1, 0, 1_000, "last", [0, 1]),
        (3, 0, 1_000, "last", [3]),
        (N, 0, 1, "last", [N]),
        (N, 1, 1, "last", [N + 1]),
        (3, 0, 0, "last", []),
        (3, 0, 1_000, "separate", [3]),
        (N, 0, 1, "separate", [N + 1]),  # The last token and the finish reason are one write.
        (N, 0, 1_000, "separate", [N, N + 1]),
        (N, 1, 1_000, "separate", [N + 2]),
    ],
)
def test_what_the_thread_could_not_send_is_blocked(
    tokens: int, ended: int, rest: int, finish: str, blocked: list[int]
) -> None:
    class Socketed(Transport):
        def get_extra_info(self, name: str) -> Any:
            return SimpleNamespace(fileno=lambda: 3)

    async def main() -> TextReply:
        chunks = tokens + 1 + ended + (finish == "separate" and tokens == N)
        stream = Stream(tokens, ended, b"x" * rest, bytes(8 * chunks))
        sender: Any = SimpleNamespace(core=SimpleNamespace(add=lambda *given: stream))
        reply = text_reply(Socketed(), writer_for(CHAT, style=ReplyStyle(finish=finish)))
        reply.begin()
        reply.follow(RECEIVED, sender)
        reply.come_back()
        assert len(reply.chunk_kinds) == len(reply.chunk_tokens) == len(reply.write_ns) >= chunks
        return reply

    assert asyncio.run(main()).blocked == blocked


def test_a_reply_that_came_back_from_the_thread_is_not_taken_from_it_again() -> None:
    class Socketed(Transport):
        def get_extra_info(self, name: str) -> Any:
            return SimpleNamespace(fileno=lambda: 3)

    async def main() -> tuple[list[Any], str | None]:
        removed: list[Any] = []
        stream = Stream(2, 0, b"", bytes(8 * 3))
        core = SimpleNamespace(add=lambda *given: stream)
        sender: Any = SimpleNamespace(core=core, remove=removed.append)
        reply = text_reply(Socketed(), writer_for(CHAT))
        reply.begin()
        reply.follow(RECEIVED, sender)
        reply.come_back()
        reply.close("shutdown")
        return removed, reply.cut

    assert asyncio.run(main()) == ([], "shutdown")


def test_tokens_that_the_sender_has_sent_are_counted_by_the_writer() -> None:
    writer = writer_for(CHAT)
    writer.take(0, 1)
    for tokens, sent in ((1, 2), (2, 4)):
        writer.skip(tokens)
        assert (writer.tokens_out, writer.tokens_of(0)) == (sent, sent)
