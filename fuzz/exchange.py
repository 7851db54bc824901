"""A response as a connection hands it to an exchange, up to the record: each byte of its body is counted, once.

An input: cuts, which endpoint and whether the request asks for a stream (1 byte), what the server sends.
"""

from __future__ import annotations

from bench.endpoints import ENDPOINTS
from bench.records import Outcome, RequestRecord, from_line, to_line
from bench.transport.exchange import Exchange, Undecodable
from bench.transport.head import HeadTooLarge, ProtocolError
from bench.transport.http1 import ResponseParser
from bench.transport.interface import Reading
from bench.workload import InputBatch, Request
from fuzz.http import WORDS as OF_HTTP
from fuzz.sse import WORDS as OF_SSE
from fuzz.target import Target, split, split_input

_NAMES = tuple(ENDPOINTS)


def _words(text: str) -> int:
    """A tokenizer for which a piece may hold no token, or several."""
    return len(text.split(" ")) if text else 0


def _record(pieces: list[bytes], name: str, stream: bool) -> tuple[RequestRecord, int]:
    """The record of a response that came in these pieces, and the bytes of its body by the parser's count."""
    pooled = ENDPOINTS[name].inputs_are is not None
    request = Request(
        id="fuzz-0",
        index=0,
        body=b"{}",
        stream=stream,
        input_tokens_asked=None,
        output_tokens_asked=4,
        batch=InputBatch(inputs=1, entries=1) if pooled else None,
    )
    exchange = Exchange(request, 1, 1, Reading(endpoint=ENDPOINTS[name], count=_words), "kernel")
    exchange.sent_ns = 2
    parser, at_ns, body = ResponseParser(), 10, 0
    failed: Outcome | None = None
    error: str | None = None
    try:
        for piece in pieces:
            if not piece or parser.complete:
                continue
            at_ns += 10
            exchange.first_byte_ns = at_ns if exchange.first_byte_ns is None else exchange.first_byte_ns
            found = parser.feed(piece)
            if exchange.status is None and parser.status is not None:
                headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in parser.headers.items()}
                exchange.head(
                    parser.status,
                    headers.get("content-type", ""),
                    headers.get("content-encoding", ""),
                    headers.get("location"),
                    sized="content-length" in headers,
                )
            for part in found:
                exchange.feed(part, at_ns, at_ns - 5)
                body += len(part)
            if parser.error is not None:
                raise ProtocolError(parser.error)
            if at_ns % 3 == 0:
                exchange.digest()
        if not parser.complete:
            parser.end_of_file()
            failed, error = (None, None) if parser.complete else (Outcome.TRUNCATED, "closed")
    except (ProtocolError, HeadTooLarge, Undecodable) as e:
        failed, error = Outcome.MALFORMED, str(e)
    exchange.last_read_ns = at_ns
    record = exchange.close(at_ns, failed, error)
    parser.close()
    return record, body


def read(data: bytes) -> None:
    """One input."""
    cuts, data = split_input(data)
    if not data:
        return
    name, stream, data = _NAMES[data[0] % len(_NAMES)], bool(data[0] & 0x80), data[1:]
    stream = stream and ENDPOINTS[name].inputs_are is None
    whole, counted = _record([data], name, stream)
    assert whole.bytes_received == counted <= len(data)
    assert len(whole.chunk_ns) == len(whole.chunk_kind)
    assert whole.chunk_tokens is None or len(whole.chunk_tokens) == len(whole.chunk_ns)
    assert whole.outcome is not Outcome.OK or whole.error is None
    assert from_line(to_line(whole)) == whole
    cut, counted = _record(split(data, cuts), name, stream)
    assert cut.bytes_received == counted
    if whole.outcome is not Outcome.MALFORMED:
        # Where nothing is wrong with the bytes, what the record says does not depend on how they came.
        assert (cut.outcome, cut.status, cut.bytes_received) == (whole.outcome, whole.status, whole.bytes_received)
        assert (cut.chunk_kind, cut.output_tokens) == (whole.chunk_kind, whole.output_tokens)


TARGET = Target(read, words=(*OF_HTTP, *OF_SSE, b"content-encoding: gzip\r\n", b"content-type: application/json\r\n"))
