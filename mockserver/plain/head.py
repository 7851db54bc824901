"""A fast parser for the complete head of an ordinary request.

It accepts only unambiguous heads: HTTP/1.1, one `name: value` per line without odd characters, a body of a given
length, a connection that stays open. It returns None for anything else, which the general parser then handles.

A client repeats its head except for the request id and the length of the body. So `PlainHeads` remembers a few heads
without these two values: a head that is otherwise identical has the same meaning.
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
_PREFIX = b"x-mock-"
_MOST_DIGITS = 8
_REMEMBERED = 4
_LINE_END = b"\r\n"


class PlainHead(NamedTuple):
    """The relevant parts of an ordinary request's head."""

    path: bytes
    request_id: str | None
    body_at: int
    """The offset of the body, which extends to the end of the bytes."""


class _Shape(NamedTuple):
    """A head without the values of its id and length, in either order."""

    path: bytes
    before: bytes
    between: bytes
    behind: bytes
    id_first: bool

    def read(self, data: bytes) -> PlainHead | None:
        """The head of a request with this shape. None: it has another shape, or is not ordinary."""
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
    """Parses heads and remembers their shapes."""

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []

    def read(self, data: bytes) -> PlainHead | None:
        """The head of one complete request with nothing after it. Returns None if the data is anything else."""
        for shape in self._shapes:
            head = shape.read(data)
            if head is not None:
                return head
        head = read_head(data)
        if head is not None and head.request_id is not None:
            self._shapes = [_shape_of(head, data), *self._shapes[: _REMEMBERED - 1]]
        return head


def read_head(data: bytes) -> PlainHead | None:
    """Like `PlainHeads.read`, without remembered shapes."""
    match = _HEAD.match(data)
    if match is None:
        return None
    length = request_id = None
    for line in match[2].split(_LINE_END):
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > _MOST_DIGITS:
                return None
            length = int(value)
        elif name == b"x-request-id":
            if request_id is None:  # The first one counts.
                request_id = value.decode("ascii")
        elif (name in _DECIDES and not (name == b"connection" and value == b"keep-alive")) or name.startswith(_PREFIX):
            return None
    if length is None or len(data) - match.end() != length:
        return None
    return PlainHead(match[1], request_id, match.end())


def _shape_of(head: PlainHead, data: bytes) -> _Shape:
    """The shape of a parsed head that has an id."""
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
    """The start and end of the value of the first line that begins with `begin`."""
    start = data.lower().index(begin) + len(begin)
    return start, data.index(_LINE_END, start)
