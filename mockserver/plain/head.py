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
     b"origin", b"content-encoding", b"traceparent")
)  # fmt: skip
"""Headers that change how a request is read, answered or recorded."""
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
        head = read_head(data)
        if head is not None and head.request_id is not None:
            self._shapes = [_shape_of(head, data), *self._shapes[: _REMEMBERED - 1]]
        return head


def read_head(data: bytes) -> PlainHead | None:
    """As `PlainHeads.read`, of a head that is the first."""
    found = _HEAD.match(data)
    if found is None:
        return None
    length = request_id = None
    for line in found[2].split(_LINE_END):
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > _MOST_DIGITS:
                return None
            length = int(value)
        elif name == b"x-request-id":
            if request_id is None:  # Of several, the first counts.
                request_id = value.decode("ascii")
        elif (name in _DECIDES and not (name == b"connection" and value == b"keep-alive")) or name.startswith(_OURS):
            return None
    if length is None or len(data) - found.end() != length:
        return None
    return PlainHead(found[1], request_id, found.end())


def _shape_of(head: PlainHead, data: bytes) -> _Shape:
    """The shape of a head that was read and has an id."""
    (id_start, id_stop), (length_start, length_stop) = (
        _value_at(data, name) for name in (b"\r\nx-request-id: ", b"\r\ncontent-length: ")
    )
    first, second = sorted(((id_start, id_stop), (length_start, length_stop)))
    return _Shape(
        head.path,
        data[: first[0]],
        data[first[1] : second[0]],
        data[second[1] : head.body_at],
        id_start < length_start,
    )


def _value_at(data: bytes, begin: bytes) -> tuple[int, int]:
    """Where the value of the first line that begins so stands."""
    start = data.lower().index(begin) + len(begin)
    return start, data.index(_LINE_END, start)
