"""However the bytes are cut, and whether they come one by one or all at once, the events are the same."""

from __future__ import annotations

from bench.transport.sse import SSEParser
from fuzz.target import Target, split, split_input


def read(data: bytes) -> None:
    """One input: cuts, then the body of a stream."""
    cuts, data = split_input(data)
    parser = SSEParser()
    events, rest = parser.feed(data), parser.unfinished
    assert sum(map(len, events)) + len(rest) <= len(data)
    pieces = split(data, cuts)
    lines = [line + b"\n" for line in data.split(b"\n\n")]
    for form in (pieces, [data[i : i + 1] for i in range(len(data))], [line + b"\n" for line in lines]):
        one_by_one, at_once = SSEParser(), SSEParser()
        separate = [one_by_one.feed(piece) for piece in form]
        # In two goes: the second begins with what the first left behind.
        middle = len(form) // 2
        together = at_once.feed_all(form[:middle]) + at_once.feed_all(form[middle:])
        assert together == separate
        assert at_once.unfinished == one_by_one.unfinished
        assert at_once.other_lines == one_by_one.other_lines
        if b"".join(form) == data:
            assert [event for found in separate for event in found] == events
            assert one_by_one.unfinished == rest
    small = SSEParser(max_event_bytes=16)
    small.feed_all(pieces)
    assert small.too_large or len(small.unfinished) <= 17
    small.end()


WORDS = (
    b"data: ",
    b"data:",
    b"data\n",
    b"event: error\n",
    b"\n\n",
    b"\r\n\r\n",
    b"\r",
    b": ping\n",
    b"id: 1\n",
    b"\xef\xbb\xbf",
    b"[DONE]",
    b"error: {}\n",
    b"\xe2\x80\xa8",
)
TARGET = Target(read, words=WORDS)
