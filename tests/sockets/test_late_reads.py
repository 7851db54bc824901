"""A process is stopped while chunks arrive. The compiled receiver still knows when each chunk came."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from bench import native
from tests.support.stopped import go_on, stop
from tests.support.timing import timing

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(native.core is None, reason="the compiled core is not there: a C compiler makes it"),
]

CONNECTIONS = 4
"""More than a reader on time would have before it: it has slept, and has to catch up."""
ACKNOWLEDGED_NS = 20_000_000
"""Data that waits longer, 40 ms and more, is acknowledged unread by the kernel."""
CLOCKS_NS = 100_000
"""The two clocks are compared within some microseconds."""

READER = """
import socket, sys, time
import orjson
from bench import native
from bench.clock import realtime_offset_ns

receiver = native.core.Receiver()
socks = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
streams = []
for name, sock in enumerate(socks):
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    stream = receiver.watch(sock.fileno(), name, True)
    stream.begin()
    streams.append(stream)
    sock.send(b"x")
for reads in (1, 2):  # The head with what comes beside it, and a chunk alone.
    while any(stream.reads < reads for stream in streams):
        time.sleep(0.001)
    print(flush=True)
for sock in socks:
    # A young connection acknowledges what it has not read, and what is acknowledged the kernel may merge.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
print(time.monotonic_ns(), flush=True)
sys.stdin.readline()  # The process is stopped here, and goes on when all has been sent.
while any(not stream.waiting for stream in streams) or receiver.asked() == []:
    time.sleep(0.001)
offset_ns = realtime_offset_ns()
for stream in streams:
    found = []
    while any(b"END" in data for data, _ in found) is False:
        stream.collect()
        while (taken := stream.take(offset_ns, not found)) is not None:
            found.append((taken[0], taken[1]))
    print(orjson.dumps([[data.decode(), stamp_ns] for data, stamp_ns in found]).decode(), flush=True)
"""

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(text: bytes) -> bytes:
    body = b"data: " + text.ljust(120, b".") + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(body), body)


@timing(
    tries=10, why="what waits unread is written in less than the 20 ms after which the kernel merges it: 1 ms is usual"
)
def test_chunks_that_wait_together_have_each_its_own_stamp(tmp_path: Path) -> None:
    program = tmp_path / "reader.py"
    program.write_text(READER)
    took_ns, writes, reads = late_reads(program)
    assert took_ns < ACKNOWLEDGED_NS, f"written in {took_ns / 1e6:.1f} ms"
    for of_writes, of_reads in zip(writes, reads, strict=True):
        stamps_ns = [
            next(stamp_ns for data, stamp_ns in of_reads if text in data) for text in ("token", "usage", "END")
        ]
        assert stamps_ns == sorted(set(stamps_ns)), of_reads
        for stamp_ns, (before_ns, after_ns) in zip(stamps_ns, of_writes, strict=True):
            assert before_ns - CLOCKS_NS <= stamp_ns <= after_ns + CLOCKS_NS, (of_writes, of_reads)


def late_reads(program: Path) -> tuple[int, list[list[tuple[int, int]]], list[list[tuple[str, int]]]]:
    """How long the last chunks waited, in ns; when the last chunks of each connection were written; and the reads with
    their stamps."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        reader = stack.enter_context(
            subprocess.Popen(
                [sys.executable, program, str(listening.getsockname()[1]), str(CONNECTIONS)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        assert reader.stdin is not None
        assert reader.stdout is not None
        peers = [stack.enter_context(listening.accept()[0]) for _ in range(CONNECTIONS)]
        for peer in peers:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert peer.recv(1) == b"x"
            peer.sendall(HEAD + chunk(b"first"))
        reader.stdout.readline()  # The head has been read, so the next read has a chunk.
        for peer in peers:
            peer.sendall(chunk(b"second"))
        reader.stdout.readline()
        began_ns = int(reader.stdout.readline())
        stop(reader.pid)
        writes: list[list[tuple[int, int]]] = [[] for _ in peers]
        for last in (chunk(b"token"), chunk(b"usage"), chunk(b"END") + b"0\r\n\r\n"):
            for peer, times in zip(peers, writes, strict=True):
                before_ns = time.monotonic_ns()
                peer.sendall(last)
                times.append((before_ns, time.monotonic_ns()))
        took_ns = time.monotonic_ns() - began_ns
        go_on(reader.pid)
        reader.stdin.write("\n")
        reader.stdin.flush()
        reads = [[(data, stamp_ns) for data, stamp_ns in orjson.loads(reader.stdout.readline())] for _ in peers]
    return took_ns, writes, reads
