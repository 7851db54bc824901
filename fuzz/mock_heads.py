"""Heads that the mock's short way accepts mean the same to httptools; and a head reads the same whatever was read before it.

An input: requests, with the line `--` between them. They are read one after the other.
"""

from __future__ import annotations

import httptools

from fuzz.target import Target
from mockserver.plain.head import PlainHead, PlainHeads, read_head


class _Request:
    """What httptools makes of the bytes."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.messages = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1


def _check(head: PlainHead, data: bytes) -> None:
    """The general parser says the same."""
    request = _Request(data)
    assert request.messages == 1
    assert request.parser.get_method() == b"POST"
    assert request.parser.get_http_version() == "1.1"
    assert request.parser.should_keep_alive()
    assert not request.parser.should_upgrade()
    assert request.url == head.path
    assert request.body == data[head.body_at :]
    ids = [value.decode("latin-1") for name, value in request.headers if name == b"x-request-id"]
    assert head.request_id == (ids[0] if ids else None)
    assert not any(name.startswith(b"x-mock-") for name, _ in request.headers)


def read(data: bytes) -> None:
    """One input."""
    heads = PlainHeads()
    for one in data.split(b"\n--\n"):
        head = read_head(one)
        assert heads.read(one) == heads.read(one) == head
        if head is not None:
            _check(head, one)


WORDS = (
    b"POST /v1/chat/completions HTTP/1.1\r\n",
    b"POST /v1/completions HTTP/1.1\r\n",
    b"x-request-id: run-7\r\n",
    b"content-length: 2\r\n",
    b"Content-Length: 02\r\n",
    b"connection: keep-alive\r\n",
    b"connection: close\r\n",
    b"transfer-encoding: chunked\r\n",
    b"x-mock-ttft: 5ms\r\n",
    b"expect: 100-continue\r\n",
    b"host: h\r\n",
    b"\r\n\r\n{}",
    b"\n--\n",
    b" ",
    b"\t",
    b": ",
)
TARGET = Target(read, words=WORDS)
