"""A connection with a scripted socket: what it tells its transport when the kernel refuses, breaks off or waits."""

from __future__ import annotations

import errno
import os
import socket
import sys

import pytest

from bench.proxy import Proxy
from bench.records import Outcome
from bench.transport import polled_connection
from bench.transport.chunkwise_reads import ChunkwiseReads
from bench.transport.connection import READABLE, WRITABLE
from bench.transport.exchange import Undecodable
from bench.transport.polled_connection import PolledConnection
from tests.support.literal_replies import LAST_CHUNK, content, frames
from tests.support.scripted_socket import EVENT, HEAD, RESET, Engine, Socket, connection, job, opened, reading


@pytest.fixture
def sock(monkeypatch: pytest.MonkeyPatch) -> Socket:
    made = Socket()
    monkeypatch.setattr(socket, "socket", lambda *_: made)
    return made


PROXY = Proxy.of("http://p:3128")


# ---- Connecting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENETUNREACH, errno.EACCES])
def test_a_connection_that_is_refused_at_once_says_so_in_the_next_turn(error: int, sock: Socket) -> None:
    sock.connects = error
    engine = Engine()
    made = connection(engine)
    assert (engine.watched, engine.told, made.closed) == (None, [], False)
    engine.run()
    assert (engine.told, made.closed, sock.closed) == ([("no connection", os.strerror(error))], True, True)


@pytest.mark.parametrize("error", [0, errno.EINPROGRESS])
def test_a_connection_under_way_says_nothing(error: int, sock: Socket) -> None:
    sock.connects = error
    engine = Engine()
    connection(engine)
    assert (engine.put_off, engine.told, engine.watched is not None) == ([], [], True)


def test_a_connection_that_is_refused_later_has_the_error_of_its_socket(sock: Socket) -> None:
    sock.error = errno.ECONNREFUSED
    engine = Engine()
    made = connection(engine)
    engine.ready(WRITABLE)
    assert engine.told == [("no connection", "Connection refused")]
    made._refused(errno.ECONNRESET)  # It was closed before: nothing more is told.
    assert len(engine.told) == 1


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), RESET),
        (BrokenPipeError(errno.EPIPE, "broken"), "Broken pipe"),
        (OSError("without a number"), RESET),
    ],
)
@pytest.mark.parametrize("at", ["send", "read"])
def test_a_tunnel_that_breaks_blames_the_proxy(broken: OSError, why: str, at: str, sock: Socket) -> None:
    engine = Engine(PROXY)
    connection(engine)
    if at == "send":
        sock.sends.append(broken)
        engine.ready(WRITABLE)
    else:
        engine.ready(WRITABLE)
        assert sock.sent.startswith(b"CONNECT h:80 HTTP/1.1\r\n")
        engine.ready(READABLE)  # Nothing has come yet.
        assert engine.told == []
        sock.reads.append(broken)
        engine.ready(READABLE)
    assert PROXY is not None
    assert engine.told == [("no connection", PROXY.failed(why))]


# ---- Sending -----------------------------------------------------------------------------------------------------------


def test_a_request_that_breaks_off_while_the_rest_is_sent_is_reset(sock: Socket) -> None:
    engine, of = Engine(), job()
    made = opened(engine, of)
    sock.sends += [4, OSError(errno.ECONNRESET, RESET)]
    made.send(of, b"0123456789")
    assert (bytes(sock.sent), engine.watched and engine.watched[1]) == (b"0123", READABLE | WRITABLE)
    engine.ready(WRITABLE)
    assert engine.told == [("failed", Outcome.RESET, f"the connection was reset: {RESET}")]


def test_the_rest_of_a_request_is_sent_when_the_socket_can_take_it(sock: Socket) -> None:
    engine, of = Engine(), job()
    made = opened(engine, of)
    sock.sends += [BlockingIOError(), 3, 4]
    made.send(of, b"0123456789")
    assert not sock.sent
    engine.ready(WRITABLE)
    engine.ready(WRITABLE)
    assert (bytes(sock.sent), engine.watched and engine.watched[1]) == (b"0123456", READABLE | WRITABLE)
    engine.ready(WRITABLE)
    assert (bytes(sock.sent), engine.watched and engine.watched[1]) == (b"0123456789", READABLE)
    assert engine.told == []


def test_a_send_that_fails_at_once_is_told_in_the_next_turn(sock: Socket) -> None:
    engine, of = Engine(), job()
    made = opened(engine, of)
    sock.sends.append(OSError(errno.EPIPE, "Broken pipe"))
    made.send(of, b"0123456789")
    assert engine.told == []
    assert of.exchange.sent_ns is not None
    engine.run()
    assert engine.told == [("failed", Outcome.RESET, "the connection was reset: Broken pipe")]
    made._unsendable(of, "again")  # It has ended meanwhile.
    assert len(engine.told) == 1


# ---- Reading -----------------------------------------------------------------------------------------------------------


def test_chunks_are_put_by_until_64_are_there_and_then_read_when_there_is_time(sock: Socket) -> None:
    engine, made, of = reading(sock, HEAD + EVENT, *[EVENT] * 62)
    assert (made.put_by, engine.put_off, of.exchange.bytes_received) == (63, [], 0)
    sock.reads.append(EVENT)
    engine.ready(READABLE)
    assert (made.put_by, len(engine.put_off)) == (64, 1)
    sock.reads.append(EVENT)
    engine.ready(READABLE)
    assert (made.put_by, len(engine.put_off)) == (65, 1)
    engine.run()
    assert (made.put_by, of.exchange.has_undigested) == (0, False)
    record = of.exchange.close(10)
    assert len(record.chunk_ns) == 65


def test_memory_does_not_grow_if_there_is_no_time(sock: Socket) -> None:
    engine, made, of = reading(sock, HEAD + EVENT, *[EVENT] * 254)
    assert (made.put_by, of.exchange.bytes_received) == (255, 0)
    sock.reads.append(EVENT)
    engine.ready(READABLE)
    assert made.put_by == 0
    assert of.exchange.has_undigested


def test_what_has_come_is_read_out_before_a_user_leaves(sock: Socket) -> None:
    _, made, of = reading(sock, HEAD + EVENT, EVENT)
    sock.reads.append(EVENT)
    assert of.exchange.status is None
    made.read_out()
    assert (of.exchange.status, made.put_by) == (200, 0)
    assert len(of.exchange.close(10).chunk_ns) == 3


def test_a_body_that_cannot_be_decoded_ends_its_request_while_it_is_caught_up_with(
    sock: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, made, of = reading(sock, HEAD + EVENT)

    def refuse() -> None:
        raise Undecodable("no such encoding")

    monkeypatch.setattr(of.exchange, "digest", refuse)
    made.catch_up()
    assert engine.told == [("failed", Outcome.MALFORMED, "no such encoding")]
    made.catch_up()  # There is nothing to catch up with.
    assert len(engine.told) == 1


def test_a_response_in_which_much_is_buffered_is_digested(sock: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.transport.exchange.MOST_PIECES", 2)
    _, made, of = reading(sock, HEAD + EVENT, EVENT)
    made.parse()
    assert of.exchange.has_undigested
    _, made, of = reading(sock, HEAD + EVENT, EVENT, EVENT)
    made.parse()
    assert not of.exchange.has_undigested


def test_a_response_may_be_as_large_as_the_limit(sock: Socket) -> None:
    size = len(frames(content("a"))[0])
    for limit, failed in ((size, False), (size - 1, True)):
        engine, made, _ = reading(sock, HEAD + EVENT)
        engine.target.max_response_bytes = limit
        made.parse()
        why = f"the response is larger than the limit of {limit} bytes"
        assert engine.told == ([("failed", Outcome.MALFORMED, why)] if failed else [])


@pytest.mark.parametrize("piece", [b"HTTP/1.1 200 OK\r\n\r\n", b""])
def test_an_idle_connection_that_is_closed_or_sends_something_is_not_used_again(piece: bytes, sock: Socket) -> None:
    engine = Engine()
    made = opened(engine)
    sock.reads.append(piece)
    engine.ready(READABLE)
    assert (engine.told, made.closed) == ([("forget",)], True)


def test_a_read_that_fails_is_a_reset(sock: Socket) -> None:
    engine, _, _ = reading(sock)
    sock.reads.append(OSError(errno.ECONNRESET, RESET))
    engine.ready(READABLE)
    assert engine.told == [("failed", Outcome.RESET, f"the connection was reset: {RESET}")]


@pytest.mark.parametrize(
    ("reads", "alive"), [([], True), ([b""], False), ([b"x"], False), ([OSError(errno.ECONNRESET, RESET)], False)]
)
def test_an_idle_connection_is_alive_as_long_as_nothing_has_come(
    reads: list[bytes | Exception], alive: bool, sock: Socket
) -> None:
    made = opened(Engine())
    sock.reads += reads
    assert made.alive() is alive


# ---- Reading chunk by chunk --------------------------------------------------------------------------------------------


def chunkwise(
    monkeypatch: pytest.MonkeyPatch, made: PolledConnection, *reads: bytes, more: bool = False, ended: bool = False,
    broken: OSError | None = None,
) -> None:  # fmt: skip
    batch = ChunkwiseReads([(data, 5) for data in reads], more=more, ended=ended, broken=broken)
    monkeypatch.setattr(polled_connection, "read_chunkwise", lambda *_: batch)
    made._read_chunkwise(0)


def test_chunks_that_are_large_are_read_before_memory_grows(sock: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    _, made, of = reading(sock, HEAD + EVENT)
    made.parse()
    came = of.exchange.bytes_received
    # As many bytes as 64 full reads have may wait.
    chunkwise(monkeypatch, made, *[b"x" * 65_536] * 63)
    assert (made.put_by, of.exchange.bytes_received) == (63, came)
    chunkwise(monkeypatch, made, b"x" * 65_536)
    assert (made.put_by, of.exchange.bytes_received) == (64, came)
    parsed: list[int] = []
    monkeypatch.setattr(PolledConnection, "parse", lambda self: parsed.append(self.put_by))
    chunkwise(monkeypatch, made, b"x" * 10)
    assert parsed == [65]


def test_chunks_are_caught_up_with_when_the_64th_has_come(sock: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, made, _ = reading(sock, HEAD + EVENT)
    for count, put_off in ((30, 0), (32, 0), (1, 1), (1, 1)):
        chunkwise(monkeypatch, made, *[EVENT] * count)
        assert len(engine.put_off) == put_off
    assert (made.put_by, made.reads) == (65, 65)


def test_an_end_among_chunks_is_read_at_once(sock: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, made, _ = reading(sock, HEAD + EVENT)
    chunkwise(monkeypatch, made, EVENT, LAST_CHUNK)
    assert engine.told == [("served", True)]
    engine, made, _ = reading(sock, HEAD + EVENT)
    chunkwise(monkeypatch, made, broken=OSError(errno.ECONNRESET, RESET))
    assert engine.told == [("failed", Outcome.RESET, f"the connection was reset: {RESET}")]
    engine, made, _ = reading(sock, HEAD + EVENT)
    chunkwise(monkeypatch, made, EVENT, ended=True)
    ((_, outcome, _),) = engine.told
    assert outcome is Outcome.TRUNCATED


def test_whether_bytes_waited_for_a_lost_packet_is_asked_of_the_kernel_if_they_are_late(
    sock: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(Engine())
    monkeypatch.setattr(polled_connection, "now_ns", lambda: 10_000_000)
    info = bytearray(256)
    monkeypatch.setattr(sock, "getsockopt", lambda *_: bytes(info))

    def waited(stamp_ns: int) -> bool:
        return made._waited_in_order(polled_connection._STAMP.pack(0, stamp_ns))

    assert not waited(9_000_000)
    info[224:228] = (3).to_bytes(4, sys.byteorder)  # Three packets came out of order.
    assert not waited(9_000_001)
    assert waited(9_000_000)
    assert not waited(8_000_000)  # None since.
    del info[227:]  # A kernel that does not count them.
    assert not waited(8_000_000)
