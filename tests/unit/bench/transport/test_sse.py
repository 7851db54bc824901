"""Server-sent events: the parser's result for bytes, whole and however they are split, against a slow decoder."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.transport.sse import SSEParser


def slow_decode(body: bytes) -> list[bytes]:
    """Byte by byte, from the rules alone (WHATWG HTML, "Event stream interpretation"); empty data is no event."""
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    lines, line, i = [], b"", 0
    while i < len(body):
        if body[i] in b"\r\n":
            lines.append(line)
            line = b""
            i += 2 if body[i : i + 2] == b"\r\n" else 1
        else:
            line += body[i : i + 1]
            i += 1
    events, data = [], b""
    for whole in lines:
        if whole == b"":
            if data[:-1]:
                events.append(data[:-1])
            data = b""
            continue
        name, _, value = whole.partition(b":")
        if name == b"data":
            data += (value[1:] if value[:1] == b" " else value) + b"\n"
    return events


def read(*pieces: bytes) -> list[bytes]:
    parser = SSEParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def split(body: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[a:b] for a, b in pairwise(borders)]


parts = st.sampled_from(
    [
        b"data: ", b"data:", b"data", b"datum: x", b": ping", b":", b"id: 7", b"event: e", b"retry: 9", b" ", b"x", b"{}",
        b"[DONE]", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\xef\xbb\xbf",
        "\u2028é\U0001f600\x85\x0b\x0c".encode(),
    ]
)  # fmt: skip
lines = st.tuples(
    st.sampled_from([b"data: x", b"data", b": c", b"", b"", b"id: 1"]), st.sampled_from([b"\n", b"\r", b"\r\n"])
)
bodies = st.one_of(
    st.lists(lines.map(b"".join), max_size=20).map(b"".join),
    st.lists(parts, max_size=40).map(b"".join),
    st.binary(max_size=60),
)


@given(body=bodies, cuts=st.lists(st.integers(0, 10_000), max_size=12))
@example(body=b"data: a\r\ndata: b\r\n\r\ndata: c\r\r", cuts=[8, 9])
@example(body=b"\xef\xbb\xbfdata: a\n\n", cuts=[1, 2])
def test_any_split_of_any_bytes_gives_what_the_slow_decoder_gives(body: bytes, cuts: list[int]) -> None:
    expected = slow_decode(body)
    assert read(body) == expected
    assert read(*split(body, cuts)) == expected
    assert read(*[body[i : i + 1] for i in range(len(body))]) == expected


pieces = st.lists(
    st.one_of(
        st.sampled_from([b"data: x\n\n", b"data: x\n\n", b'data: {"a":"b"}\n\n', b"data: [DONE]\n\n"]),
        st.sampled_from(
            [b"data: x\n\ny", b"data: x\n", b"\n", b"data: \n\n", b"data: a\n\ndata: b\n\n", b"data: x\r\n\r\n"]
        ),
        st.lists(parts, max_size=6).map(b"".join),
    ),
    max_size=12,
)


@given(batches=st.lists(pieces, max_size=3))
@example(batches=[[b"data: a\n\ndatum: b\n\n", b"data: c"]])  # The same number of line ends as two plain events.
@example(batches=[[b"data: a\n\n", b"data: b\n\nx"]])
@example(batches=[[b"data: a\n", b"\ndata: b\n\n"]])
@example(batches=[[b"data: a\rdata: b\n\n", b"data: c\n\n"]])
@example(batches=[[b"data: a\n"], [b"data: b\n\n", b"data: c\n\n"]])
@example(batches=[[b"\xef\xbb\xbf"], [b"data: a\n\n", b"data: b\n\n"]])
def test_pieces_read_all_at_once_give_what_each_gives_alone(batches: list[list[bytes]]) -> None:
    one_by_one, at_once = SSEParser(), SSEParser()
    for batch in batches:
        assert at_once.feed_all(batch) == [one_by_one.feed(piece) for piece in batch]
        assert at_once.unfinished == one_by_one.unfinished


@given(body=bodies, trailing=bodies)
def test_what_follows_changes_nothing_of_what_was_whole(body: bytes, trailing: bytes) -> None:
    events = read(body)
    assert read(body + trailing)[: len(events)] == events


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\ndata\n\n", [b"\n"]),
        (b"data:\n\n", []),
        (b"\n\n\n", []),
        (b": ping\n\ndata: a\n\n", [b"a"]),
        (b"event: error\nid: 1\ndata: a\nretry: 5\n\n", [b"a"]),
        (b"data : a\n\nDATA: b\n\n", []),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        ("data: a\u2028b\u2029c\x85d\n\n".encode(), ["a\u2028b\u2029c\x85d".encode()]),
    ],
    ids=[
        "LF ends lines", "CR ends lines", "CRLF ends lines", "the space is optional", "only one space is taken off",
        "data lines join", "data without a colon is an empty line of data", "an event of empty data is none",
        "empty lines are no events", "a comment is no event", "other fields are passed over", "names are exact",
        "an event needs its empty line", "a line needs its end", "a byte order mark is skipped",
        "only the first one is", "nothing else in Unicode ends a line",
    ],
)  # fmt: skip
def test_a_body_gives_its_events(body: bytes, events: list[bytes]) -> None:
    assert read(body) == events == slow_decode(body)


def test_an_event_is_given_with_the_piece_that_ends_it() -> None:
    parser = SSEParser()
    assert [parser.feed(piece) for piece in (b"data: a\n", b"", b"\ndata: b\n\nda", b"ta: c\r", b"\r", b"\n")] == [
        [], [], [b"a", b"b"], [], [b"c"], [],
    ]  # fmt: skip


def test_what_has_not_ended_is_kept_in_sight() -> None:
    parser = SSEParser()
    parser.feed(b"data: a\n\n")
    assert parser.unfinished == b""
    parser.feed(b"data: b\nda")
    assert parser.unfinished == b"b\nda"


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b"event: error\ndata: 1\n\n", [(0, b"event: error")]),
        (b"data: 0\n\ndata: 1\nevent: error\n\ndata: 2\n\n", [(1, b"event: error")]),
        (b"data: 0\n\nevent: ping\n\ndata: 1\n\n", [(None, b"event: ping")]),
        (b'data: 0\n\nerror: {"a":1}\n\n', [(None, b'error: {"a":1}')]),
        (b'{"error":"x"}\n\ndata: 0\n\n', [(None, b'{"error":"x"}')]),
        (b"<html>\r\n<p>\r\n\r\n", [(None, b"<html>"), (None, b"<p>")]),
        (b"event: a\ndata:\n\ndata: 0\n\n", [(None, b"event: a")]),
        (b": ping\nid: 7\nretry: 3\ndata: 0\n\n", []),
        (b"data: 0\n\nevent: cut", []),
    ],
)
def test_lines_that_are_neither_data_nor_comments_are_kept_apart(
    stream: bytes, lines: list[tuple[int | None, bytes]]
) -> None:
    whole, bytewise, at_once = SSEParser(), SSEParser(), SSEParser()
    whole.feed(stream)
    for i in range(len(stream)):
        bytewise.feed(stream[i : i + 1])
    at_once.feed_all([block + b"\n\n" for block in stream.split(b"\n\n")])
    for parser in (whole, bytewise) if stream.endswith(b"cut") else (whole, bytewise, at_once):
        assert parser.take_other_lines() == lines
        assert parser.take_other_lines() == []


def test_events_read_all_at_once_are_counted() -> None:
    parser = SSEParser()
    parser.feed_all([b"data: 0\n\n", b"data: 1\n\n"])
    parser.feed(b"event: error\ndata: 2\n\n")
    assert parser.take_other_lines() == [(2, b"event: error")]


def test_two_data_lines_of_one_event_join_where_reads_coalesce() -> None:
    parser = SSEParser()
    assert parser.feed_all([b"data: a\n\n", b"data: b\ndata: c\n\n", b"data: d\n\n"]) == [[b"a"], [b"b\nc"], [b"d"]]


def test_an_event_without_data_is_none_where_reads_coalesce() -> None:
    parser = SSEParser()
    assert parser.feed_all([b"data: a\n\n", b"data: \n\n", b"data: c\n\n"]) == [[b"a"], [], [b"c"]]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\ndata: b", b"b"),
        (b"data: a\n\ndata: b\n", b"b"),
        (b"data: a\n\ndata: b\ndata: c", b"b\nc"),
        (b"data: a\n\nda", b"da"),
        (b"data: a\n\n", b""),
    ],
)
def test_at_the_end_what_came_of_the_last_event_is_no_event(stream: bytes, data: bytes) -> None:
    parser = SSEParser()
    assert parser.feed(stream) == [b"a"]
    assert parser.end() == data
    assert parser.unfinished == b""


def test_a_line_that_the_end_cuts_off_is_kept() -> None:
    parser = SSEParser()
    parser.feed(b'data: a\n\n{"error":1}')
    parser.end()
    assert parser.take_other_lines() == [(None, b'{"error":1}')]


def test_a_mark_that_comes_in_pieces_is_no_part_of_a_line_that_never_ends() -> None:
    stream = b"\xef\xbb\xbfdata: cut off"
    whole, pieces = SSEParser(), SSEParser()
    whole.feed(stream)
    for i in range(len(stream)):
        pieces.feed(stream[i : i + 1])
    assert whole.unfinished == pieces.unfinished == b"data: cut off"


def test_nothing_comes_any_more_once_an_event_was_too_large() -> None:
    parser = SSEParser(20)
    assert parser.feed(b"data: " + b"x" * 40) == []
    assert parser.too_large
    assert parser.feed_all([b"data: a\n\n", b"data: b\n\n"]) == [[], []]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * 40],
        [b"data: x", *[b"x" * 10] * 4],
        [b"event: x\ndata: " + b"x" * 40],
        [b"data: a\ndata: " + b"x" * 40],
    ],
)
def test_of_an_event_that_was_too_large_nothing_is_kept(pieces: list[bytes]) -> None:
    parser = SSEParser(20)
    assert [parser.feed(piece) for piece in pieces] == [[]] * len(pieces)
    assert parser.too_large
    assert (parser.unfinished, parser.end(), parser.take_other_lines()) == (b"", b"", [])


def test_an_event_that_ends_leaves_the_next_one_its_whole_size() -> None:
    parser = SSEParser(20)
    for _ in range(5):
        assert parser.feed(b"data: " + b"x" * 9) == []
        assert parser.feed(b"\n\n") == [b"x" * 9]
    assert not parser.too_large


def test_a_piece_without_bytes_does_not_part_a_line_end_in_two() -> None:
    parser = SSEParser()
    pieces = (b"data: a\r", b"", b"\ndata: b\r\n\r\n")
    assert [parser.feed(piece) for piece in pieces] == [[], [], [b"a\nb"]]


def test_the_second_half_of_a_line_end_is_looked_for_in_the_next_piece_alone() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"data: b") == []
    assert parser.feed(b"\n\n") == [b"a\nb"]
    split = SSEParser()
    assert [split.feed(piece) for piece in (b"data: a\r", b"\ndata: b\r", b"\n", b"\r", b"\n")] == [
        [],
        [],
        [],
        [b"a\nb"],
        [],
    ]


@pytest.mark.parametrize("line", [b"data: aaaa\n", b"event: aaa\n"])
def test_an_event_of_many_lines_that_never_ends_is_too_large_at_some_point(line: bytes) -> None:
    parser = SSEParser(33)
    for _ in range(3):
        parser.feed(line)
        assert not parser.too_large
    parser.feed(line)
    assert parser.too_large


def test_the_size_of_an_event_is_counted_from_the_end_of_the_one_before() -> None:
    parser = SSEParser(15)
    for _ in range(3):
        assert parser.feed(b"data: " + b"x" * 9) == []
        assert parser.feed(b"\n\n") == [b"x" * 9]
    # A piece that ends one event and begins another counts fully for the new one.
    mixed = SSEParser(20)
    assert mixed.feed(b"data: b" + b"x" * 9) == mixed.feed(b"x" * 4) == []
    assert not mixed.too_large
    assert mixed.feed(b"\n\ndata: b") == [b"b" + b"x" * 13]
    assert mixed.feed(b"x" * 11) == []
    assert not mixed.too_large
    assert mixed.feed(b"x") == []
    assert mixed.too_large


@pytest.mark.parametrize("before", [b"event: x\n", b"data: z\n", b"dat", b"data: z\r", b": c\n", b"data: y\n\n"])
def test_plain_events_behind_what_has_not_ended_are_no_plain_events(before: bytes) -> None:
    pieces = [b"data: a\n\n", b"data: b\n\n"]
    one_by_one, at_once = SSEParser(), SSEParser()
    for parser in (one_by_one, at_once):
        parser.feed(before)
    assert at_once.feed_all(pieces) == [one_by_one.feed(piece) for piece in pieces]
    assert at_once.take_other_lines() == one_by_one.take_other_lines()
    assert (at_once.feed(b"\n"), at_once.unfinished) == (one_by_one.feed(b"\n"), one_by_one.unfinished)


@pytest.mark.parametrize(
    ("pieces", "between"),
    [
        ([], True),
        ([b"\n"], True),
        ([b":\n"], True),
        ([b"\xef\xbb"], False),  # The first half of a mark.
        ([b"data: a\n\n"], True),
        ([b"data: a\n\n", b": a comment\n"], True),
        ([b"dat"], False),
        ([b"data: a", b"b"], False),
        ([b"data: a\n"], False),
        ([b"event: x\n"], False),
        ([b"data: a\n\n", b"\r"], False),  # Its LF may follow.
        ([b"event: x\n\n"], False),  # A line that was not taken yet.
    ],
)
def test_between_events_is_where_nothing_of_the_next_has_come(pieces: list[bytes], between: bool) -> None:
    parser = SSEParser()
    for piece in pieces:
        parser.feed(piece)
    assert parser.between_events is between


def test_the_pieces_of_a_line_are_put_together_once() -> None:
    parser = SSEParser()
    for piece in (b"data: a", b"b", b"c"):
        assert parser.feed(piece) == []
    assert (parser._buffer, parser._held) == (b"data: a", [b"b", b"c"])
    assert parser.feed(b"d\n\n") == [b"abcd"]
    assert (parser._buffer, parser._held) == (b"", [])


def test_events_cut_elsewhere_are_counted_each_time() -> None:
    parser = SSEParser()
    parser.passed(3)
    parser.passed(2)
    assert parser.feed(b"event: x\ndata: a\n\nevent: y\ndata: b\n\n") == [b"a", b"b"]
    assert parser.take_other_lines() == [(5, b"event: x"), (6, b"event: y")]
    parser.feed_all([b"data: c\n\n", b"data: d\n\n"])
    parser.feed_all([b"data: e\n\n", b"data: f\n\n"])
    parser.feed(b"event: z\ndata: g\n\n")
    assert parser.take_other_lines() == [(11, b"event: z")]
