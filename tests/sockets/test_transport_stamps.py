"""When a transport reports arrived bytes and ended requests: stamps, time limits, cuts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bench.clock import now_ns
from bench.records import Outcome, RequestRecord
from bench.workload import Request
from tests.support.literal_replies import DONE, GOOD, LAST_CHUNK, ROLE, chunk, finish, frame, frames, stream
from tests.support.literal_server import (
    CERTIFICATE,
    Hang,
    LiteralServer,
    Pause,
    Send,
    Step,
    Until,
    UntilRead,
    full_backlog,
    in_turn,
)
from tests.support.open_transport import (
    MS,
    PART,
    SSE_HEAD,
    A,
    B,
    Client,
    in_order,
    once,
    one_by_one,
    read_of,
    times,
)
from tests.support.patience import PATIENCE_S
from tests.support.run_process import wait_for
from tests.support.timing import timing

pytestmark = pytest.mark.wall_clock

# ---- Stamps --------------------------------------------------------------------------------------------------------


def test_every_stamp_lies_between_the_write_of_its_bytes_and_the_next_write(act: Callable[..., Any]) -> None:
    events = [chunk(frame(event)) for event in (ROLE, A, B, finish(), DONE)]
    reply, ask = one_by_one(lambda: server, SSE_HEAD.data, *events, LAST_CHUNK)
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, ask)
    over = now_ns()
    in_order(record)
    written = [before for before, _ in server.received[0].writes]
    assert len(written) == 7
    seen = [record.sent_ns, record.first_byte_ns, *record.chunk_ns, record.end_ns]
    for at, before, following in zip(seen, [0, *written], [*written, over], strict=True):
        assert before <= at < following
    assert (record.coalesced, record.chunk_bound_ns) == (0, None)


def test_chunks_of_one_read_carry_the_earliest_moment_at_which_they_can_have_come(act: Callable[..., Any]) -> None:
    together = chunk(frame(A)) + chunk(frame(B) + frame(A))
    reply, ask = one_by_one(lambda: server, SSE_HEAD.data, chunk(frame(ROLE)), together, chunk(frame(DONE)), LAST_CHUNK)
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, ask)
    in_order(record)
    assert record.chunk_kind == "rccco"
    _, _, (before, after), *_ = server.received[0].writes
    assert record.coalesced == 2
    role, first, second, last, done = record.chunk_bound_ns
    assert (role, last, done) == (None, None, None)
    for bound in (first, second):
        # The chunk came no earlier than its bound, and here its true time is known.
        assert record.chunk_ns[0] <= bound <= after
    assert record.chunk_ns[1] == record.chunk_ns[2] == record.chunk_ns[3] >= before


@timing(
    tries=10,
    why="how long before its bytes a receiver that sleeps says it was woken: 0.5 ms and what it was kept from its processor "
    "since the last bytes, under 1 ms on a quiet machine, against a pause of 300 ms",
)
def test_chunks_of_one_read_after_a_pause_came_when_the_receiver_was_woken(act: Any) -> None:
    if not act.reads_meanwhile:
        pytest.skip("the compiled receiver alone knows when it was woken")
    together = chunk(frame(A)) + chunk(frame(B) + frame(A))
    reply: list[Step] = [
        SSE_HEAD,
        Send(chunk(frame(ROLE))),
        Pause(0.3),
        Send(together),
        Send(chunk(frame(DONE))),
        Send(LAST_CHUNK),
    ]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, once)
    _, _, (before, after), *_ = server.received[0].writes
    bounds = [bound for bound in record.chunk_bound_ns if bound is not None]
    assert len(bounds) >= 2
    assert all(before - 100 * MS < bound <= after for bound in bounds), [(bound - before) / MS for bound in bounds]


def test_a_read_that_comes_late_bounds_what_it_holds(act: Any) -> None:
    is_busy, was_busy = threading.Event(), threading.Event()

    async def busy(client: Client) -> RequestRecord:
        pending = client.start()
        await read_of(server, 2)
        is_busy.set()
        wait_for(lambda: len(server.received[0].writes) == 4 and arrived())  # This blocks the loop.
        was_busy.set()
        return await pending

    reply: list[Step] = [SSE_HEAD, Send(chunk(frame(ROLE))), Until(is_busy.is_set), Send(chunk(frame(A)))]
    with LiteralServer(lambda request: reply) as server:
        # The kernel merges arrived and acknowledged data with later data.
        arrived = server.all_is_read if act.reads_meanwhile else server.all_is_acknowledged
        reply += [Until(arrived), Send(chunk(frame(B))), Until(was_busy.is_set)]
        reply += [UntilRead(), Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
        record = act(server, busy)
    in_order(record)
    if act.reads_meanwhile:  # The compiled core reads in its own thread, so a busy program does not matter.
        assert (record.chunk_kind, record.coalesced, record.clock) == ("rcco", 0, "kernel")
        return
    assert (record.chunk_kind, record.coalesced) == ("rcco", 1)
    _, _, (_, after_first), (before_second, after_second), *_ = server.received[0].writes
    _, bound, exact, _ = record.chunk_bound_ns
    assert exact is None
    assert record.chunk_ns[0] <= bound <= after_first < before_second <= record.chunk_ns[1]
    if record.clock == "kernel":  # The stamp is right, however late the program reads.
        assert record.chunk_ns[2] <= after_second


def test_a_new_connection_is_set_up_outside_of_ttft(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True, handshake_pause_s=0.1) as server:
        first, second = act(server, times(2), ca_file=str(CERTIFICATE))
    for record in (first, second):
        in_order(record)
        assert record.outcome is Outcome.OK
    assert first.connect_ns >= 100 * MS
    assert first.sent_ns - first.eligible_ns >= first.connect_ns
    assert (second.connect_ns, server.connections) == (0, 1)


# ---- Time limits, and the end ---------------------------------------------------------------------------------------

# A server that sends something and then stops sends it in one write, so no limit can pass in between.


def limit_passed(record: RequestRecord, since_ns: int | None, limit_ms: float) -> None:
    in_order(record)
    assert since_ns is not None
    # The event loop's own timers have a resolution of a millisecond, and fire up to 1.4 ms early.
    assert (limit_ms - 2) * MS <= record.end_ns - since_ns < PATIENCE_S * 1e9
    assert record.error


def stopped_after(*frames: bytes) -> list[Step]:
    return [Send(SSE_HEAD.data + b"".join(map(chunk, frames))), Hang()]


def clients_have_gone(server: LiteralServer, requests: int = 1) -> None:
    wait_for(lambda: len(server.received) == requests and all(one.client_gone.is_set() for one in server.received))


def test_a_server_that_takes_no_connection_runs_into_the_connect_timeout(act: Callable[..., Any]) -> None:
    with full_backlog() as url:
        record = act(url, once, timeout_connect_ns=150 * MS)
    limit_passed(record, record.eligible_ns, 150)
    assert (record.outcome, record.sent_ns) == (Outcome.TIMEOUT_CONNECT, None)


def test_a_handshake_that_does_not_end_runs_into_the_connect_timeout(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True, handshake_pause_s=30) as server:
        record = act(server, once, ca_file=str(CERTIFICATE), timeout_connect_ns=150 * MS)
    limit_passed(record, record.eligible_ns, 150)
    assert (record.outcome, record.sent_ns) == (Outcome.TIMEOUT_CONNECT, None)


def test_a_server_that_never_answers_runs_into_the_first_byte_timeout(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn([Hang()])) as server:
        record = act(server, once, timeout_first_byte_ns=150 * MS, timeout_idle_ns=20 * MS)
        clients_have_gone(server)
    limit_passed(record, record.sent_ns, 150)
    assert (record.outcome, record.first_byte_ns, record.attempts) == (Outcome.TIMEOUT_FIRST_BYTE, None, 1)


def test_a_response_that_stops_runs_into_the_idle_timeout_and_keeps_what_came(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stopped_after(*PART))) as server:
        record = act(server, once, timeout_idle_ns=150 * MS)
        clients_have_gone(server)
    limit_passed(record, record.chunk_ns[-1], 150)
    assert (record.outcome, record.chunk_kind, record.status) == (Outcome.TIMEOUT_IDLE, "rcc", 200)


@pytest.mark.parametrize(("sent", "is_over"), [((*GOOD,), True), ((*GOOD[:-1],), False)])
def test_a_body_that_stays_open_behind_its_last_event_is_told_from_a_stall(
    sent: tuple[Any, ...], is_over: bool, act: Callable[..., Any]
) -> None:
    with LiteralServer(in_turn(stopped_after(*frames(*sent)))) as server:
        record = act(server, once, timeout_idle_ns=150 * MS)
        clients_have_gone(server)
    assert record.outcome is Outcome.TIMEOUT_IDLE
    assert ("its last event had come, and the server did not end the response" in record.error) == is_over


@timing(
    tries=10,
    why="how much longer a thread's pauses of 60 ms last: 4 to 116 ms beside 40 busy processes on 2 processors, in 20 runs; "
    "340 ms are too much",
)
def test_a_slow_trickle_passes_the_idle_timeout_and_runs_into_the_total_one(act: Callable[..., Any]) -> None:
    trickle = [step for _ in range(200) for step in (Send(chunk(b":\n\n")), Pause(0.06))]  # Three checks of the client.
    with LiteralServer(in_turn([SSE_HEAD, *trickle])) as server:
        record = act(server, once, timeout_idle_ns=400 * MS, timeout_total_ns=800 * MS)
    limit_passed(record, record.eligible_ns, 800)
    assert (record.outcome, record.chunk_kind) == (Outcome.TIMEOUT_TOTAL, "")
    assert record.bytes_received > 0


def test_the_total_timeout_counts_the_wait_for_an_answer_too(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn([Hang()])) as server:
        record = act(server, once, timeout_total_ns=150 * MS)
    limit_passed(record, record.eligible_ns, 150)
    assert record.outcome is Outcome.TIMEOUT_TOTAL


def test_a_cut_gives_every_request_a_record_and_closes_its_socket(act: Callable[..., Any]) -> None:
    async def cut_all(client: Client) -> list[RequestRecord]:
        pending = [client.start() for _ in range(3)]
        while len(server.received) < 3 or not all(len(r.writes) == 4 for r in server.received):
            await asyncio.sleep(0.005)
        await read_of(server, 4)
        client.transport.cut()
        return await asyncio.gather(*pending)

    with LiteralServer(in_turn([SSE_HEAD, *[Send(chunk(f)) for f in PART], Hang()])) as server:
        records = act(server, cut_all)
        clients_have_gone(server, 3)
    for record in records:
        in_order(record)
        assert (record.outcome, record.chunk_kind) == (Outcome.INTERRUPTED, "rcc")


def test_a_cut_ends_a_request_that_has_no_connection_yet(act: Callable[..., Any]) -> None:
    async def cut_early(client: Client) -> RequestRecord:
        pending = client.start()
        for _ in range(100):  # Let anything planned for later turns begin.
            await asyncio.sleep(0)
        client.transport.cut()
        return await pending

    with full_backlog() as url:
        record = act(url, cut_early)
    in_order(record)
    assert (record.outcome, record.sent_ns, record.bytes_sent) == (Outcome.INTERRUPTED, None, 0)


def test_a_cut_at_once_still_gives_a_record(act: Callable[..., Any]) -> None:
    async def cut_at_once(client: Client) -> RequestRecord:
        pending = client.start()
        client.transport.cut()
        return await asyncio.wait_for(pending, PATIENCE_S)

    with LiteralServer(in_turn([Hang()])) as server:
        record = act(server, cut_at_once)
    assert (record.outcome, record.sent_ns) == (Outcome.INTERRUPTED, None)


def test_done_is_called_later_and_once_for_each_request(act: Callable[..., Any]) -> None:
    async def count(client: Client) -> list[str]:
        calls: list[str] = []
        last = client.now_ns() + round(PATIENCE_S * 1000) * MS
        for i in range(5):
            request = Request(
                id=f"r-{i}", index=i, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None
            )
            now = client.now_ns()
            client.transport.start(request, now, now, lambda record: calls.append(record.id))
            assert f"r-{i}" not in calls
        while len(calls) < 5 and client.now_ns() < last:
            await asyncio.sleep(0.005)
        client.transport.cut()
        for _ in range(100):  # A second call would come in a later turn of the loop.
            await asyncio.sleep(0)
        return calls

    with LiteralServer(in_turn(stream(*GOOD))) as server:
        calls = act(server, count)
    assert sorted(calls) == [f"r-{i}" for i in range(5)]
