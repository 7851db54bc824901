"""HTTP/1.1 responses: the result is the same whole and however they are split. The framing is written by hand."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.transport.head import ProtocolError
from bench.transport.http1 import ResponseParser


@dataclass(frozen=True)
class ParsedResponse:
    """A parser's result for some bytes."""

    status: int | None
    headers: dict[bytes, bytes]
    body: bytes
    complete: bool
    keep_alive: bool
    broken: bool


def read(*pieces: bytes, end_of_file: bool = False) -> ParsedResponse:
    """Feed the bytes like a connection, until the end of the response or of the parsable part."""
    parser = ResponseParser()
    body = b""
    broken = False
    for piece in pieces:
        try:
            body += b"".join(parser.feed(piece))
        except ProtocolError:
            broken = True
        broken = broken or parser.error is not None
        if broken or parser.complete:
            break
    if end_of_file and not broken:
        parser.end_of_file()
    return ParsedResponse(parser.status, dict(parser.headers), body, parser.complete, parser.keep_alive, broken)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(borders) if a != b]


def chunked(bodies: list[bytes], *, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(body), extension, body) for body in bodies if body)
    return framed + b"0\r\n" + trailer + b"\r\n"


HEAD = b"HTTP/1.1 %d Said\r\ncontent-type: text/event-stream\r\n"
STATUSES = st.sampled_from([200, 201, 307, 404, 429, 500])
BODIES = st.lists(st.binary(max_size=40), max_size=8)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)
INTERIM = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n",
        ]
    ),
    max_size=2,
).map(b"".join)


@given(
    status=STATUSES,
    bodies=BODIES,
    cuts=CUTS,
    interim=INTERIM,
    extension=st.sampled_from([b"", b";a=b"]),
    trailer=st.sampled_from([b"", b"x-sum: 7\r\n", b"connection: close\r\n"]),
)
@example(status=200, bodies=[b"\r\n0\r\n\r\n"], cuts=[60, 61, 62, 63, 64], interim=b"", extension=b"", trailer=b"")
def test_a_chunked_body_reads_the_same_however_it_is_split(
    status: int, bodies: list[bytes], cuts: list[int], interim: bytes, extension: bytes, trailer: bytes
) -> None:
    data = interim + HEAD % status + b"transfer-encoding: chunked\r\n\r\n"
    data += chunked(bodies, extension=extension, trailer=trailer)
    whole = read(data)
    assert (whole.status, whole.body, whole.complete, whole.broken) == (status, b"".join(bodies), True, False)
    assert whole.keep_alive
    assert whole.headers[b"content-type"] == b"text/event-stream"
    assert b"link" not in whole.headers
    assert read(*split(data, cuts)) == whole
    assert read(*split(data, list(range(len(data))))) == whole
    for end in (len(data) - 1, len(data) // 2):
        assert not read(data[:end], end_of_file=True).complete


@given(status=STATUSES, body=st.binary(max_size=120), cuts=CUTS, interim=INTERIM, closes=st.booleans())
def test_a_body_with_a_length_reads_the_same_however_it_is_split(
    status: int, body: bytes, cuts: list[int], interim: bytes, closes: bool
) -> None:
    more = b"connection: close\r\n" if closes else b""
    data = interim + HEAD % status + more + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    whole = read(data)
    assert (whole.status, whole.body, whole.complete, whole.broken) == (status, body, True, False)
    assert whole.keep_alive is not closes
    assert read(*split(data, cuts)) == whole
    assert read(*split(data, list(range(len(data))))) == whole
    if body:
        assert not read(data[:-1], end_of_file=True).complete


@given(status=STATUSES, body=st.binary(max_size=120), cuts=CUTS, interim=INTERIM)
def test_a_body_without_a_length_ends_with_the_connection(
    status: int, body: bytes, cuts: list[int], interim: bytes
) -> None:
    data = interim + HEAD % status + b"\r\n" + body
    assert not read(*split(data, cuts)).complete
    ended = read(*split(data, cuts), end_of_file=True)
    assert (ended.status, ended.body, ended.complete, ended.broken) == (status, body, True, False)
    assert not read(data[: len(interim) + 20], end_of_file=True).complete


GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 101 Up\r\n", b"HTTP/0.9 1\r\n", b"\r\n", b"\n",
                b"content-length: 5\r\n", b"content-length: -1\r\n", b"content-length: 99999999999999999999\r\n",
                b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip\r\n", b"upgrade: h2c\r\n",
                b"connection: upgrade\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffffff\r\n", b"x: y\r\n", b":\r\n",
                b"\x00\xff", b"GET / HTTP/1.1\r\n\r\n",
            ]
        ),
        max_size=14,
    ).map(b"".join),
)  # fmt: skip


@given(data=GARBAGE, cuts=CUTS)
@example(data=b"HTTP/1.1 101 Up\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nxyz", cuts=[])
@example(data=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 500 X\r\ncontent-length: 3\r\n\r\nbad", cuts=[])
def test_garbage_raises_nothing_but_protocol_errors_and_reads_the_same_in_pieces(data: bytes, cuts: list[int]) -> None:
    whole = read(data, end_of_file=True)
    pieces = read(*split(data, cuts), end_of_file=True)
    single = read(*split(data, list(range(len(data)))), end_of_file=True)
    for cut in (pieces, single):
        assert (cut.status, cut.body, cut.complete) == (whole.status, whole.body, whole.complete)
        assert cut.broken == whole.broken or whole.complete
    assert len(whole.body) <= len(data)


AFTER = (
    b"HTTP/1.1 500 X\r\ncontent-length: 3\r\n\r\nbad",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Up\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    b"garbage\r\n\r\n",
    b"\r\n",
)


@pytest.mark.parametrize("after", AFTER, ids=["a response", "an interim one", "an upgrade", "garbage", "an empty line"])
@pytest.mark.parametrize(
    "framing", [b"content-length: 2\r\n\r\nhi", b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"]
)
def test_what_follows_the_end_belongs_to_nobody_and_ends_the_connection(framing: bytes, after: bytes) -> None:
    parser = ResponseParser()
    assert b"".join(parser.feed(b"HTTP/1.1 200 OK\r\nx-a: 1\r\n" + framing + after)) == b"hi"
    assert (parser.status, parser.complete, parser.error) == (200, True, None)
    assert b"x-a" in parser.headers
    assert not parser.keep_alive or after == b"\r\n"
    with pytest.raises(ProtocolError, match=r"^3 bytes came after the end of the response$"):
        parser.feed(b"abc")


def test_pieces_that_came_before_an_error_are_kept() -> None:
    parser = ResponseParser()
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert parser.feed(head + b"2\r\nhi\r\nzz\r\n") == [b"hi"]
    assert parser.error is not None
    assert "zz" in parser.error


def test_the_sizes_of_chunks_may_be_padded_as_old_servers_do() -> None:
    response = HEAD % 200 + b"transfer-encoding: chunked\r\n\r\n" + chunked([b"one", b"two"], extension=b"   ")
    found = read(response)
    assert (found.body, found.complete, found.broken) == (b"onetwo", True, False)


def test_an_upgrade_is_refused_with_a_sentence() -> None:
    with pytest.raises(ProtocolError, match="the server wants to switch protocols"):
        ResponseParser().feed(b"HTTP/1.1 101 Up\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")


def test_header_names_are_lower_case_and_survive_a_cut_in_the_middle() -> None:
    parser = ResponseParser()
    for piece in (b"HTTP/1.1 200 OK\r\nCont", b"ent-Type: text/eve", b"nt-stream\r\nContent-Length: 0\r\n\r\n"):
        parser.feed(piece)
    assert parser.headers == {b"content-type": b"text/event-stream", b"content-length": b"0"}
    assert parser.complete


def test_closing_breaks_the_cycle_with_httptools() -> None:
    class Watched(ResponseParser):
        __slots__ = ("__weakref__",)

    parser = Watched()
    parser.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    gone = weakref.ref(parser)
    gc.disable()
    try:
        parser.close()
        del parser
        assert gone() is None
    finally:
        gc.enable()
