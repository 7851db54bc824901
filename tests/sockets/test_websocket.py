"""Responses over WebSockets: one socket per conversation, kernel stamps, and every way in which a socket can end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.clock import Clock, Timer
from bench.errors import Exit
from bench.records import Outcome, RequestRecord
from bench.workload import Continuation, Route
from tests.support.dialect_streams import CREATED, ended, part, usage
from tests.support.literal_server import CERTIFICATE
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.record_rows import record_rows
from tests.support.socket_sender import Sender, over
from tests.support.socket_server import CLOSE, PING, PONG, Script, SocketServer, frame, goodbye, text

pytestmark = pytest.mark.wall_clock

REPLY = [CREATED, part("output_text", "a"), part("output_text", "b"), ended(usage=usage(2))]
GOOD = [text(event) for event in REPLY]
HOUR_NS = 3_600_000_000_000


def once(script: Script, **server: Any) -> tuple[RequestRecord, SocketServer]:
    with SocketServer(script, **server) as served:
        tls: dict[str, Any] = {"ca_file": str(CERTIFICATE)} if "tls" in server else {}
        return over(served.url, lambda sender: sender.ask(), **tls), served


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_reply_over_a_websocket_is_a_record_like_any_other(tls: bool) -> None:
    record, server = once(lambda said: GOOD, **({"tls": True} if tls else {}))
    assert (record.outcome, record.error, record.status) == (Outcome.OK, None, 200)
    assert (record.chunk_kind, record.output_tokens, record.input_tokens) == ("occu", 2, 4)
    assert record.clock == "kernel"
    assert len(record.chunk_ns) == 4
    for (before, _), stamp, bound in zip(
        server.writes, record.chunk_ns, record.chunk_bound_ns or [None] * 4, strict=True
    ):
        assert before - 100_000 <= stamp  # Kernel stamps are converted to our clock by an offset.
        assert bound is None or bound <= stamp
    (said,) = server.said
    assert said.row == {"type": "response.create", "metadata": {"x-request-id": "r-0"}, "input": "x"}
    assert (record.bytes_sent, record.bytes_received) == (
        said.size,
        sum(len(json.dumps(e, separators=(",", ":"))) for e in REPLY),
    )
    assert "authorization" not in server.heads[0].lower()


def test_a_conversation_has_one_socket_and_another_has_another() -> None:
    async def talk(sender: Sender) -> list[RequestRecord]:
        return [
            await sender.ask(Continuation(conversation="0.0", last=False)),
            await sender.ask(Continuation(conversation="0.2", last=True)),
            await sender.ask(Continuation(conversation="0.0", last=False)),
            await sender.ask(Continuation(conversation="0.0", last=True)),
        ]

    with SocketServer(lambda said: GOOD) as server:
        records = over(server.url, talk)
        # After the last turn of a conversation its socket is closed with a close frame, while the other stays open.
        assert server.ended.acquire(timeout=PATIENCE_S)
        assert server.ended.acquire(timeout=PATIENCE_S)
    assert [(said.connection, said.number) for said in server.said] == [(0, 0), (1, 0), (0, 1), (0, 2)]
    assert [record.connect_ns == 0 for record in records] == [False, False, True, True]
    assert [opcode for opcode, _ in server.controls] == [8, 8]


def test_requests_of_no_conversation_share_sockets_one_after_the_other() -> None:
    async def talk(sender: Sender) -> None:
        await sender.ask()
        await sender.ask()
        await sender.ask(route=Route(None, (("x-user", "7"),)))

    with SocketServer(lambda said: GOOD) as server:
        over(server.url, talk)
    assert [said.connection for said in server.said] == [0, 0, 1]
    assert "x-user: 7" in server.heads[1]


@pytest.mark.parametrize("own", [False, True])
def test_sockets_are_made_ahead_where_their_handshakes_are_alike(own: bool) -> None:
    async def talk(sender: Sender) -> RequestRecord:
        await sender.transport.prepare(3)
        return await sender.ask(Continuation(conversation="0.0", last=True))

    with SocketServer(lambda said: GOOD) as server:
        record = over(server.url, talk, own_headers=own)
    assert (record.connect_ns == 0, len(server.heads)) == ((False, 1) if own else (True, 3))


def test_a_failed_turn_closes_the_sockets_of_its_session() -> None:
    refusal = {"type": "error", "status": 503, "error": {"type": "overloaded", "message": "busy"}}

    async def talk(sender: Sender) -> list[RequestRecord]:
        await sender.ask(Continuation(conversation="3.0", last=False))
        await sender.ask(Continuation(conversation="33.0", last=False))
        failed = await sender.ask(Continuation(conversation="3.1", last=False))
        return [failed, await sender.ask(Continuation(conversation="33.0", last=True)),
                await sender.ask(Continuation(conversation="3.0", last=False))]  # fmt: skip

    with SocketServer(lambda said: [text(refusal)] if said.connection == 2 else GOOD) as server:
        failed, other, again = over(server.url, talk)
    assert (failed.outcome, failed.status, failed.error) == (Outcome.HTTP_ERROR, 503, "overloaded: busy")
    assert (other.connect_ns, again.outcome) == (0, Outcome.OK)
    assert [said.connection for said in server.said] == [0, 1, 2, 1, 3]


LOST = {"type": "error", "status": 404, "error": {"code": "previous_response_not_found", "message": "gone"}}
EXPIRING = {"type": "error", "error": {"code": "connection_expiring", "message": "5 minutes"}}
FAILED = {"type": "error", "error": {"code": "server_error", "message": "oh"}}


@pytest.mark.parametrize(
    ("writes", "outcome", "status", "words"),
    [
        ([text(LOST)], Outcome.LOST_RESPONSE, 404, "previous_response_not_found: gone"),
        ([*GOOD[:2], text(FAILED)], Outcome.STREAM_ERROR, 200, "server_error: oh"),
        ([*GOOD[:2], text({"message": "oh", "requestId": "x"})], Outcome.STREAM_ERROR, 200, "oh"),
        ([*GOOD[:2], goodbye(1011, "oom")], Outcome.TRUNCATED, 200, "closed the WebSocket with code 1011 (oom)"),
        ([goodbye(1001)], Outcome.TRUNCATED, None, "closed the WebSocket with code 1001 before the reply had ended"),
        ([*GOOD[:2], CLOSE], Outcome.TRUNCATED, 200, "closed the connection before the response had ended"),
        ([GOOD[0], GOOD[1][:9], CLOSE], Outcome.TRUNCATED, 200, "closed the connection before"),
        ([CLOSE], Outcome.RESET, None, "closed the connection before"),
        ([frame(b"in", PING), CLOSE], Outcome.RESET, None, "closed the connection before"),
        ([*GOOD[:2], bytes([0x83, 0])], Outcome.MALFORMED, 200, "opcode"),
        ([frame(b"nonsense")], Outcome.MALFORMED, 200, "a message is not a JSON object: 'nonsense'"),
        ([*GOOD[:2], frame(b"[]")], Outcome.MALFORMED, 200, "a message is not a JSON object: '[]'"),
        ([*GOOD[:3], text(EXPIRING), GOOD[3]], Outcome.OK, 200, None),
        ([GOOD[0], GOOD[1][:3], GOOD[1][3:], frame(b"hi", PING), b"".join(GOOD[2:])], Outcome.OK, 200, None),
        ([byte.to_bytes() for byte in b"".join(GOOD)], Outcome.OK, 200, None),
    ],
)
def test_every_end_of_a_reply_has_its_outcome(
    writes: Sequence[bytes], outcome: Outcome, status: int | None, words: str | None
) -> None:
    record, _ = once(lambda said: writes)
    assert (record.outcome, record.status) == (outcome, status)
    assert (record.error is None) if words is None else (words in (record.error or ""))


def test_a_ping_is_answered_in_a_reply_and_between_replies() -> None:
    async def talk(sender: Sender) -> list[RequestRecord]:
        first = await sender.ask(Continuation(conversation="0.0", last=False))
        return [first, await sender.ask(Continuation(conversation="0.0", last=True))]

    with SocketServer(lambda said: [frame(b"in", PING), *GOOD, frame(b"between", PING)]) as server:
        records = over(server.url, talk)
        assert server.ended.acquire(timeout=PATIENCE_S)
    assert [record.outcome for record in records] == [Outcome.OK] * 2
    assert [said.connection for said in server.said] == [0, 0]
    assert [payload for opcode, payload in server.controls if opcode == PONG][:2] == [b"in", b"between"]


def test_a_socket_that_was_closed_between_two_turns_is_replaced() -> None:
    async def talk(sender: Sender) -> RequestRecord:
        await sender.ask(Continuation(conversation="0.0", last=False))
        assert await asyncio.to_thread(server.ended.acquire, timeout=PATIENCE_S)
        return await sender.ask(Continuation(conversation="0.0", last=True))

    with SocketServer(lambda said: [*GOOD, *([goodbye(1001), CLOSE] if said.connection == 0 else [])]) as server:
        assert over(server.url, talk).outcome is Outcome.OK
    assert [said.connection for said in server.said] == [0, 1]


def test_a_refused_handshake_is_what_the_server_says_to_the_request() -> None:
    body = b'{"error":{"message":"no key","type":"invalid_request_error"}}'
    refuses = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    record, _ = once(lambda said: GOOD, refuses=refuses)
    assert (record.outcome, record.status, record.error) == (Outcome.HTTP_ERROR, 401, "invalid_request_error: no key")
    assert record.sent_ns is not None
    # A response without a length ends with the connection.
    record, _ = once(lambda said: GOOD, refuses=b"HTTP/1.1 403 Forbidden\r\n\r\n" + body)
    assert (record.outcome, record.status, record.error) == (Outcome.HTTP_ERROR, 403, "invalid_request_error: no key")
    record, _ = once(lambda said: GOOD, refuses=b"HTTP/1.1 302 Found\r\nlocation: /in\r\ncontent-length: 0\r\n\r\n")
    assert (record.outcome, record.status) == (Outcome.HTTP_ERROR, 302)
    assert (record.error or "").startswith("the server redirects to /in")
    record, _ = once(lambda said: GOOD, refuses=b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert record.outcome is Outcome.MALFORMED
    record, _ = once(lambda said: GOOD, refuses=b"SSH-2.0-x\r\n\r\n")
    assert record.outcome is Outcome.CONNECT_ERROR
    assert "does not speak WebSocket" in (record.error or "")


class LeavesWhen:
    """A process clock, except for a deadline that is hours away: it passes when this is true."""

    name = "leaves when"

    def __init__(self, clock: Clock, leaves: Callable[[], bool]) -> None:
        self._clock, self._leaves = clock, leaves
        self.now_ns, self.next_ns, self.close = clock.now_ns, clock.next_ns, clock.close

    def call_at(self, deadline_ns: int, call: Callable[[], None]) -> Timer:
        if deadline_ns < self.now_ns() + HOUR_NS:
            return self._clock.call_at(deadline_ns, call)
        return self._clock.call_at(self.now_ns() + 1_000_000, lambda: self._look(deadline_ns, call))

    def _look(self, deadline_ns: int, call: Callable[[], None]) -> None:
        if self._leaves():
            call()
        else:
            self.call_at(deadline_ns, call)


def test_a_user_who_leaves_says_goodbye() -> None:
    def leaving(clock: Clock) -> Clock:
        return LeavesWhen(clock, lambda: len(server.writes) == 2)

    with SocketServer(lambda said: GOOD[:2]) as server:
        record = over(server.url, lambda sender: sender.ask(cancel_after_ns=2 * HOUR_NS), leaving)
        assert server.ended.acquire(timeout=PATIENCE_S)
    assert (record.outcome, record.chunk_kind) == (Outcome.CANCELLED, "oc")
    assert server.controls[0][0] == 8


@pytest.mark.parametrize(
    ("writes", "limit", "outcome"),
    [
        (GOOD[:2], {"timeout_idle_ns": 100_000_000}, Outcome.TIMEOUT_IDLE),
        # A ping does not count as a byte of the reply.
        ([frame(b"in", PING)], {"timeout_first_byte_ns": 100_000_000}, Outcome.TIMEOUT_FIRST_BYTE),
    ],
)
def test_a_reply_that_stalls_ends_with_its_time_limit(
    writes: list[bytes], limit: dict[str, Any], outcome: Outcome
) -> None:
    with SocketServer(lambda said: writes) as server:
        record = over(server.url, lambda sender: sender.ask(), **limit)
    assert record.outcome is outcome


# ---- Whole runs against the mock -----------------------------------------------------------------------------------


def run(url: str, tmp_path: Path, *more: str) -> list[dict[str, Any]]:
    words = ["run", "--url", url, "--mode", "sessions", "--endpoint", "responses", "--websocket", "--quiet"]
    assert cli.main([*words, "--out", str(tmp_path / "run"), *more]) in (Exit.GOOD, Exit.INVALID)
    records = record_rows(tmp_path / "run" / "requests.jsonl")
    return sorted(records, key=lambda record: record["index"])


def test_a_session_of_50_turns_sends_as_much_in_each_turn(tmp_path: Path) -> None:
    turns = [{"content": f"Turn {number:02d}: go on.", "output_tokens": 6} for number in range(50)]
    (tmp_path / "long.jsonl").write_text(json.dumps({"session": "long", "system": "Be brief.", "turns": turns}))
    words = ["--dataset", str(tmp_path / "long.jsonl"), "--history", "stored", "--requests", "50", "--concurrency", "1"]
    with mock_process("--ttft", "1ms", "--tpot", "1ms") as mock:
        records = run(mock.url, tmp_path, *words)
        lines = mock.ledger_lines(at_least=51)  # Including the probe's.
    assert [record["outcome"] for record in records] == ["ok"] * 50
    first, *later = [record["bytes_sent"] for record in records]
    assert max(later) - min(later) <= 8  # Ids have more or fewer digits.
    assert later[0] - first < 100  # The id of the response to continue.
    tokens = [record["input_tokens"] for record in records]
    assert tokens == sorted(tokens)
    assert tokens[-1] > 10 * tokens[0]  # The server reads the whole conversation anyway.
    told = {line["id"]: line for line in lines}
    assert all(told[record["id"]]["bytes_in"] == record["bytes_sent"] for record in records)
    assert [record["connect_ns"] == 0 for record in records[1:]] == [True] * 49
    # The client received what the mock wrote, and not before it was written.
    assert all(told[r["id"]]["write_ns"][0] <= r["chunk_ns"][0] for r in records)
    assert all(len(told[r["id"]]["write_ns"]) == len(r["chunk_ns"]) for r in records)


def test_a_lost_response_ends_its_session_over_a_websocket(tmp_path: Path) -> None:
    words = ["--turns", "3", "--input-tokens", "40", "--output-tokens", "4", "--requests", "4", "--concurrency", "1"]
    with mock_process("--ttft", "1ms", "--tpot", "1ms", "--fault", "lost_response:index=1") as mock:
        records = run(mock.url, tmp_path, *words, "--history", "stored", "--max-errors", "100%")
    assert [r["outcome"] for r in records] == ["ok", "lost_response", "ok", "ok"]
    assert (records[1]["status"], [r["turn"] for r in records]) == (404, [0, 1, 0, 1])


def test_histories_may_go_over_a_websocket_whole_and_with_several_workers(tmp_path: Path) -> None:
    words = ["--turns", "3", "--input-tokens", "40", "--output-tokens", "4", "--requests", "12", "--concurrency", "4"]
    # Far longer than cancelling users wait.
    with mock_process("--ttft", "200ms", "--tpot", "1ms") as mock:
        records = run(
            mock.url, tmp_path, *words, "--history", "planned", "--workers", "2", "--cancel", "share=30%,after=3ms"
        )
    assert {record["outcome"] for record in records} == {"ok", "cancelled"}
    good = [record for record in records if record["outcome"] == "ok"]
    assert [r["input_tokens"] for r in good] == [r["input_tokens_asked"] for r in good]
