"""Arrival stamps at the mock are the kernel's stamp of the last byte, however requests come in."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.raw_mock import CHAT, MS, chat, connect, line_of, read_until, request, until_read, until_stamped


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "20ms", "--tpot", "4ms") as mock:
        until_stamped(mock)
        yield mock


CLOCKS_NS = 10_000
"""The offset between the kernel's clock and ours is known much better than this."""
pytestmark = pytest.mark.wall_clock
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="kernel stamps are Linux's")


@LINUX
@pytest.mark.parametrize("padding", [0, 3_000_000], ids=["in pieces", "longer than the socket's buffer"])
def test_plans_count_from_the_last_byte_of_a_request_that_takes_several_reads(mock: MockProcess, padding: int) -> None:
    name = f"pieces-{uuid.uuid4()}"
    whole = request(CHAT, chat(padding="x" * padding), x_request_id=name)
    with connect(mock) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (whole[:100], whole[100:-1]):
            sock.sendall(piece)
            until_read(sock)
        httpx.get(mock.url + "/health")  # By then the loop has run the callbacks after that read.
        with mock.held_still():  # A stamp taken at the read of the last byte would be late.
            before = time.monotonic_ns()
            sock.sendall(whole[-1:])
            after = time.monotonic_ns()
            time.sleep(0.002)
        read_until(sock, b"0\r\n\r\n")
    line = line_of(mock, name)
    assert before - CLOCKS_NS <= line["received_ns"] <= after + CLOCKS_NS
    assert line["write_ns"][0] - line["received_ns"] >= 20 * MS - 100_000
    assert line["handled_ns"] < before  # The handler began with the head, long before.


@LINUX
def test_arrivals_carry_the_kernels_stamp_even_when_the_loop_is_late(mock: MockProcess) -> None:
    names = [f"burst-{uuid.uuid4()}" for _ in range(50)]
    clock = httpx.get(mock.url + "/truth").json()["arrival_clock"]
    sent = []
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(mock)) for _ in names]
        with mock.held_still():
            for name, sock in zip(names, socks, strict=True):
                before = time.monotonic_ns()
                sock.sendall(request(CHAT, chat(), x_request_id=name))
                sent.append((before, time.monotonic_ns()))
            time.sleep(0.002)
        for sock in socks:
            read_until(sock, b"0\r\n\r\n")
    lines = mock.lines_of(names)
    for name, (before, after) in zip(names, sent, strict=True):
        line = lines[name]
        assert before - CLOCKS_NS <= line["received_ns"] <= after + CLOCKS_NS
        assert line["handled_ns"] - line["received_ns"] > MS
        # The first token of a request that is handled late is late, never early: the plan counts from the arrival.
        assert line["write_ns"][1] - line["received_ns"] >= 20 * MS - 100_000
    assert httpx.get(mock.url + "/truth").json()["arrival_clock"] == {**clock, "kernel": clock["kernel"] + 50}


@LINUX
def test_every_arrival_has_a_kernel_stamp_however_its_bytes_come(mock: MockProcess) -> None:
    before = httpx.get(mock.url + "/truth").json()["arrival_clock"]
    whole = request(CHAT, chat(max_tokens=1, padding="x" * 3000))
    with connect(mock) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(60):
            # Pieces in quick succession. Some arrive between a peek at the socket and the following read.
            for start in range(0, len(whole), 97):
                sock.send(whole[start : start + 97])
            read_until(sock, b"0\r\n\r\n")
    after = httpx.get(mock.url + "/truth").json()["arrival_clock"]
    assert (after["kernel"] - before["kernel"], after["user"] - before["user"]) == (60, 0)


@LINUX
def test_requests_sent_ahead_each_count_from_their_own_arrival(mock: MockProcess) -> None:
    sent = []
    name = f"ahead-{uuid.uuid4()}"
    with connect(mock) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(3):
            before = time.monotonic_ns()
            # The second and third wait for the answer to the first.
            sock.sendall(request(CHAT, chat(), x_request_id=f"{name}-{i}", x_mock_ttft="20ms" if i else "200ms"))
            sent.append((before, time.monotonic_ns()))
            if i < 2:
                until_read(sock)
        data = b""
        while data.count(b"0\r\n\r\n") < 3:
            data += sock.recv(65536)
    for i, (before, after) in enumerate(sent):
        assert before - CLOCKS_NS <= line_of(mock, f"{name}-{i}")["received_ns"] <= after + CLOCKS_NS


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
@LINUX
@pytest.mark.usefixtures("mock")
def test_arrivals_over_ipv6_are_stamped_too() -> None:
    with mock_process("--host", "::1", "--ttft", "5ms", "--tpot", "1ms") as mock:
        assert mock.url.startswith("http://[::1]:")
        before = time.monotonic_ns()
        assert httpx.post(mock.url + CHAT, json=chat(), headers={"x-request-id": "six-1"}).status_code == 200
        assert line_of(mock, "six-1")["received_ns"] > before - CLOCKS_NS
        assert httpx.get(mock.url + "/truth").json()["arrival_clock"] == {"kernel": 1, "user": 0}


def test_a_write_goes_to_the_socket_at_once() -> None:
    """The ledger relies on this: if the buffer is empty, the loop's transport sends within the call of `write`."""
    import asyncio

    import uvloop

    async def main() -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=writer)
        for _ in range(100):
            transport.write(b"now")
            assert reader.recv(16) == b"now"  # This is within the same turn of the loop.
            assert transport.get_write_buffer_size() == 0
        # A write does not overtake waiting bytes: afterwards, these wait, too.
        while transport.get_write_buffer_size() == 0:
            transport.write(bytes(65_536))
        waiting = transport.get_write_buffer_size()
        while reader.recv(1 << 20, socket.MSG_DONTWAIT | socket.MSG_PEEK) != reader.recv(1 << 20):
            pass
        transport.write(b"behind")
        assert transport.get_write_buffer_size() == waiting + len(b"behind")
        transport.abort()
        reader.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@LINUX
@pytest.mark.usefixtures("mock")
def test_the_stamp_of_an_arrival_is_the_kernels_for_its_last_byte() -> None:
    """Reading relies on this: MSG_PEEK gives the stamp of the last byte, and sockets inherit the option."""
    timestamp, stamp = 35, struct.Struct("qq")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, timestamp, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
            client.sendall(b"first")
            before = time.time_ns()
            client.sendall(b"last")
            after = time.time_ns()
            time.sleep(0.002)  # A stamp taken at the read would be late.
            data = b""
            while data != b"firstlast":
                data, control, _, _ = server.recvmsg(64, 64, socket.MSG_PEEK)
    seconds, nanoseconds = stamp.unpack(control[0][2])
    assert before <= seconds * 1_000_000_000 + nanoseconds <= after
