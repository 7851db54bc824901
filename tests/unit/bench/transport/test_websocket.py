"""The client's side of a WebSocket, fed with literal frames: cut anywhere, fragmented, with pings, closes and nonsense."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.realtime import RealtimeMessages
from bench.endpoints.responses import ResponsesMessages
from bench.endpoints.responses_reader import is_last, may_end
from bench.transport.chunkwise_reads import MOST
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading
from bench.transport.polled_connection import PolledConnection
from bench.transport.websocket import BrokenSocket, ClientSocket, is_one_text, left_of_frame
from bench.workload import Request
from tests.support.socket_server import BINARY, PING, TEXT, accepting, frame, goodbye, text

EVENTS = [{"type": "response.created"}, {"type": "response.output_text.delta", "delta": "ü" * 70_000},
          {"type": "response.output_text.delta", "delta": "x" * 200}, {"type": "response.completed"}]  # fmt: skip
WANTED = [json.dumps(event, separators=(",", ":")).encode() for event in EVENTS]


def opened() -> ClientSocket:
    client = ClientSocket("h:1", "/v1/responses?a=b", [("authorization", "Bearer k")])
    assert client.hello.startswith(b"GET /v1/responses?a=b HTTP/1.1\r\nHost: h:1\r\n")
    assert b"authorization: Bearer k\r\n" in client.hello
    assert client.feed_handshake(accepting(client.hello))
    client.begin(ResponsesMessages())
    return client


def fed(client: ClientSocket, data: bytes, cuts: list[int]) -> list[bytes]:
    return [m for start, end in pairwise([0, *sorted(cuts), len(data)]) for m in client.feed(data[start:end])]


def test_messages_are_the_same_wherever_the_bytes_are_cut() -> None:
    stream = b"".join(map(text, EVENTS))
    chance = random.Random(1)
    for _ in range(20):
        client = opened()
        assert fed(client, stream, [chance.randrange(len(stream)) for _ in range(9)]) == WANTED
        assert (client.complete, client.keep_alive, client.error) == (True, True, None)


def test_a_message_in_several_frames_with_a_ping_between_is_one_message() -> None:
    client = opened()
    half = len(WANTED[1]) // 2 + 1  # In the middle of a character, too.
    data = frame(WANTED[1][:half], last=False) + frame(b"are you there", PING) + frame(WANTED[1][half:], 0)
    assert client.feed(data) == [WANTED[1]]
    pong, client.outgoing = client.outgoing, b""
    assert pong[0] == 0x8A
    assert pong[1] == 0x80 | len("are you there")  # Masked, like all frames from a client.
    mask, payload = pong[2:6], pong[6:]
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) == b"are you there"


def test_what_a_client_says_is_masked_and_whole() -> None:
    framed = opened().message("ü".encode() * 40_000)
    assert framed[:2] == bytes([0x81, 0x80 | 127])
    mask, payload = framed[10:14], framed[14:]
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) == "ü".encode() * 40_000


@pytest.mark.parametrize(
    ("behind", "keep"),
    [
        (frame(b"", PING), True),
        (text({"type": "error", "error": {"code": "connection_expiring", "message": "5 minutes"}}), True),
        (text({"type": "response.created"}), False),
        (goodbye(1001, "later"), False),
    ],
)
def test_what_comes_behind_a_reply_is_none_of_it(behind: bytes, keep: bool) -> None:
    client = opened()
    assert client.feed(text(EVENTS[3])) == [WANTED[3]]
    client.behind(behind)
    assert (client.keep_alive, client.error) == (keep, None)


def test_a_close_says_why_and_is_answered() -> None:
    client = opened()
    assert client.feed(text(EVENTS[0]) + goodbye(1011, "out of memory")) == [WANTED[0]]
    assert client.closed == "with code 1011 (out of memory)"
    assert client.outgoing[0] == 0x88
    assert client.goodbye() == b""
    with pytest.raises(BrokenSocket):
        client.message(b"{}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame(b"{}", BINARY), "a binary message came, and events are texts"),
        (bytes([0x83, 0]), "opcode"),
        (bytes([0xC1, 2]) + b"{}", "RSV|reserved"),
        (bytes([0x81, 0x82, 0, 0, 0, 0]) + b"{}", "mask"),
        (frame(b"\xff\xfe"), "utf-8"),
        (frame(b"{}", 0), "CONTINUATION"),
    ],
)
def test_what_is_no_text_message_is_an_error(data: bytes, words: str) -> None:
    client = opened()
    client.feed(text(EVENTS[0]))
    client.feed(data)
    assert client.error is not None
    assert any(word.lower() in client.error.lower() for word in words.split("|")), client.error
    assert not client.keep_alive


def test_a_message_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.transport.websocket.MAX_EVENT_BYTES", 1_000)
    client = opened()
    for _ in range(3):
        client.feed(frame(b"x" * 400, TEXT if client.error is None and not client._size else 0, last=False))
    assert client.error == "a message is larger than the limit of 1000 bytes"


@pytest.mark.parametrize(
    ("answer", "status", "body", "location"),
    [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nno", 404, b"no", None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b"", None),
        (b"HTTP/1.1 302 Found\r\nLocation: /sign-in\r\ncontent-length: 0\r\n\r\n", 302, b"", "/sign-in"),
    ],
)
def test_a_handshake_may_be_refused_over_http(answer: bytes, status: int, body: bytes, location: str | None) -> None:
    client = ClientSocket("h", "/", [])
    assert [client.feed_handshake(answer[:20]), client.feed_handshake(answer[20:])] == [False, True]
    assert client.refused is not None
    assert (client.refused.status, bytes(client.refused.body), client.refused.location) == (status, body, location)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: \x88\r\nsec-websocket-accept: x\r\n\r\n",
        b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: wrong\r\n\r\n",
    ],
)
def test_what_speaks_no_websocket_is_said_so(answer: bytes) -> None:
    with pytest.raises(BrokenSocket, match="does not speak WebSocket here"):
        ClientSocket("h", "/", []).feed_handshake(answer)


@pytest.mark.parametrize("size", [0, 1, 5, 6, 7, 125, 126, 127, 65_535, 65_536, 70_000])
def test_how_much_of_a_frame_is_left_is_known_of_its_first_bytes(size: int) -> None:
    whole = frame(b"x" * size)
    left = left_of_frame(whole[:8])
    assert left + len(whole[:8]) == len(whole) if size < 65_536 else left == MOST
    assert is_one_text(whole)
    assert not is_one_text(whole[:-1]) or size == 0
    assert not is_one_text(whole + b"x")
    assert not is_one_text(frame(b"x" * size, PING if size < 126 else BINARY))


@pytest.mark.parametrize(
    ("message", "last"),
    [
        (b'{"type":"response.completed","response":{}}', True),
        (b'{"sequence_number": 4, "type" : "response.incomplete"}', True),
        (b'{"type":"error","status":404}', True),
        (b'{"type":"response.failed"}', True),
        (b'{"type":"response.output_text.delta","delta":"{\\"type\\":\\"response.completed\\"}"}', False),
        (b'{"type":"response.output_item.done","item":{"type":"error"}}', False),
        (b'{"type":"response.created"}', False),
        (b'{"type":"response.completed","response":{"text":"\\ud83d"}}', True),  # Half of a character.
        (b'{"error":{"type":"server_error","message":"oom"}}', True),
        (b'{"message":"Internal server error","requestId":"x"}', True),
        (b'{"text":"a"}', False),
        (b"[]", False),
        (b'{"type":5,"error":"x"}', False),
    ],
)
def test_which_message_is_the_last_of_a_reply(message: bytes, last: bool) -> None:
    assert is_last(message) is last
    assert may_end(frame(message)) or not last


GREETING = text({"type": "session.created"})
DELTA = text({"type": "response.output_text.delta", "delta": "a"})


def realtime() -> ClientSocket:
    client = opened()
    client.begin(RealtimeMessages())
    return client


def test_a_message_of_the_session_is_beside_the_reply_and_no_part_of_it() -> None:
    client = realtime()
    for data, beside in ((GREETING, True), (frame(b"", PING), True), (GREETING + DELTA, False), (DELTA, False)):
        client.feed(data)
        assert client.beside is beside
    client = realtime()
    client.feed(GREETING + goodbye(1000))
    assert not client.beside, "the answer is a close frame"


@pytest.mark.parametrize("message", [b"hello", b"", b"[1]", b'{"type":"error","err'])
def test_a_message_that_is_no_event_fails_its_reply_at_once_and_does_nothing_after_it(message: bytes) -> None:
    for client in (opened(), realtime()):
        assert client.feed(frame(message)) == []
        assert client.error == f"a message is not a JSON object: {message.decode()!r}"
        assert (client.status, client.complete, client.keep_alive) == (200, False, False)
    client = realtime()
    client.feed(DELTA + text({"type": "response.done"}) + frame(message))
    assert (client.error, client.complete, client.keep_alive) == (None, True, False)


def test_a_greeting_that_came_before_the_request_is_not_its_first_byte() -> None:
    connection: Any = PolledConnection.__new__(PolledConnection)
    connection._engine = SimpleNamespace(offset_ns=0, target=SimpleNamespace(max_response_bytes=1 << 20))
    request = Request(
        id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=1
    )  # fmt: skip
    exchange = Exchange(request, 0, 0, Reading(endpoint=ENDPOINTS["realtime"]), "kernel")
    exchange.mark_connected(1)
    exchange.mark_sent(100)
    exchange.messages()
    connection._put_by, connection._put_by_bytes, connection._lazy = [(GREETING, 40, 0), (DELTA, 170, 0)], 0, False
    connection.reads = 2
    connection._feed(SimpleNamespace(exchange=exchange), realtime())
    assert (exchange.first_byte_ns, connection.reads) == (170, 1)


def test_of_a_frame_that_is_larger_than_a_read_a_read_is_left() -> None:
    whole = frame(b"x" * 70_000)
    assert whole[1] == 127
    for glance in range(2, 10):
        assert left_of_frame(whole[:glance]) == 65_536
    assert left_of_frame(whole[:10]) == 70_000
    assert left_of_frame(whole[:16]) == 70_000 - 6
    assert left_of_frame(whole) == left_of_frame(whole + b"more") == 0
    assert [left_of_frame(whole[:glance]) for glance in (0, 1)] == [0, 0]


def test_a_refusal_without_a_body_is_complete_with_its_head() -> None:
    client = ClientSocket("h", "/", [])
    assert client.feed_handshake(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.refused is not None
    assert (client.refused.status, client.refused.content_type, bytes(client.refused.body)) == (204, "", b"")


def test_a_close_that_cannot_be_answered_ends_the_socket_with_an_error() -> None:
    client = opened()
    client.feed(goodbye(1000, "bye"))
    client.feed(text(EVENTS[0]))
    assert not client.keep_alive
    assert client.closed == "with code 1000 (bye)"
