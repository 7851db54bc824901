"""Heads, events and reads of a few bytes, on both sides of each border."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from bench.transport.chunkwise_reads import read_chunkwise
from bench.transport.head import ProtocolError, checked
from bench.transport.http1 import ResponseParser
from bench.transport.sse import SSEParser

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("folded", "field"),
    [
        (b"X-A: a\r\n b", b"X-A: a b"),
        (b"X-A: a\r\n\tb", b"X-A: a b"),
        (b"X-A: a\n  b\n\t c", b"X-A: a b c"),
        (b"X-A:\r\n a", b"X-A:  a"),
        (b"X-A: a\r\nX-B: b", b"X-A: a\r\nX-B: b"),
    ],
)
def test_a_line_that_begins_with_a_space_or_a_tab_goes_on_with_the_one_before(folded: bytes, field: bytes) -> None:
    assert checked(OK + folded).split(b"\r\n", 1)[1] == field.replace(b":  ", b": ") + b"\r\n\r\n"


def test_a_folded_line_without_one_before_it_is_no_header() -> None:
    with pytest.raises(ProtocolError, match="is no header"):
        checked(OK + b" a")


def test_bytes_behind_a_response_end_its_connection() -> None:
    parser = ResponseParser()
    assert parser.feed(OK + b"content-length: 1\r\n\r\na") == [b"a"]
    assert (parser.complete, parser.keep_alive) == (True, True)
    parser.behind(b"x")
    assert not parser.keep_alive
    parser.close()


def test_behind_an_event_that_was_too_large_no_other_begins() -> None:
    parser = SSEParser(max_event_bytes=8)
    assert parser.between_events
    parser.feed(b"data: 0123456789")
    assert parser.too_large
    assert not parser.between_events
    lines = SSEParser()
    lines.feed(b"event: ping\n\n")
    assert not lines.between_events
    lines.take_other_lines()
    assert lines.between_events


@pytest.mark.parametrize("limit", [9, 10, 11])
def test_an_event_may_be_as_large_as_its_limit(limit: int) -> None:
    parser = SSEParser(max_event_bytes=limit)
    assert parser.feed(b"data: 0123") == []
    assert parser.too_large is (limit < 10)
    assert parser.feed(b"\n\n") == ([] if limit < 10 else [b"0123"])


def test_the_first_read_of_a_chunk_takes_nothing_of_the_next() -> None:
    # The smallest piece of a stream is an empty comment and the line that ends it: eight bytes with its frame.
    smallest = b"3\r\n:\n\n\r\n"
    waiting = [smallest, smallest]

    def recvmsg(size: int, control_size: int) -> Any:
        if not waiting:
            raise BlockingIOError
        whole = b"".join(waiting)
        number = len(waiting)
        data, rest = whole[:size], whole[size:]
        waiting[:] = [rest] if rest else []
        # The stamp belongs to the last segment in the read.
        touched = 1 if len(data) <= 8 and number == 2 else 2
        return data, [(1, 35, struct.pack("qq", 0, touched))], 0, None

    found = read_chunkwise(recvmsg, 64, 64)
    assert [(data, struct.unpack("qq", stamp)[1]) for data, stamp in found.reads if isinstance(stamp, bytes)] == [
        (smallest, 1),
        (smallest, 2),
    ]
