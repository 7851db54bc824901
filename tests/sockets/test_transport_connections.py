"""The connections of every transport: kept, lost, retried, with TLS, with IPv6."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bench.clock import Clock, Timer
from bench.records import Outcome, RequestRecord
from bench.transport import exchange
from tests.support.literal_replies import DONE, GOOD, GOOD_KINDS, chunk, frame, stream
from tests.support.literal_server import (
    CERTIFICATE,
    Close,
    LiteralServer,
    Pause,
    Received,
    Reset,
    Send,
    Step,
    UntilRead,
    closed_port,
    in_turn,
)
from tests.support.open_transport import MS, SSE_HEAD, A, Client, in_order, once, times
from tests.support.patience import PATIENCE_S
from tests.support.slow_metrics import ttft_ms

LONG_NS = round(PATIENCE_S * 1e9)

# ---- Connections ---------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_request(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD))) as server:
        records = act(server, times(3))
    assert server.connections == 1
    assert [r.attempts for r in records] == [1, 1, 1]
    assert records[0].connect_ns > 0
    assert [r.connect_ns for r in records[1:]] == [0, 0]


@pytest.mark.parametrize("way", [Close(), Reset()], ids=["closed", "reset"])
def test_a_server_that_closes_after_each_reply_without_saying_so_fails_no_request(
    act: Callable[..., Any], way: Step
) -> None:
    with LiteralServer(in_turn([*stream(*GOOD), way])) as server:
        records = act(server, times(5))
    assert [r.outcome for r in records] == [Outcome.OK] * 5
    assert server.connections == 5
    for record in records:
        in_order(record)


@pytest.mark.parametrize("way", [Close(), Reset()], ids=["closed", "reset"])
def test_a_connection_that_the_server_has_closed_is_not_used_again(act: Callable[..., Any], way: Step) -> None:
    async def busy_between(client: Client) -> list[RequestRecord]:
        first = await client.ask()
        while not server.all_are_closed():
            time.sleep(0.001)  # The loop gets no turn to notice.
        return [first, await client.ask()]

    with LiteralServer(in_turn([*stream(*GOOD), Pause(0.02), way])) as server:
        records = act(server, busy_between)
    assert [(r.outcome, r.attempts) for r in records] == [(Outcome.OK, 1)] * 2
    assert [r.connection for r in server.received] == [1, 2]


@pytest.mark.parametrize("way", [Close(), Reset()], ids=["closed", "reset"])
def test_a_reused_connection_that_dies_before_any_answer_is_tried_once_more(act: Callable[..., Any], way: Step) -> None:
    with LiteralServer(in_turn(stream(*GOOD), [Pause(0.06), way], stream(*GOOD))) as server:
        _, record = act(server, times(2))
    in_order(record)
    assert (record.outcome, record.attempts, record.chunk_kind) == (Outcome.OK, 2, GOOD_KINDS)
    assert [r.connection for r in server.received] == [1, 1, 2]
    assert [r.headers["x-request-id"] for r in server.received] == ["literal-0", "literal-1", "literal-1"]
    # `sent` is the first send, since its user has waited since then: the detour is part of the latency.
    assert record.resent_ns - record.sent_ns >= 60 * MS
    assert record.connect_ns == 0
    first_ns = ttft_ms(record)
    assert first_ns is not None
    assert first_ns >= 60
    assert record.first_byte_ns >= record.resent_ns
    assert record.last_sent_ns == record.resent_ns
    assert record.bytes_sent == len(server.received[2].body)


def test_a_response_that_nobody_asked_for_is_no_answer_to_the_next_request(act: Callable[..., Any]) -> None:
    """A proxy that answers twice would shift all later replies of the connection by one request."""
    good = b"".join(step.data for step in stream(*GOOD) if isinstance(step, Send))
    unasked = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n"
    for behind in (unasked, good):
        with LiteralServer(in_turn([Send(good + behind)], stream(*GOOD))) as server:
            records = act(server, times(3))
        for record in records:
            in_order(record)
            assert (record.outcome, record.chunk_kind) == (Outcome.OK, GOOD_KINDS)
        assert len({r.connection for r in server.received}) == 2


@pytest.mark.parametrize("way", [Close(), Reset()], ids=["closed", "reset"])
def test_a_request_that_the_server_kept_for_long_and_dropped_has_failed(
    act: Callable[..., Any], way: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has worked on the request, so a second attempt would be more work than requested."""
    monkeypatch.setattr(exchange, "STALE_WITHIN_NS", 50 * MS)
    with LiteralServer(in_turn(stream(*GOOD), [Pause(0.2), way], stream(*GOOD))) as server:
        _, record = act(server, times(2))
    assert (record.outcome, record.attempts, len(server.received)) == (Outcome.RESET, 1, 2)
    assert record.end_ns - record.sent_ns >= 200 * MS


def test_there_is_never_a_third_attempt(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD), [Reset()], [Reset()], stream(*GOOD))) as server:
        _, record = act(server, times(2))
    in_order(record)
    assert (record.outcome, record.attempts) == (Outcome.RESET, 2)
    assert record.sent_ns < record.resent_ns <= record.end_ns
    assert len(server.received) == 3


def test_a_second_attempt_goes_over_a_fresh_connection_also_where_others_are_idle(act: Callable[..., Any]) -> None:
    """The server may have closed the other idle connections, too."""
    asked: Counter[int] = Counter()

    def once_a_connection(request: Received) -> Sequence[Step]:
        asked[request.connection] += 1
        return stream(*GOOD) if asked[request.connection] == 1 else [Reset()]

    async def third(client: Client) -> RequestRecord:
        await asyncio.gather(*[client.start() for _ in range(2)])
        return await client.ask()

    with LiteralServer(once_a_connection) as server:
        record = act(server, third)
    assert (record.outcome, record.attempts, server.received[-1].connection) == (Outcome.OK, 2, 3)


class NotedClock:
    """A clock that remembers the instants of its callbacks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.deadlines: list[int] = []

    def call_at(self, deadline_ns: int, call: Callable[[], None]) -> Timer:
        self.deadlines.append(deadline_ns)
        return self._clock.call_at(deadline_ns, call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


def test_a_user_who_gives_up_has_waited_since_the_first_attempt(act: Callable[..., Any]) -> None:
    async def patient(client: Client) -> tuple[RequestRecord, list[int]]:
        transport: Any = client.transport
        transport._clock = clock = NotedClock(transport._clock)
        await client.ask()
        return await client.ask(cancel_after_ns=LONG_NS), clock.deadlines

    with LiteralServer(in_turn(stream(*GOOD), [Reset()], stream(*GOOD))) as server:
        record, deadlines = act(server, patient)
    assert (record.outcome, record.attempts) == (Outcome.OK, 2)
    assert record.sent_ns + LONG_NS in deadlines
    assert record.resent_ns + LONG_NS not in deadlines


def test_a_reused_connection_that_dies_in_mid_answer_is_not_tried_again(act: Callable[..., Any]) -> None:
    broken: list[Step] = [SSE_HEAD, Send(chunk(frame(A))), UntilRead(), Reset()]
    with LiteralServer(in_turn(stream(*GOOD), broken, stream(*GOOD))) as server:
        _, record = act(server, times(2))
    assert (record.outcome, record.attempts, record.chunk_kind) == (Outcome.RESET, 1, "c")
    assert len(server.received) == 2


def test_many_at_once_each_get_their_own_answer(act: Callable[..., Any]) -> None:
    def script(request: Received) -> Sequence[Step]:
        n = json.loads(request.body)["n"]
        return [Pause(0.001 * (n % 7)), *stream(*[A] * (n + 1), DONE)]

    async def together(client: Client) -> list[RequestRecord]:
        first = await asyncio.gather(*[client.start() for _ in range(30)])
        return first + await asyncio.gather(*[client.start() for _ in range(30)])

    with LiteralServer(script) as server:
        records = act(server, together)
    for record in records:
        in_order(record)
        assert (record.outcome, record.output_tokens) == (Outcome.OK, record.index + 1)
    assert server.connections == 30


def test_tls_is_checked_unless_told_otherwise(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True) as server:
        unknown = act(server, once)
        known = act(server, once, ca_file=str(CERTIFICATE))
        unchecked = act(server, once, insecure=True)
    assert unknown.outcome is Outcome.CONNECT_ERROR
    assert "certificate" in unknown.error.lower()
    assert (known.outcome, known.chunk_kind) == (Outcome.OK, GOOD_KINDS)
    assert (unchecked.outcome, unchecked.chunk_kind) == (Outcome.OK, GOOD_KINDS)


def test_http_to_a_tls_port_and_tls_to_an_http_port_fail_with_a_record(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True) as server:
        plain = act(server.url.replace("https", "http"), once, timeout_total_ns=LONG_NS)
    with LiteralServer(in_turn(stream(*GOOD))) as server:
        tls = act(server.url.replace("http", "https"), once, timeout_connect_ns=200 * MS, timeout_total_ns=LONG_NS)
    assert plain.outcome in (Outcome.RESET, Outcome.MALFORMED)
    assert tls.outcome in (Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT)
    for record in (plain, tls):
        in_order(record)
        assert record.error


def test_ipv6_works(act: Callable[..., Any]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with LiteralServer(in_turn(stream(*GOOD)), host="::1") as server:
        record = act(server, once)
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, GOOD_KINDS)


def test_nothing_listens_is_a_connect_error(act: Callable[..., Any]) -> None:
    with closed_port() as url:
        record = act(url, once)
    in_order(record)
    assert (record.outcome, record.sent_ns, record.bytes_sent, record.status) == (Outcome.CONNECT_ERROR, None, 0, None)
    assert record.error
