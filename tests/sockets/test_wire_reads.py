"""The wire transport's handling of arriving data: kernel stamps, stored and split reads, and their order."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from functools import partial

import pytest

from bench.clock import now_ns
from bench.native import core
from bench.records import Outcome, RequestRecord
from bench.transport import connection as connection_module
from bench.transport.connection import Connection
from bench.transport.wire import WireTransport
from tests.support.literal_replies import (
    CHUNKED,
    DONE,
    GOOD,
    GOOD_KINDS,
    LAST_CHUNK,
    chunk,
    content,
    frame,
    frames,
    head,
    stream,
    usage,
)
from tests.support.literal_server import CERTIFICATE, Hang, LiteralServer, Pause, Send, Step, Until, UntilRead, in_turn
from tests.support.on_wire import MS, Wire, on_wire, once
from tests.support.open_transport import read_of
from tests.support.patience import PATIENCE_S
from tests.support.run_process import wait_for
from tests.support.timing import timing

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the wire transport is for Linux"),
    pytest.mark.usefixtures("reads"),
    pytest.mark.wall_clock,
]

SSE_HEAD = Send(head("200 OK", "text/event-stream", CHUNKED))


# ---- Stamps --------------------------------------------------------------------------------------------------------


def test_every_record_of_the_wire_has_kernel_stamps_from_its_first_request_on() -> None:
    async def many(wire: Wire) -> list[RequestRecord]:
        return [await wire.start() for _ in range(5)]

    with LiteralServer(in_turn(stream(*GOOD))) as server:
        records = on_wire(server.url, many)
    assert [r.clock for r in records] == ["kernel"] * 5


def test_tls_keeps_the_kernel_stamps() -> None:
    is_busy, was_busy = threading.Event(), threading.Event()
    arrived_ns = 0

    async def late(wire: Wire) -> RequestRecord:
        nonlocal arrived_ns
        pending = wire.start()
        await read_of(server, 2)
        is_busy.set()
        # The program is busy while a chunk arrives, so only the kernel knows when that was.
        wait_for(lambda: len(server.received[0].writes) == 3 and server.all_is_acknowledged())
        arrived_ns = now_ns()
        was_busy.set()
        return await pending

    reply: list[Step] = [SSE_HEAD, Send(chunk(frame(content("a")))), Until(is_busy.is_set)]
    # If it was not read yet, the kernel would merge it with the next chunk.
    reply += [Send(chunk(frame(content("b")))), Until(was_busy.is_set), UntilRead()]
    reply += [Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply), tls=True) as server:
        record = on_wire(server.url, late, ca_file=str(CERTIFICATE))
        _, _, (before, _), *_ = server.received[0].writes
    assert (record.outcome, record.clock, record.chunk_kind) == (Outcome.OK, "kernel", "cco")
    assert before <= record.chunk_ns[1] <= arrived_ns


@pytest.mark.parametrize("back_h", [1, -1])
def test_a_step_of_the_wall_clock_marks_what_is_under_way_and_nothing_after(back_h: int) -> None:
    has_stepped = threading.Event()

    async def stepped(wire: Wire) -> list[RequestRecord]:
        pending = wire.start()
        await read_of(server, 2)
        wire.transport.offset_ns += (
            back_h * 3_600_000 * MS
        )  # As if the clock had been set back by an hour before it ...
        wire.transport._clock_stepped()  # ... and the watch reports it: the offset is measured again.
        has_stepped.set()
        return [await pending, await wire.start()]

    reply: list[Step] = [SSE_HEAD, Send(chunk(frame(content("a")))), Until(has_stepped.is_set)]
    reply += [Send(chunk(frame(content("b")))), Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply, stream(*GOOD))) as server:
        under_way, after = on_wire(server.url, stepped)
        over = now_ns()
    _, _, (written, _), _, _ = server.received[0].writes
    assert (under_way.outcome, under_way.clock) == (Outcome.OK, "mixed")
    assert under_way.chunk_kind == "cco"
    assert written <= under_way.chunk_ns[1] <= over
    assert (after.outcome, after.clock) == (Outcome.OK, "kernel")
    assert after.sent_ns is not None
    assert after.sent_ns <= after.chunk_ns[0] <= over


def test_a_read_without_a_kernel_stamp_marks_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another option, which adds nothing to reads: SO_PRIORITY is harmless.
    monkeypatch.setattr(connection_module, "SO_TIMESTAMPNS", socket.SO_PRIORITY)
    with LiteralServer(in_turn(stream(*GOOD))) as server:
        record = on_wire(server.url, once)
        over, written = now_ns(), server.received[0].writes
    assert (record.outcome, record.clock, record.chunk_kind) == (Outcome.OK, "mixed", GOOD_KINDS)
    assert record.first_byte_ns is not None
    assert written[0][0] <= record.first_byte_ns <= over


# ---- Buffered reads --------------------------------------------------------------------------------------------------


def test_hundreds_of_reads_are_put_by_and_none_is_lost(reads: str) -> None:
    n = 300
    peak = 0
    may_write = threading.Semaphore(0)

    def has_read(connection: Connection, times: int) -> bool:
        return connection.reads == times

    async def watched(wire: Wire) -> RequestRecord:
        nonlocal peak
        pending = wire.start()
        (job,) = wire.transport._jobs
        assert job.connection is not None
        # For the head and for each chunk: none is written before the previous one is read.
        for number in range(1, n + 2):
            may_write.release()
            await wire.until(partial(has_read, job.connection, number))
            peak = max(peak, job.connection.put_by)
        may_write.release()
        return await pending

    reply: list[Step] = []
    for data in (SSE_HEAD.data, *(chunk(frame(content(f"{i} "))) for i in range(n)), chunk(frame(DONE)) + LAST_CHUNK):
        reply += [Until(lambda: may_write.acquire(blocking=False)), Send(data)]
    with LiteralServer(in_turn(reply)) as server:
        record = on_wire(server.url, watched)
    written = [before for before, _ in server.received[0].writes]
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, "c" * n + "o")
    assert record.bytes_received == sum(len(frame(content(f"{i} "))) for i in range(n)) + len(frame(DONE))
    # Reads are buffered, and parsed at 64. The compiled core parses at 64 KiB, since it keeps no objects.
    assert 32 < peak < (n if reads == "compiled" and core is not None else 2 * 64) + 32
    assert record.coalesced == 0
    for before, at, following in zip(written[1:-1], record.chunk_ns[:n], written[2:], strict=True):
        assert before <= at < following


def test_an_end_that_shares_its_read_with_something_else_is_seen_by_the_sweep() -> None:
    async def ask(wire: Wire) -> list[RequestRecord]:
        first = await wire.start()
        return [first, await wire.start()]

    # Unrequested bytes follow the last chunk, in the same write and in the next. The response is complete.
    reply: list[Step] = [SSE_HEAD, Send(chunk(frame(content("a")))), Pause(0.05)]
    reply += [Send(chunk(frame(DONE)) + LAST_CHUNK + b"HTTP/1.1 50"), Pause(0.05), Send(b"0 Unasked\r\n\r"), Hang()]
    with LiteralServer(in_turn(reply, stream(*GOOD))) as server:
        spoiled, after = on_wire(server.url, ask, timeout_idle_ns=round(PATIENCE_S * 1000) * MS)
        assert server.received[0].client_gone.wait(PATIENCE_S)
    assert (spoiled.outcome, spoiled.status, spoiled.chunk_kind) == (Outcome.OK, 200, "co")
    assert (after.outcome, after.chunk_kind) == (Outcome.OK, GOOD_KINDS)
    assert [r.connection for r in server.received] == [1, 2]


@pytest.mark.parametrize(
    "after",
    [b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno", b"garbage\r\n\r\n"],
    ids=["a second response", "garbage"],
)
def test_what_a_server_sends_unasked_changes_no_response(after: bytes) -> None:
    async def ask(wire: Wire) -> list[RequestRecord]:
        return [await wire.start() for _ in range(2)]

    body = b"".join(frames(*GOOD))
    spoiled = head("200 OK", "text/event-stream", f"content-length: {len(body)}") + body + after
    with LiteralServer(in_turn([Send(spoiled)], stream(*GOOD))) as server:
        records = on_wire(server.url, ask)
    assert [(r.outcome, r.status, r.chunk_kind) for r in records] == [(Outcome.OK, 200, GOOD_KINDS)] * 2
    assert records[0].bytes_received == len(body)
    assert server.connections == 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_second_response_on_an_idle_connection_is_not_the_reply_to_the_next_request(tls: bool) -> None:
    is_idle = threading.Event()
    again = head("200 OK", "text/event-stream", "content-length: 18") + b"data: unasked for\n"

    async def ask(wire: Wire) -> list[RequestRecord]:
        first = await wire.start()
        (connection,) = wire.transport._idle.values()
        before = connection.reads
        is_idle.set()
        await wire.until(lambda: connection.reads > before or connection.closed)
        return [first, await wire.start()]

    # After a chunked reply only reads that may end a body are parsed, and this one does not look like it.
    with LiteralServer(in_turn([*stream(*GOOD), Until(is_idle.is_set), Send(again)], stream(*GOOD)), tls=tls) as server:
        records = on_wire(server.url, ask, ca_file=str(CERTIFICATE) if tls else None)
    assert [(r.outcome, r.chunk_kind) for r in records] == [(Outcome.OK, GOOD_KINDS)] * 2
    assert [r.connection for r in server.received] == [1, 2]


@timing(
    tries=10,
    why="four writes of a thread, within the 40 ms for which the kernel puts off an acknowledgement: 0.1 ms quiet; "
    "busy, one of them may lie beyond, but seldom in each of 5 replies",
)
def test_chunks_that_came_while_the_program_slept_are_told_apart() -> None:
    sleeps = threading.Semaphore(0)

    def has_received(requests: int) -> bool:
        return len(server.received) == requests

    async def slept(wire: Wire) -> list[RequestRecord]:
        records: list[RequestRecord] = []
        for number in range(1, 6):
            pending = wire.start()
            (job,) = wire.transport._jobs
            await wire.until(partial(has_received, number))
            await read_of(server, 2)
            # A young connection acknowledges data that it has not read, and the kernel may merge acknowledged data. So
            # all data that was read is acknowledged here, and more comes 40 ms later at the earliest.
            assert job.connection is not None
            for quick in (1, 0):
                job.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, quick)
            sleeps.release()
            # The last token, usage and [DONE] arrive meanwhile, one after the other.
            wait_for(lambda: len(server.received[-1].writes) == 6)
            records.append(await pending)
        return records

    reply: list[Step] = [SSE_HEAD, Send(chunk(frame(content("a")))), Until(lambda: sleeps.acquire(blocking=False))]
    reply += [Send(chunk(frame(event))) for event in (content("b"), usage(2), DONE)] + [Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        records = on_wire(server.url, slept)
    written = [received.writes for received in server.received]
    assert {(r.outcome, r.chunk_kind) for r in records} == {(Outcome.OK, "ccuo")}
    exact = 0
    for record, writes in zip(records, written, strict=True):
        seen = zip(record.chunk_ns, writes[1:], strict=False)
        exact += record.coalesced == 0 and all(before <= at <= after for at, (before, after) in seen)
    assert exact >= 1


def test_when_to_acknowledge_is_left_to_the_kernel() -> None:
    """A client that acknowledges sooner than others hides the stall of a server that waits for acknowledgements between
    two writes."""

    async def ask(wire: Wire) -> tuple[RequestRecord, int]:
        pending = wire.start()
        (job,) = wire.transport._jobs
        assert job.connection is not None
        sock = job.connection.sock
        return await pending, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)

    reply: list[Step] = [SSE_HEAD, Pause(0.02)]
    for event in (content("a"), content("b"), DONE):  # The reader has time, and reads each chunk separately.
        reply += [Send(chunk(frame(event))), Pause(0.02)]
    with LiteralServer(in_turn([*reply, Send(LAST_CHUNK)])) as server:
        record, as_by_default = on_wire(server.url, ask)
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, "cco")
    assert as_by_default == 1


def test_a_send_goes_before_what_is_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 64
    monkeypatch.setattr(WireTransport, "reads_plainly", False)  # The compiled core reads in its own thread.
    may_begin, may_end = threading.Event(), threading.Event()

    async def order(wire: Wire) -> tuple[list[RequestRecord], list[int]]:
        transport = wire.transport
        await transport.prepare(n)
        pending = [wire.start() for _ in range(n)]
        connections = [job.connection for job in transport._jobs]

        def read() -> int:
            return sum(c.reads > 0 for c in connections if c is not None)

        await wire.until(lambda: len(server.received) == n)
        may_begin.set()
        # All replies have come meanwhile, and a call is due.
        wait_for(lambda: all(len(r.writes) == 2 for r in server.received) and server.all_is_acknowledged())
        transport._clock.call_at(now_ns(), lambda: None)
        seen, polled_ns = [read()], transport.last_poll_ns
        transport._pump()
        seen.append(read())
        assert transport.last_poll_ns == polled_ns, "a poll must not bound connections that it left out"
        may_end.set()
        return list(await asyncio.gather(*pending)), seen

    reply: list[Step] = [Until(may_begin.is_set), SSE_HEAD, Send(chunk(frame(content("a"))))]
    reply += [Until(may_end.is_set), Send(chunk(frame(DONE)) + LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        records, seen = on_wire(server.url, order)
    assert {(r.outcome, r.chunk_kind) for r in records} == {(Outcome.OK, "co")}
    assert seen == [0, 16]


def test_what_is_put_off_is_done_when_the_transport_is_closed() -> None:
    happened: list[str] = []

    async def put_off(wire: Wire) -> list[str]:
        an_hour_ns = 3_600_000 * MS
        wire.transport._work.takes_ns = an_hour_ns
        wire.transport._clock.call_at(now_ns() + an_hour_ns, lambda: happened.append("due"))
        wire.transport.later(lambda: happened.append("record"))
        for _ in range(3):
            await asyncio.sleep(0)
        return list(happened)

    assert on_wire("http://127.0.0.1:9", put_off) == []
    assert happened == ["record"]
