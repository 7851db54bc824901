"""Reads the head of an ordinary request that is there as a whole, much faster than a general parser.

It knows heads that mean one thing to every reader: HTTP/1.1, a `name: value` a line without odd characters, a body of a
given length, a connection that stays open. It returns None for anything else, which is then for the general parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class PlainHead:
    """What matters of the head of an ordinary request."""

    path: bytes
    request_id: str | None
    body_at: int
    """Where the body begins; it ends with the bytes."""


def read_head(data: bytes) -> PlainHead | None:
    """The head of one whole request, with nothing behind it. None: not such a one."""
    found = _HEAD.match(data)
    if found is None:
        return None
    length = request_id = None
    for line in found[2].split(b"\r\n"):
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
