"""HTTP that is slightly wrong, and unbounded sizes: the same decision from every transport."""

from __future__ import annotations

import base64
import resource
from collections.abc import Sequence
from typing import Any

import pytest

from bench.records import Outcome, RequestRecord
from tests.support.literal_replies import (
    CHUNKED,
    DONE,
    GOOD,
    GOOD_KINDS,
    LAST_CHUNK,
    chunk,
    content,
    frames,
    head,
    stream,
)
from tests.support.literal_server import Close, LiteralServer, Received, Send, Step, in_turn
from tests.support.on_transports import WAYS, ask, ask_each
from tests.support.patience import PATIENCE_S

MS = 1_000_000
BODY = b"".join(frames(*GOOD))
OK, MALFORMED, TRUNCATED = Outcome.OK, Outcome.MALFORMED, Outcome.TRUNCATED


@pytest.fixture(params=WAYS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def replied(*headers: str, body: bytes = BODY, first: str = "200 OK") -> list[Step]:
    return [Send(head(first, "text/event-stream", *headers) + body), Close()]


def raw(text: bytes, body: bytes = BODY) -> list[Step]:
    return [Send(text + body), Close()]


SIZED = f"content-length: {len(BODY)}"
CHUNKS = chunk(BODY) + LAST_CHUNK
LF_HEAD = head("200 OK", "text/event-stream", SIZED).replace(b"\r\n", b"\n")

DECISIONS: dict[str, tuple[Sequence[Step], Outcome, str]] = {
    "LF-only head": (raw(LF_HEAD), OK, ""),
    "LF-only head, chunked body": (
        raw(head("200 OK", "text/event-stream", CHUNKED).replace(b"\r\n", b"\n"), CHUNKS), OK, ""
    ),
    "obs-fold": (replied(SIZED, "x-note: one\r\n two"), OK, ""),
    "Transfer-Encoding with Content-Length": (replied(SIZED, CHUNKED, body=CHUNKS), MALFORMED, "both Transfer-Encoding"),
    "Content-Length with Transfer-Encoding": (replied(CHUNKED, SIZED, body=CHUNKS), MALFORMED, "both Transfer-Encoding"),
    "Content-Length twice, equal": (replied(SIZED, SIZED), OK, ""),
    "Content-Length twice, different": (replied(SIZED, "content-length: 5"), MALFORMED, "several values"),
    "Content-Length as a list": (replied(f"{SIZED}, {len(BODY)}"), OK, ""),
    "Content-Length negative": (replied("content-length: -1"), MALFORMED, "the Content-Length is '-1'"),
    "Content-Length with a sign": (replied(f"content-length: +{len(BODY)}"), MALFORMED, "the Content-Length is '+"),
    "Content-Length in words": (replied("content-length: many"), MALFORMED, "the Content-Length is 'many'"),
    "Content-Length of 30 digits": (replied("content-length: " + "9" * 30), MALFORMED, "the Content-Length is '999"),
    "Content-Length too large": (replied(f"content-length: {len(BODY) + 1}"), TRUNCATED, "closed the connection"),
    "Transfer-Encoding: gzip, chunked": (replied("transfer-encoding: gzip, chunked"), MALFORMED, "is not chunked"),
    "Transfer-Encoding: identity": (replied("transfer-encoding: identity"), MALFORMED, "is not chunked"),
    "no framing: until the end": (replied(), OK, ""),
    "chunk extensions": (
        replied(CHUNKED, body=b"%x;name=value;q\r\n%b\r\n" % (len(BODY), BODY) + LAST_CHUNK), OK, ""
    ),
    "trailers": (replied(CHUNKED, body=chunk(BODY) + b"0\r\nx-time: 5\r\n\r\n"), OK, ""),
    "chunk sizes in capitals, with zeros": (
        replied(CHUNKED, body=b"000%X\r\n%b\r\n" % (len(BODY), BODY) + LAST_CHUNK), OK, ""
    ),
    "chunk sizes padded with spaces": (
        replied(CHUNKED, body=b"%-8x\r\n%b\r\n0  \r\n\r\n" % (len(BODY), BODY)), OK, ""
    ),
    "a chunk size that is none": (replied(CHUNKED, body=chunk(BODY) + b"zz\r\n"), MALFORMED, "not HTTP"),
    "a chunk size with a sign": (replied(CHUNKED, body=b"+5\r\nhello\r\n"), MALFORMED, "not HTTP"),
    "a chunk longer than its size": (replied(CHUNKED, body=b"5\r\nhello!\r\n" + LAST_CHUNK), MALFORMED, "not HTTP"),
    "a header without a colon": (replied(SIZED, "nonsense"), MALFORMED, "'nonsense' is no header"),
    "a space before the colon": (replied(SIZED, "x : 1"), MALFORMED, "is no header"),
    "a NUL in a header": (replied(SIZED, "x: a\x00b"), MALFORMED, "a control character"),
    "101": (raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), MALFORMED, "switch protocols"),
    "many interim responses": (
        [Send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 20), *replied(SIZED)], OK, ""
    ),
    "an interim response in pieces": (
        [Send(b"HTTP/1.1 100 Con"), Send(b"tinue\r\n\r\nHTTP/1."), Send(LF_HEAD[7:] + BODY)],
        OK,
        "",
    ),
    "HTTP/1.0": (raw(head("200 OK", "text/event-stream").replace(b"1.1", b"1.0")), OK, ""),
    "HTTP/1.7": (raw(head("200 OK", "text/event-stream", SIZED).replace(b"1.1", b"1.7")), MALFORMED, "no status line"),
    "a head of 60 KB": (replied(SIZED, "x: " + "a" * 60_000), OK, ""),
    "a head of 200 KB": (
        replied(SIZED, "x: " + "a" * 200_000), MALFORMED, "the response head is larger than the limit of 65536 bytes"
    ),
    "a head of many headers, 200 KB": (
        replied(SIZED, *["x: " + "a" * 1_000] * 200), MALFORMED, "the response head is larger than the limit"
    ),
}  # fmt: skip


def test_both_transports_decide_alike(transport: str) -> None:
    replies = {name: steps for name, (steps, _, _) in DECISIONS.items()}
    for name, record in ask_each(transport, replies, timeout_total_ns=round(PATIENCE_S * 1000) * MS).items():
        _, outcome, words = DECISIONS[name]
        assert record.outcome is outcome, (name, record.error)
        assert words in (record.error or ""), name
        if outcome is OK:
            assert (record.chunk_kind, record.bytes_received) == (GOOD_KINDS, len(BODY)), name


def test_what_follows_a_response_unasked_is_not_the_next_response(transport: str) -> None:
    unasked = [Send(head("200 OK", "text/event-stream", SIZED) + BODY + b"HTTP/1.1 500 Oops\r\n\r\n")]
    with LiteralServer(in_turn(unasked, stream(*GOOD))) as server:
        records = [ask(transport, server.url)[0] for _ in range(2)]
    assert [(r.outcome, r.status, r.chunk_kind) for r in records] == [(OK, 200, GOOD_KINDS)] * 2


# ---- Sizes and times -------------------------------------------------------------------------------------------------


def endless(piece: bytes, size: int, *headers: str, framed: bool) -> list[Step]:
    """A stream of this many bytes: the same piece again and again."""
    part = chunk(piece) if framed else piece
    many = part * max(1, 1_000_000 // len(part))
    return [Send(head("200 OK", "text/event-stream", *headers)), *[Send(many)] * (size // len(many)), Close()]


def grown_mb(steps: Sequence[Step], transport: str, **target: Any) -> tuple[RequestRecord, float]:
    """The record, and by how much this process's peak memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with LiteralServer(in_turn(steps)) as server:
        (record,) = ask(transport, server.url, **target)
    return record, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


@pytest.mark.parametrize(
    ("piece", "framed"),
    [(b"data: " + b"x" * 60_000, True), ((b"event: " + b"x" * 200 + b"\n") * 300, False)],
    ids=["one line, chunked", "many lines, until the end"],
)
def test_an_event_without_end_is_given_up_at_its_limit(transport: str, piece: bytes, framed: bool) -> None:
    steps = endless(piece, 60_000_000, *([CHUNKED] if framed else []), framed=framed)
    record, grown = grown_mb(steps, transport, timeout_total_ns=round(PATIENCE_S * 1000) * MS)
    assert (record.outcome, record.chunk_kind) == (MALFORMED, "")
    assert "an event is larger than the limit of 16777216 bytes" in (record.error or "")
    assert record.bytes_received < 35_000_000
    assert grown < 150


def test_a_response_without_end_is_given_up_at_its_limit(transport: str) -> None:
    event = frames(content("x" * 900))[0]
    steps = endless(event, 30_000_000, framed=False)
    record, grown = grown_mb(steps, transport, max_response_bytes=2_000_000)
    assert record.outcome is MALFORMED
    assert "the response is larger than the limit of 2000000 bytes" in (record.error or "")
    assert 2_000_000 < record.bytes_received < 20_000_000
    assert grown < 100


@pytest.mark.parametrize("framed", [True, False], ids=["chunked", "until the end"])
def test_the_total_timeout_holds_while_bytes_flow(transport: str, framed: bool) -> None:
    event = frames(content("x" * 10_000))[0]
    # Far more than any machine reads in that time.
    size = 5_000_000_000
    steps = endless(event, size, *([CHUNKED] if framed else []), framed=framed)
    with LiteralServer(in_turn(steps)) as server:
        records = ask(transport, server.url, requests=2, timeout_total_ns=80 * MS)
    for record in records:
        assert record.outcome is Outcome.TIMEOUT_TOTAL
        assert record.bytes_received < size / 2


def test_the_body_of_an_error_is_kept_as_far_as_it_says_something(transport: str) -> None:
    reply: list[Step] = [Send(head("500 Oops", "text/plain")), *[Send(b"out of memory " * 70_000)] * 30, Close()]
    record, grown = grown_mb(reply, transport)
    assert record.outcome is Outcome.HTTP_ERROR
    assert "out of memory" in (record.error or "")
    assert record.bytes_received == 30 * 14 * 70_000
    assert grown < 60


# ---- Credentials of the URL -------------------------------------------------------------------------------------------


def asked_of(server: LiteralServer) -> Received:
    """The request from `ask`. Other programs on this machine may still look for the previous owner of the port."""
    (request,) = (request for request in server.received if request.headers.get("x-request-id") == "literal-0")
    return request


@pytest.mark.parametrize(
    ("userinfo", "sent"),
    [
        ("user:pw", b"user:pw"),
        ("user", b"user:"),
        (":pw", b":pw"),
        ("us%40er:p%3Aw%2F", b"us@er:p:w/"),
        ("us%C3%A9r:pw", "usér:pw".encode()),
        ("user:p:w", b"user:p:w"),
    ],
)
def test_user_and_password_of_the_url_are_sent_as_basic_authorization(
    transport: str, userinfo: str, sent: bytes
) -> None:
    with LiteralServer(in_turn(stream(*GOOD))) as server:
        ask(transport, server.url.replace("://", f"://{userinfo}@"))
    request = asked_of(server)
    scheme, _, token = request.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(token)) == ("Basic", sent)
    assert request.headers["host"] == server.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("userinfo", "headers"), [("", ()), (":", ()), ("user:pw", (("Authorization", "Bearer key"),))]
)
def test_a_header_wins_and_no_credentials_send_none(transport: str, userinfo: str, headers: Any) -> None:
    with LiteralServer(in_turn(stream(*GOOD))) as server:
        ask(transport, server.url.replace("://", f"://{userinfo}@"), headers=headers)
    assert asked_of(server).headers.get("authorization") == (headers[0][1] if headers else None)


def test_done_is_enough_for_a_stream_without_a_length(transport: str) -> None:
    with LiteralServer(in_turn(replied(body=b"".join(frames(content("a"), DONE))))) as server:
        (record,) = ask(transport, server.url)
    assert (record.outcome, record.chunk_kind) == (OK, "co")
