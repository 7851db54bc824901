"""Every transport against a server of literal bytes: an unusual reply gives the same record, whichever transport reads
it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.records import Outcome, RequestRecord
from tests.support.literal_replies import (
    CHUNKED,
    DONE,
    GOOD,
    GOOD_KINDS,
    LAST_CHUNK,
    ROLE,
    chunk,
    chunked_stream,
    completion,
    content,
    delta,
    error,
    finish,
    frame,
    frames,
    head,
    stream,
    usage,
    usage_of,
    whole,
)
from tests.support.literal_server import (
    Close,
    Hang,
    LiteralServer,
    Pause,
    Reset,
    Send,
    Step,
    UntilRead,
    in_turn,
    one_byte_a_write,
)
from tests.support.open_transport import MS, PART, SSE_HEAD, A, B, Client, in_order, once
from tests.support.patience import PATIENCE_S

# ---- A good reply, however it is cut -------------------------------------------------------------------------------

UNICODE = (ROLE, content("a"), content("\u2028b\u2029"), content("\U0001f600 é"), finish(), usage(3), DONE)


def whole_stream(framing: str, pieces: Sequence[bytes]) -> list[Step]:
    match framing:
        case "chunked":
            return chunked_stream(pieces)
        case "content-length":
            length = f"content-length: {sum(map(len, pieces))}"
            return [Send(head("200 OK", "text/event-stream", length)), *map(Send, pieces)]
        case _:
            return [Send(head("200 OK", "text/event-stream", "connection: close")), *map(Send, pieces), Close()]


def cut(pieces: Sequence[bytes], way: str) -> list[bytes]:
    data = b"".join(pieces)
    match way:
        case "all frames in one":
            return [data]
        case "a frame over many":
            return [data[i : i + 7] for i in range(0, len(data), 7)]
        case _:
            return list(pieces)


@pytest.mark.parametrize("way", ["a frame each", "all frames in one", "a frame over many"])
@pytest.mark.parametrize("framing", ["chunked", "content-length", "until close"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_stream_reads_the_same_however_it_is_framed_and_split(
    act: Callable[..., Any], line_end: bytes, framing: str, way: str
) -> None:
    body = frames(*UNICODE, line_end=line_end)
    with LiteralServer(in_turn(whole_stream(framing, cut(body, way)))) as server:
        record = act(server, once)
    in_order(record)
    assert (record.outcome, record.error, record.status, record.attempts) == (Outcome.OK, None, 200, 1)
    assert record.chunk_kind == GOOD_KINDS
    assert record.chunk_tokens == (0, 1, 1, 1, 0, 0, 0)
    assert (record.input_tokens, record.output_tokens, record.output_tokens_from) == (7, 3, "usage")
    assert record.bytes_received == sum(map(len, body))
    assert record.bytes_sent == len(server.received[0].body) > 0


def test_one_byte_a_write_loses_nothing(act: Callable[..., Any]) -> None:
    bytes_of_reply = b"".join(step.data for step in stream(*UNICODE) if isinstance(step, Send))
    with LiteralServer(in_turn(one_byte_a_write(bytes_of_reply))) as server:
        record = act(server, once)
    in_order(record)
    assert record.outcome is Outcome.OK
    assert record.chunk_kind == GOOD_KINDS
    assert record.chunk_tokens == (0, 1, 1, 1, 0, 0, 0)
    assert record.bytes_received == sum(map(len, frames(*UNICODE)))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_stream_is_read_and_its_bytes_are_counted_before_gunzip(
    act: Callable[..., Any], encoding: str
) -> None:
    body = b"".join(frames(*UNICODE))
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    reply = [Send(head("200 OK", "text/event-stream", CHUNKED, f"content-encoding: {encoding}"))]
    reply += [Send(chunk(packed[:50])), Send(chunk(packed[50:])), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, once)
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, GOOD_KINDS)
    assert record.bytes_received == len(packed)
    assert server.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("hint", ["100 Continue", "103 Early Hints", "102 Processing"])
def test_an_interim_response_is_not_the_response(act: Callable[..., Any], hint: str) -> None:
    with LiteralServer(in_turn([Send(f"HTTP/1.1 {hint}\r\n\r\n".encode()), *stream(*GOOD)])) as server:
        record = act(server, once)
    in_order(record)
    assert (record.outcome, record.status, record.chunk_kind) == (Outcome.OK, 200, GOOD_KINDS)


# ---- Replies and their records -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """A reply and the expected record. Omitted fields are not checked."""

    reply: Sequence[Step]
    outcome: Outcome
    error: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def says(reply: Sequence[Step], outcome: Outcome, error: str | None = None, **fields: Any) -> Expected:
    return Expected(reply, outcome, error, fields)


OK, BROKEN, MALFORMED, TRUNCATED = Outcome.OK, Outcome.STREAM_ERROR, Outcome.MALFORMED, Outcome.TRUNCATED
HTTP_ERROR, RESET = Outcome.HTTP_ERROR, Outcome.RESET


REPLIES: dict[str, Expected] = {
    "comments and keep-alives are no chunks": says(
        chunked_stream([b": ping\n\n", frame(A), b": ping\n\n:\n\n", frame(B), frame(DONE)]), OK, chunk_kind="cco"
    ),
    "event, id and retry fields are passed over": says(
        chunked_stream([b"retry: 9\n\n", b"event: m\nid: 1\n" + frame(A), frame(DONE)]), OK, chunk_kind="co"
    ),
    "no role chunk": says(stream(A, B, finish(), DONE), OK, chunk_kind="ccoo", output_tokens=2),
    "a role chunk that brings text is a token": says(
        stream(delta(role="assistant", content="a"), B, DONE), OK, chunk_kind="cco", chunk_tokens=(1, 1, 0)
    ),
    "an empty delta is no token": says(stream(A, content(""), B, usage(2), DONE), OK, chunk_kind="cocuo"),
    "reasoning and tool calls bear text": says(
        stream(
            delta(reasoning="t"),
            delta(reasoning_content="t"),
            A,
            delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
            DONE,
        ),
        OK,
        chunk_kind="ttcffo",
        output_tokens=5,
    ),
    "usage twice: the last one counts": says(
        stream(A, B, usage(1), usage(2), DONE), OK, chunk_kind="ccuuo", output_tokens=2
    ),
    "usage missing: the chunks are counted": says(
        stream(A, B, finish(), DONE), OK, output_tokens=2, output_tokens_from="chunks", input_tokens=None
    ),
    "usage that no chunk explains": says(
        stream(A, B, usage(5), DONE), OK, output_tokens=5, output_tokens_from="usage", chunk_tokens=None
    ),
    "several tokens a chunk, said by usage on each": says(
        stream(content("a b", usage=usage_of(2)), content("c d e", usage=usage_of(5)), usage(5), DONE),
        OK,
        chunk_kind="ccuo",
        chunk_tokens=(2, 3, 0, 0),
    ),
    "no [DONE] after a finish reason is an end": says(stream(A, finish()), OK, chunk_kind="co"),
    "no [DONE] and no finish reason is none": says(stream(A, B), TRUNCATED, "without [DONE]", chunk_kind="cc"),
    "an end in the middle of an event": says(
        chunked_stream([frame(A), frame(B)[:20]]), TRUNCATED, "in the middle of an event", chunk_kind="c"
    ),
    "a stream without any event": says(stream(), TRUNCATED, chunk_kind="", status=200),
    "an error object in the stream": says(
        stream(ROLE, A, error("out of memory")), BROKEN, "out of memory", status=200, chunk_kind="rco"
    ),
    "an error object and then [DONE]": says(
        stream(A, error("out of memory"), DONE), BROKEN, "out of memory", chunk_kind="coo"
    ),
    "malformed JSON": says(
        stream(A, '{"choices": [', B, DONE), MALFORMED, "event 1 is not JSON", chunk_kind="cooo", status=200
    ),
    "an event that is no object": says(stream(A, "[1]", DONE), MALFORMED, "event 1 is not a JSON object"),
    "an event that holds two objects": says(stream(A, '{},{"choices":[]}', DONE), MALFORMED, "event 1 is not JSON"),
    "JSON although a stream was asked": says(
        whole("200 OK", completion("hello", 2)), OK, chunk_ns=(), output_tokens=2, input_tokens=7
    ),
    "an error object with status 200 in one piece": says(
        whole("200 OK", error("no such thing")), BROKEN, "no such thing", status=200
    ),
    "429 with a message": says(
        whole("429 Too Many Requests", error("slow down"), "retry-after: 1"), HTTP_ERROR, "slow down", status=429
    ),
    "401 with a bare string": says(
        whole("401 Unauthorized", {"error": "Unauthorized"}), HTTP_ERROR, "Unauthorized", status=401
    ),
    "422 with FastAPI's detail": says(
        whole("422 Unprocessable", {"detail": [{"msg": "extra field"}]}), HTTP_ERROR, "extra field", status=422
    ),
    "500 with plain text": says(whole("500 Oops", b"it broke"), HTTP_ERROR, "it broke", status=500),
    "500 in chunked framing": says(
        [Send(head("500 Oops", "application/json", CHUNKED)), *[Send(chunk(b"{}")), Send(LAST_CHUNK)]],
        HTTP_ERROR,
        "{}",
        status=500,
    ),
    "503 without a body": says(whole("503 Busy", b""), HTTP_ERROR, "no message", status=503),
    "503 that ends with the connection": says(
        [Send(head("503 Busy", "text/plain", "connection: close") + b"later"), Close()], HTTP_ERROR, "later"
    ),
    "a redirect is refused with a sentence": says(
        whole("307 Temporary Redirect", b"", "location: https://elsewhere.example/v1"),
        HTTP_ERROR,
        "redirects to https://elsewhere.example/v1",
        status=307,
    ),
    "an empty body with status 200": says(
        whole("200 OK", b"", content_type="application/json"), MALFORMED, "no body", status=200
    ),
    "HTML with status 200 in place of JSON": says(
        whole("200 OK", b"<html>", content_type="application/json"), MALFORMED, "not JSON", bytes_received=6
    ),
    "an encoding that nobody asked for": says(
        [Send(head("200 OK", "text/event-stream", CHUNKED, "content-encoding: br"))], MALFORMED, "'br'"
    ),
    "gzip that is none": says(
        [
            Send(head("200 OK", "text/event-stream", CHUNKED, "content-encoding: gzip")),
            Send(chunk(b"nope" * 9)),
            Send(LAST_CHUNK),
        ],
        MALFORMED,
        "compressed reply cannot be read",
    ),
    "a framing that is none": says([SSE_HEAD, Send(chunk(frame(A))), Send(b"zz\r\n")], MALFORMED, chunk_kind="c"),
    "something that is not HTTP": says(
        [Send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), Hang()], MALFORMED, "not HTTP", status=None
    ),
    "a reset in mid-stream keeps what came": says(
        [SSE_HEAD, *[Send(chunk(f)) for f in PART], UntilRead(), Reset()], RESET, chunk_kind="rcc", status=200
    ),
    "a close in the middle of a chunk": says(
        [SSE_HEAD, *[Send(chunk(f)) for f in PART], Send(chunk(frame(A))[:9]), Close()],
        TRUNCATED,
        "closed the connection",
        chunk_kind="rcc",
        status=200,
    ),
    "a close before the length is reached": says(
        [Send(head("200 OK", "text/event-stream", "content-length: 999") + frame(A)), Close()],
        TRUNCATED,
        "closed the connection",
        chunk_kind="c",
    ),
    "a close in the middle of the head": says([Send(b"HTTP/1.1 200 OK\r\ncontent-"), Close()], TRUNCATED, status=None),
    "a close after [DONE] and before the last HTTP chunk": says(
        [SSE_HEAD, *[Send(chunk(f)) for f in frames(*GOOD)], Close()], OK, chunk_kind=GOOD_KINDS
    ),
    "a reset after [DONE] and before the last HTTP chunk": says(
        [SSE_HEAD, *[Send(chunk(f)) for f in frames(*GOOD)], UntilRead(), Reset()], OK, chunk_kind=GOOD_KINDS
    ),
    "a close before any answer": says([Close()], RESET, status=None, attempts=1, first_byte_ns=None),
    "a reset before any answer": says([Reset()], RESET, status=None, attempts=1, first_byte_ns=None),
}


@pytest.mark.parametrize("row", REPLIES.values(), ids=REPLIES.keys())
def test_a_reply_gives_the_record_that_it_deserves(act: Callable[..., Any], row: Expected) -> None:
    with LiteralServer(in_turn(row.reply)) as server:
        record = act(server, once, timeout_total_ns=round(PATIENCE_S * 1000) * MS)
    in_order(record)
    assert record.outcome is row.outcome, record.error
    if row.error is not None:
        assert row.error in (record.error or "")
    assert row.outcome is Outcome.OK or record.error
    assert {name: getattr(record, name) for name in row.fields} == row.fields
    assert len(server.received) == 1
    assert record.bytes_sent == len(server.received[0].body)


@pytest.mark.wall_clock
def test_a_whole_response_has_an_end_and_no_chunks(act: Callable[..., Any]) -> None:
    async def ask(client: Client) -> RequestRecord:
        return await client.ask(streamed=False)

    reply = [Pause(0.02), *whole("200 OK", completion("hello", 2))]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, ask)
    in_order(record)
    assert (record.outcome, record.chunk_ns, record.chunk_kind, record.output_tokens) == (Outcome.OK, (), "", 2)
    assert record.end_ns >= server.received[0].writes[0][0]


def test_a_response_over_the_size_limit_is_refused_with_the_limit(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*[A] * 200, DONE))) as server:
        record = act(server, once, max_response_bytes=2_000)
    in_order(record)
    assert record.outcome is Outcome.MALFORMED
    assert "larger than the limit of 2000 bytes" in record.error


def test_a_huge_response_is_read_to_its_last_byte(act: Callable[..., Any]) -> None:
    events = [content("x" * 1000)] * 3000
    with LiteralServer(in_turn(chunked_stream([b"".join(frames(*events)), frame(DONE)]))) as server:
        record = act(server, once)
    in_order(record)
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, "c" * 3000 + "o")
    assert record.bytes_received == sum(map(len, frames(*events, DONE)))


# ---- Requests, and secrets ------------------------------------------------------------------------------------------


def test_the_request_carries_its_id_and_the_headers_of_the_target(act: Callable[..., Any]) -> None:
    headers = (("authorization", "Bearer sk-1"), ("X-Tenant", "blue"))
    with LiteralServer(in_turn(stream(*GOOD))) as server:
        act(server, once, headers=headers, path="/v1/chat/completions?team=x")
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/v1/chat/completions?team=x")
    assert request.headers["x-request-id"] == "literal-0"
    assert request.headers["authorization"] == "Bearer sk-1"
    assert request.headers["x-tenant"] == "blue"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(request.body))
    assert request.headers["host"] == server.url.removeprefix("http://")
    assert json.loads(request.body) == {"stream": True, "n": 0}


@pytest.mark.parametrize(
    "reply",
    [
        whole("401 Unauthorized", error("Incorrect API key provided: sk-very-secret")),
        whole("500 Oops", b"Bearer sk-very-secret is no key"),
        whole("307 Moved", b"", "location: http://127.0.0.1/?key=sk-very-secret"),
        stream(A, error("key sk-very-secret is used up")),
        stream(A, '{"sk-very-secret":'),
        whole("200 OK", b"sk-very-secret", content_type="application/json"),
        [Send(head("200 OK", "text/event-stream", CHUNKED, "content-encoding: sk-very-secret"))],
        [Send(b"sk-very-secret\r\n"), Close()],
    ],
    ids=["error body", "plain body", "redirect", "in stream", "malformed", "not JSON", "encoding", "not HTTP"],
)
def test_a_secret_that_the_server_echoes_is_masked(act: Callable[..., Any], reply: Sequence[Step]) -> None:
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, once, headers=(("authorization", "Bearer sk-very-secret"),), secrets=["sk-very-secret"])
    assert record.error
    assert "sk-very" not in str(record)
