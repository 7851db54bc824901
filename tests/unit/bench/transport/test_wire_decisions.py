"""Decisions of the wire transport without a network: heads, turns of reading, users who leave, a step of the clock."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.clock import process_clock
from bench.proxy import Proxy
from bench.records import Outcome
from bench.transport import wire
from bench.transport.connection import Address, Job
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading, Target
from bench.transport.wire import WireTransport
from bench.workload import Request, Route
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

PROXY = Proxy.of("http://p:3128")


@dataclass
class Clock:
    """A clock with something due at `due_ns`."""

    due_ns: int | None = None

    def next_ns(self) -> int | None:
        return self.due_ns


def transport(clock: Any = Clock(), **target: Any) -> WireTransport:  # noqa: B008
    return WireTransport(Target(**{"url": "http://h:8000/v1/chat/completions", **target}), Reading(), clock)


def request(index: int = 0, route: Route | None = None) -> Request:
    return Request(
        id=f"r-{index}", index=index, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None,
        route=route,
    )  # fmt: skip


# ---- Where requests go -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "proxy", "websocket", "tunnels"),
    [
        ("http://h/", None, False, False),
        ("https://h/", None, False, False),
        ("http://h/", None, True, False),
        ("http://h/", PROXY, False, False),
        ("https://h/", PROXY, False, True),
        ("http://h/", PROXY, True, True),
    ],
)
def test_a_proxy_is_asked_for_a_tunnel_by_tls_and_by_websockets(
    url: str, proxy: Proxy | None, websocket: bool, tunnels: bool
) -> None:
    assert transport(url=url, proxy=proxy, websocket=websocket).tunnels is tunnels


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [("http://h/", "h", 80, False), ("https://h/", "h", 443, True), ("http://[::1]:81/", "::1", 81, False)],
)
def test_a_url_without_a_port_has_that_of_its_scheme(url: str, host: str, port: int, tls: bool) -> None:
    made = transport(url=url)
    assert (made.host, made.port, made.tls is not None) == (host, port, tls)


def test_heads_of_requests_with_their_own_headers_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_HEADS", 2)
    made = transport()
    routes = [Route(None, (("x-user", str(number)),)) for number in range(3)]
    first, second = (made._head_of(route) for route in routes[:2])
    assert first.endswith(b"x-user: 0\r\nx-request-id: ")
    assert [*made._heads] == routes[:2]
    assert made._head_of(routes[0]) is first
    assert [*made._heads] == routes[:2]
    made._head_of(routes[2])
    assert [*made._heads] == routes[2:]
    assert (made._head_of(routes[1]), made._head_of(routes[1]) is second) == (second, False)


def test_a_head_names_the_server_and_by_a_proxy_the_whole_url() -> None:
    direct = transport(url="http://h:8000?a=b", headers=(("X-A", "1"),))._head
    assert direct == (
        b"POST /?a=b HTTP/1.1\r\nhost: h:8000\r\nuser-agent: trueload\r\naccept: */*\r\naccept-encoding: identity\r\n"
        b"content-type: application/json\r\nx-a: 1\r\nx-request-id: "
    )
    got = transport(url="http://h:8000/a", method="GET", proxy=Proxy.of("http://me:pw@p:3128"))
    assert got._head == (
        b"GET http://h:8000/a HTTP/1.1\r\nhost: h:8000\r\nuser-agent: trueload\r\naccept: */*\r\n"
        b"accept-encoding: identity\r\nproxy-authorization: Basic bWU6cHc=\r\nx-request-id: "
    )
    assert (transport()._length, got._length) == (b"content-length", b"Content-Length")


# ---- Reading in turns --------------------------------------------------------------------------------------------------


class Loop:
    """Keeps what is called soon."""

    def __init__(self) -> None:
        self.soon: list[tuple[Any, ...]] = []

    def call_soon(self, *call: Any) -> None:
        self.soon.append(call)


def attended(due_ns: int | None, reports: int) -> tuple[WireTransport, list[tuple[int, int]], Loop]:
    """A transport whose receiver reports so many connections; the reports that were handled."""
    handled, loop = list[tuple[int, int]](), Loop()
    made = transport(Clock(due_ns))
    made.loop = cast("Any", loop)
    names: deque[list[int]] = deque([[number << 2 | number % 3 for number in range(reports)]])
    made._receiver = cast("Any", SimpleNamespace(asked=lambda: names.popleft() if names else []))

    def connection(number: int) -> Any:
        return SimpleNamespace(attend=lambda event: handled.append((number, event)))

    # The connection with number 1 has been closed meanwhile.
    made._received = {number: connection(number) for number in range(reports) if number != 1}
    return made, handled, loop


@pytest.mark.parametrize("due_ns", [None, 1 << 62])
def test_all_reports_of_the_receiver_are_handled_if_nothing_is_due(due_ns: int | None) -> None:
    made, handled, loop = attended(due_ns, 40)
    made._attend()
    assert handled == [(number, number % 3) for number in range(40) if number != 1]
    assert loop.soon == []


def test_a_send_that_is_due_comes_after_16_reports() -> None:
    made, handled, loop = attended(0, 40)
    made._attend()
    assert [number for number, _ in handled] == [0, *range(2, 16)]
    assert loop.soon == [(made._attend,)]
    made._attend()
    assert handled[-1][0] == 31
    made._attend()
    assert (handled[-1][0], len(handled), len(loop.soon)) == (39, 39, 2)
    made, handled, loop = attended(0, 16)
    made._attend()
    assert (len(handled), loop.soon) == (15, [])


class Replying:
    """A reply in flight: on a connection with reads put by, or digested so far."""

    def __init__(self, name: str, put_by: int, undigested: bool, connected: bool = True) -> None:
        self.caught_up = 0
        self.exchange = SimpleNamespace(name=name, has_undigested=undigested)
        self.connection = SimpleNamespace(put_by=put_by, catch_up=self._catch_up) if connected else None

    def _catch_up(self) -> None:
        self.caught_up += 1


def test_replies_are_read_one_in_a_turn_before_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = transport()
    todo: list[Callable[[], None]] = []
    monkeypatch.setattr(made, "later", todo.append)
    both, put_by, undigested, read, waiting = jobs = [
        Replying("both", 2, True), Replying("put by", 1, False), Replying("undigested", 0, True),
        Replying("read", 0, False), Replying("no connection", 1, True, connected=False),
    ]  # fmt: skip
    made._jobs = cast("Any", dict.fromkeys(jobs))
    told: list[list[str]] = []

    def tell(replies: Iterable[Any]) -> None:
        told.append([reply.name for reply in replies])

    def counts() -> list[int]:
        return [each.caught_up for each in (both, put_by, undigested, read)]

    made.read_replies(tell)
    assert (counts(), len(todo)) == ([0, 0, 0, 0], 1)
    todo.pop()()
    assert (sum(counts()), told, len(todo)) == (1, [], 1)
    del made._jobs[cast("Any", put_by)]  # It ends meanwhile.
    undigested.connection, caught_up = None, undigested.caught_up  # It is sent again.
    while todo:
        todo.pop()()
    assert counts() == [1, 0, caught_up, 0]
    assert told == [["both", "undigested", "read", "no connection"]]
    assert waiting.caught_up == 0


def test_a_request_without_an_address_fails_in_the_next_turn_with_the_reason() -> None:
    for unresolved, why in ((None, "the name has no address"), ("the name h is not known", "the name h is not known")):
        made, loop, sent = transport(), Loop(), Job(cast("Any", None), cast("Any", None), print)
        made.loop, made._unresolved = cast("Any", loop), unresolved
        made._connect(sent)
        assert loop.soon == [(made._end, sent, Outcome.CONNECT_ERROR, why)]


# ---- A step of the clock, and a user who leaves ------------------------------------------------------------------------


class Working:
    """A connection at work, on this job or on another."""

    def __init__(self, *, connected: bool = True, own: bool = True) -> None:
        self.connected = connected
        self.calls: list[str] = []
        self.exchange = SimpleNamespace(clock="kernel", request=request())
        self.connection = self
        self.job: object = self if own else None
        self.leaves = None

    def parse(self) -> None:
        self.calls.append(f"parsed at {self.exchange.clock}")

    def read_out(self) -> None:
        self.calls.append("read out")


def test_a_step_of_the_clock_marks_what_is_under_way_and_reads_it_by_the_old_offset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = transport()
    made.offset_ns = 1
    monkeypatch.setattr("bench.clock.realtime_offset_ns", lambda: 5)
    works, connecting, other, waiting = Working(), Working(connected=False), Working(own=False), Working()
    waiting.connection = cast("Any", None)
    jobs = [works, connecting, other, waiting]
    made._jobs = cast("Any", dict.fromkeys(jobs))
    made._clock_stepped()
    assert [each.exchange.clock for each in jobs] == ["mixed"] * 4
    assert [each.calls for each in jobs] == [["parsed at mixed"], [], [], []]
    assert made.offset_ns == 5


def test_what_has_come_for_a_user_is_read_before_the_user_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    made, ended = transport(), list[tuple[object, Outcome]]()
    monkeypatch.setattr(made, "_end", lambda job, outcome, error: ended.append((job, outcome)))
    works, over, connecting, other, waiting = (
        Working(), Working(), Working(connected=False), Working(own=False), Working(),
    )  # fmt: skip
    waiting.connection = cast("Any", None)
    jobs = [works, over, connecting, other, waiting]
    made._jobs = cast("Any", {job: None for job in jobs if job is not over})
    for job in jobs:
        made._leave(cast("Any", job))
    assert [each.calls for each in jobs] == [["read out"], [], [], [], []]
    assert ended == [(job, Outcome.CANCELLED) for job in jobs]


@pytest.mark.parametrize("proxy", [None, PROXY])
def test_a_name_that_is_not_known_is_the_error_of_each_request(proxy: Proxy | None) -> None:
    async def main() -> str | None:
        async def unknown(*_: object, **__: object) -> list[Any]:
            raise OSError(-2, "Name or service not known")

        asyncio.get_running_loop().getaddrinfo = unknown  # type: ignore[method-assign]
        clock = process_clock()
        made = transport(clock, proxy=proxy)
        await made.open()
        try:
            return made._unresolved
        finally:
            await made.close()
            clock.close()

    why = f"the name {'h' if proxy is None else 'p'} is not known (Name or service not known)"
    assert asyncio.run(main()) == (why if proxy is None else proxy.failed(why))


@pytest.mark.parametrize(
    ("status", "leaves", "sent"),
    [(None, False, True), (5, True, True), (5, False, False)],
)
def test_a_user_leaves_once_after_the_first_send(status: int | None, leaves: bool, sent: bool) -> None:
    timers: list[int] = []

    def call_at(at_ns: int, call: Callable[[], None]) -> str:
        timers.append(at_ns)
        return "timer"

    made = transport(SimpleNamespace(call_at=call_at))
    of = Job(Exchange(replace(request(), cancel_after_ns=status), 10, 20, Reading(), clock="kernel"),
             lambda record: None, lambda *_: None)  # fmt: skip
    of.exchange.sent_ns = 100 if sent else None
    made._leave_in_time(of)
    made._leave_in_time(of)
    assert timers == ([105] if leaves else [])


# ---- Connections made ahead --------------------------------------------------------------------------------------------


ADDRESSES = [(socket.AF_INET, ("127.0.0.1", port)) for port in (1, 2)]


@dataclass(eq=False)
class Ahead:
    """A connection that is made ahead."""

    fd: int
    address: Address
    job: Job | None = None


def prepared(
    wanted: int, refused: Callable[[int, Address], bool] = lambda number, address: False, most: int = 1 << 30
) -> tuple[WireTransport, list[int]]:
    """A transport that has made so many connections ahead, and how many at once. `refused`: whether the connection with
    this number is, at this address; `most`: how many descriptors there are."""
    at_once: list[int] = []

    async def main(loop: VirtualTimeLoop) -> WireTransport:
        made = transport()
        made.loop = loop
        made._addresses = list(ADDRESSES)
        numbers = iter(range(1 << 20))
        made_so_far: list[Address] = []

        def new(address: Address, job: Job | None) -> Any:
            if len(made_so_far) == most:
                raise OSError("too many open files")
            made_so_far.append(address)
            number = next(numbers)
            connection = cast("Any", Ahead(number, address))
            if refused(number, address):
                loop.call_soon(made.connect_failed, connection, "refused")
            else:
                loop.call_soon(made.connected, connection)
            loop.call_soon(lambda: at_once.append(len(made._ahead)))
            return connection

        made._new_connection = new  # type: ignore[method-assign]
        await made.prepare(wanted)
        return made

    return run_virtual(main), at_once


@pytest.mark.parametrize("wanted", [0, 1, 128, 129, 300])
def test_as_many_connections_are_made_ahead_as_asked_for_128_at_once(wanted: int) -> None:
    made, at_once = prepared(wanted)
    assert (len(made._idle), made._ahead, made._answers) == (wanted, {}, wanted > 0)
    assert max(at_once, default=0) <= 127  # One of 128 is made.
    assert (127 in at_once) is (wanted >= 128)
    assert made._addresses == ADDRESSES


def test_a_first_address_that_refuses_gives_its_connections_to_the_second() -> None:
    made, _ = prepared(300, lambda number, address: address == ADDRESSES[0])
    assert (made._addresses, len(made._idle)) == (ADDRESSES[1:], 300)


def test_a_connection_that_is_refused_at_the_last_address_ends_the_making() -> None:
    # Numbers 0 to 127 are refused at the first address, and 130 at the second one.
    made, _ = prepared(300, lambda number, address: number == 130 or address == ADDRESSES[0])
    assert (made._addresses, len(made._idle)) == (ADDRESSES[1:], 127)


def test_connections_are_made_as_far_as_there_are_descriptors() -> None:
    made, _ = prepared(300, most=140)
    assert len(made._idle) == 140
