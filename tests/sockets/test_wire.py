"""The connections of the wire transport: made ahead, reused and cut; addresses, descriptors, second attempts."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import sys
import threading
from contextlib import suppress

import pytest

from bench.records import Outcome, RequestRecord
from bench.transport.connection import Address
from tests.support.literal_replies import (
    CHUNKED,
    GOOD,
    GOOD_KINDS,
    LAST_CHUNK,
    chunk,
    completion,
    error,
    frames,
    head,
    stream,
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
    closed_port,
    full_backlog,
    in_turn,
)
from tests.support.on_wire import MS, Wire, on_wire
from tests.support.patience import PATIENCE_S
from tests.support.run_process import wait_for

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the wire transport is for Linux"),
    pytest.mark.usefixtures("reads"),
    pytest.mark.wall_clock,
]

LONG_NS = 10_000 * MS

# ---- Requests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "outcome"), [(200, Outcome.MALFORMED), (413, Outcome.HTTP_ERROR)])
def test_a_reply_to_a_request_that_was_not_read_is_no_success(status: int, outcome: Outcome) -> None:
    body = bytes(12 * 1024 * 1024)  # More than the buffers of both kernels hold.
    reply = stream(*GOOD) if status == 200 else whole("413 Too Large", b"too large")
    answered = threading.Event()

    def answer(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(1024)
            for step in reply:
                assert isinstance(step, Send)
                connection.sendall(step.data)
            answered.wait(PATIENCE_S)  # The server reads no more.

    async def one(wire: Wire) -> RequestRecord:
        return await wire.start(body=body)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        record = on_wire(f"http://127.0.0.1:{listening.getsockname()[1]}", one)
        answered.set()
        thread.join()
    assert record.outcome is outcome
    assert ("before the server had read the request" in str(record.error)) == (status == 200)


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
        (idle,) = wire.transport._idle.values()
        accepted[0].close()
        wait_for(lambda: not idle.alive())  # The loop does not turn meanwhile: it has not heard of it.
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


def place(url: str) -> Address:
    return socket.AF_INET, ("127.0.0.1", int(url.rpartition(":")[2]))


async def the_connect_timeout_passes(wire: Wire, silent: Address) -> None:
    """Expire all pending connections to this address: the sweep, once per second, finds them long overdue."""
    made = [*wire.transport._ahead, *(job.connection for job in wire.transport._jobs if job.connection is not None)]
    for connection in made:
        assert connection.address == silent
        connection.began_ns -= LONG_NS
    await wire.until(lambda: all(connection.closed for connection in made))


@pytest.mark.parametrize("ahead", [0, 8], ids=["none made ahead", "made ahead"])
@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "never answers"])
def test_a_name_whose_first_address_refuses_or_never_answers_is_served_by_its_second(ahead: int, silent: bool) -> None:
    async def both(wire: Wire) -> list[RequestRecord]:
        # As if a server listens only on IPv4 while `localhost` has both addresses, or if one of the addresses is
        # unreachable.
        wire.transport._addresses.insert(0, place(first))
        made_ahead = asyncio.create_task(wire.transport.prepare(ahead))
        await asyncio.sleep(0)
        if silent and ahead:
            await the_connect_timeout_passes(wire, place(first))
        await made_ahead
        assert len(wire.transport._idle) == ahead
        answers = [wire.start() for _ in range(8)]
        if silent and not ahead:
            await the_connect_timeout_passes(wire, place(first))
        return await asyncio.gather(*answers)

    with LiteralServer(in_turn(stream(*GOOD))) as server, full_backlog() if silent else closed_port() as first:
        records = on_wire(server.url, both, timeout_connect_ns=LONG_NS)
    assert [r.outcome for r in records] == [Outcome.OK] * 8
    assert all((r.connect_ns == 0) == bool(ahead) for r in records)


def test_an_address_that_has_answered_is_kept_when_it_is_too_busy_to_answer_in_time() -> None:
    async def twice(wire: Wire) -> list[Outcome]:
        answered = await wire.start()
        await wire.until(lambda: not any(connection.alive() for connection in wire.transport._idle.values()))
        wire.transport._addresses = [place(busy), place(other)]
        late = [wire.start(), wire.start()]
        await the_connect_timeout_passes(wire, place(busy))
        return [record.outcome for record in (answered, *await asyncio.gather(*late))]

    with LiteralServer(lambda _: [*stream(*GOOD), Close()]) as server, full_backlog() as busy, closed_port() as other:
        outcomes = on_wire(server.url, twice, timeout_connect_ns=LONG_NS)
    assert outcomes == [Outcome.OK, *[Outcome.TIMEOUT_CONNECT] * 2]


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

    # No program accepts connections. Only the kernel serves, without using a descriptor of this process.
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
        assert server.received[0].client_gone.wait(PATIENCE_S)
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
        first = await wire.start(body=b'{"x": "' + b"y" * 12_000_000 + b'"}')
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
    """The close_notify comes in the same read as the last bytes, and the socket stays open after it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    # One record at a time, and no session tickets: only the data below is sent.
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
        record = on_wire(
            url, ask, ca_file=str(CERTIFICATE), insecure=False, timeout_total_ns=round(PATIENCE_S * 1000) * MS
        )
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
        connection.sock.shutdown(socket.SHUT_WR)  # The connection looks open, but cannot be written to.
        connection.pooled = not second
        answer = wire.start()
        inside = list(wire.calls)
        return await answer, inside

    def serve_the_second(listening: socket.socket) -> None:
        # The first connection stays open and is never read: a server that saw its end would close it, and the client
        # might see that first.
        with listening.accept()[0], listening.accept()[0] as fresh:
            fresh.recv(65_536)
            fresh.sendall(b"".join(step.data for step in stream(*GOOD) if isinstance(step, Send)))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve_the_second, args=[listening], daemon=True)
        if not second:
            server.start()
        record, inside = on_wire(f"http://127.0.0.1:{listening.getsockname()[1]}", ask)
        if not second:
            server.join(timeout=PATIENCE_S)
    assert inside == []
    assert (record.outcome, record.attempts) == ((Outcome.RESET, 1) if second else (Outcome.OK, 2))
