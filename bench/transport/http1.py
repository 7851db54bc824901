"""HTTP/1.1 responses, sans-IO: the bytes of a connection in, the head and the pieces of the body out.

`head.py` checks the head and skips interim responses; httptools (llhttp) does the framing. This file turns its
callbacks into values and detects the end of a response.
"""

from __future__ import annotations

import httptools

from bench.transport.head import HeadReader, ProtocolError


class ResponseParser:
    """One response. `feed` returns the pieces of the body in the bytes; `head` is complete when `status` is set.

    httptools and this object refer to each other: `close` breaks the cycle.
    """

    beside = False
    """Whether the last bytes belonged to the connection instead of the response, as some bytes of a WebSocket do."""
    __slots__ = ("_head", "_parser", "_pieces", "complete", "error", "headers", "keep_alive", "status")

    def __init__(self, *, to_head: bool = False) -> None:
        """`to_head`: it answers a HEAD request."""
        parser = httptools.HttpResponseParser(self)
        # Old servers pad the sizes of chunks, and httpx's parser tolerates it.
        parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self._parser: httptools.HttpResponseParser | None = parser
        self._head = HeadReader(to_head=to_head)
        self._pieces: list[bytes] = []
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.error: str | None = None
        self.complete = False
        self.keep_alive = False

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of body in these bytes, with the pieces before an `error`.

        Bytes after the end of the response are ignored, and end the connection (`keep_alive`). Raises ProtocolError if
        the bytes are useless: they follow the end of the response, or are not a head. Raises HeadTooLarge.
        """
        if self.complete:
            raise ProtocolError(f"{len(data)} bytes came after the end of the response")
        if not self._head.complete:
            data = self._head.feed(data)
            if not data:
                return []
        assert self._parser is not None
        pieces: list[bytes] = []
        self._pieces = pieces
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as e:
            if not self.complete:
                raise ProtocolError("the server wants to switch protocols") from e
        except httptools.HttpParserError as e:
            if self.complete:
                self.keep_alive = False
            else:
                self.error = f"{e} in {data[:60]!r}"
        return pieces

    def behind(self, data: bytes) -> None:
        """A read after the response: unrequested bytes that do not belong to it."""
        del data
        self.keep_alive = False

    def end_of_file(self) -> None:
        """The server has closed the connection, which ends a body without a length."""
        headers = self.headers
        framed = b"content-length" in headers or b"chunked" in headers.get(b"transfer-encoding", b"")
        if self.status is not None and not framed:
            self.complete = True

    def close(self) -> None:
        """Release httptools' parser."""
        self._parser = None

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        if self.complete:
            # Unrequested bytes: neither this request nor the next may take them for its response.
            self.keep_alive = False
            self._pieces = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = True
