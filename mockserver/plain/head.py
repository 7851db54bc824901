"""Reads the head of an ordinary request that is there as a whole, much faster than a general parser.

It knows heads that mean one thing to every reader: HTTP/1.1, a `name: value` a line without odd characters, a body of a
given length, a connection that stays open. It returns None for anything else, which is then for the general parser.

A client repeats its head, but for the request's id and the length of its body. So `PlainHeads` remembers a few heads without
these two: one that is the same around them means the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_HEAD = re.compile(
    rb"POST (/v1/(?:chat/)?completions) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z][A-Za-z0-9-]*: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
_DECIDES = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"expect", b"te", b"trailer",
     b"origin", b"content-encoding")
)  # fmt: skip
"""Headers that change how a request is read or answered."""
_OURS = b"x-mock-"
_MOST_DIGITS = 8
_REMEMBERED = 4
_LINE_END = b"\r\n"


class PlainHead(NamedTuple):
    """What matters of the head of an ordinary request."""

    path: bytes
    request_id: str | None
    body_at: int
    """Where the body begins; it ends with the bytes."""


class _Span(NamedTuple):
    """Where the value of a header stands."""

    start: int
    stop: int


class _Shape(NamedTuple):
    """A head without the values of its id and of its length, in whatever order the two are."""

    path: bytes
    before: bytes
    between: bytes
    behind: bytes
    id_first: bool

    def read(self, data: bytes) -> PlainHead | None:
        """The head of a request that has this shape. None: it has another, or is not ordinary."""
        if not data.startswith(self.before):
            return None
        start = len(self.before)
        stop = data.find(_LINE_END, start)
        first = data[start:stop]
        if not data.startswith(self.between, stop):
            return None
        start = stop + len(self.between)
        stop = data.find(_LINE_END, start)
        second = data[start:stop]
        if not data.startswith(self.behind, stop):
            return None
        body_at = stop + len(self.behind)
        name, length = (first, second) if self.id_first else (second, first)
        if not length.isdigit() or len(length) > _MOST_DIGITS or body_at + int(length) != len(data):
            return None
        request_id = name.decode("latin-1")
        if not (request_id.isascii() and request_id.isprintable()) or request_id.strip(" ") != request_id or not name:
            return None
        return PlainHead(self.path, request_id, body_at)


class PlainHeads:
    """Reads heads, one after the other."""

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []

    def read(self, data: bytes) -> PlainHead | None:
        """The head of one whole request, with nothing behind it. None: not such a one."""
        for shape in self._shapes:
            head = shape.read(data)
            if head is not None:
                return head
        found = _read(data)
        if found is None:
            return None
        head, shape_of_it = found
        if shape_of_it is not None:
            self._shapes = [shape_of_it, *self._shapes[: _REMEMBERED - 1]]
        return head


def read_head(data: bytes) -> PlainHead | None:
    """As `PlainHeads.read`, of a head that is the first."""
    found = _read(data)
    return None if found is None else found[0]


def _read(data: bytes) -> tuple[PlainHead, _Shape | None] | None:
    """The head, and its shape where it has an id."""
    found = _HEAD.match(data)
    if found is None:
        return None
    length = id_at = length_at = None
    at = found.start(2)
    for line in found[2].split(_LINE_END):
        name, separator, value = line.partition(b": ")
        span = _Span(at + len(name) + len(separator), at + len(line))
        at = span.stop + len(_LINE_END)
        name = name.lower()
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > _MOST_DIGITS:
                return None
            length, length_at = int(value), span
        elif name == b"x-request-id":
            if id_at is None:  # Of several, the first counts.
                id_at = span
        elif (name in _DECIDES and not (name == b"connection" and value == b"keep-alive")) or name.startswith(_OURS):
            return None
    if length is None or length_at is None or len(data) - found.end() != length:
        return None
    if id_at is None:
        return PlainHead(found[1], None, found.end()), None
    first, second = (id_at, length_at) if id_at < length_at else (length_at, id_at)
    shape = _Shape(
        found[1],
        data[: first.start],
        data[first.stop : second.start],
        data[second.stop : found.end()],
        first is id_at,
    )
    return PlainHead(found[1], data[id_at.start : id_at.stop].decode("ascii"), found.end()), shape
