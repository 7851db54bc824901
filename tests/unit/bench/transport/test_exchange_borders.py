"""An exchange at its borders: statuses, memory limits, precedence, and requests that continue an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.records import Outcome, RequestRecord
from bench.transport.exchange import MAX_ERROR_BYTES, Exchange
from bench.transport.interface import Reading
from bench.transport.sse import SSEParser
from bench.workload import Continuation, Request, Route
from promptset.answers import Answer
from tests.support.changed import replace

TOKEN = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
LAST_EVENT_HAD_COME = "its last event had come, and the server did not end the response"
WHOLE = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'
SSE = "text/event-stream"


def exchange(**fields: Any) -> Exchange:
    request = Request(id="r", index=3, body=b"{}", stream=True, input_tokens_asked=5, output_tokens_asked=None)
    made = Exchange(replace(request, **fields), 100, 110, Reading(), clock="user")
    made.sent_ns = 120
    return made


def opened(status: int = 200, kind: str = SSE, encoding: str = "", *, sized: bool = False, **fields: Any) -> Exchange:
    made = exchange(**fields)
    made.head(status, kind, encoding, "http://other", sized=sized)
    return made


def fed(made: Exchange, *pieces: bytes, failed: Outcome | None = None, error: str | None = None) -> RequestRecord:
    for number, piece in enumerate(pieces):
        made.feed(piece, 200 + number, 190 + number)
    return made.close(900, failed, error)


@pytest.mark.parametrize(("status", "chunks"), [(200, 3), (299, 3), (300, 0), (500, 0)])
def test_only_a_success_is_read_as_a_stream(status: int, chunks: int) -> None:
    record = fed(opened(status), TOKEN, END, DONE)
    assert len(record.chunk_ns) == len(record.chunk_kind) == chunks
    assert (record.outcome is Outcome.OK) == (chunks == 3)


@pytest.mark.parametrize(("status", "outcome"), [(200, Outcome.OK), (299, Outcome.OK), (300, Outcome.HTTP_ERROR)])
def test_only_a_success_is_read_as_a_reply(status: int, outcome: Outcome) -> None:
    record = fed(opened(status, "application/json"), WHOLE)
    assert record.outcome is outcome


def test_an_exchange_that_has_just_begun_has_read_and_sent_nothing() -> None:
    made = exchange()
    made.sent_ns = None
    assert (made.attempts, made.last_read_ns, made.last_chunk_ns, made.bytes_received) == (1, 0, -1, 0)
    assert not made.peer_closed
    assert not made.is_heavy
    record = made.close(900, Outcome.CONNECT_ERROR, "refused")
    assert (record.bytes_sent, record.connect_ns, record.sent_ns, record.status) == (0, None, None, None)
    assert (record.attempts, record.coalesced, record.chunk_bound_ns, record.inputs) == (1, 0, None, None)
    sent = exchange().close(900, Outcome.RESET, "gone")
    assert (sent.bytes_sent, sent.bytes_received) == (2, 0)


def test_a_second_attempt_begins_anew() -> None:
    made = opened(503)
    made.first_byte_ns = 150
    made.retry()
    assert (made.attempts, made.status, made.first_byte_ns) == (2, None, None)
    made.retry()
    assert made.close(900, Outcome.RESET, "gone").attempts == 3


def test_what_cannot_be_unpacked_is_malformed_unless_something_else_broke_it() -> None:
    record = fed(opened(encoding="gzip"), b"no gzip at all")
    assert record.outcome is Outcome.MALFORMED
    assert (record.error or "").startswith("the compressed reply cannot be read: ")
    lost = fed(opened(encoding="gzip"), b"no gzip at all", failed=Outcome.RESET, error="gone")
    assert (lost.outcome, lost.error) == (Outcome.RESET, "gone")


def test_what_we_ended_is_not_what_the_body_of_an_error_says() -> None:
    told = b'{"error":{"message":"busy"}}'
    for status in (300, 500):
        record = fed(opened(status, "application/json"), told, failed=Outcome.TIMEOUT_IDLE, error="too slow")
        assert (record.outcome, record.error) == (Outcome.TIMEOUT_IDLE, "too slow")
    ours = fed(opened(200, "application/json"), told, failed=Outcome.TIMEOUT_IDLE, error="too slow")
    assert (ours.outcome, ours.error) == (Outcome.STREAM_ERROR, "busy")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (308, b"gone", "the server redirects to http://other: redirects are not followed, give that URL"),
        (399, b"gone", "the server redirects to http://other: redirects are not followed, give that URL"),
        (400, b'{"error":"too long"}', "too long"),
        (500, b"", "no message"),
    ],
)
def test_an_error_response_is_told_in_its_words(status: int, body: bytes, error: str) -> None:
    assert fed(opened(status, "text/plain"), body).error == error


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_body_that_is_not_packed_is_read_as_it_is(encoding: str) -> None:
    assert fed(opened(encoding=encoding), TOKEN, DONE).chunk_kind == "co"


@pytest.mark.parametrize("status", [300, 500])
def test_of_the_body_of_an_error_a_mebibyte_is_kept(status: int) -> None:
    made = opened(status, "text/plain")
    for _ in range(3):
        made.feed(b"x" * 500_000, 200, 190)
        made.digest()
    assert len(made._body) == MAX_ERROR_BYTES == 2**20
    whole = opened(200, "application/json")
    for _ in range(3):
        whole.feed(b"x" * 500_000, 200, 190)
    whole.digest()
    assert len(whole._body) == 1_500_000


def test_what_was_put_by_is_heavy_from_four_mebibytes_or_4096_pieces_on() -> None:
    made = opened()
    made.feed(b": " + b"x" * (2**22 - 2), 200, 190)
    assert not made.is_heavy
    made.feed(b"\n", 201, 200)
    assert made.is_heavy
    made.digest()
    assert not made.is_heavy
    for number in range(4096):
        made.feed(b"\n", 300 + number, 290)
    assert not made.is_heavy
    made.feed(b"\n", 9_000, 290)
    assert made.is_heavy
    made.digest()
    made.feed(b"x" * 2**22, 9_001, 290)
    assert not made.is_heavy


def test_an_event_may_have_16_mib() -> None:
    parser = SSEParser()
    parser.feed(b"data: " + b"x" * (2**24 - 6))
    assert not parser.too_large
    parser.feed(b"x")
    assert parser.too_large
    record = fed(opened(), b"data: " + b"x" * 2**24)
    assert (record.outcome, record.error) == (Outcome.MALFORMED, "an event is larger than the limit of 16777216 bytes")


def test_events_that_a_transport_cut_are_counted_from_those_before_them() -> None:
    made = opened()
    assert made.last_chunk_ns == -1
    assert made.takes_events()
    made.feed(TOKEN, 200, 190)
    assert made.takes_events()  # It has parsed the buffered bytes.
    assert made.last_chunk_ns == 200
    made.feed_events([TOKEN[6:-2], END[6:-2]], [210, 210], [(-1, 195), (0, 205)], 90)
    made.feed_events([DONE[6:-2]], [220], [], 14)
    record = made.close(900)
    assert (record.chunk_ns, record.chunk_kind) == ((200, 210, 210, 220), "ccoo")
    assert record.chunk_bound_ns == (195, 205, None, None)
    assert (record.coalesced, record.bytes_received) == (2, len(TOKEN) + 104)


def test_a_named_event_behind_those_that_a_transport_cut_is_the_one_that_is_called_so() -> None:
    made = opened()
    made.feed(TOKEN, 200, 190)
    assert made.takes_events()
    made.feed_events([TOKEN[6:-2]] * 2, [210, 220], [], 90)
    record = fed(made, b'event: error\ndata: {"message":"out of memory"}\n\n')
    assert (record.outcome, record.error) == (Outcome.STREAM_ERROR, "out of memory")


def test_lines_of_no_event_do_not_wait_in_memory_for_the_next_event() -> None:
    made = opened()
    for _ in range(3):
        made.feed(b"event: ping\n\n", 200, 190)
        made.digest()
        assert isinstance(made._parser, SSEParser)
        assert made._parser.other_lines == []


def test_no_events_are_taken_in_the_midst_of_one_or_of_what_is_packed() -> None:
    half = opened()
    half.feed(TOKEN[:9], 200, 190)
    assert not half.takes_events()
    named = opened()
    named.feed(b"event: x\n", 200, 190)
    assert not named.takes_events()
    assert not opened(encoding="gzip").takes_events()
    assert not opened(kind="application/json").takes_events()
    messages = exchange()
    messages.messages()
    assert not messages.takes_events()
    parser = SSEParser()
    parser.feed(b"event: x\ndata: a\n\n")
    assert not parser.between_events  # The line of the event has not been taken.
    parser.take_other_lines()
    assert parser.between_events


def test_the_answer_is_told_whatever_became_of_the_request() -> None:
    told: list[Answer] = []
    fed(opened(on_answer=told.append), TOKEN, TOKEN, END, DONE)
    fed(opened(on_answer=told.append), TOKEN, failed=Outcome.RESET, error="gone")
    exchange(on_answer=told.append).close(500, Outcome.CONNECT_ERROR, "refused")
    assert [answer.content for answer in told] == ["xx", "x", ""]


def test_a_message_is_that_of_what_decided() -> None:
    broken = opened()
    assert fed(broken, TOKEN, failed=Outcome.RESET, error="reset by peer").error == "reset by peer"
    # The server's error takes precedence over the end of the stream, and so does its message.
    failed = b'data: {"error":{"message":"out of memory"}}\n\n'
    assert fed(opened(), failed, failed=Outcome.RESET, error="reset by peer").error == "out of memory"
    assert fed(opened(), TOKEN, failed=Outcome.RESET).error is None
    assert fed(opened(), TOKEN, END, DONE, failed=Outcome.TIMEOUT_IDLE).error is None
    # If both give the same outcome, the connection's message takes precedence over the stream's.
    first, second = (f'data: {{"choices":[{{"index":{at},"delta":{{"content":"x"}}}}]}}\n\n'.encode() for at in (0, 1))
    ended = b'data: {"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}\n\n'
    open_choice = "the stream ended without a finish reason of choice 0, which had begun"
    for error, said in (("closed early", "closed early"), (None, open_choice)):
        record = fed(opened(), first, second, first, ended, DONE, failed=Outcome.TRUNCATED, error=error)
        assert (record.outcome, record.error) == (Outcome.TRUNCATED, said)


@pytest.mark.parametrize(
    ("pieces", "failed", "error"),
    [
        ((TOKEN, END, DONE), Outcome.TIMEOUT_IDLE, f"gone; {LAST_EVENT_HAD_COME}"),
        ((TOKEN, END, DONE), Outcome.TIMEOUT_TOTAL, f"gone; {LAST_EVENT_HAD_COME}"),
        ((TOKEN, END), Outcome.TIMEOUT_TOTAL, "gone"),
        ((TOKEN, END, DONE), Outcome.CANCELLED, "gone"),
    ],
)
def test_a_timeout_behind_the_last_event_says_that_the_server_did_not_end(
    pieces: tuple[bytes, ...], failed: Outcome, error: str
) -> None:
    record = fed(opened(), *pieces, failed=failed, error="gone")
    assert (record.outcome, record.error) == (failed, error)


def test_a_stream_that_said_it_was_over_must_have_the_bytes_that_its_head_promised() -> None:
    for failed in (Outcome.RESET, Outcome.TRUNCATED):
        assert fed(opened(sized=True), TOKEN, END, DONE, failed=failed, error="gone").outcome is failed
        assert fed(opened(), TOKEN, END, DONE, failed=failed, error="gone").outcome is Outcome.OK
    assert fed(opened(sized=True), TOKEN, END, DONE).outcome is Outcome.OK


def test_a_success_is_whole_as_far_as_status_and_connection_say() -> None:
    assert [opened(status).is_whole(None) for status in (200, 299, 300, 500)] == [True, True, False, False]
    assert not opened().is_whole(Outcome.RESET)
    assert not exchange().is_whole(None)


def test_a_connection_that_was_there_took_no_time_and_one_that_never_was_is_not_known() -> None:
    assert exchange().close(500, Outcome.RESET, "x").connect_ns == 0
    made = exchange()
    made.connect_ns = 7
    assert made.close(500, Outcome.RESET, "x").connect_ns == 7


def test_the_waits_of_the_first_attempt_alone_are_its_connection() -> None:
    made = exchange()
    made.mark_connected(5)
    made.mark_connected(7)  # TLS on the connection.
    made.retry()
    made.mark_connected(100)
    assert made.close(500, Outcome.RESET, "x").connect_ns == 12


def test_a_connection_that_dies_within_a_second_of_the_request_may_have_been_dead_before() -> None:
    made = exchange()
    assert [made.may_be_stale(120 + after_ns) for after_ns in (0, 10**9, 10**9 + 1)] == [True, True, False]
    made.sent_ns = None
    assert made.may_be_stale(10**12)


def test_a_request_names_its_own_endpoint_and_its_headers_secrets_are_masked() -> None:
    route = Route(endpoint="completions", headers=(("authorization", "Bearer sk-secret-1"),))
    made = opened(route=route)
    record = fed(made, b'data: {"choices":[{"text":"a","finish_reason":"stop"}]}\n\n', DONE)
    assert (record.chunk_kind, record.endpoint) == ("co", "completions")
    assert exchange(route=route).close(500, Outcome.RESET, "bad key sk-secret-1").error == "bad key ***"


STORED = Continuation(conversation="a", last=False, stored=True)


@pytest.mark.parametrize(
    ("continuation", "reply_id", "outcome"),
    [
        (STORED, "resp-1", Outcome.OK),
        (STORED, None, Outcome.LOST_RESPONSE),
        (replace(STORED, last=True), None, Outcome.OK),
        (replace(STORED, stored=False), None, Outcome.OK),
        (None, None, Outcome.OK),
    ],
)
def test_a_reply_that_others_go_on_with_needs_an_id(
    continuation: Continuation | None, reply_id: str | None, outcome: Outcome
) -> None:
    reply = {"output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}], "status": "completed"}
    made = Exchange(
        Request(
            id="r", index=0, body=b"{}", stream=False, input_tokens_asked=None, output_tokens_asked=None,
            continuation=continuation, on_answer=lambda answer: None,
            route=Route(endpoint="responses"),
        ),
        100, 110, Reading(), clock="user",
    )  # fmt: skip
    made.head(200, "application/json", "", None)
    record = fed(made, json.dumps(reply if reply_id is None else reply | {"id": reply_id}).encode())
    assert record.outcome is outcome
    if outcome is not Outcome.OK:
        assert record.error == "the reply has no id, so nothing can go on with it"


def test_a_reply_whose_answer_is_not_kept_has_no_id_to_go_on_with() -> None:
    assert fed(opened(continuation=STORED), TOKEN, END, DONE).outcome is Outcome.LOST_RESPONSE


def test_a_response_that_is_not_known_is_lost_only_to_a_request_that_goes_on_with_it() -> None:
    lost = b'{"error":{"code":"previous_response_not_found","message":"no such response"}}'
    for continuation, outcome in (
        (replace(STORED, previous="resp-1"), Outcome.LOST_RESPONSE),
        (STORED, Outcome.HTTP_ERROR),
        (None, Outcome.HTTP_ERROR),
    ):
        assert fed(opened(404, "application/json", continuation=continuation), lost).outcome is outcome
    other = b'{"error":{"code":"overloaded","message":"busy"}}'
    goes_on = opened(503, "application/json", continuation=replace(STORED, previous="resp-1"))
    assert fed(goes_on, other).outcome is Outcome.HTTP_ERROR


REFUSAL = b'{"type":"error","status":429,"error":{"message":"slow down"}}'
RESPONSES = Route(endpoint="responses")


def test_a_refusal_over_a_websocket_has_the_status_that_http_would_have_and_no_chunks() -> None:
    socket = exchange(route=RESPONSES)
    socket.messages()
    record = fed(socket, REFUSAL)
    assert (record.outcome, record.status, record.error) == (Outcome.HTTP_ERROR, 429, "slow down")
    assert (record.chunk_ns, record.chunk_kind, record.chunk_tokens) == ((), "", None)
    # After another event it is an error in a stream; so it is over HTTP, whose status has already been sent.
    later = exchange(route=RESPONSES)
    later.messages()
    record = fed(later, b'{"type":"response.created"}', REFUSAL)
    assert (record.outcome, record.status, len(record.chunk_ns)) == (Outcome.STREAM_ERROR, 200, 2)
    over_http = fed(opened(route=RESPONSES), b"event: error\ndata: " + REFUSAL + b"\n\n")
    assert (over_http.outcome, over_http.status, len(over_http.chunk_ns)) == (Outcome.STREAM_ERROR, 200, 1)


def test_a_reply_over_a_websocket_is_whole_with_its_last_message() -> None:
    done = {"type": "response.completed", "response": {"id": "resp-1", "status": "completed", "output": []}}
    texts = [{"type": "response.output_text.delta", "output_index": 0, "delta": word} for word in ("a ", "b")]
    socket = exchange(route=RESPONSES)
    socket.messages()
    record = fed(socket, *(json.dumps(message).encode() for message in [*texts, done]))
    assert (record.outcome, record.error, record.status, record.chunk_ns) == (Outcome.OK, None, 200, (200, 201, 202))


def test_json_is_known_in_all_letters() -> None:
    assert fed(opened(kind="Application/JSON"), WHOLE).chunk_kind == ""


def test_the_last_send_is_that_of_the_last_attempt() -> None:
    made = exchange()
    made.sent_ns = None
    assert made.last_sent_ns is None
    made.mark_sent(120)
    assert (made.last_sent_ns, made.resent_ns) == (120, None)
    made.retry()
    assert made.last_sent_ns is None
    made.mark_sent(150)
    assert (made.last_sent_ns, made.sent_ns, made.resent_ns) == (150, 120, 150)


GOES_ON = replace(STORED, previous="resp-1")


@pytest.mark.parametrize(
    ("code", "continuation", "said"),
    [
        ("previous_response_not_found", GOES_ON, False),
        ("unsupported", GOES_ON, True),
        ("unsupported", STORED, False),
        ("unsupported", None, False),
    ],
)
def test_a_server_that_stores_nothing_is_told_from_one_that_lost_a_response(
    code: str, continuation: Continuation | None, said: bool
) -> None:
    error = {"error": {"code": code, "message": "previous_response_id: no"}}
    made = opened(400, "application/json", continuation=continuation)
    record = fed(made, json.dumps(error).encode())
    assert (record.error or "").startswith("previous_response_id: no")
    assert ((record.error or "") != "previous_response_id: no") is said
