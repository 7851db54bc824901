"""Decisions of the WebSocket transport without a network: refused handshakes, pings between replies, dead sockets."""

from __future__ import annotations

import asyncio
import select
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.clock import LoopClock
from bench.endpoints import ENDPOINTS
from bench.records import Outcome, RequestRecord
from bench.transport.connection import Job
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading, Target
from bench.transport.websocket import BrokenSocket, Refused
from bench.transport.websocket_wire import SocketConnection, SocketTransport
from bench.workload import Continuation, Request, Route
from tests.support.virtual_time import VirtualTimeLoop, run_virtual


@dataclass
class Clock:
    """A clock with something due at `due_ns`."""

    due_ns: int | None = None

    def next_ns(self) -> int | None:
        return self.due_ns


def request(index: int = 0, route: Route | None = None) -> Request:
    return Request(
        id=f"r-{index}", index=index, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None,
        route=route,
    )  # fmt: skip


def sockets(clock: Any = Clock()) -> SocketTransport:  # noqa: B008
    to = Target(url="http://h/v1/responses", websocket=True)
    return SocketTransport(to, Reading(endpoint=ENDPOINTS["responses"]), clock)


def test_a_socket_that_ends_is_forgotten_and_no_other() -> None:
    made = sockets()
    ended, other = SimpleNamespace(fd=5), SimpleNamespace(fd=6)
    made._sockets = cast("Any", {"0.0": ended, "1.0": other, "0.1": ended})
    made._idle = cast("Any", {5: ended, 6: other})
    made.forget_idle(cast("Any", ended))
    assert (made._sockets, made._idle) == ({"1.0": other}, {6: other})


def refused(status: int, body: bytes = b"", location: str | None = None) -> RequestRecord:
    """The record of a request whose handshake, sent 150 ns after the connection began, had this answer."""

    async def main(loop: VirtualTimeLoop) -> RequestRecord:
        made = sockets(LoopClock())
        records: list[RequestRecord] = []
        of = Job(Exchange(request(), 10, 20, made.reading, clock="kernel"), records.append, lambda *_: None)
        made._jobs[of] = None
        answer = Refused(status, "text/plain", location)
        answer.body += body
        connection = SimpleNamespace(job=of, began_ns=100)
        made.refused(cast("Any", connection), 250, answer)
        assert connection.job is None
        assert not made._jobs
        await asyncio.sleep(0.01)
        (record,) = records
        return record

    return run_virtual(main)


def test_a_refused_handshake_is_the_answer_to_its_request() -> None:
    record = refused(503, b"too busy")
    assert (record.outcome, record.status, record.error) == (Outcome.HTTP_ERROR, 503, "'too busy'")
    assert (record.connect_ns, record.sent_ns, record.bytes_sent, record.bytes_received) == (150, 250, 0, 8)
    assert record.clock == "user"
    assert record.first_byte_ns == record.end_ns
    assert refused(302, location="/in").outcome is Outcome.HTTP_ERROR


@pytest.mark.parametrize(("status", "outcome"), [(299, Outcome.MALFORMED), (300, Outcome.HTTP_ERROR)])
def test_a_handshake_that_succeeds_in_another_way_is_no_socket(status: int, outcome: Outcome) -> None:
    record = refused(status)
    assert record.outcome is outcome
    why = f"the server answered the WebSocket handshake with status {status}"
    assert (record.error == why) is (outcome is Outcome.MALFORMED)


def test_a_refused_handshake_of_a_socket_made_ahead_is_no_connection() -> None:
    made = sockets()
    failed: list[str] = []
    made.connect_failed = lambda connection, error: failed.append(error)  # type: ignore[assignment, method-assign, misc]
    made.refused(cast("Any", SimpleNamespace(job=None)), 250, Refused(429, "", None))
    assert failed == ["the WebSocket handshake was refused with status 429"]


class Client:
    """The client's side of a socket. `closed`: the server has closed it."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []
        self.outgoing = b""
        self.keep_alive = True
        self.refused: Refused | None = None
        self.broken = False
        self.hello = b"hello"

    def feed(self, data: bytes) -> list[bytes]:
        self.fed.append(data)
        self.outgoing += b"pong"
        self.keep_alive = data != b"unasked"
        return []

    def message(self, text: bytes) -> bytes:
        if self.broken:
            raise BrokenSocket("the server has closed the connection")
        return b"<" + text + b">"

    def goodbye(self) -> bytes:
        return b"bye"


class Socket:
    """A socket that takes `room` bytes."""

    def __init__(self, room: int = 100) -> None:
        self.room, self.sent, self.closed = room, b"", False

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        taken = bytes(data[: self.room])
        self.sent += taken
        self.room -= len(taken)
        return len(taken)

    def recv(self, size: int, flags: int = 0) -> bytes:
        raise BlockingIOError

    def close(self) -> None:
        self.closed = True


def socket_connection(room: int = 100, *, connected: bool = True) -> tuple[SocketConnection, Client, Socket, list[Any]]:
    """A connection between two replies, and what it told its transport."""
    told: list[Any] = []
    made = SocketConnection.__new__(SocketConnection)
    made._engine = cast("Any", SimpleNamespace(
        watch=lambda connection, call, events: told.append((call.__name__, events)),
        unwatch=lambda connection: told.append("unwatch"),
        forget_idle=lambda connection: told.append("forget"),
        loop=SimpleNamespace(call_soon=lambda *call: told.append(call)),
    ))  # fmt: skip
    client, sock = Client(), Socket(room)
    made._client, made.sock, made._tls = cast("Any", client), cast("Any", sock), None
    made._unsent, made.connected, made.closed, made.job = bytearray(), connected, False, None
    made._put_by, made._put_by_bytes, made.reads = [], 0, 3
    return made, client, sock, told


def test_what_comes_between_two_replies_is_answered_and_ends_the_socket_if_nobody_asked_for_it() -> None:
    made, client, sock, told = socket_connection()
    made._put_by = [(b"ping", 1, 0), (b"ping", 2, 0)]
    made._put_by_bytes = 8
    made.parse()
    assert (client.fed, client.outgoing, sock.sent, told) == ([b"ping", b"ping"], b"", b"pongpong", [])
    assert (made.put_by, made._put_by_bytes, made.closed) == (0, 0, False)
    made._put((b"unasked", 3, 0))
    made.parse()
    assert (client.fed[2:], sock.sent, told) == ([b"unasked"], b"pongpongpongbye", ["forget", "unwatch"])
    assert (made.closed, sock.closed) == (True, True)
    made._say_what_is_due()
    assert sock.sent == b"pongpongpongbye"


@pytest.mark.parametrize(("connected", "call"), [(True, "_sending"), (False, "_upgrading")])
def test_bytes_of_our_own_that_find_no_room_are_sent_later(connected: bool, call: str) -> None:
    made, _, sock, told = socket_connection(room=2, connected=connected)
    made._say(b"pong")
    assert (sock.sent, bytes(made._unsent)) == (b"po", b"ng")
    assert told == [(call, select.EPOLLIN | select.EPOLLOUT)]
    sock.room = 9
    if connected:
        made._sending(select.EPOLLOUT)
        assert told[1:] == [("_arrived", select.EPOLLIN)]
    else:
        made._upgrading(select.EPOLLOUT)
    assert (sock.sent, bytes(made._unsent)) == (b"pong", b"")


def test_nothing_is_said_without_words() -> None:
    made, _, sock, told = socket_connection(room=0)
    made._say(b"")
    assert (sock.sent, told) == (b"", [])


def test_a_message_to_a_closed_socket_is_told_in_the_next_turn() -> None:
    made, client, _, told = socket_connection()
    client.broken = True
    of = Job(Exchange(request(), 10, 20, Reading(), clock="kernel"), lambda record: None, lambda *_: None)
    made.send(of, b"{}")
    assert told == [(made._unsendable, of, "the server has closed the connection")]
    assert (made.job, made.reads) == (of, 0)
    assert of.exchange.sent_ns is not None


def test_an_idle_socket_is_asked_what_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    made, client, sock, told = socket_connection()
    assert made.alive()

    def arrived(self: SocketConnection, events: int) -> None:
        told.append(("arrived", events))
        self._put_by = [(came, 1, 0)]

    monkeypatch.setattr(SocketConnection, "_arrived", arrived)
    sock.recv = lambda size, flags=0: b"x"  # type: ignore[method-assign]
    came = b"ping"
    assert made.alive()
    assert (client.fed, told) == ([b"ping"], [("arrived", select.EPOLLIN)])
    came = b"unasked"
    assert not made.alive()
    assert client.fed == [b"ping", b"unasked"]

    def gone(size: int, flags: int = 0) -> bytes:
        raise ConnectionResetError

    sock.recv = gone  # type: ignore[method-assign]
    assert not made.alive()


def test_a_conversation_whose_socket_is_dead_begins_a_new_one() -> None:
    made = sockets()
    closed: list[str] = []
    dead, alive = (
        SimpleNamespace(alive=lambda lives=lives: lives, close=lambda name=name: closed.append(name))
        for name, lives in (("dead", False), ("alive", True))
    )
    made._sockets = cast("Any", {"0.0": dead, "1.0": alive})

    def taken(conversation: str) -> object:
        return made._take_idle(replace(request(), continuation=Continuation(conversation=conversation, last=False)))

    assert (taken("0.0"), taken("1.0"), taken("1.0")) == (None, alive, None)
    assert (closed, made._sockets) == (["dead"], {})
