"""Events and heads at their borders: near-plain events, byte order marks, invalid lengths and lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.transport.head import ProtocolError, checked
from bench.transport.sse import SSEParser


@pytest.mark.parametrize(
    "pieces",
    [
        [b"event:a\n\n", b"data: b\n\n"],  # Six bytes before the text, but not `data: `.
        [b"data: a\n\n", b"data: b\nx\n"],  # The same number of line ends, but no empty line at the end.
        [b"data: a\n\n", b"data: b\nc\n\n"],
    ],
)
def test_pieces_that_look_like_plain_events_by_their_lengths_are_read_as_what_they_are(pieces: list[bytes]) -> None:
    one_by_one, at_once = SSEParser(), SSEParser()
    assert at_once.feed_all(pieces) == [one_by_one.feed(piece) for piece in pieces]
    assert at_once.take_other_lines() == one_by_one.take_other_lines()


BEFORE: list[Callable[[SSEParser], object]] = [
    lambda parser: parser.feed(b"data: a\n\n"),
    lambda parser: parser.feed_all([b"data: a\n\n", b"data: b\n\n"]),
    lambda parser: parser.passed(1),
]


@pytest.mark.parametrize("before", BEFORE, ids=["a piece", "pieces at once", "events cut elsewhere"])
def test_a_byte_order_mark_is_one_only_at_the_very_start(before: Callable[[SSEParser], object]) -> None:
    marked = b"\xef\xbb\xbfdata: b\n\n"
    parser = SSEParser()
    before(parser)
    assert parser.feed(marked) == []
    assert SSEParser().feed(marked) == [b"b"]


def test_events_cut_elsewhere_are_counted() -> None:
    parser = SSEParser()
    parser.passed(3)
    parser.feed(b"event: e\ndata: 3\n\n")
    assert parser.take_other_lines() == [(3, b"event: e")]


def test_a_byte_order_mark_alone_is_nothing_of_an_event() -> None:
    parser = SSEParser()
    assert parser.feed(b"\xef\xbb\xbf") == []
    assert (parser.unfinished, parser.between_events) == (b"", True)


def test_a_length_has_18_digits_at_most_and_what_is_no_head_is_shown_in_60() -> None:
    status = b"HTTP/1.1 200 OK\r\n"
    assert checked(status + b"content-length: " + b"1" * 18).endswith(b"content-length: " + b"1" * 18 + b"\r\n\r\n")
    with pytest.raises(ProtocolError, match="the Content-Length is"):
        checked(status + b"content-length: " + b"1" * 19)
    with pytest.raises(ProtocolError) as caught:
        checked(b"x" * 100)
    assert str(caught.value) == f"{'x' * 60!r} is no status line"
