"""When a transport says that bytes came and requests ended: stamps, limits of time, cuts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from bench.records import Outcome, RequestRecord
from bench.workload import Request
from tests.support.literal_replies import DONE, GOOD, LAST_CHUNK, ROLE, chunk, finish, frame, frames, stream
from tests.support.literal_server import CERTIFICATE, Hang, LiteralServer, Pause, Send, Step, full_backlog, in_turn
from tests.support.open_transport import MS, PART, SSE_HEAD, A, B, Client, in_order, once, times
from tests.support.patience import PATIENCE_S
from tests.support.timing import timing

# ---- When ----------------------------------------------------------------------------------------------------------


@timing(tries=10, why="TODO ")
def test_every_stamp_lies_between_the_write_of_its_bytes_and_the_next_write(act: Callable[..., Any]) -> None:
    reply: list[Step] = [Pause(0.06), SSE_HEAD]
    for event in (ROLE, A, B, finish(), DONE):
        reply += [Pause(0.06), Send(chunk(frame(event)))]
    reply += [Pause(0.06), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, once)
    in_order(record)
    written = [before for before, _ in server.received[0].writes]
    assert len(written) == 7
    seen = [record.first_byte_ns, *record.chunk_ns, record.end_ns]
    for i, at in enumerate(seen):
        assert written[i] <= at
        assert i + 1 == len(seen) or at < written[i + 1]
    assert record.sent_ns < written[0] - 50 * MS
    assert (record.coalesced, record.chunk_bound_ns) == (0, None)


@timing(tries=10, why="TODO ")
def test_chunks_of_one_read_carry_the_earliest_moment_at_which_they_can_have_come(act: Callable[..., Any]) -> None:
    together = chunk(frame(A)) + chunk(frame(B) + frame(A))
    reply: list[Step] = [SSE_HEAD, Send(chunk(frame(ROLE))), Pause(0.06), Send(together), Pause(0.06)]
    reply += [Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, once)
    in_order(record)
    assert record.chunk_kind == "rccco"
    _, _, (before, after), *_ = server.received[0].writes
    assert record.coalesced == 2
    role, first, second, last, done = record.chunk_bound_ns
    assert (role, last, done) == (None, None, None)
    for bound in (first, second):
        assert record.chunk_ns[0] <= bound <= after  # It came no earlier than that, and here we know when it came.
    assert record.chunk_ns[1] == record.chunk_ns[2] == record.chunk_ns[3] >= before


@timing(tries=10, why="TODO ")
def test_a_read_that_comes_late_bounds_what_it_holds(act: Any) -> None:
    async def busy(client: Client) -> RequestRecord:
        pending = client.start()
        while not server.received or len(server.received[0].writes) < 2:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.03)
        time.sleep(0.3)  # The program is busy while both chunks arrive, 50 ms apart.
        return await pending

    reply: list[Step] = [
        SSE_HEAD,
        Send(chunk(frame(ROLE))),
        Pause(0.15),
        Send(chunk(frame(A))),
        Pause(0.05),
        Send(chunk(frame(B))),
    ]
    reply += [Pause(0.3), Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, busy)
    in_order(record)
    if act.reads_meanwhile:  # In a thread of its own: that the program is busy is nothing to it.
        assert (record.chunk_kind, record.coalesced, record.clock) == ("rcco", 0, "kernel")
        return
    assert (record.chunk_kind, record.coalesced) == ("rcco", 1)
    _, _, (_, after_first), (before_second, after_second), *_ = server.received[0].writes
    _, bound, exact, _ = record.chunk_bound_ns
    assert exact is None
    assert record.chunk_ns[0] <= bound <= after_first < before_second <= record.chunk_ns[1]
    if record.clock == "kernel":  # However late the program looks, the stamp is right.
        assert record.chunk_ns[2] <= after_second


@timing(tries=10, why="TODO ")
def test_a_new_connection_is_set_up_outside_of_ttft(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True, handshake_pause_s=0.2) as server:
        first, second = act(server, times(2), ca_file=str(CERTIFICATE))
    for record in (first, second):
        in_order(record)
        assert record.outcome is Outcome.OK
    assert first.connect_ns >= 200 * MS
    assert first.sent_ns - first.eligible_ns >= first.connect_ns
    assert first.chunk_ns[0] - first.sent_ns < 150 * MS
    assert (second.connect_ns, server.connections) == (0, 1)
    assert second.sent_ns - second.eligible_ns < 100 * MS


# ---- Limits of time, and the end ------------------------------------------------------------------------------------

# Where the server has to say something within the limit, a busy machine may keep it from that.


def limit_passed(record: RequestRecord, since_ns: int | None, limit_ms: float) -> None:
    in_order(record)
    assert since_ns is not None
    # The event loop's own timers count in whole milliseconds, and come up to 1.4 ms early.
    assert (limit_ms - 2) * MS <= record.end_ns - since_ns < PATIENCE_S * 1e9
    assert record.error


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


@timing(tries=10, why="TODO ")
def test_a_server_that_never_answers_runs_into_the_first_byte_timeout(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn([Hang()])) as server:
        record = act(server, once, timeout_first_byte_ns=150 * MS, timeout_idle_ns=20 * MS)
        assert server.received[0].client_gone.wait(PATIENCE_S)
    limit_passed(record, record.sent_ns, 150)
    assert (record.outcome, record.first_byte_ns, record.attempts) == (Outcome.TIMEOUT_FIRST_BYTE, None, 1)


@timing(tries=10, why="TODO ")
def test_a_response_that_stops_runs_into_the_idle_timeout_and_keeps_what_came(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn([SSE_HEAD, *[Send(chunk(f)) for f in PART], Hang()])) as server:
        record = act(server, once, timeout_idle_ns=150 * MS)
        assert server.received[0].client_gone.wait(PATIENCE_S)
    limit_passed(record, record.chunk_ns[-1], 150)
    assert (record.outcome, record.chunk_kind, record.status) == (Outcome.TIMEOUT_IDLE, "rcc", 200)


@pytest.mark.parametrize(("sent", "is_over"), [((*GOOD,), True), ((*GOOD[:-1],), False)])
@timing(tries=10, why="TODO ")
def test_a_body_that_stays_open_behind_its_last_event_is_told_from_a_stall(
    sent: tuple[Any, ...], is_over: bool, act: Callable[..., Any]
) -> None:
    with LiteralServer(in_turn([SSE_HEAD, *[Send(chunk(f)) for f in frames(*sent)], Hang()])) as server:
        record = act(server, once, timeout_idle_ns=150 * MS)
        assert server.received[0].client_gone.wait(PATIENCE_S)
    assert record.outcome is Outcome.TIMEOUT_IDLE
    assert ("its last event had come, and the server did not end the response" in record.error) == is_over


@timing(tries=10, why="TODO ")
def test_a_slow_trickle_passes_the_idle_timeout_and_runs_into_the_total_one(act: Callable[..., Any]) -> None:
    trickle = [step for _ in range(200) for step in (Send(chunk(b":\n\n")), Pause(0.02))]
    with LiteralServer(in_turn([SSE_HEAD, *trickle])) as server:
        record = act(server, once, timeout_idle_ns=150 * MS, timeout_total_ns=300 * MS)
    limit_passed(record, record.eligible_ns, 300)
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
        while not server.all_is_read():
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)  # Nothing is left in the client's sockets: give it the turns to make chunks of it.
        client.transport.cut()
        return await asyncio.gather(*pending)

    with LiteralServer(in_turn([SSE_HEAD, *[Send(chunk(f)) for f in PART], Hang()])) as server:
        records = act(server, cut_all)
        assert all(r.client_gone.wait(PATIENCE_S) for r in server.received)
    for record in records:
        in_order(record)
        assert (record.outcome, record.chunk_kind) == (Outcome.INTERRUPTED, "rcc")


def test_a_cut_ends_a_request_that_has_no_connection_yet(act: Callable[..., Any]) -> None:
    async def cut_early(client: Client) -> RequestRecord:
        pending = client.start()
        await asyncio.sleep(0.02)
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
        await asyncio.sleep(0.02)
        return calls

    with LiteralServer(in_turn(stream(*GOOD))) as server:
        calls = act(server, count)
    assert sorted(calls) == [f"r-{i}" for i in range(5)]
