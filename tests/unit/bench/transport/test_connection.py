"""A connection with a scripted socket: what it tells its transport when the kernel refuses, breaks off or waits."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.proxy import Proxy
from bench.records import Outcome
from bench.transport import received_connection
from bench.transport.connection import READABLE, WRITABLE, Job
from bench.transport.exchange import Exchange, Undecodable
from bench.transport.interface import Reading, ignore
from bench.transport.polled_connection import PolledConnection
from bench.transport.received_connection import ReceivedConnection
from bench.workload import Request
from tests.support.literal_replies import CHUNKED, chunk, content, frames, head

PLACE = (socket.AF_INET, ("127.0.0.1", 9))
EVENT = chunk(frames(content("a"))[0])
HEAD = head("200 OK", "text/event-stream", CHUNKED)
RESET = "Connection reset by peer"


class Socket:
    """A socket whose calls have these results: bytes, a number, or an error to raise. Without any, it would block."""

    def __init__(self) -> None:
        self.connects, self.error = errno.EINPROGRESS, 0
        self.reads: deque[bytes | Exception] = deque()
        self.sends: deque[int | Exception] = deque()
        self.sent = bytearray()
        self.closed = False

    def fileno(self) -> int:
        return 7

    def setsockopt(self, *_: object) -> None: ...

    def getsockopt(self, *_: object) -> int:
        return self.error

    def connect_ex(self, where: object) -> int:
        return self.connects

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.reads:
            raise BlockingIOError
        result = self.reads[0] if flags else self.reads.popleft()
        if isinstance(result, Exception):
            raise result
        return result

    def recvmsg_into(self, buffers: Any, size: int) -> tuple[int, list[Any], int, None]:
        data = self.recv(0)
        buffers[0][: len(data)] = data
        return len(data), [], 0, None

    def send(self, data: bytes) -> int:
        result = self.sends.popleft() if self.sends else len(data)
        if isinstance(result, Exception):
            raise result
        self.sent += data[:result]
        return result

    def close(self) -> None:
        self.closed = True


class Engine:
    """A transport that records what its connections tell it. `run` does what was put off."""

    def __init__(self, proxy: Proxy | None = None) -> None:
        self.host, self.port, self.tls, self.replica_headers = "h", 80, None, ()
        self.target = SimpleNamespace(proxy=proxy, method_of=lambda route: "POST", max_response_bytes=1 << 30)
        self.tunnels = proxy is not None
        self.offset_ns = self.last_poll_ns = 0
        self.unhurried = False
        self.told: list[tuple[Any, ...]] = []
        self.watched: tuple[Callable[[int], None], int] | None = None
        self.put_off: list[Callable[[], None]] = []
        self.loop = SimpleNamespace(call_soon=lambda call, *args: self.put_off.append(lambda: call(*args)))

    def run(self) -> None:
        todo, self.put_off = self.put_off, []
        for work in todo:
            work()

    def later(self, work: Callable[[], None]) -> None:
        self.put_off.append(work)

    def watch(self, connection: object, call: Callable[[int], None], events: int) -> None:
        self.watched = call, events

    def unwatch(self, connection: object) -> None:
        self.watched = None

    def ready(self, events: int) -> None:
        assert self.watched is not None
        self.watched[0](events)

    def connected(self, connection: object) -> None:
        self.told.append(("connected",))

    def connect_failed(self, connection: object, error: str) -> None:
        self.told.append(("no connection", error))

    def forget_idle(self, connection: object) -> None:
        self.told.append(("forget",))

    def served(self, connection: object, job: Job, keep: bool) -> None:
        self.told.append(("served", keep))

    def failed(self, job: Job, outcome: Outcome, error: str | None) -> None:
        self.told.append(("failed", outcome, error))

    def retry(self, job: Job) -> None:
        self.told.append(("retry",))

    def forget_name(self, name: int) -> None:
        self.told.append(("forget name",))


@pytest.fixture
def sock(monkeypatch: pytest.MonkeyPatch) -> Socket:
    made = Socket()
    monkeypatch.setattr(socket, "socket", lambda *_: made)
    return made


PROXY = Proxy.of("http://p:3128")


def job() -> Job:
    request = Request(id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None)
    return Job(Exchange(request, 0, 0, Reading(), clock="kernel"), lambda record: None, ignore)


def connection(engine: Engine, of: Job | None = None) -> PolledConnection:
    return PolledConnection(cast("Any", engine), PLACE, of)


def opened(engine: Engine, of: Job | None = None) -> PolledConnection:
    made = connection(engine, of)
    engine.ready(WRITABLE)
    assert engine.told.pop() == ("connected",)
    return made


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


def reading(sock: Socket, *data: bytes) -> tuple[Engine, PolledConnection, Job]:
    """A connection whose request was sent, and which has read these pieces."""
    engine, of = Engine(), job()
    made = opened(engine, of)
    made.send(of, b"a request")
    for piece in data:
        sock.reads.append(piece)
        engine.ready(READABLE)
    return engine, made, of


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


# ---- TLS ---------------------------------------------------------------------------------------------------------------


class Tls:
    """TLS that hands through what it gets. `ended`: the other side has said that it ends."""

    def __init__(self) -> None:
        self.ready, self.ended = True, False
        self.broken = False

    def received(self, data: bytes) -> bytes:
        if self.broken:
            raise ssl.SSLError(1, "a bad record")
        return data

    def encrypt(self, data: bytes) -> bytes:
        return data


def secured(sock: Socket, of: Job | None) -> tuple[Engine, PolledConnection, Tls]:
    engine, tls = Engine(), Tls()
    made = opened(engine, of)
    made._tls = cast("Any", tls)
    made._patient = False
    return engine, made, tls


def test_a_bad_record_of_tls_is_a_reset(sock: Socket) -> None:
    of = job()
    engine, made, tls = secured(sock, of)
    made.send(of, b"a request")
    tls.broken = True
    sock.reads.append(b"x")
    engine.ready(READABLE)
    ((kind, outcome, error),) = engine.told
    assert (kind, outcome) == ("failed", Outcome.RESET)
    assert str(error).startswith("TLS: ")
    assert "a bad record" in str(error)


@pytest.mark.parametrize("last", [b"", b"x"])
def test_tls_that_ends_ends_an_idle_connection(last: bytes, sock: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, made, tls = secured(sock, None)
    monkeypatch.setattr(tls, "received", lambda data: last)
    tls.ended = True
    sock.reads.append(b"close notify")
    engine.ready(READABLE)
    assert (engine.told[0], made.closed) == (("forget",), True)


def test_tls_in_the_middle_of_a_record_changes_nothing(sock: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, made, tls = secured(sock, None)
    monkeypatch.setattr(tls, "received", lambda data: b"")
    sock.reads.append(b"half a record")
    engine.ready(READABLE)
    assert (engine.told, made.closed, made.reads) == ([], False, 0)


# ---- The compiled receiver ---------------------------------------------------------------------------------------------


class Stream:
    """A receiver's stream: how the connection ended, and whether something waits."""

    def __init__(self, ended: bool = False, error: int = 0, waiting: bool = False, holds: bool = False) -> None:
        self.ended, self.error, self.waiting, self.holds = ended, error, waiting, holds
        self.reads = self.put_by = 0
        self.calls: list[str] = []

    def heed(self) -> tuple[bool, int]:
        return self.ended, self.error

    def read(self) -> None:
        self.calls.append("read")

    def forget(self) -> None:
        self.calls.append("forget")


def received(
    sock: Socket, monkeypatch: pytest.MonkeyPatch, stream: Stream | None, of: Job | None
) -> tuple[Engine, ReceivedConnection]:
    """A connection read by a receiver; `parsed` and `caught up` are told to the engine."""
    monkeypatch.setattr(received_connection, "core", SimpleNamespace(CATCH_UP=2, PARSE=1))
    engine = Engine()
    made = ReceivedConnection(cast("Any", engine), PLACE, of)
    made._stream = cast("Any", stream)

    def parse(self: ReceivedConnection) -> None:
        engine.told.append(("parsed",))
        if stream is not None:
            stream.waiting = stream.holds = False

    monkeypatch.setattr(ReceivedConnection, "parse", parse)
    monkeypatch.setattr(ReceivedConnection, "catch_up", lambda self: engine.told.append(("caught up",)))
    return engine, made


@pytest.mark.parametrize(
    ("event", "waiting", "holds", "told"),
    [
        (1, True, False, [("parsed",)]),
        (1, False, True, [("parsed",)]),
        (1, False, False, []),
        (2, True, True, []),  # Much is buffered: later, when there is time.
    ],
)
def test_a_receiver_says_what_is_to_be_read_now_and_what_later(
    event: int, waiting: bool, holds: bool, told: list[Any], sock: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, made = received(sock, monkeypatch, Stream(waiting=waiting, holds=holds), job())
    made.attend(event)
    assert engine.told == told
    engine.run()
    assert engine.told == ([("caught up",)] if event == 2 else told)


@pytest.mark.parametrize("waiting", [False, True])
def test_what_came_before_a_reset_is_read_first(waiting: bool, sock: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(error=errno.ECONNRESET, waiting=waiting)
    of = job()
    engine, made = received(sock, monkeypatch, stream, of)
    made.attend(1)
    parsed: list[tuple[Any, ...]] = [("parsed",)] if waiting else []
    assert engine.told == [*parsed, ("forget name",), ("failed", Outcome.RESET, f"the connection was reset: {RESET}")]
    assert stream.calls == ["forget"]
    made.attend(1)  # It is closed.
    assert len(engine.told) == 2 + len(parsed)


def test_a_user_who_leaves_has_what_the_receiver_can_still_read(sock: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(holds=True)
    engine, made = received(sock, monkeypatch, stream, job())
    made.read_out()
    assert (stream.calls, engine.told) == (["read"], [("parsed",)])
    made.read_out()
    assert (stream.calls, engine.told) == (["read", "read"], [("parsed",)])
    engine, made = received(sock, monkeypatch, None, job())
    made.read_out()
    assert engine.told == []


@pytest.mark.parametrize(
    ("stream", "alive"),
    [
        (None, False),
        (Stream(ended=True), False),
        (Stream(error=errno.ECONNRESET), False),
        (Stream(holds=True), False),
        (Stream(waiting=True), False),
        (Stream(), True),
    ],
)
def test_a_connection_is_alive_while_its_receiver_has_read_nothing(
    stream: Stream | None, alive: bool, sock: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = received(sock, monkeypatch, stream, None)
    assert made.alive() is alive
    assert made.put_by == made.reads == 0
