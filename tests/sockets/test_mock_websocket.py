"""WebSockets to /v1/responses, read by clients that share nothing with the mock: `websockets`, and OpenAI's own."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S

HELLO = "Tell me something."
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
KEY = {"authorization": "Bearer right"}


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process(
        "--ttft", "10ms", "--tpot", "1ms", "--api-key", "right", "--max-body-mb", "1", "--reasoning-tokens", "2",
        "--cors", "https://ours.example",
    ) as mock:  # fmt: skip
        yield mock


def opened(mock: MockProcess, **headers: str) -> ClientConnection:
    # Without a limit on messages, and without compression, which the mock does not offer.
    url = mock.url.replace("http", "ws") + "/v1/responses"
    return connect(url, additional_headers={**KEY, **headers}, max_size=None, proxy=None, open_timeout=PATIENCE_S)


def send(ws: ClientConnection, name: str, fault: str | None = None, **body: Any) -> None:
    metadata = {"x-request-id": name} | ({} if fault is None else {"x-mock-fault": fault})
    message = {"type": "response.create", "model": "mock-model", "input": HELLO, "max_output_tokens": 8}
    ws.send(json.dumps({**message, "metadata": metadata, **body}))


def reply(ws: ClientConnection) -> tuple[list[dict[str, Any]], list[int]]:
    """The events of one response, and their times."""
    events: list[dict[str, Any]] = []
    times: list[int] = []
    while not events or events[-1]["type"] not in ENDS:
        message = ws.recv(timeout=PATIENCE_S)
        times.append(time.monotonic_ns())
        events.append(json.loads(message))
    return events, times


def read_on(ws: ClientConnection, events: list[str]) -> None:
    """Collect the types of all events until the connection ends."""
    while True:
        events.append(json.loads(ws.recv(timeout=PATIENCE_S))["type"])


def ask(ws: ClientConnection, name: str, **body: Any) -> dict[str, Any]:
    """The last event of a response."""
    send(ws, name, **body)
    return reply(ws)[0][-1]


def test_the_messages_are_the_events_of_the_stream(mock: MockProcess) -> None:
    body = {"model": "mock-model", "input": HELLO, "max_output_tokens": 8, "stream": True}
    stream = httpx.post(f"{mock.url}/v1/responses", json=body, headers={**KEY, "x-request-id": "same-0"}).text
    expected = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    with opened(mock) as ws:
        send(ws, "same-0")
        events, _ = reply(ws)
    for event in (*expected, *events):
        for row in (event, event.get("response", {})):
            row.pop("created_at", None)
            row.pop("metadata", None)
    assert events == expected
    httpx.get(f"{mock.url}/ledger")  # It answers when the lines of all ended responses are written.
    by_stream, by_socket = (line for line in mock.ledger_lines() if line["id"] == "same-0")
    for field in ("planned", "chunk_kind", "chunk_tokens", "input_tokens", "status"):
        assert by_stream[field] == by_socket[field]


@pytest.mark.wall_clock
def test_the_ledger_has_the_time_at_which_each_message_left(mock: MockProcess) -> None:
    with opened(mock) as ws:
        for turn in range(5):
            before_ns = time.monotonic_ns()
            send(ws, f"time-{turn}", max_output_tokens=40)
            events, times = reply(ws)
            line = mock.line_of(f"time-{turn}")
            assert before_ns <= line["received_ns"] <= line["handled_ns"] <= line["write_ns"][0]
            assert len(line["write_ns"]) == len(events)
            assert all(wrote <= came for wrote, came in zip(line["write_ns"], times, strict=True))
            assert line["write_ns"] == sorted(line["write_ns"])
            # No token comes before its time, except by a shared wake-up (0.1 ms).
            due = line["received_ns"] + line["planned"]["ttft_ns"]
            tokens = [i for i, n in enumerate(line["chunk_tokens"]) if n]
            for i, gap in zip(tokens, [0, *line["planned"]["gaps_ns"]], strict=True):
                due += gap
                assert line["write_ns"][i] >= due - 110_000


def test_the_last_response_stays_on_its_connection_stored_or_not(mock: MockProcess) -> None:
    with opened(mock) as ws, opened(mock) as other:
        first = ask(ws, "chain-0", store=False)["response"]
        second = ask(ws, "chain-1", store=False, previous_response_id=first["id"])["response"]
        assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
        assert second["previous_response_id"] == first["id"]
        lost = {"code": "previous_response_not_found", "param": "response_id", "type": "invalid_request_error"}
        for one, previous in ((ws, first["id"]), (other, second["id"])):
            error = ask(one, "chain-2", previous_response_id=previous)
            assert (error["type"], error["status"]) == ("error", 404)
            assert error["error"] == {**lost, "message": f"Response with id '{previous}' not found."}
        assert ask(ws, "chain-3", previous_response_id=second["id"], store=True)["type"] == "response.completed"
        # After an error, the response to continue is forgotten. Stored responses are found again.
        assert ask(ws, "chain-4", previous_response_id="resp_chain-3", fault="500")["status"] == 500
        assert ask(other, "chain-5", previous_response_id="resp_chain-3", store=False)["type"] == "response.completed"
        assert ask(other, "chain-6", previous_response_id="resp_chain-5", fault="429")["headers"] == {
            "retry-after": "1"
        }
        assert ask(other, "chain-7", previous_response_id="resp_chain-5")["status"] == 404
        # An error of a response that continued nothing does not forget any.
        assert ask(ws, "chain-8", store=False)["type"] == "response.completed"
        assert ask(ws, "chain-9", fault="500")["status"] == 500
        assert ask(ws, "chain-10", previous_response_id="resp_chain-8", store=False)["type"] == "response.completed"
        assert ask(ws, "chain-11", previous_response_id="resp_chain-10", fault="lost_response")["status"] == 404
    assert mock.line_of("chain-11")["fault"] == "lost_response"
    said = [mock.line_of(f"chain-{i}")["engine"].get("previous") for i in (0, 1, 3, 5, 7, 10, 11)]
    assert said == [None, "found", "found", "found", "lost", "found", "lost"]


def test_messages_wait_for_the_response_before_them(mock: MockProcess) -> None:
    with opened(mock) as ws:
        for i in range(20):
            send(ws, f"queue-{i}")
        replies = [reply(ws)[0] for _ in range(20)]
    assert [events[-1]["response"]["id"] for events in replies] == [f"resp_queue-{i}" for i in range(20)]
    assert all([event["sequence_number"] for event in events] == list(range(len(events))) for events in replies)
    lines = [mock.line_of(f"queue-{i}") for i in range(20)]
    for before, after in pairwise(lines):
        assert before["end_ns"] <= after["received_ns"]


@pytest.mark.parametrize("sizes", [(1,), (7, 1, 100), (4000,)])
def test_a_message_may_come_in_frames_and_may_be_long(mock: MockProcess, sizes: tuple[int, ...]) -> None:
    text = json.dumps(
        {
            "type": "response.create",
            "input": "é" * 200 if sizes[0] < 1000 else "word " * 20_000,
            "max_output_tokens": 2,
        },
        ensure_ascii=False,
    )
    cuts = [0]
    while cuts[-1] < len(text):
        cuts.append(cuts[-1] + sizes[len(cuts) % len(sizes)])
    with opened(mock) as ws:
        ws.send([text[start:stop] for start, stop in pairwise(cuts)])
        ws.ping().wait(PATIENCE_S)
        (*_, last), _ = reply(ws)
    assert last["response"]["usage"]["output_tokens"] == 2


FAULTS = {
    # fault -> how the connection ends (None: it stays open), the last event, the fault in the ledger
    "reset:after=3": (ConnectionClosedError, "response.output_text.delta", "reset"),
    "truncate:after=3": (ConnectionClosedError, "response.output_text.delta", "truncate"),
    "cut_frame:after=3": (ConnectionClosedError, "response.output_text.delta", "cut_frame"),
    "no_headers:for=50ms": (ConnectionClosedError, None, "no_headers"),
    "no_done": (ConnectionClosed, "response.output_item.done", "no_done"),
    "error_in_stream:after=3": (None, "response.failed", "error_in_stream"),
    "stall:after=2,for=30ms": (None, "response.completed", "stall"),
    "usage_missing": (None, "response.completed", "usage_missing"),
    "duplicate:after=3": (None, "response.completed", "duplicate"),
    "u2028:after=3": (None, "response.completed", "u2028"),
    "gzip;crlf;comments;split": (None, "response.completed", None),
    "trickle;coalesce": (None, "response.completed", None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_strikes_on_a_socket_or_is_ignored(mock: MockProcess, fault: str) -> None:
    ends, last, struck = FAULTS[fault]
    name = f"fault-{list(FAULTS).index(fault)}"
    events: list[str] = []
    with opened(mock) as ws:
        send(ws, name, fault.replace("trickle;coalesce", "trickle"))
        if ends is None:
            events = [event["type"] for event in reply(ws)[0]]
            if events[-1] == "error":
                events.append(json.loads(ws.recv(timeout=PATIENCE_S))["type"])
            assert ask(ws, f"{name}-on")["type"] == "response.completed"
        else:
            with pytest.raises(ends) as caught:
                read_on(ws, events)
            if fault == "no_done":
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1000
            else:
                assert caught.value.rcvd is None
    assert (events[-1] if events else None) == last
    line = mock.line_of(name)
    assert line["fault"] == struck
    assert line["planned"]["fault"] == "+".join(
        one.partition(":")[0] for one in fault.replace(";coalesce", "").split(";")
    )
    assert "cut" not in line["engine"]
    if struck != "cut_frame":  # Half a message counts in the bytes, but is no chunk.
        assert len(line["chunk_kind"]) == len(events)


def test_broken_json_comes_as_a_message(mock: MockProcess) -> None:
    with opened(mock) as ws:
        send(ws, "malformed", "malformed:after=3")
        messages: list[str] = []
        while not messages or '"response.completed"' not in messages[-1]:
            messages.append(str(ws.recv(timeout=PATIENCE_S)))
    assert [message[:36] for message in messages if not message.endswith("}")] == [
        '{"type":"response.output_text.delta"'
    ]


@pytest.mark.parametrize(
    ("message", "status", "says"),
    [
        ("nonsense", 400, "not valid JSON"),
        ("[]", 400, "must be a JSON object"),
        ('{"type":"response.cancel"}', 400, "Unknown message type: response.cancel"),
        ('{"type":"response.create","input":[]}', 400, "input must not be empty"),
        ('{"type":"response.create","input":"x","generate":false}', 400, "generate=false"),
        ('{"type":"response.create","input":"x","model":"other"}', 404, "`other` does not exist"),
        ('{"type":"response.create","input":"x","metadata":{"x-mock-ttft":"soon"}}', 400, "x-mock-ttft"),
    ],
)
def test_a_wrong_message_is_an_error_and_the_connection_goes_on(
    mock: MockProcess, message: str, status: int, says: str
) -> None:
    with opened(mock) as ws:
        ws.send(message)
        error = json.loads(ws.recv(timeout=PATIENCE_S))
        assert (error["type"], error["status"]) == ("error", status)
        assert says in error["error"]["message"]
        assert isinstance(error["error"]["code"], str)
        assert ask(ws, "after-error")["type"] == "response.completed"


def test_a_handshake_that_may_not_is_refused_over_http(mock: MockProcess) -> None:
    for headers, status in (({"authorization": "Bearer wrong"}, 401), ({"origin": "https://foreign.example"}, 403)):
        with pytest.raises(InvalidStatus) as caught:
            opened(mock, **headers)
        assert caught.value.response.status_code == status
    with opened(mock, origin="https://ours.example") as ws:
        assert ask(ws, "origin")["type"] == "response.completed"
    url = mock.url.replace("http", "ws")
    with pytest.raises(InvalidStatus) as caught:
        connect(f"{url}/v1/chat/completions", additional_headers=KEY, proxy=None, open_timeout=PATIENCE_S)
    assert caught.value.response.status_code == 405
    upgrade = {**KEY, "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    assert httpx.get(f"{mock.url}/v1/responses", headers=upgrade).status_code == 400
    assert httpx.get(f"{mock.url}/v1/responses", headers=KEY).status_code == 405


@pytest.mark.parametrize(("data", "code"), [(b"bytes", 1003), ("x" * 1_100_000, 1009)])
def test_what_is_no_message_closes_the_connection_and_says_why(mock: MockProcess, data: str | bytes, code: int) -> None:
    with opened(mock) as ws:
        ws.send(data)
        with pytest.raises(ConnectionClosed) as caught:
            ws.recv(timeout=PATIENCE_S)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code


def test_a_client_that_leaves_cuts_its_response(mock: MockProcess) -> None:
    for name, leave in (("goodbye", ClientConnection.close), ("gone", lambda ws: ws.socket.shutdown(socket.SHUT_RDWR))):
        with opened(mock) as ws:
            send(ws, name, max_output_tokens=100_000)
            ws.recv(timeout=PATIENCE_S)
            leave(ws)
        line = mock.line_of(name)
        assert line["engine"]["cut"] == "client_closed"
        assert sum(line["chunk_tokens"]) < 100_000


@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")
def test_the_client_of_openai_reads_turn_after_turn(mock: MockProcess) -> None:
    import openai

    with (
        openai.OpenAI(base_url=f"{mock.url}/v1", api_key="right", max_retries=0) as client,
        client.responses.connect() as connection,
    ):
        previous: Any = openai.omit
        for turn in range(3):
            connection.response.create(model="mock-model", input=HELLO, previous_response_id=previous, store=False)
            for event in connection:
                if event.type == "response.completed":
                    assert event.response.usage is not None
                    assert event.response.usage.input_tokens > 100 * turn
                    previous = event.response.id
                    break


def test_a_drain_ends_idle_connections_and_lets_responses_end() -> None:
    with (
        mock_process("--ttft", "200ms", "--tpot", "1ms", "--drain-s", "600") as mock,
        opened(mock) as busy,
        opened(mock) as idle,
    ):
        send(busy, "last")
        assert json.loads(busy.recv(timeout=PATIENCE_S))["type"] == "response.created"
        mock.process.send_signal(signal.SIGTERM)
        events, _ = reply(busy)
        assert events[-1]["type"] == "response.completed"
        for ws in (busy, idle):
            with pytest.raises(ConnectionClosed) as caught:
                ws.recv(timeout=PATIENCE_S)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1001
        assert mock.process.wait(timeout=PATIENCE_S) == 0


HANDSHAKE = (
    b"GET /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer right\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MASK = b"\0\0\0\0"
GARBAGE = {
    "not masked": b"\x81\x02hi",
    "a reserved bit": b"\xc1\x82" + MASK + b"hi",
    "an unknown opcode": b"\x83\x82" + MASK + b"hi",
    "a long ping": b"\x89\xfe\x00\xff" + MASK + b"x" * 255,
    "a continuation of nothing": b"\x80\x82" + MASK + b"hi",
    "no UTF-8": b"\x81\x82" + MASK + b"\xff\xfe",
    "a length without end": b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" + MASK,
    "too much": b"\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff" + MASK + b"x" * 1_200_000,
    "plain HTTP": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a close of one byte": b"\x88\x81" + MASK + b"x",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_bytes_that_are_no_frames_close_the_connection_and_nothing_else(mock: MockProcess, what: str) -> None:
    host, port = mock.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as raw:
        raw.sendall(HANDSHAKE)
        assert raw.recv(4096).startswith(b"HTTP/1.1 101 ")
        with contextlib.suppress(ConnectionError):
            raw.sendall(GARBAGE[what])
            answer = b""
            while data := raw.recv(4096):
                answer += data
            assert answer[:1] == b"\x88", "the answer is a close frame"
    with opened(mock) as ws:
        assert ask(ws, "after-garbage")["type"] == "response.completed"
    assert mock.stderr == []
