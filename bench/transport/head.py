"""The head of a response, sans-IO: checked and normalized before any parser sees it.

The transports frame bodies with different parsers, which disagree about heads that are not quite HTTP. So the decisions
are made once, here, and the parsers get an unambiguous head:

- lines may end with LF alone; a folded line is joined to the one before it (RFC 9112, 2.2 and 5.2);
- interim responses (1xx) are dropped; 101 is refused, because no request asks to switch protocols;
- `Content-Length` must be digits; several must be equal; together with `Transfer-Encoding` it is refused (RFC 9112, 6.3);
- the only transfer encoding is `chunked`, once;
- a line without a colon, an invalid name, a control character in a value, and any version except HTTP/1.0 and
  HTTP/1.1 are refused;
- all heads of a response together have a size limit.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_HEAD_BYTES = 65_536
_SHORT = 200
"""A longer line is not cached."""

_START = b"HTTP/1."
_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[01] [1-9][0-9][0-9](?: .*)?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class ProtocolError(Exception):
    """The response is not HTTP/1.1."""


class HeadTooLarge(Exception):
    """The head exceeds its limit; the message names the limit."""


class HeadReader:
    """Reads the bytes of one response from its start. `complete` once the head is complete and its work is done."""

    __slots__ = ("_bytes", "_held", "_to_head", "complete")

    def __init__(self, *, to_head: bool = False) -> None:
        """`to_head`: for a response to HEAD, which has no body, whatever length its head states."""
        self._to_head = to_head
        self._held = bytearray()
        self._bytes = 0  # of interim heads
        self.complete = False

    def feed(self, data: bytes) -> bytes:
        """The bytes for the parser so far: none before the head is complete, then the head and what followed it. Raises
        ProtocolError and HeadTooLarge."""
        searched = max(0, len(self._held) - 2)
        self._held += data
        buffer = self._held
        while True:
            if not buffer.startswith(_START[: len(buffer)]):
                raise ProtocolError(_shown(buffer))
            end = _END.search(buffer, searched)
            size = self._bytes + (len(buffer) if end is None else end.end())
            if size > MAX_HEAD_BYTES:
                raise HeadTooLarge(f"the response head is larger than the limit of {MAX_HEAD_BYTES} bytes")
            if end is None:
                return b""
            head = bytes(buffer[: end.start()])
            del buffer[: end.end()]
            searched = 0
            if not _is_interim(head):
                self.complete = True
                return checked(head, to_head=self._to_head) + bytes(buffer)
            checked(head)
            self._bytes += end.end()
            if not buffer:
                return b""


def _is_interim(head: bytes) -> bool:
    if head[9:12] == b"101":
        raise ProtocolError("the server wants to switch protocols")
    return head[9:10] == b"1"


def checked(head: bytes, *, to_head: bool = False) -> bytes:
    """The head, up to its empty line, in a normal form that all parsers read alike; for a response `to_head`, without a
    body. Raises ProtocolError."""
    status, *lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    if not _STATUS.fullmatch(status) or _CONTROL.search(status):
        raise ProtocolError(f"{_shown(status)} is no status line")
    lengths: set[bytes] = set()
    codings: list[bytes] = []
    lines_kept = [status]
    for line in _unfolded(lines) if b"\n " in head or b"\n\t" in head else lines:
        lower, value, field = _field(line) if len(line) <= _SHORT else _field_of(line)
        if lower == b"content-length":
            lengths.update(item.strip(b" \t") for item in value.split(b","))
        elif lower == b"transfer-encoding":
            codings += [item.strip(b" \t").lower() for item in value.split(b",")]
        else:
            lines_kept.append(field)
    if codings and lengths:
        raise ProtocolError("both Transfer-Encoding and Content-Length")
    if codings:
        if codings != [b"chunked"]:
            raise ProtocolError(f"the transfer encoding {_shown(b', '.join(codings))} is not chunked")
        lines_kept.append(b"transfer-encoding: chunked")
    if lengths:
        length = lengths.pop()
        if lengths:
            raise ProtocolError("several values of Content-Length")
        if not length.isdigit() or len(length) > 18:
            raise ProtocolError(f"the Content-Length is {_shown(length)}")
        lines_kept.append(b"content-length: " + length)
    if to_head:
        lines_kept = [line for line in lines_kept if not line.startswith((b"transfer-encoding:", b"content-length:"))]
        lines_kept.append(b"content-length: 0")
    return b"\r\n".join(lines_kept) + b"\r\n\r\n"


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """Join folded lines."""
    whole: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and whole:
            whole[-1] = whole[-1].rstrip(b" \t") + b" " + line.strip(b" \t")
        else:
            whole.append(line)
    return whole


def _field_of(line: bytes) -> tuple[bytes, bytes, bytes]:
    """The name of a header in lower case, its value, and the normalized line. Raises ProtocolError."""
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        raise ProtocolError(f"{_shown(line)} is no header")
    value = value.strip(b" \t")
    if _CONTROL.search(value):
        raise ProtocolError(f"a control character in the header {name.decode()}")
    return name.lower(), value, b"%b: %b" % (name, value)


_field = lru_cache(maxsize=512)(_field_of)
"""Most headers of a server are the same in every response."""


def _shown(data: bytes | bytearray) -> str:
    return repr(data[:60].decode("latin-1"))
