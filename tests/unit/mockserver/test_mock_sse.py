"""The framing of events and HTTP chunks, read back by third-party decoders."""

from __future__ import annotations

import httptools
from hypothesis import given
from hypothesis import strategies as st

from mockserver.dialect.sse import DONE, LAST_CHUNK, event, http_chunk


def test_an_event_is_one_data_line_and_a_blank_line() -> None:
    assert event(b'{"a":1}') == b'data: {"a":1}\n\n'


def test_done_is_an_event() -> None:
    assert event(b"[DONE]") == DONE


class _Body:
    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
def test_chunks_are_what_an_http_parser_puts_together_again(bodies: list[bytes]) -> None:
    seen = _Body()
    parser = httptools.HttpResponseParser(seen)
    parser.feed_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for body in bodies:
        parser.feed_data(http_chunk(body))
    assert not seen.complete
    parser.feed_data(LAST_CHUNK)
    assert seen.complete
    assert seen.body == b"".join(bodies)
