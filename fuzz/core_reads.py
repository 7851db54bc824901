"""The compiled receiver against the same reading in Python: of the same bytes the same record, and no byte lost or made.

An input: cuts, how it is read (1 byte), which endpoint and whether the request asks for a stream (1 byte), what the server
sends. Of the way: 1 takes the reads in two turns, 2 sends all at once to a thread that reads chunk by chunk, 4 looks at the
bare reads alone, 8 puts what stands between `|` into chunks behind an ordinary head, so that their sizes are right, 16 makes
each of these a read of its own, but for the cuts.
"""

from __future__ import annotations

import functools
import select
import socket
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench import native
from bench.clock import now_ns
from bench.endpoints import ENDPOINTS
from bench.records import Outcome, RequestRecord
from bench.transport.connection import Connection
from bench.transport.exchange import Exchange, Undecodable
from bench.transport.head import HeadTooLarge, ProtocolError
from bench.transport.http1 import ResponseParser
from bench.transport.interface import Reading
from bench.transport.polled_connection import PolledConnection
from bench.transport.received_connection import ReceivedConnection
from bench.workload import InputBatch, Request
from fuzz.http import WORDS as OF_HTTP
from fuzz.sse import WORDS as OF_SSE
from fuzz.target import Target, split, split_input

if TYPE_CHECKING:
    from bench.native._core import Receiver, Stream

_NAMES = tuple(ENDPOINTS)
_TURNS, _CHUNKWISE, _BARE, _FRAMED, _ALIGNED = 1, 2, 4, 8, 16
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_REST_S = 0.0004
"""The receiver reads chunk by chunk where it has waited for a moment."""


class _Engine:
    """As much of the transport as reading asks for."""

    offset_ns = 0
    replica_headers = ()
    target = SimpleNamespace(max_response_bytes=1 << 20, method_of=lambda route: "POST")


@functools.cache
def _receiver() -> Receiver:
    assert native.core is not None
    return native.core.Receiver()


def _exchange(name: str, stream: bool) -> Exchange:
    pooled = ENDPOINTS[name].inputs_are is not None
    request = Request(
        id="fuzz-0",
        index=0,
        body=b"{}",
        stream=stream and not pooled,
        input_tokens_asked=None,
        output_tokens_asked=4,
        batch=InputBatch(inputs=1, entries=1) if pooled else None,
    )
    at_ns = now_ns()
    exchange = Exchange(request, at_ns, at_ns, Reading(endpoint=ENDPOINTS[name]), "kernel")
    exchange.sent_ns = at_ns
    return exchange


def _record(kind: type[Connection], prepare: Callable[[Any], Any], exchange: Exchange, turns: int) -> RequestRecord:
    """What becomes of the reads that `prepare`, given the connection, brings in turn by turn."""
    connection: Any = kind.__new__(kind)
    connection._engine = _Engine()
    if kind is PolledConnection:
        connection._put_by, connection._put_by_bytes, connection._lazy = [], 0, False
    turn = prepare(connection)
    parser, failed, error = ResponseParser(), None, None
    for number in range(turns):
        turn(number)
        try:
            connection._feed(SimpleNamespace(exchange=exchange), parser)
        except (ProtocolError, HeadTooLarge, Undecodable) as e:
            failed, error = Outcome.MALFORMED, str(e)
            break
    if failed is None and not parser.complete:
        parser.end_of_file()
        failed, error = (None, None) if parser.complete else (Outcome.TRUNCATED, "closed")
    record = exchange.close(exchange.last_read_ns, failed, error)
    parser.close()
    return record


def _in_python(turns: Sequence[Sequence[bytes]], name: str, stream: bool) -> RequestRecord:
    exchange = _exchange(name, stream)
    at_ns = now_ns()

    def prepare(connection: Any) -> Callable[[int], None]:
        def turn(number: int) -> None:
            for data in turns[number]:
                nonlocal at_ns
                at_ns += 1
                connection._put_by.append((data, at_ns, 0))

        return turn

    return _record(PolledConnection, prepare, exchange, len(turns))


class _Watched:
    """A pair of sockets, one of which the receiver reads."""

    def __init__(self, kind: socket.SocketKind, patient: bool) -> None:
        self.here, self.there = socket.socketpair(socket.AF_UNIX, kind)
        self.here.setblocking(False)
        self.there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.stream: Stream = _receiver().watch(self.here.fileno(), 1, patient)
        self.stream.begin()

    def send(self, reads: Sequence[bytes]) -> None:
        """Packets keep their borders: each is a read, by whoever of the two is first."""
        for data in reads:
            self.there.send(data)
            self.stream.read()

    def send_at_once(self, data: bytes) -> None:
        """Let the thread take it as it likes, to the end of the connection."""
        _rest()
        self.there.sendall(data)
        self.there.shutdown(socket.SHUT_WR)
        while not (self.stream.ended or self.stream.error):
            _rest()

    def close(self) -> None:
        self.stream.forget()
        self.here.close()
        self.there.close()


def _rest() -> None:
    select.select([], [], [], _REST_S)


def _compiled(turns: Sequence[Sequence[bytes]], name: str, stream: bool, chunkwise: bool) -> RequestRecord:
    watched = _Watched(socket.SOCK_STREAM if chunkwise else socket.SOCK_SEQPACKET, chunkwise)
    exchange = _exchange(name, stream)
    assert exchange.sent_ns is not None
    watched.stream.sent(exchange.sent_ns)

    def prepare(connection: Any) -> Callable[[int], None]:
        connection._stream = watched.stream
        if chunkwise:
            return lambda number: watched.send_at_once(b"".join(b"".join(reads) for reads in turns))
        return lambda number: watched.send(turns[number])

    try:
        return _record(ReceivedConnection, prepare, exchange, 1 if chunkwise else len(turns))
    finally:
        watched.close()


def _bare(pieces: Sequence[bytes]) -> None:
    """What the reads have is what came, whether heads are looked for in them or not."""
    for head in (False, True):
        watched = _Watched(socket.SOCK_SEQPACKET, False)
        try:
            watched.send(pieces)
            watched.stream.collect()
            taken: list[tuple[bytes, int, int]] = []
            while (one := watched.stream.take(0, head)) is not None:
                taken.append(one)
            assert b"".join(data for data, _, _ in taken) == b"".join(pieces)
            stamps = [stamp for _, stamp, _ in taken]
            assert stamps == sorted(stamps)
            assert all(0 <= bound <= stamp for _, stamp, bound in taken)
        finally:
            watched.close()


def _told(record: RequestRecord) -> dict[str, object]:
    """What does not depend on how the bytes came."""
    return {
        "outcome": record.outcome,
        "kinds": record.chunk_kind,
        "tokens": record.output_tokens,
        "bytes": record.bytes_received,
        "status": record.status,
        "first": record.first_byte_ns is not None,
    }


def _told_of_reads(record: RequestRecord) -> dict[str, object]:
    """What is the same where the reads are."""
    bounds, at_ns = record.chunk_bound_ns, list(record.chunk_ns)
    return {
        **_told(record),
        # Not its words: they quote the bytes at hand, and of several errors those that were read first.
        "error": record.error is not None,
        "bounded": None if bounds is None else [bound is not None for bound in bounds],
        "together": [a == b for a, b in pairwise(at_ns)],
        "in order": at_ns == sorted(at_ns),
    }


def read(data: bytes) -> None:
    """One input."""
    cuts, data = split_input(data)
    if len(data) < 2:
        return
    way, name, stream, data = data[0], _NAMES[(data[1] & 0x7F) % len(_NAMES)], bool(data[1] & 0x80), data[2:]
    if way & _FRAMED:
        chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in data.split(b"|") if part]
        chunks = [_HEAD, *chunks, b"0\r\n\r\n"]
        data = b"".join(chunks)
        if way & _ALIGNED:
            cuts = [cut % (len(data) + 1) for cut in cuts] + [*accumulate(map(len, chunks))]
    pieces = [piece for piece in split(data, cuts) if piece]
    if way & _BARE:
        _bare(pieces)
        return
    half = len(pieces) // 2 if way & _TURNS else 0
    turns = [pieces[:half], pieces[half:]]
    expected = _in_python(turns, name, stream)
    found = _compiled(turns, name, stream, bool(way & _CHUNKWISE))
    assert len(found.chunk_ns) == len(found.chunk_kind)
    if not way & _CHUNKWISE:
        assert _told_of_reads(found) == _told_of_reads(expected)
    elif expected.outcome is not Outcome.MALFORMED:
        assert _told(found) == _told(expected)


WORDS = (
    *OF_HTTP,
    *OF_SSE,
    b'6c\r\ndata: {"choices":[{"index":0,"delta":{"content":" word"}}]}\n\n\r\n',
    b"data: ",
    b"\n\n",
    b"|",
    b"1\r\nx\r\n",
    b"000000000000001\r\n",
    b"0000000000000001\r\n",
    b"fffffffffffffff\r\n",
    b"10000\r\n",
    b"a ;x=y\r\n",
    b"0\r\ntrailer: x\r\n\r\n",
    b"Transfer-Encoding: Chunked\r\n",
)
TARGET = Target(
    read, words=WORDS, missing="" if native.core is not None else "the core is not compiled: install with a C compiler"
)
