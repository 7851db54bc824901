"""A connection with a scripted socket that is read through TLS, or by the compiled receiver."""

from __future__ import annotations

import errno
import socket
import ssl
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.records import Outcome
from bench.transport import received_connection
from bench.transport.connection import READABLE, Job
from bench.transport.polled_connection import PolledConnection
from bench.transport.received_connection import ReceivedConnection
from bench.transport.tls import TlsChannel
from tests.support.scripted_socket import PLACE, RESET, Engine, Socket, job, opened


@pytest.fixture
def sock(monkeypatch: pytest.MonkeyPatch) -> Socket:
    made = Socket()
    monkeypatch.setattr(socket, "socket", lambda *_: made)
    return made


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


def test_a_tls_connection_whose_plaintext_ends_has_ended() -> None:
    channel = TlsChannel.__new__(TlsChannel)
    channel._incoming = ssl.MemoryBIO()
    channel.ready, channel.ended = True, False
    pieces = [b"a", b"b", b""]
    channel._object = cast("Any", SimpleNamespace(read=lambda size: pieces.pop(0)))
    assert channel.received(b"x") == b"ab"
    assert channel.ended
