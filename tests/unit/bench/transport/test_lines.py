"""Streams of lines: split only at LF, however the bytes come; a last line without LF counts only if it is complete."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.transport.lines import LineParser

ROWS = st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers(), max_size=2), max_size=6)


@given(ROWS, st.lists(st.integers(0, 200), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\n\n"]), st.booleans())
def test_events_do_not_depend_on_how_a_stream_is_cut(
    rows: list[dict[str, object]], cuts: list[int], mark: bytes, ends: bool
) -> None:
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    body = mark.join(lines) + (mark if ends and lines else b"")
    borders = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    parser = LineParser()
    found = [event for piece in parser.feed_all([body[a:b] for a, b in pairwise(borders)]) for event in piece]
    assert parser.end() == b""
    found += parser.take_last()
    assert [event.rstrip(b"\r") for event in found] == lines
    assert parser.take_last() == []


def test_a_line_belongs_to_the_piece_with_its_last_byte() -> None:
    assert LineParser().feed_all([b'{"a"', b":1}", b'\n{"b":', b"2}\n\n"]) == [[], [], [b'{"a":1}'], [b'{"b":2}']]


@pytest.mark.parametrize("rest", [b'{"a":', b"<p>", b"no"])
def test_a_rest_that_is_no_json_is_an_event_that_did_not_end(rest: bytes) -> None:
    parser = LineParser()
    assert parser.feed_all([b"{}\n" + rest]) == [[b"{}"]]
    assert parser.end() == rest
    assert parser.take_last() == []


def test_half_of_a_character_does_not_make_the_last_line_broken() -> None:
    parser = LineParser()
    parser.feed_all([b'{"text":"\\ud83d"}'])
    assert (parser.end(), parser.take_last()) == (b"", [b'{"text":"\\ud83d"}'])


def test_a_line_that_goes_on_and_on_is_given_up() -> None:
    parser = LineParser(max_event_bytes=10)
    assert parser.feed_all([b"{}\n", b"x" * 6, b"x" * 6, b"\n{}\n"]) == [[b"{}"], [], [], []]
    assert parser.too_large
    fits = LineParser(max_event_bytes=10)
    assert fits.feed_all([b"x" * 10, b"\n"]) == [[], [b"x" * 10]]
    assert not fits.too_large
