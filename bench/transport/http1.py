"""Responses of HTTP/1.1, sans-IO: the bytes of a connection in, the head and the pieces of the body out.

`head.py` checks the head and skips interim responses; httptools (llhttp) does the framing. This file turns its callbacks into
values and detects the end of a response.
"""

from __future__ import annotations

import httptools

from bench.transport.head import HeadReader, ProtocolError


class ResponseParser:
    """One response. `feed` returns the pieces of the body that the bytes held; `head` is complete when `status` is set.

    httptools refers to this object, and this object to httptools: `close` breaks the cycle.
    """

    beside = False
    """Whether the last bytes were of the connection, and not of the response: of a WebSocket some are."""
    __slots__ = ("_head", "_parser", "_pieces", "complete", "error", "headers", "keep_alive", "status")

    def __init__(self, *, to_head: bool = False) -> None:
        """`to_head`: it answers a request HEAD."""
        parser = httptools.HttpResponseParser(self)
        # Old servers pad the sizes of chunks, and httpx's parser passes over it.
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

        Bytes that follow the end of the response belong to nothing, and end the connection (`keep_alive`).
        Raises ProtocolError if nothing can come of the bytes: they follow the end of the response, or are no head. Raises
        HeadTooLarge.
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
        """A read behind the response: bytes that were not asked for and do not belong to it."""
        del data
        self.keep_alive = False

    def end_of_file(self) -> None:
        """The server has closed the connection: that ends a body without a length."""
        headers = self.headers
        framed = b"content-length" in headers or b"chunked" in headers.get(b"transfer-encoding", b"")
        if self.status is not None and not framed:
            self.complete = True

    def close(self) -> None:
        """Let go of httptools' parser."""
        self._parser = None

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self.complete:
            # Bytes that nobody asked for: neither this request nor the next must take them for its response.
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
