"""What the wire transport alone promises: kernel stamps, connections made ahead, reads put by, addresses, descriptors."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
import uvloop

from bench.clock import now_ns, process_clock
from bench.records import Outcome, RequestRecord
from bench.transport import connection as connection_module
from bench.transport.interface import Reading, Target
from bench.transport.wire import WireTransport
from bench.workload import Request
from tests.support.literal_replies import (
    CHUNKED,
    DONE,
    GOOD,
    GOOD_KINDS,
    LAST_CHUNK,
    chunk,
    completion,
    content,
    error,
    frame,
    frames,
    head,
    stream,
    usage,
    whole,
)
from tests.support.literal_server import (
    CERTIFICATE,
    Close,
    Hang,
    LiteralServer,
    Pause,
    Reset,
    Send,
    Step,
    closed_port,
    in_turn,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wire transport is for Linux")

MS = 1_000_000
T = TypeVar("T")
SSE_HEAD = Send(head("200 OK", "text/event-stream", CHUNKED))


class Wire:
    """An open wire transport, and requests through it."""

    def __init__(self, transport: WireTransport) -> None:
        self.transport = transport
        self.made = 0
        self.calls: list[str] = []

    def start(self, *, body: bytes = b'{"stream": true}') -> asyncio.Future[RequestRecord]:
        answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
        request = Request(
            id=f"wire-{self.made}",
            index=self.made,
            body=body,
            stream=True,
            input_tokens_asked=None,
            output_tokens_asked=None,
        )
        self.made += 1
        now = now_ns()

        def ended(end_ns: int) -> None:
            self.calls.append("ended")

        self.transport.start(request, now, now, answered.set_result, ended)
        return answered

    async def until(self, what: Callable[[], bool]) -> None:
        """Give the loop turns until it has come about."""
        async with asyncio.timeout(10):
            while not what():
                await asyncio.sleep(0.002)


def on_wire(url: str, what: Callable[[Wire], Coroutine[Any, Any, T]], **target: Any) -> T:
    async def main() -> T:
        clock = process_clock()
        transport = WireTransport(Target(url=url + "/", **target), Reading(), clock)
        await transport.open()
        try:
            return await what(Wire(transport))
        finally:
            await transport.close()
            clock.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def once(wire: Wire) -> RequestRecord:
    return await wire.start()


# ---- Stamps --------------------------------------------------------------------------------------------------------


def test_every_record_of_the_wire_has_kernel_stamps_from_its_first_request_on() -> None:
    async def many(wire: Wire) -> list[RequestRecord]:
        return [await wire.start() for _ in range(5)]

    with LiteralServer(in_turn(stream(*GOOD))) as server:
        records = on_wire(server.url, many)
    assert [r.clock for r in records] == ["kernel"] * 5


def test_tls_keeps_the_kernel_stamps() -> None:
    async def late(wire: Wire) -> RequestRecord:
        pending = wire.start()
        await wire.until(lambda: bool(server.received) and len(server.received[0].writes) >= 2)
        await asyncio.sleep(0.02)
        # The program is busy while a chunk arrives: only the kernel can say when that was.
        until = now_ns() + 150 * MS
        while now_ns() < until:
            pass
        return await pending

    reply: list[Step] = [SSE_HEAD, Send(chunk(frame(content("a")))), Pause(0.08), Send(chunk(frame(content("b"))))]
    reply += [Pause(0.3), Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply), tls=True) as server:
        record = on_wire(server.url, late, ca_file=str(CERTIFICATE))
        _, _, (before, after), *_ = server.received[0].writes
    assert (record.outcome, record.clock, record.chunk_kind) == (Outcome.OK, "kernel", "cco")
    assert before <= record.chunk_ns[1] <= after + 5 * MS


def test_a_step_of_the_wall_clock_marks_what_is_under_way_and_nothing_after() -> None:
    async def stepped(wire: Wire) -> list[RequestRecord]:
        pending = wire.start()
        await wire.until(lambda: bool(server.received) and len(server.received[0].writes) >= 2)
        await asyncio.sleep(0.03)
        wire.transport.offset_ns += 3_600_000 * MS  # As though the clock had been set back an hour since then ...
        wire.transport._clock_stepped()  # ... and the watch says so: the offset is measured anew.
        return [await pending, await wire.start()]

    reply: list[Step] = [SSE_HEAD, Send(chunk(frame(content("a")))), Pause(0.2), Send(chunk(frame(content("b"))))]
    reply += [Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply, stream(*GOOD))) as server:
        under_way, after = on_wire(server.url, stepped)
        *_, (written, _), _, _ = server.received[0].writes
    assert (under_way.outcome, under_way.clock) == (Outcome.OK, "mixed")
    assert under_way.chunk_kind == "cco"
    assert written <= under_way.chunk_ns[1] < written + 100 * MS
    assert (after.outcome, after.clock) == (Outcome.OK, "kernel")
    assert after.sent_ns is not None
    assert after.sent_ns <= after.chunk_ns[0] < after.sent_ns + 1_000 * MS


def test_a_read_without_a_kernel_stamp_marks_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another number asks for nothing that comes with a read: SO_PRIORITY is harmless.
    monkeypatch.setattr(connection_module, "SO_TIMESTAMPNS", socket.SO_PRIORITY)
    with LiteralServer(in_turn([Pause(0.05), *stream(*GOOD)])) as server:
        record = on_wire(server.url, once)
        written = server.received[0].writes
    assert (record.outcome, record.clock, record.chunk_kind) == (Outcome.OK, "mixed", GOOD_KINDS)
    assert record.first_byte_ns is not None
    assert written[0][0] <= record.first_byte_ns < written[0][0] + 50 * MS


# ---- Reads that are put by -------------------------------------------------------------------------------------------


def test_hundreds_of_reads_are_put_by_and_none_is_lost() -> None:
    n = 300
    peak = 0

    async def watched(wire: Wire) -> RequestRecord:
        nonlocal peak
        pending = wire.start()
        while not pending.done():
            await asyncio.sleep(0.001)
            for job in list(wire.transport._jobs):
                if job.connection is not None:
                    peak = max(peak, len(job.connection._put_by))
        return await pending

    # Each chunk in a write of its own, with time between for a read of its own.
    reply: list[Step] = [SSE_HEAD]
    for i in range(n):
        reply += [Send(chunk(frame(content(f"{i} ")))), Pause(0.001)]
    reply += [Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        record = on_wire(server.url, watched)
        written = server.received[0].writes
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, "c" * n + "o")
    assert record.bytes_received == sum(len(frame(content(f"{i} "))) for i in range(n)) + len(frame(DONE))
    assert 32 < peak < 2 * 64 + 32  # They are put by, and caught up with at 64.
    for i, at in enumerate(record.chunk_ns[:n]):
        assert written[i + 1][0] <= at
    bounds = record.chunk_bound_ns if record.chunk_bound_ns is not None else [None] * (n + 1)
    exact = [at - written[i + 1][1] for i, at in enumerate(record.chunk_ns[:n]) if bounds[i] is None]
    assert len(exact) > n // 2
    assert max(exact) < 20 * MS


def test_an_end_that_shares_its_read_with_something_else_is_seen_by_the_sweep() -> None:
    async def ask(wire: Wire) -> list[RequestRecord]:
        first = await wire.start()
        return [first, await wire.start()]

    # Bytes that nobody asked for follow the last chunk, in one write with it and in the next: the response is whole.
    reply = [SSE_HEAD, Send(chunk(frame(content("a")))), Pause(0.05)]
    reply += [Send(chunk(frame(DONE)) + LAST_CHUNK + b"HTTP/1.1 50"), Pause(0.05), Send(b"0 Unasked\r\n\r"), Hang()]
    with LiteralServer(in_turn(reply, stream(*GOOD))) as server:
        spoiled, after = on_wire(server.url, ask, timeout_idle_ns=2_000 * MS)
        assert server.received[0].client_gone.wait(5)
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


def test_chunks_that_came_while_the_program_slept_are_told_apart() -> None:
    async def slept(wire: Wire) -> list[RequestRecord]:
        records = []
        for _ in range(5):
            replies = len(server.received)
            pending = wire.start()
            await wire.until(lambda: len(server.received) > replies and len(server.received[-1].writes) >= 2)  # noqa: B023
            await asyncio.sleep(0.01)
            time.sleep(0.08)  # The last token, usage and [DONE] arrive meanwhile, one behind the other.
            records.append(await pending)
        return records

    reply: list[Step] = [
        SSE_HEAD,
        Pause(0.04),
        Send(chunk(frame(content("a")))),
        Pause(0.04),
        Send(chunk(frame(content("b")))),
    ]
    reply += [Send(chunk(frame(usage(2)))), Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(*[reply] * 5)) as server:
        records = on_wire(server.url, slept)
        written = [received.writes for received in server.received]
    assert {(r.outcome, r.chunk_kind) for r in records} == {(Outcome.OK, "ccuo")}
    exact = 0
    for record, writes in zip(records, written, strict=True):
        seen = zip(record.chunk_ns, writes[1:], strict=False)
        exact += record.coalesced == 0 and all(before <= at <= after for at, (before, after) in seen)
    print(
        [
            (
                r.coalesced,
                [(at - w[0][0]) // 1000 for at in r.chunk_ns],
                [[(b - w[0][0]) // 1000, (a - w[0][0]) // 1000] for b, a in w],
            )
            for r, w in zip(records, written, strict=True)
        ]
    )
    assert exact >= 3  # Where the machine is busy, an acknowledgement may have come in between.


def test_a_send_goes_before_what_is_to_be_read() -> None:
    n = 64

    async def order(wire: Wire) -> tuple[list[RequestRecord], list[int]]:
        transport = wire.transport
        await transport.prepare(n)
        pending = [wire.start() for _ in range(n)]
        connections = [job.connection for job in transport._jobs]

        def read() -> int:
            return sum(c.reads > 0 for c in connections if c is not None)

        await wire.until(lambda: len(server.received) == n)
        transport._clock.call_at(now_ns() + 400 * MS, lambda: None)
        time.sleep(0.6)  # All have answered meanwhile, and something is due.
        seen, polled_ns = [read()], transport.last_poll_ns
        transport._pump()
        seen.append(read())
        assert transport.last_poll_ns == polled_ns, "it bounds nothing that it has left out"
        await asyncio.sleep(0)
        return list(await asyncio.gather(*pending)), seen

    reply = [Pause(0.3), SSE_HEAD, Send(chunk(frame(content("a")))), Pause(0.7), Send(chunk(frame(DONE)) + LAST_CHUNK)]
    with LiteralServer(in_turn(*[reply] * n)) as server:
        records, (before, after) = on_wire(server.url, order)
    assert {(r.outcome, r.chunk_kind) for r in records} == {(Outcome.OK, "co")}
    assert after - before == 16


def test_a_record_is_not_made_when_something_is_due_sooner() -> None:
    async def order(wire: Wire) -> list[str]:
        transport, clock, happened = wire.transport, wire.transport._clock, []
        transport._work_ns = 5 * MS

        def happens(what: str) -> Callable[[], None]:
            return lambda: happened.append(what)

        clock.call_at(now_ns() + 4 * MS, happens("due in 4 ms"))
        clock.call_at(now_ns() + 90 * MS, happens("due in 90 ms"))
        transport.later(happens("record"))
        await wire.until(lambda: len(happened) == 3)
        # A queue that grows is worked off whatever is due. (The estimate falls by an eighth with each that is quick.)
        clock.call_at(now_ns() + 30 * MS, happens("due in 30 ms"))
        transport._work_ns = 1000 * MS
        for _ in range(80):
            transport.later(happens("one of many"))
        await wire.until(lambda: len(happened) == 3 + 80 + 1)
        # What is put off is done when the transport is closed.
        clock.call_at(now_ns() + 500 * MS, happens("never"))
        transport._work_ns = 500 * MS
        transport.later(happens("put off"))
        await asyncio.sleep(0.01)
        assert happened[-1] != "put off"
        return happened

    happened = on_wire("http://127.0.0.1:9", order)
    assert happened[:3] == ["due in 4 ms", "record", "due in 90 ms"]
    before = happened[3:84].index("due in 30 ms")
    assert 80 - 63 <= before < 80 - 55, "63 are few enough to wait; the sweep, when it is due, lets one through"
    assert happened[-1] == "put off"


# ---- Connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_connections_are_made_ahead_and_cost_no_request_anything(tls: bool) -> None:
    async def prepared(wire: Wire) -> list[RequestRecord]:
        await wire.transport.prepare(20)
        assert len(wire.transport._idle) == 20
        return await asyncio.gather(*[wire.start() for _ in range(20)])

    with LiteralServer(in_turn([Pause(0.02), *stream(*GOOD)]), tls=tls) as server:
        records = on_wire(server.url, prepared, ca_file=str(CERTIFICATE) if tls else None)
    assert {(r.outcome, r.connect_ns, r.attempts, r.clock) for r in records} == {(Outcome.OK, 0, 1, "kernel")}
    assert server.connections == 20
    assert len({r.connection for r in server.received}) == 20


def test_connections_that_cannot_be_made_ahead_are_no_failure() -> None:
    async def prepared(wire: Wire) -> RequestRecord:
        await wire.transport.prepare(5)
        return await wire.start()

    with closed_port() as url:
        record = on_wire(url, prepared)
    assert record.outcome is Outcome.CONNECT_ERROR


def test_a_connection_made_ahead_that_the_server_closed_is_not_used() -> None:
    accepted: list[socket.socket] = []

    async def prepared(wire: Wire) -> RequestRecord:
        loop = asyncio.get_running_loop()
        preparing = asyncio.ensure_future(wire.transport.prepare(1))
        accepted.append((await loop.run_in_executor(None, listening.accept))[0])
        await preparing
        accepted[0].close()
        pending = wire.start()
        second, _ = await loop.run_in_executor(None, listening.accept)
        accepted.append(second)
        await loop.run_in_executor(None, second.recv, 65536)
        reply = head("200 OK", "text/event-stream", CHUNKED) + b"".join(map(chunk, frames(*GOOD))) + LAST_CHUNK
        await loop.run_in_executor(None, second.sendall, reply)
        return await pending

    with socket.create_server(("127.0.0.1", 0)) as listening:
        record = on_wire(f"http://127.0.0.1:{listening.getsockname()[1]}", prepared)
    for connection in accepted:
        connection.close()
    assert (record.outcome, record.attempts, record.chunk_kind) == (Outcome.OK, 1, GOOD_KINDS)


@pytest.mark.parametrize("ahead", [0, 8], ids=["none made ahead", "made ahead"])
def test_a_name_whose_first_address_refuses_is_served_by_its_second(ahead: int) -> None:
    async def both(wire: Wire) -> list[RequestRecord]:
        (good,) = wire.transport._addresses
        # Nothing listens on the other address, as where a server listens on IPv4 alone and `localhost` is both.
        wire.transport._addresses = [(socket.AF_INET, ("127.0.0.2", good[1][1])), good]
        await wire.transport.prepare(ahead)
        assert len(wire.transport._idle) == ahead
        return await asyncio.gather(*[wire.start() for _ in range(8)])

    with LiteralServer(in_turn(stream(*GOOD))) as server:
        records = on_wire(server.url, both)
    assert [r.outcome for r in records] == [Outcome.OK] * 8
    assert all((r.connect_ns == 0) == bool(ahead) for r in records)


def test_where_no_descriptor_is_left_requests_fail_and_the_run_goes_on() -> None:
    async def too_many(wire: Wire) -> list[RequestRecord]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as highest:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno() + 6, hard))
        try:
            await wire.transport.prepare(50)
            pending = [wire.start() for _ in range(50)]
            assert wire.calls == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await wire.until(lambda: sum(answer.done() for answer in pending) >= 40)
        pending.append(wire.start())
        await wire.until(lambda: all(job.exchange.sent_ns is not None for job in wire.transport._jobs))
        wire.transport.cut()
        return await asyncio.gather(*pending)

    # Nobody accepts: the kernel alone is the server, and takes no descriptor of this process.
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        *records, after = on_wire(f"http://127.0.0.1:{listening.getsockname()[1]}", too_many)
    failed = [r for r in records if r.outcome is Outcome.CONNECT_ERROR]
    assert {r.error for r in failed} == {"no socket for another connection: Too many open files"}
    assert 40 <= len(failed) < 50
    assert {r.outcome for r in records} == {Outcome.CONNECT_ERROR, Outcome.INTERRUPTED}
    assert (after.outcome, after.sent_ns is None) == (Outcome.INTERRUPTED, False)


def test_a_cut_closes_the_socket_of_a_connection_that_was_made_ahead() -> None:
    async def cut(wire: Wire) -> RequestRecord:
        await wire.transport.prepare(1)
        pending = wire.start()
        await wire.until(lambda: bool(server.received))
        wire.transport.cut()
        return await pending

    with LiteralServer(in_turn([Hang()])) as server:
        record = on_wire(server.url, cut)
        assert server.received[0].client_gone.wait(5)
    assert (record.outcome, record.connect_ns) == (Outcome.INTERRUPTED, 0)


def test_a_body_larger_than_the_sockets_buffers_is_sent_whole() -> None:
    async def large(wire: Wire) -> RequestRecord:
        return await wire.start(body=b'{"x": "' + b"y" * 8_000_000 + b'"}')

    with LiteralServer(in_turn(stream(*GOOD))) as server:
        record = on_wire(server.url, large)
    assert (record.outcome, record.bytes_sent) == (Outcome.OK, 8_000_009)
    assert len(server.received[0].body) == 8_000_009


def test_an_answer_before_the_whole_request_was_sent_ends_the_connection() -> None:
    async def refused(wire: Wire) -> list[RequestRecord]:
        first = await wire.start(body=b'{"x": "' + b"y" * 30_000_000 + b'"}')
        return [first, await wire.start()]

    def early(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1_000)
            connection.sendall(
                b"".join(s.data for s in whole("413 Too Large", error("too large")) if isinstance(s, Send))
            )
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(
                    b"".join(s.data for s in whole("200 OK", completion("hello", 2)) if isinstance(s, Send))
                )

    async def with_server(wire: Wire) -> list[RequestRecord]:
        serving = asyncio.get_running_loop().run_in_executor(None, early, listening)
        records = await refused(wire)
        await serving
        return records

    with socket.create_server(("127.0.0.1", 0)) as listening:
        first, second = on_wire(f"http://127.0.0.1:{listening.getsockname()[1]}", with_server)
    assert (first.outcome, first.status, first.error) == (Outcome.HTTP_ERROR, 413, "too large")
    assert (second.outcome, second.attempts) == (Outcome.OK, 1)


def test_tls_that_ends_in_good_order_ends_a_body_without_a_length() -> None:
    """The close_notify comes in one read with the last bytes, and the socket stays open behind it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    # One record at a time, and no session tickets: what is sent below is all that is sent.
    context.num_tickets = 0

    def serve(listening: socket.socket, done: list[socket.socket]) -> None:
        raw, _ = listening.accept()
        done.append(raw)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65_536))
        raw.sendall(outgoing.read())
        request = b""
        while b"\r\n\r\n" not in request:
            try:
                request += tls.read(65_536)
            except ssl.SSLWantReadError:
                incoming.write(raw.recv(65_536))
        tls.write(head("200 OK", "text/event-stream", "connection: close") + b"".join(frames(*GOOD)))
        with suppress(ssl.SSLWantReadError):
            tls.unwrap()
        raw.sendall(outgoing.read())

    async def ask(wire: Wire) -> RequestRecord:
        serving = asyncio.get_running_loop().run_in_executor(None, serve, listening, held)
        record = await wire.start()
        await serving
        return record

    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        record = on_wire(url, ask, ca_file=str(CERTIFICATE), insecure=False, timeout_total_ns=2_000 * MS)
    for raw in held:
        raw.close()
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, GOOD_KINDS)


def test_a_reset_of_a_reused_connection_is_one_second_attempt_that_the_record_counts() -> None:
    async def ask(wire: Wire) -> list[RequestRecord]:
        return [await wire.start() for _ in range(3)]

    with LiteralServer(
        in_turn(stream(*GOOD), [Pause(0.03), Reset()], stream(*GOOD), [Close()], stream(*GOOD))
    ) as server:
        records = on_wire(server.url, ask)
    assert [(r.outcome, r.attempts) for r in records] == [(Outcome.OK, 1), (Outcome.OK, 2), (Outcome.OK, 2)]
    assert [r.headers["x-request-id"] for r in server.received] == [
        "wire-0", "wire-1", "wire-1", "wire-2", "wire-2"
    ]  # fmt: skip
    assert [r.clock for r in records] == ["kernel"] * 3


def test_a_connection_made_ahead_that_dies_under_its_first_request_gives_it_a_second_attempt() -> None:
    async def ask(wire: Wire) -> RequestRecord:
        await wire.transport.prepare(1)
        return await wire.start()

    with LiteralServer(in_turn([Pause(0.03), Reset()], stream(*GOOD))) as server:
        record = on_wire(server.url, ask)
    assert (record.outcome, record.attempts, record.chunk_kind) == (Outcome.OK, 2, GOOD_KINDS)
    assert [r.headers["x-request-id"] for r in server.received] == ["wire-0", "wire-0"]


def test_a_connection_made_for_its_request_gives_it_no_second_attempt() -> None:
    async def ask(wire: Wire) -> RequestRecord:
        return await wire.start()

    with LiteralServer(in_turn([Pause(0.03), Reset()], stream(*GOOD))) as server:
        record = on_wire(server.url, ask)
    assert (record.outcome, record.attempts, len(server.received)) == (Outcome.RESET, 1, 1)


@pytest.mark.parametrize("second", [False, True], ids=["tried again", "not tried again"])
def test_a_send_that_fails_at_once_answers_nothing_inside_start(second: bool) -> None:
    async def ask(wire: Wire) -> tuple[RequestRecord, list[str]]:
        await wire.transport.prepare(1)
        (connection,) = wire.transport._idle.values()
        connection.sock.shutdown(socket.SHUT_WR)  # It looks alive, and cannot be written to.
        connection.pooled = not second
        answer = wire.start()
        inside = list(wire.calls)
        return await answer, inside

    def serve_the_second(listening: socket.socket) -> None:
        # The first is held and never read: a server that saw its end would close, and the client might see that first.
        with listening.accept()[0], listening.accept()[0] as fresh:
            fresh.recv(65_536)
            fresh.sendall(b"".join(step.data for step in stream(*GOOD) if isinstance(step, Send)))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve_the_second, args=[listening], daemon=True)
        if not second:
            server.start()
        record, inside = on_wire(f"http://127.0.0.1:{listening.getsockname()[1]}", ask)
        if not second:
            server.join(timeout=10)
    assert inside == []
    assert (record.outcome, record.attempts) == ((Outcome.RESET, 1) if second else (Outcome.OK, 2))
