"""Response heads: what is accepted, in which form, and what is refused with which message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.transport import head
from bench.transport.head import MAX_HEAD_BYTES, HeadReader, HeadTooLarge, ProtocolError

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\n\r\n"
ACCEPTED: dict[str, tuple[bytes, bytes]] = {
    "an ordinary head": (PLAIN, PLAIN),
    "LF alone": (PLAIN.replace(b"\r", b""), PLAIN),
    "LF here and CRLF there": (b"HTTP/1.1 200 OK\ncontent-type: a/b\r\n\n", PLAIN),
    "no header": (b"HTTP/1.0 204 No Content\r\n\r\n", b"HTTP/1.0 204 No Content\r\n\r\n"),
    "no reason": (b"HTTP/1.1 200\r\n\r\n", b"HTTP/1.1 200\r\n\r\n"),
    "a folded line": (b"HTTP/1.1 200 OK\r\nx: a\r\n  b\r\n\tc\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: a b c\r\n\r\n"),
    "a folded line between others": (
        b"HTTP/1.1 200 OK\r\nw: 1\r\nx: a \t\r\n  b  \r\ny: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nw: 1\r\nx: a b\r\ny: c\r\n\r\n",
    ),
    "spaces around a value": (b"HTTP/1.1 200 OK\r\nx: \t a \t\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: a\r\n\r\n"),
    "an empty value": (b"HTTP/1.1 200 OK\r\nx:\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: \r\n\r\n"),
    "a length twice": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    ),
    "chunked in capitals": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:  Chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    "interim responses": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + PLAIN, PLAIN),
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "'S"),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02F", "x15"),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n", "HTTP/2"),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\n\r\n", "no status line"),
    "a status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", "no status line"),
    "status 099": (b"HTTP/1.1 099 OK\r\n\r\n", "no status line"),
    "a line without a colon": (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "'nonsense' is no header"),
    "a space before the colon": (b"HTTP/1.1 200 OK\r\nx : 1\r\n\r\n", "is no header"),
    "an empty name": (b"HTTP/1.1 200 OK\r\n: 1\r\n\r\n", "is no header"),
    "a fold before any header": (b"HTTP/1.1 200 OK\r\n x: 1\r\n\r\n", "is no header"),
    "a NUL": (b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n", "a control character in the header x"),
    "a CR in a value": (b"HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n", "a control character"),
    "both framings": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
        "both Transfer-Encoding and Content-Length",
    ),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", "several values"),
    "a negative length": (b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", "'-5'"),
    "a length with a sign": (b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n", "'+5'"),
    "a length in hex": (b"HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\n", "'0x5'"),
    "no length": (b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n", "''"),
    "an endless length": (b"HTTP/1.1 200 OK\r\ncontent-length: %b\r\n\r\n" % (b"9" * 30), "999"),
    "gzip, chunked": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "is not chunked"),
    "chunked twice": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n", "is not chunked"),
    "identity": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n", "is not chunked"),
    "another protocol wanted": (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", "switch protocols"),
    "a broken interim response": (b"HTTP/1.1 103 Early\r\nnonsense\r\n\r\n" + PLAIN, "is no header"),
}


def fed(data: bytes, size: int) -> bytes:
    reader = HeadReader()
    out = b""
    for at in range(0, len(data), size):
        out += data[at : at + size] if reader.complete else reader.feed(data[at : at + size])
    return out


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(("head", "form"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_head_has_one_form_however_it_comes(head: bytes, form: bytes, size: int) -> None:
    assert fed(head + b"\r\n\r\nbody", size) == form + b"\r\n\r\nbody"


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(("head", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_two_parsers_might_read_in_two_ways_is_refused(head: bytes, words: str, size: int) -> None:
    with pytest.raises(ProtocolError) as refused:
        fed(head, size)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * MAX_HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nx: 123456789\r\n\r\n" * 2_000,
    ],
    ids=["unfinished", "finished", "many interim ones"],
)
def test_a_head_over_the_limit_is_refused_with_the_limit(head: bytes) -> None:
    for size in (1_000, len(head)):
        with pytest.raises(HeadTooLarge, match="the response head is larger than the limit of 65536 bytes"):
            fed(head, size)


def test_a_head_at_the_limit_is_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nx: "
    head += b"a" * (MAX_HEAD_BYTES - len(head) - 4) + b"\r\n\r\n"
    assert fed(head, 999) == head


@given(st.binary(max_size=60))
def test_any_bytes_are_a_head_or_refused(tail: bytes) -> None:
    reader = HeadReader()
    try:
        out = reader.feed(b"HTTP/1.1 200 OK\r\n" + tail + b"\r\n\r\n")
    except ProtocolError:
        return
    assert out.startswith(b"HTTP/1.1 200 OK\r\n")
    head = out.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert HeadReader().feed(head) == head


def test_short_headers_are_remembered_and_long_ones_are_not() -> None:
    def remembered(line: bytes) -> int:
        head._field.cache_clear()
        assert head.checked(b"HTTP/1.1 200 OK\r\n" + line).endswith(line + b"\r\n\r\n")
        return head._field.cache_info().currsize

    # A server's long headers must not stay in memory.
    assert remembered(b"x: " + b"a" * 197) == 1
    assert remembered(b"x: " + b"a" * 198) == 0


@pytest.mark.parametrize("length", [b"content-length: 500\r\n", b"transfer-encoding: chunked\r\n", b""])
def test_a_response_to_head_has_no_body_whatever_its_head_says(length: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nx: 1\r\n" + length + b"y: 2\r\n\r\n"
    reader = HeadReader(to_head=True)
    assert reader.feed(head) == b"HTTP/1.1 200 OK\r\nx: 1\r\ny: 2\r\ncontent-length: 0\r\n\r\n"
    assert reader.complete
