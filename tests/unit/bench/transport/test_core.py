"""The compiled core against the Python code: the same reads give the same record."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench import native
from bench.clock import now_ns
from bench.endpoints.content_template import ContentTemplate
from bench.records import RequestRecord
from bench.transport import chunkwise_reads, polled_connection, wire
from bench.transport.connection import Connection
from bench.transport.exchange import Exchange, Undecodable
from bench.transport.head import HeadTooLarge, ProtocolError
from bench.transport.http1 import ResponseParser
from bench.transport.interface import Reading
from bench.transport.polled_connection import PolledConnection
from bench.transport.received_connection import ReceivedConnection
from bench.workload import Request

core = native.core
pytestmark = pytest.mark.skipif(core is None, reason="the compiled core is not there: a C compiler makes it")

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: Chunked\r\n\r\n"
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def chunk(body: bytes, size: bytes = b"%x") -> bytes:
    return size % len(body) + b"\r\n" + body + b"\r\n"


class Engine:
    """The parts of the transport that reading uses."""

    offset_ns = 0
    replica_headers = ()
    target = SimpleNamespace(max_response_bytes=1 << 20)


def made(kind: type[Connection], exchange: Exchange) -> tuple[Any, Any]:
    connection: Any = kind.__new__(kind)
    connection._engine = Engine()
    if kind is PolledConnection:
        connection._put_by, connection._put_by_bytes = [], 0
        connection._lazy = False
    return connection, SimpleNamespace(exchange=exchange)


def exchange_of(sent_ns: int) -> Exchange:
    request = Request(
        id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None
    )  # fmt: skip
    exchange = Exchange(request, sent_ns, sent_ns, Reading(), clock="kernel")
    exchange.sent_ns = sent_ns
    return exchange


def record_of(connection: Any, job: Any, parser: ResponseParser, turns: Sequence[Any]) -> RequestRecord:
    """The record of these reads, taken in this many turns."""
    error = None
    for turn in turns:
        turn()
        try:
            connection._feed(job, parser)
        except (ProtocolError, HeadTooLarge, Undecodable) as e:
            error = str(e)
            break
    record: RequestRecord = job.exchange.close(job.exchange.last_read_ns, None, error)
    return record


def in_python(turns: Sequence[Sequence[bytes]]) -> RequestRecord:
    connection, job = made(PolledConnection, exchange_of(now_ns()))
    at = now_ns()
    count = 0

    def put(reads: Sequence[bytes]) -> None:
        nonlocal count
        for data in reads:
            count += 1
            connection._put_by.append((data, at + count, 0))

    return record_of(connection, job, ResponseParser(), [lambda reads=reads: put(reads) for reads in turns])


@pytest.fixture(scope="module")
def receiver() -> Iterator[Any]:
    assert core is not None
    receiver = core.Receiver()
    yield receiver
    receiver.close()


def compiled(receiver: Any, turns: Sequence[Sequence[bytes]]) -> RequestRecord:
    # Packets keep their borders, so each is one read.
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here.setblocking(False)
    sent_ns = now_ns()
    connection, job = made(ReceivedConnection, exchange_of(sent_ns))
    stream = connection._stream = receiver.watch(here.fileno(), 1, False)
    stream.begin()
    stream.sent(sent_ns)

    def send(reads: Sequence[bytes]) -> None:
        for data in reads:
            before = stream.reads
            there.send(data)
            while stream.reads == before:
                time.sleep(
                    0
                    # Send the next one only after this one was read. Otherwise the receiver would take it for the rest of
                    # this one.
                )

    try:
        return record_of(connection, job, ResponseParser(), [lambda reads=reads: send(reads) for reads in turns])
    finally:
        stream.forget()
        here.close()
        there.close()


def told(record: RequestRecord) -> dict[str, Any]:
    """The parts that do not depend on the times of the reads."""
    bounds = record.chunk_bound_ns
    return {
        "outcome": record.outcome,
        "error": record.error,
        "chunks": len(record.chunk_ns),
        "kinds": record.chunk_kind,
        "bounded": None if bounds is None else [bound is not None for bound in bounds],
        "together": [a == b for a, b in zip(record.chunk_ns, record.chunk_ns[1:], strict=False)],
        "tokens": record.output_tokens,
        "bytes": record.bytes_received,
        "status": record.status,
        "first": record.first_byte_ns is not None,
        "in order": list(record.chunk_ns) == sorted(record.chunk_ns),
    }


ODD = [
    b": a comment\n\n",
    b"event: delta\ndata: {}\n\n",
    b'data: {"choices":[{"index":0,"delta":{"content":"a\\nb"}}]}\r\n\r\n',
    b'data:{"choices":[]}\n\n',
    b"data: one\ndata: two\n\n",
    b"data: \n\n",
    b"data: not json\n\n",
    b'data: {"error":{"message":"broken"}}\n\n',
    b"id: 7\n\n",
    b"\n",
    b"\xef\xbb\xbfdata: {}\n\n",
    'data: {"choices":[{"index":0,"delta":{"content":"é\u2028"}}]}\n\n'.encode(),
]
EVENT = st.sampled_from([TOKEN, TOKEN, TOKEN, TOKEN, LAST, DONE, *ODD])
SIZE = st.sampled_from([b"%x", b"%x", b"%x", b"%X", b"00%x", b"%x;note=1", b"%x "])


@st.composite
def replies(draw: st.DrawFn) -> list[list[bytes]]:
    """A response as reads, grouped into the turns in which they are taken."""
    bodies = draw(st.lists(st.lists(EVENT, min_size=1, max_size=3).map(b"".join), max_size=8))
    if draw(st.booleans()) and bodies:
        # Events that do not end where chunks end.
        whole = b"".join(bodies)
        cut = draw(st.integers(1, max(1, len(whole) - 1)))
        bodies = [part for part in (whole[:cut], whole[cut:]) if part]
    parts = [HEAD, *(chunk(body, draw(SIZE)) for body in bodies)]
    if draw(st.booleans()):
        parts.append(b"0\r\n\r\n")
    if draw(st.integers(0, 9)) == 0:
        parts.append(b"more")
    reads: list[bytes] = []
    for part in parts:
        if reads and draw(st.integers(0, 3)) == 0:
            reads[-1] += part
        elif draw(st.integers(0, 4)) == 0 and len(part) > 1:
            at = draw(st.integers(1, len(part) - 1))
            reads += [part[:at], part[at:]]
        else:
            reads.append(part)
    middle = draw(st.integers(0, len(reads)))
    return [reads[:middle], reads[middle:]]


@given(replies())
@example([[HEAD, chunk(TOKEN), chunk(TOKEN) + chunk(TOKEN)], [chunk(TOKEN), chunk(LAST), chunk(DONE) + b"0\r\n\r\n"]])
@example(
    [[HEAD + chunk(TOKEN) + chunk(TOKEN), chunk(TOKEN)[:9], chunk(TOKEN)[9:] + chunk(LAST + DONE)], [b"0\r\n\r\n"]]
)
@example([[HEAD[:20], HEAD[20:] + chunk(TOKEN), chunk(TOKEN)], [chunk(b": ping\n\n"), chunk(TOKEN), chunk(DONE)]])
@example([[HEAD.replace(b"Transfer-Encoding: Chunked", b"content-length: 10"), TOKEN[:10]], []])
@example([[b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD, chunk(TOKEN), chunk(DONE)], [b"0\r\n\r\n"]])
@example([[HEAD, b"5\r\ndata:\r\n", chunk(TOKEN)], []])
@example([[HEAD, b"fffffffffffffffff\r\nx", chunk(TOKEN)], []])
@example([[HEAD, b"-3\r\n" + TOKEN], []])
def test_a_record_is_the_same_whoever_reads(receiver: Any, turns: list[list[bytes]]) -> None:
    assert told(compiled(receiver, turns)) == told(in_python(turns))


def test_plain_events_are_cut_by_the_core(receiver: Any) -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stream = receiver.watch(here.fileno(), 2, False)
    stream.begin()
    stream.sent(5)
    for number, data in enumerate((HEAD + chunk(TOKEN), chunk(TOKEN) + chunk(LAST + DONE), b"0\r\n\r\n"), 1):
        there.send(data)
        while stream.reads < number:
            time.sleep(0)
    assert stream.collect()
    assert stream.events(0, -1) is None  # Not before the head.
    head, stamp_ns, bound_ns = stream.take(0, True)
    assert head == HEAD
    assert 5 <= bound_ns <= stamp_ns
    events, stamps, bounds, size, last_ns = stream.events(0, -1)
    assert events == [TOKEN[6:-2], TOKEN[6:-2], LAST[6:-2], DONE[6:-2]]
    assert size == len(TOKEN + TOKEN + LAST + DONE)
    assert stamps[0] == stamp_ns < stamps[1] == stamps[2] == stamps[3] == last_ns
    # Three events in one read: the last stamp is exact, and the two before came no earlier than the previous read.
    assert [number for number, _ in bounds] == [1, 2]
    assert all(stamps[0] <= bound <= stamps[1] for _, bound in bounds)
    assert stream.take(0, False)[0] == b"0\r\n\r\n"
    assert stream.take(0, False) is None
    there.close()
    while not stream.ended:
        time.sleep(0.0001)
    stream.forget()
    stream.forget()
    here.close()


def test_what_ends_a_response_is_told_and_what_does_not_is_not(receiver: Any) -> None:
    assert core is not None
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    receiver.asked()
    stream = receiver.watch(here.fileno(), 7, False)
    stream.begin()

    def asked_after(*packets: bytes) -> list[int]:
        for data in packets:
            before = stream.reads
            there.send(data)
            while stream.reads == before:
                time.sleep(0.0001)
        return list(receiver.asked())

    assert asked_after(HEAD + chunk(TOKEN), chunk(TOKEN)) == []
    assert asked_after(chunk(DONE) + b"0\r\n\r\n") == [7 << 2 | core.PARSE]
    assert asked_after(b"0\r\n\r\n") == []  # The core has been asked, and no event came.
    assert stream.heed() == (False, 0)
    assert stream.collect()
    # Neither batch ends a response, but at 64 KiB of buffered bytes the core asks for parsing.
    assert asked_after(*[chunk(TOKEN * 200)] * 5) == []
    assert asked_after(chunk(TOKEN * 200)) == [7 << 2 | core.CATCH_UP]
    stream.forget()
    here.close()
    there.close()


def test_an_end_that_comes_while_what_came_before_it_is_looked_at_is_told(receiver: Any) -> None:
    # A body without framing ends with the connection: its last bytes and the end come separately.
    assert core is not None
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    receiver.asked()
    stream = receiver.watch(here.fileno(), 8, False)
    stream.begin()
    there.send(b"HTTP/1.1 200 OK\r\n\r\n" + TOKEN)
    while not stream.waiting:
        time.sleep(0.0001)
    assert receiver.asked() == [8 << 2 | core.PARSE]
    assert stream.heed() == (False, 0)
    there.close()
    while not stream.ended:
        time.sleep(0.0001)
    assert stream.collect()
    assert receiver.asked() == [8 << 2 | core.PARSE]
    assert stream.heed() == (True, 0)
    stream.forget()
    here.close()


def test_the_constants_that_both_readers_need_are_the_same_in_c_and_in_python() -> None:
    source = Path(native.__file__).with_name("_core.c").read_text()
    in_c = dict(re.findall(r"^#define (\w+) (\d+)\b", source, re.MULTILINE))
    in_python = {
        "BUFFER_SIZE": polled_connection._BUFFER_SIZE,
        "FEW": wire.FEW,
        "GLANCE": chunkwise_reads.GLANCE,
        "LONGEST_HEAD": chunkwise_reads.LONGEST_HEAD,
        "OUT_OF_ORDER": polled_connection._OUT_OF_ORDER.size - 4,
        "POLL_MAX": wire.POLL_MAX,
        "PUT_BY": polled_connection._PUT_BY,
        "STALE_NS": polled_connection._STALE_NS,
        "UNHURRIED_NS": wire.UNHURRIED_NS,
    }
    assert {name: int(in_c[name]) for name in in_python} == in_python
    assert chunkwise_reads.MOST == polled_connection._BUFFER_SIZE


TEXT = st.text(st.characters(min_codepoint=0x1E, max_codepoint=0x82), max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["", "x"]), TEXT), max_size=6))
def test_texts_are_those_of_the_template_in_python(spoiled: list[tuple[str, str]]) -> None:
    before, after = '{"content":"', '"}'
    events = [f"{odd}{before}{text}{after}".encode() for odd, text in spoiled]
    template = ContentTemplate(b'"content":"')
    template.learn(f"{before}learned{after}".encode(), "learned")
    assert core is not None
    assert core.texts(events, before.encode(), after.encode()) == template.texts_in_python(events)
