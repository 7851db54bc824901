"""Ordinary request heads, which the mock reads without the parser, and heads that are left to it."""

from __future__ import annotations

import pytest

from mockserver.plain.head import PlainHeads, _shape_of, read_head

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    "data",
    [
        HEAD[:-1],
        HEAD + b"x",
        HEAD.replace(b"POST", b"PUT"),
        HEAD.replace(b"1.1", b"1.0"),
        HEAD.replace(b"completions", b"completions?x=1"),
        HEAD.replace(b"completions", b"responses"),
        HEAD.replace(b"Host: x", b"Transfer-Encoding: chunked"),
        HEAD.replace(b"Host: x", b"Expect: 100-continue"),
        HEAD.replace(b"Host: x", b"Connection: close"),
        HEAD.replace(b"Host: x", b"Upgrade: websocket"),
        HEAD.replace(b"Host: x", b"Content-Length: 2"),
        HEAD.replace(b"Host: x", b"Host : x"),
        HEAD.replace(b"Host: x", b"Host:x"),
        HEAD.replace(b"Host: x", b"Host: x\r\n folded"),
        HEAD.replace(b"Host: x", b"Host: \xff"),
        HEAD.replace(b"Host: x", b"Host: x\x00"),
        HEAD.replace(b"Host: x\r\n", b"Host: x\n"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: +2"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: 0x2"),
        HEAD.replace(b"Content-Length: 2\r\n", b""),
        HEAD.replace(b"Host: x", b"Upgrade: keep-alive"),
        HEAD.replace(b"Host: x", b"Origin: keep-alive"),
        HEAD.replace(b"Host: x", b"Connection: upgrade"),
        HEAD.replace(b"Host: x", b"X-Mock-Ttft: 1ms"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: 000000002"),  # Nine digits.
        HEAD.replace(b"Content-Length: 2", b"Content-Length: 3"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: 1"),
    ],
)
def test_heads_that_are_for_the_parser(data: bytes) -> None:
    assert read_head(HEAD) is not None
    assert read_head(data) is None


def test_a_length_may_have_eight_digits_and_a_connection_may_stay_open() -> None:
    for old, new in (
        (b"Length: 2", b"Length: 00000002"),
        (b"Host: x", b"Connection: keep-alive"),
        (b"Host: x", b"X-Mock: y"),
    ):
        head = read_head(HEAD.replace(old, new))
        assert head is not None
        assert head.body_at == len(HEAD.replace(old, new)) - 2


def test_what_a_head_says() -> None:
    data = HEAD.replace(
        b"Host: x", b"x-request-ID: a-1\r\nconnection: keep-alive\r\nX-Request-Id: b-2\r\nX_: y\r\nhost: x"
    )
    assert read_head(data) is None  # Names with an underscore are left to the parser.
    head = read_head(data.replace(b"X_: y\r\n", b""))
    assert head is not None
    assert (head.path, head.request_id) == (b"/v1/completions", "a-1")


NAMED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: run-1\r\nContent-Length: 2\r\nAccept: */*\r\n\r\n{}"


@pytest.mark.parametrize(
    "data",
    [
        NAMED.replace(b"run-1", b"run-22"),
        NAMED.replace(b"run-1", b"a b"),
        NAMED.replace(b"run-1", b" a"),
        NAMED.replace(b"run-1", b"a "),
        NAMED.replace(b"run-1", b"a\x7f"),
        NAMED.replace(b"run-1", b"\xe9"),
        NAMED.replace(b"run-1", b""),
        NAMED.replace(b"run-1", b"a\rb"),
        NAMED.replace(b"run-1", b"a\r\nExpect: 100-continue"),
        NAMED.replace(b"run-1", b"a\r\nContent-Length: 2"),
        NAMED.replace(b": 2", b": 02"),
        NAMED.replace(b": 2", b": 1"),
        NAMED.replace(b": 2", b": 3"),
        NAMED.replace(b": 2", b": +2"),
        NAMED.replace(b": 2", b": 000000002"),
        NAMED.replace(b": 2", b": "),
        NAMED.replace(b"*/*", b"*/*\r\nx-mock-ttft: 1ms"),
        NAMED.replace(b"chat/", b""),
        NAMED[:-1],
        NAMED + b" ",
        NAMED[:40],
        NAMED.replace(b"X-Request-Id: run-1\r\nContent-Length: 2", b"Content-Length: 2\r\nX-Request-Id: run-1"),
        HEAD,
    ],
)
def test_a_head_reads_the_same_whatever_was_read_before(data: bytes) -> None:
    heads = PlainHeads()
    first = heads.read(NAMED)
    assert first == (b"/v1/chat/completions", "run-1", len(NAMED) - 2)
    for _ in range(2):
        assert heads.read(data) == read_head(data)
        assert heads.read(NAMED) == first


@pytest.mark.parametrize(
    ("head", "other", "name"),
    [
        (NAMED, NAMED.replace(b"run-1", b"run-100"), "run-100"),
        (
            NAMED.replace(b"X-Request-Id: run-1\r\nContent-Length: 2", b"content-length: 2\r\nx-request-id: run-1"),
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\nx-request-id: b\r\nAccept: */*\r\n\r\n"
            b"{}        ",
            "b",
        ),
    ],
)
def test_a_shape_reads_the_next_head_of_its_kind_alone(head: bytes, other: bytes, name: str) -> None:
    first = read_head(head)
    assert first is not None
    shape = _shape_of(first, head)
    assert shape.read(head) == first
    read = shape.read(other)
    assert read == read_head(other)
    assert read is not None
    assert (read.request_id, other[read.body_at :].strip()) == (name, b"{}")
    assert shape.read(other[:-1]) is None
    assert shape.read(other.replace(b"Host: x", b"Host: y")) is None
    assert shape.read(other.replace(b"Accept: */*", b"Accept: a/b")) is None
