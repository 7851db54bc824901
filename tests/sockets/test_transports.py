"""Every transport against a server that answers with literal bytes: an oddity gives one record, whoever reads it."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from bench.clock import process_clock
from bench.records import Outcome, RequestRecord
from bench.secrets import redactor
from bench.transport import TRANSPORTS
from bench.transport.interface import Reading, Target, Transport
from bench.workload import Request
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
    CERTIFICATE,
    Close,
    Hang,
    LiteralServer,
    Pause,
    Received,
    Reset,
    Send,
    Step,
    closed_port,
    full_backlog,
    in_turn,
    one_byte_a_write,
)

MS = 1_000_000
Act = Callable[["Client"], Any]


@dataclass
class Client:
    """A transport that is open inside a running loop, and what it made of each request."""

    transport: Transport
    now_ns: Callable[[], int]
    made: int = 0
    records: list[RequestRecord] = field(default_factory=list)

    def start(self, *, streamed: bool = True) -> asyncio.Future[RequestRecord]:
        answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
        request = Request(
            id=f"literal-{self.made}",
            index=self.made,
            body=json.dumps({"stream": streamed, "n": self.made}).encode(),
            stream=streamed,
            input_tokens_asked=None,
            output_tokens_asked=None,
        )
        self.made += 1
        now = self.now_ns()
        self.transport.start(request, now, now, answered.set_result)
        return answered

    async def ask(self, *, streamed: bool = True) -> RequestRecord:
        return await self.start(streamed=streamed)


@pytest.fixture(params=list(TRANSPORTS))
def act(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """act(server or URL, coroutine function of a Client, **settings of the target) -> what the coroutine returns."""

    def run(
        server: LiteralServer | str, what: Act, *, secrets: Sequence[str] = (), path: str = "/", **target: Any
    ) -> Any:
        url = server if isinstance(server, str) else server.url

        async def main() -> Any:
            clock = process_clock()
            reading = Reading(redact=redactor(secrets))
            transport = TRANSPORTS[request.param](Target(url=url + path, **target), reading, clock)
            await transport.open()
            try:
                return await what(Client(transport, clock.now_ns))
            finally:
                await transport.close()
                clock.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())

    return run


async def once(client: Client) -> RequestRecord:
    return await client.ask()


def times(n: int) -> Act:
    async def ask(client: Client) -> list[RequestRecord]:
        return [await client.ask() for _ in range(n)]

    return ask


def in_order(record: RequestRecord) -> None:
    """intended <= eligible <= sent <= first byte <= chunks <= end; every bound no later than its stamp."""
    seen = [record.intended_ns, record.eligible_ns, record.sent_ns, record.first_byte_ns, *record.chunk_ns]
    happened = [at for at in [*seen, record.end_ns] if at is not None]
    assert happened == sorted(happened)
    assert len(record.chunk_ns) == len(record.chunk_kind)
    if record.chunk_bound_ns is not None:
        assert record.sent_ns is not None
        for bound, at in zip(record.chunk_bound_ns, record.chunk_ns, strict=True):
            assert bound is None or record.sent_ns <= bound <= at
    bounds = record.chunk_bound_ns if record.chunk_bound_ns is not None else ()
    assert record.coalesced == sum(bound is not None for bound in bounds)


# ---- A good reply, however it is cut -------------------------------------------------------------------------------

UNICODE = (ROLE, content("a"), content("\u2028b\u2029"), content("\U0001f600 é"), finish(), usage(3), DONE)


def whole_stream(framing: str, pieces: Sequence[bytes]) -> list[Step]:
    match framing:
        case "chunked":
            return chunked_stream(pieces)
        case "content-length":
            return [Send(head("200 OK", "text/event-stream", f"content-length: {sum(map(len, pieces))}"))] + [
                Send(piece) for piece in pieces
            ]
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


# ---- What the server said ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """A reply and what its record must say; what a row leaves out is not looked at."""

    reply: Sequence[Step]
    outcome: Outcome
    error: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def says(reply: Sequence[Step], outcome: Outcome, error: str | None = None, **fields: Any) -> Expected:
    return Expected(reply, outcome, error, fields)


OK, BROKEN, MALFORMED, TRUNCATED = Outcome.OK, Outcome.STREAM_ERROR, Outcome.MALFORMED, Outcome.TRUNCATED
HTTP_ERROR, RESET = Outcome.HTTP_ERROR, Outcome.RESET
A, B = content("a"), content("b")
PART = frames(ROLE, A, B)
SSE_HEAD = Send(head("200 OK", "text/event-stream", CHUNKED))

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
        chunk_kind="ttcofo",
        output_tokens=4,
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
        [SSE_HEAD, *[Send(chunk(f)) for f in PART], Pause(0.05), Reset()], RESET, chunk_kind="rcc", status=200
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
        [SSE_HEAD, *[Send(chunk(f)) for f in frames(*GOOD)], Pause(0.05), Reset()], OK, chunk_kind=GOOD_KINDS
    ),
    "a close before any answer": says([Close()], RESET, status=None, attempts=1, first_byte_ns=None),
    "a reset before any answer": says([Reset()], RESET, status=None, attempts=1, first_byte_ns=None),
}


@pytest.mark.parametrize("row", REPLIES.values(), ids=REPLIES.keys())
def test_a_reply_gives_the_record_that_it_deserves(act: Callable[..., Any], row: Expected) -> None:
    with LiteralServer(in_turn(row.reply)) as server:
        record = act(server, once, timeout_total_ns=5_000 * MS)
    in_order(record)
    assert record.outcome is row.outcome, record.error
    if row.error is not None:
        assert row.error in (record.error or "")
    assert row.outcome is Outcome.OK or record.error
    assert {name: getattr(record, name) for name in row.fields} == row.fields
    assert len(server.received) == 1
    assert record.bytes_sent == len(server.received[0].body)


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


# ---- When ----------------------------------------------------------------------------------------------------------


def test_every_stamp_lies_between_the_write_of_its_bytes_and_the_next_write(act: Callable[..., Any]) -> None:
    reply: list[Step] = [Pause(0.06), SSE_HEAD]
    for event in (ROLE, A, B, finish(), DONE):
        reply += [Pause(0.06), Send(chunk(frame(event)))]
    reply += [Pause(0.06), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, once)
    in_order(record)
    written = [before for before, _ in server.received[0].writes]
    assert len(written) == 7
    seen = [record.first_byte_ns, *record.chunk_ns, record.end_ns]
    for i, at in enumerate(seen):
        assert written[i] <= at
        assert i + 1 == len(seen) or at < written[i + 1]
    assert record.sent_ns < written[0] - 50 * MS
    assert (record.coalesced, record.chunk_bound_ns) == (0, None)


def test_chunks_of_one_read_carry_the_earliest_moment_at_which_they_can_have_come(act: Callable[..., Any]) -> None:
    together = chunk(frame(A)) + chunk(frame(B) + frame(A))
    reply = [SSE_HEAD, Send(chunk(frame(ROLE))), Pause(0.06), Send(together), Pause(0.06)]
    reply += [Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, once)
    in_order(record)
    assert record.chunk_kind == "rccco"
    _, _, (before, after), *_ = server.received[0].writes
    assert record.coalesced == 2
    role, first, second, last, done = record.chunk_bound_ns
    assert (role, last, done) == (None, None, None)
    for bound in (first, second):
        assert record.chunk_ns[0] <= bound <= after  # It came no earlier than that, and here we know when it came.
    assert record.chunk_ns[1] == record.chunk_ns[2] == record.chunk_ns[3] >= before


def test_a_read_that_comes_late_bounds_what_it_holds(act: Callable[..., Any]) -> None:
    async def busy(client: Client) -> RequestRecord:
        pending = client.start()
        while not server.received or len(server.received[0].writes) < 2:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.03)
        time.sleep(0.3)  # The program is busy while both chunks arrive, 50 ms apart.
        return await pending

    reply = [SSE_HEAD, Send(chunk(frame(ROLE))), Pause(0.15), Send(chunk(frame(A))), Pause(0.05), Send(chunk(frame(B)))]
    reply += [Pause(0.3), Send(chunk(frame(DONE))), Send(LAST_CHUNK)]
    with LiteralServer(in_turn(reply)) as server:
        record = act(server, busy)
    in_order(record)
    assert (record.chunk_kind, record.coalesced) == ("rcco", 1)
    _, _, (_, after_first), (before_second, after_second), *_ = server.received[0].writes
    _, bound, exact, _ = record.chunk_bound_ns
    assert exact is None
    assert record.chunk_ns[0] <= bound <= after_first < before_second <= record.chunk_ns[1]
    if record.clock == "kernel":  # However late the program looks, the stamp is right.
        assert record.chunk_ns[2] <= after_second


def test_a_new_connection_is_set_up_outside_of_ttft(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True, handshake_pause_s=0.2) as server:
        first, second = act(server, times(2), ca_file=str(CERTIFICATE))
    for record in (first, second):
        in_order(record)
        assert record.outcome is Outcome.OK
    assert first.connect_ns >= 200 * MS
    assert first.sent_ns - first.eligible_ns >= first.connect_ns
    assert first.chunk_ns[0] - first.sent_ns < 150 * MS
    assert (second.connect_ns, server.connections) == (0, 1)
    assert second.sent_ns - second.eligible_ns < 100 * MS


# ---- Connections ---------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_request(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD))) as server:
        records = act(server, times(3))
    assert server.connections == 1
    assert [r.attempts for r in records] == [1, 1, 1]
    assert records[0].connect_ns > 0
    assert [r.connect_ns for r in records[1:]] == [0, 0]


@pytest.mark.parametrize("way", [Close(), Reset()], ids=["closed", "reset"])
def test_a_server_that_closes_after_each_reply_without_saying_so_fails_no_request(
    act: Callable[..., Any], way: Step
) -> None:
    with LiteralServer(in_turn([*stream(*GOOD), way])) as server:
        records = act(server, times(5))
    assert [r.outcome for r in records] == [Outcome.OK] * 5
    assert server.connections == 5
    for record in records:
        in_order(record)


@pytest.mark.parametrize("way", [Close(), Reset()], ids=["closed", "reset"])
def test_a_connection_that_the_server_has_closed_is_not_used_again(act: Callable[..., Any], way: Step) -> None:
    async def busy_between(client: Client) -> list[RequestRecord]:
        first = await client.ask()
        time.sleep(0.1)  # The connection is closed in this time, and the loop had no turn to hear of it.
        return [first, await client.ask()]

    with LiteralServer(in_turn([*stream(*GOOD), Pause(0.02), way])) as server:
        records = act(server, busy_between)
    assert [(r.outcome, r.attempts) for r in records] == [(Outcome.OK, 1)] * 2
    assert [r.connection for r in server.received] == [1, 2]


@pytest.mark.parametrize("way", [Close(), Reset()], ids=["closed", "reset"])
def test_a_reused_connection_that_dies_before_any_answer_is_tried_once_more(act: Callable[..., Any], way: Step) -> None:
    with LiteralServer(in_turn(stream(*GOOD), [Pause(0.06), way], stream(*GOOD))) as server:
        _, record = act(server, times(2))
    in_order(record)
    assert (record.outcome, record.attempts, record.chunk_kind) == (Outcome.OK, 2, GOOD_KINDS)
    assert [r.connection for r in server.received] == [1, 1, 2]
    assert [r.headers["x-request-id"] for r in server.received] == ["literal-0", "literal-1", "literal-1"]
    # `sent` is the second send: the detour before it is time spent on getting a connection.
    assert record.sent_ns - record.eligible_ns >= 60 * MS
    assert record.connect_ns >= 60 * MS
    assert record.bytes_sent == len(server.received[2].body)


def test_there_is_never_a_third_attempt(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD), [Reset()], [Reset()], stream(*GOOD))) as server:
        _, record = act(server, times(2))
    in_order(record)
    assert (record.outcome, record.attempts) == (Outcome.RESET, 2)
    assert len(server.received) == 3


def test_a_reused_connection_that_dies_in_mid_answer_is_not_tried_again(act: Callable[..., Any]) -> None:
    broken = [SSE_HEAD, Send(chunk(frame(A))), Pause(0.05), Reset()]
    with LiteralServer(in_turn(stream(*GOOD), broken, stream(*GOOD))) as server:
        _, record = act(server, times(2))
    assert (record.outcome, record.attempts, record.chunk_kind) == (Outcome.RESET, 1, "c")
    assert len(server.received) == 2


def test_many_at_once_each_get_their_own_answer(act: Callable[..., Any]) -> None:
    def script(request: Received) -> Sequence[Step]:
        n = json.loads(request.body)["n"]
        return [Pause(0.001 * (n % 7)), *stream(*[A] * (n + 1), DONE)]

    async def together(client: Client) -> list[RequestRecord]:
        first = await asyncio.gather(*[client.start() for _ in range(30)])
        return first + await asyncio.gather(*[client.start() for _ in range(30)])

    with LiteralServer(script) as server:
        records = act(server, together)
    for record in records:
        in_order(record)
        assert (record.outcome, record.output_tokens) == (Outcome.OK, record.index + 1)
    assert server.connections == 30


def test_tls_is_checked_unless_told_otherwise(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True) as server:
        unknown = act(server, once)
        known = act(server, once, ca_file=str(CERTIFICATE))
        unchecked = act(server, once, insecure=True)
    assert unknown.outcome is Outcome.CONNECT_ERROR
    assert "certificate" in unknown.error.lower()
    assert (known.outcome, known.chunk_kind) == (Outcome.OK, GOOD_KINDS)
    assert (unchecked.outcome, unchecked.chunk_kind) == (Outcome.OK, GOOD_KINDS)


def test_http_to_a_tls_port_and_tls_to_an_http_port_fail_with_a_record(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True) as server:
        plain = act(server.url.replace("https", "http"), once, timeout_total_ns=3_000 * MS)
    with LiteralServer(in_turn(stream(*GOOD))) as server:
        tls = act(server.url.replace("http", "https"), once, timeout_connect_ns=200 * MS, timeout_total_ns=3_000 * MS)
    assert plain.outcome in (Outcome.RESET, Outcome.MALFORMED)
    assert tls.outcome in (Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT)
    for record in (plain, tls):
        in_order(record)
        assert record.error


def test_ipv6_works(act: Callable[..., Any]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with LiteralServer(in_turn(stream(*GOOD)), host="::1") as server:
        record = act(server, once)
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, GOOD_KINDS)


def test_nothing_listens_is_a_connect_error(act: Callable[..., Any]) -> None:
    with closed_port() as url:
        record = act(url, once)
    in_order(record)
    assert (record.outcome, record.sent_ns, record.bytes_sent, record.status) == (Outcome.CONNECT_ERROR, None, 0, None)
    assert record.error


# ---- Limits of time, and the end ------------------------------------------------------------------------------------


def limit_passed(record: RequestRecord, since_ns: int | None, limit_ms: float) -> None:
    in_order(record)
    assert since_ns is not None
    # The event loop's own timers count in whole milliseconds, and come up to 1.4 ms early.
    assert (limit_ms - 2) * MS <= record.end_ns - since_ns < (limit_ms + 1_000) * MS
    assert record.error


def test_a_server_that_takes_no_connection_runs_into_the_connect_timeout(act: Callable[..., Any]) -> None:
    with full_backlog() as url:
        record = act(url, once, timeout_connect_ns=150 * MS)
    limit_passed(record, record.eligible_ns, 150)
    assert (record.outcome, record.sent_ns) == (Outcome.TIMEOUT_CONNECT, None)


def test_a_handshake_that_does_not_end_runs_into_the_connect_timeout(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=True, handshake_pause_s=30) as server:
        record = act(server, once, ca_file=str(CERTIFICATE), timeout_connect_ns=150 * MS)
    limit_passed(record, record.eligible_ns, 150)
    assert (record.outcome, record.sent_ns) == (Outcome.TIMEOUT_CONNECT, None)


def test_a_server_that_never_answers_runs_into_the_first_byte_timeout(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn([Hang()])) as server:
        record = act(server, once, timeout_first_byte_ns=150 * MS, timeout_idle_ns=20 * MS)
        assert server.received[0].client_gone.wait(5)
    limit_passed(record, record.sent_ns, 150)
    assert (record.outcome, record.first_byte_ns, record.attempts) == (Outcome.TIMEOUT_FIRST_BYTE, None, 1)


def test_a_response_that_stops_runs_into_the_idle_timeout_and_keeps_what_came(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn([SSE_HEAD, *[Send(chunk(f)) for f in PART], Hang()])) as server:
        record = act(server, once, timeout_idle_ns=150 * MS)
        assert server.received[0].client_gone.wait(5)
    limit_passed(record, record.chunk_ns[-1], 150)
    assert (record.outcome, record.chunk_kind, record.status) == (Outcome.TIMEOUT_IDLE, "rcc", 200)


def test_a_slow_trickle_passes_the_idle_timeout_and_runs_into_the_total_one(act: Callable[..., Any]) -> None:
    trickle = [step for _ in range(200) for step in (Send(chunk(b":\n\n")), Pause(0.02))]
    with LiteralServer(in_turn([SSE_HEAD, *trickle])) as server:
        record = act(server, once, timeout_idle_ns=150 * MS, timeout_total_ns=300 * MS)
    limit_passed(record, record.eligible_ns, 300)
    assert (record.outcome, record.chunk_kind) == (Outcome.TIMEOUT_TOTAL, "")
    assert record.bytes_received > 0


def test_the_total_timeout_counts_the_wait_for_an_answer_too(act: Callable[..., Any]) -> None:
    with LiteralServer(in_turn([Hang()])) as server:
        record = act(server, once, timeout_total_ns=150 * MS)
    limit_passed(record, record.eligible_ns, 150)
    assert record.outcome is Outcome.TIMEOUT_TOTAL


def test_a_cut_gives_every_request_a_record_and_closes_its_socket(act: Callable[..., Any]) -> None:
    async def cut_all(client: Client) -> list[RequestRecord]:
        pending = [client.start() for _ in range(3)]
        while len(server.received) < 3 or not all(len(r.writes) == 4 for r in server.received):
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)  # The bytes are in the client's sockets: give it the turns to read them.
        client.transport.cut()
        return await asyncio.gather(*pending)

    with LiteralServer(in_turn([SSE_HEAD, *[Send(chunk(f)) for f in PART], Hang()])) as server:
        records = act(server, cut_all)
        assert all(r.client_gone.wait(5) for r in server.received)
    for record in records:
        in_order(record)
        assert (record.outcome, record.chunk_kind) == (Outcome.INTERRUPTED, "rcc")


def test_a_cut_ends_a_request_that_has_no_connection_yet(act: Callable[..., Any]) -> None:
    async def cut_early(client: Client) -> RequestRecord:
        pending = client.start()
        await asyncio.sleep(0.02)
        client.transport.cut()
        return await pending

    with full_backlog() as url:
        record = act(url, cut_early)
    in_order(record)
    assert (record.outcome, record.sent_ns, record.bytes_sent) == (Outcome.INTERRUPTED, None, 0)


def test_a_cut_at_once_still_gives_a_record(act: Callable[..., Any]) -> None:
    async def cut_at_once(client: Client) -> RequestRecord:
        pending = client.start()
        client.transport.cut()
        return await asyncio.wait_for(pending, 5)

    with LiteralServer(in_turn([Hang()])) as server:
        record = act(server, cut_at_once)
    assert (record.outcome, record.sent_ns) == (Outcome.INTERRUPTED, None)


def test_done_is_called_later_and_once_for_each_request(act: Callable[..., Any]) -> None:
    async def count(client: Client) -> list[str]:
        calls: list[str] = []
        last = client.now_ns() + 2_000 * MS
        for i in range(5):
            request = Request(
                id=f"r-{i}", index=i, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None
            )
            now = client.now_ns()
            client.transport.start(request, now, now, lambda record: calls.append(record.id))
            assert f"r-{i}" not in calls
        while len(calls) < 5 and client.now_ns() < last:
            await asyncio.sleep(0.005)
        client.transport.cut()
        await asyncio.sleep(0.02)
        return calls

    with LiteralServer(in_turn(stream(*GOOD))) as server:
        calls = act(server, count)
    assert sorted(calls) == [f"r-{i}" for i in range(5)]


# ---- What is sent, and what must not be told ------------------------------------------------------------------------


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
