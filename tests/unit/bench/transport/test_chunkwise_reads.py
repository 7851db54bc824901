"""Chunks that wait together are read one at a time, each with the stamp of its own segment."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from bench.transport.chunkwise_reads import (
    GLANCE,
    MOST,
    chunked_head,
    is_loopback,
    left_of_chunk,
    read_chunkwise,
)
from tests.support.literal_replies import CHUNKED, LAST_CHUNK, chunk, head

TOKEN = chunk(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
USAGE = chunk(b'data: {"choices":[],"usage":{"completion_tokens":1}}\n\n')
DONE = chunk(b"data: [DONE]\n\n")


class Queue:
    """A socket's received data: segments with stamps. A read has the stamp of the last segment that it touches."""

    def __init__(self, *segments: tuple[bytes, int], stamped: bool = True, then: OSError | None = None) -> None:
        self.segments = list(segments)
        self.stamped = stamped
        self.then: OSError | None = BlockingIOError() if then is None else then
        self.calls = 0

    def recvmsg(self, size: int, control_size: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        self.calls += 1
        data, stamp = b"", 0
        while self.segments and len(data) < size:
            segment, stamp = self.segments.pop(0)
            taken = segment[: size - len(data)]
            data += taken
            if len(taken) < len(segment):
                self.segments.insert(0, (segment[len(taken) :], stamp))
        if not data and self.then is not None:
            raise self.then
        return data, [(1, 35, stamp_of(stamp))] if data and self.stamped else [], 0, None


def stamp_of(at: int) -> bytes:
    return struct.pack("qq", 0, at)


def read(queue: Queue, most_calls: int = 64) -> list[tuple[bytes, int]]:
    taken = read_chunkwise(queue.recvmsg, 64, most_calls)
    assert (taken.more, taken.ended, taken.broken) == (False, False, None)
    reads = []
    for data, stamp in taken.reads:
        assert isinstance(stamp, bytes)
        reads.append((data, struct.unpack("qq", stamp)[1]))
    return reads


def test_each_chunk_has_the_stamp_of_its_segment() -> None:
    sent = [(TOKEN, 10), (USAGE, 25), (DONE + LAST_CHUNK, 31)]
    assert read(Queue(*sent)) == sent


def test_the_head_has_a_read_of_its_own_and_so_has_the_token_behind_it() -> None:
    lines = head("200 OK", "text/event-stream", CHUNKED)
    queue = Queue((lines, 10), (TOKEN, 12), (TOKEN, 40), (USAGE + DONE + LAST_CHUNK, 41))
    taken = read_chunkwise(queue.recvmsg, 64, 64, head=len(lines))
    assert [data for data, _ in taken.reads] == [lines, TOKEN, TOKEN, USAGE + DONE + LAST_CHUNK]
    assert [stamp for _, stamp in taken.reads] == [stamp_of(at) for at in (10, 12, 40, 41)]


@pytest.mark.parametrize(
    ("waiting", "whole"),
    [
        (head("200 OK", "text/event-stream", CHUNKED), True),
        (head("200 OK", "text/event-stream", "Transfer-Encoding: Chunked"), True),
        (head("200 OK", "text/event-stream", "content-length: 7"), False),
        (head("200 OK", "text/event-stream", "x-original-" + CHUNKED, "content-length: 7"), False),
        (head("200 OK", "text/event-stream", "note: " + CHUNKED, "content-length: 7"), False),
        (head("200 OK", "text/event-stream", CHUNKED + ", gzip"), False),
        (head("200 OK", "text/event-stream", CHUNKED)[:-2], False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + head("200 OK", "text/event-stream", CHUNKED), False),
        (head("200 OK", "text/event-stream", CHUNKED, "x: " + "a" * 5_000), False),
    ],
    ids=[
        "chunked",
        "capitals",
        "with a length",
        "a name that ends so",
        "a value",
        "and more",
        "not whole",
        "interim",
        "long",
    ],
)
def test_only_a_whole_head_of_a_chunked_body_is_read_for_itself(waiting: bytes, whole: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        assert chunked_head(ours) == 0
        theirs.sendall(waiting + TOKEN)
        assert chunked_head(ours) == (len(waiting) if whole else 0)
        assert ours.recv(len(waiting)) == waiting  # Nothing was taken.


def test_one_chunk_takes_three_calls() -> None:
    queue = Queue((TOKEN, 10))
    assert read(queue) == [(TOKEN, 10)]
    assert queue.calls == 3


def test_chunks_of_one_segment_stay_one_read() -> None:
    assert read(Queue((TOKEN + TOKEN, 10), (DONE, 12))) == [(TOKEN + TOKEN, 10), (DONE, 12)]


def test_a_chunk_in_two_segments_has_the_stamp_of_its_last_byte() -> None:
    assert read(Queue((TOKEN[:20], 10), (TOKEN[20:], 15), (DONE, 16))) == [(TOKEN, 15), (DONE, 16)]
    assert read(Queue((TOKEN[:5], 10), (TOKEN[5:], 15), (DONE, 16)))[-1] == (DONE, 16)


@pytest.mark.parametrize("have", [1, 3, GLANCE - 1, GLANCE, GLANCE + 1, len(TOKEN) - 1])
def test_what_has_come_of_a_chunk_is_not_lost(have: int) -> None:
    assert read(Queue((DONE, 9), (TOKEN[:have], 10))) == [(DONE, 9), (TOKEN[:have], 10)]


@pytest.mark.parametrize(
    "bytes_of_no_chunk",
    [
        b"the rest of a chunk that began earlier\r\n",
        b"data: 1",
        b"ffffffffff\r\nx",
        b"-1\r\nabcdefgh",
        b"\r\n\r\n\r\n\r\n12",
    ],
)
def test_bytes_in_the_midst_of_a_chunk_are_read_all_the_same(bytes_of_no_chunk: bytes) -> None:
    reads = read(Queue((bytes_of_no_chunk, 10), (TOKEN, 11), (DONE, 12)))
    assert b"".join(data for data, _ in reads) == bytes_of_no_chunk + TOKEN + DONE
    assert reads[-1][1] == 12


def test_without_kernel_stamps_each_read_is_stamped_as_it_comes() -> None:
    taken = read_chunkwise(Queue((TOKEN, 0), (DONE, 0), stamped=False).recvmsg, 64, 64)
    assert [data for data, _ in taken.reads] == [TOKEN, DONE]
    first, second = (stamp for _, stamp in taken.reads)
    assert isinstance(first, int)
    assert isinstance(second, int)
    assert 0 < first <= second


def test_a_flood_has_its_turn_and_no_more() -> None:
    queue = Queue(*[(TOKEN, i) for i in range(10)])
    taken = read_chunkwise(queue.recvmsg, 64, 6)
    assert [data for data, _ in taken.reads] == [TOKEN] * 3
    assert (taken.more, taken.ended, taken.broken, queue.calls) == (True, False, None, 6)


def test_the_end_of_the_connection_is_told_with_what_came_before() -> None:
    closed = Queue((DONE, 1))
    closed.then = None
    taken = read_chunkwise(closed.recvmsg, 64, 64)
    assert ([data for data, _ in taken.reads], taken.ended, taken.broken) == ([DONE], True, None)
    assert not taken.more
    reset = OSError(errno.ECONNRESET, "reset")
    taken = read_chunkwise(Queue((DONE, 1), then=reset).recvmsg, 64, 64)
    assert ([data for data, _ in taken.reads], taken.ended, taken.broken) == ([DONE], False, reset)
    assert not taken.more


@pytest.mark.parametrize(
    ("glance", "left"),
    [
        (b"1a\r\ndata", 0x1A + 6 - 8),
        (b"1a;x=y\r\n", 0x1A + 10 - 8),
        (b"0\r\n\r\n", 0),
        (b"2\r\nab\r\n1", 0),
        (b"ffffff\r\n", MOST),
        (b"data: {}", MOST),
        (b"12345678", MOST),
        (b"\r\n3\r\nabc", MOST),
    ],
)
def test_what_is_left_of_a_chunk(glance: bytes, left: int) -> None:
    assert left_of_chunk(glance) == left


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("10.0.0.1", False), ("/a/socket", False)],
)
def test_what_is_the_loopback(host: str, is_one: bool) -> None:
    assert is_loopback(host) is is_one
