"""Histories as clients send them, over sockets: the server's calls with its ids, results for them, with or without
reasoning."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit
from tests.support.dialect_streams import (
    CREATED,
    MESSAGE_STOP,
    block,
    block_stop,
    delta,
    ended,
    framed,
    message_delta,
    message_start,
    usage,
)
from tests.support.literal_replies import CHUNKED, LAST_CHUNK, api, chunk, head, whole
from tests.support.literal_server import LiteralServer, Received, Send, Step
from tests.support.mock_process import mock_process
from tests.support.record_rows import record_rows

TOOL = {"type": "function", "function": {"name": "read"}}
ROWS: dict[str, Any] = {
    "session": "t",
    "tools": [TOOL],
    "turns": [{"content": "a"}, {"results": ["of x", "of y"]}, {"content": "b"}],
}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s1g"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}


def run(url: str, tmp_path: Path, *more: str) -> list[dict[str, Any]]:
    words = ["run", "--url", url, "--mode", "sessions", "--out", str(tmp_path / "run"), "--quiet", *more]
    assert cli.main([*words, "--concurrency", "1"]) in (Exit.GOOD, Exit.INVALID)
    records = record_rows(tmp_path / "run" / "requests.jsonl")
    return sorted(records, key=lambda record: record["index"])


def chat_reply(calls: Sequence[tuple[str, str]]) -> Sequence[Step]:
    made = [{"id": i, "type": "function", "function": {"name": n, "arguments": "{}"}} for i, n in calls]
    message = {"role": "assistant", "content": "so", "reasoning": "hm", **({"tool_calls": made} if made else {})}
    counts = {"prompt_tokens": 3, "completion_tokens": 3}
    return whole("200 OK", {"choices": [{"message": message, "finish_reason": "stop"}], "usage": counts})


def streamed(events: Sequence[dict[str, Any]]) -> Sequence[Step]:
    return [Send(head("200 OK", "text/event-stream", CHUNKED)), Send(chunk(framed(events))), Send(LAST_CHUNK)]


def messages_reply(calls: Sequence[tuple[str, str]]) -> Sequence[Step]:
    events = [message_start(), block(0, **{**THINKING, "thinking": "", "signature": ""}),
              delta("thinking_delta", 0, thinking="hm"), delta("signature_delta", 0, signature="s1g"), block_stop(0),
              block(1, type="text", text="so"), block_stop(1)]  # fmt: skip
    for number, (call_id, name) in enumerate(calls, 2):
        events += [block(number, type="tool_use", id=call_id, name=name, input={}), block_stop(number)]
    return streamed([*events, message_delta("tool_use", output_tokens=9), MESSAGE_STOP])


def responses_reply(calls: Sequence[tuple[str, str]]) -> Sequence[Step]:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]}
    items = [
        REASONING, said,
        *({"type": "function_call", "call_id": i, "name": n, "arguments": "{}"} for i, n in calls),
    ]  # fmt: skip
    events = [{"type": "response.output_item.added", "output_index": at, "item": i} for at, i in enumerate(items)]
    text = {"type": "response.output_text.delta", "output_index": 1, "delta": "so"}
    return streamed([CREATED, *events, text, ended(output=items, usage=usage(9))])


CALLED = [("s1", "read"), ("s2", "read"), ("s3", "read")]
"""One call more than the rows have results."""
GIVEN = [("s1", "of x"), ("s2", "of y"), ("s3", "of x")]

CHAT = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "so", "tool_calls": [
        {"id": i, "type": "function", "function": {"name": "read", "arguments": "{}"}} for i, _ in CALLED]},
    *({"role": "tool", "tool_call_id": i, "content": text} for i, text in GIVEN),
]  # fmt: skip
MESSAGES = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": [
        {"type": "text", "text": "so"}, *({"type": "tool_use", "id": i, "name": "read", "input": {}} for i, _ in CALLED)]},
    {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": i, "content": text} for i, text in GIVEN]},
]  # fmt: skip
RESPONSES = [
    {"role": "user", "content": "a"},
    {"type": "message", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "so", "annotations": []}]},
    *({"type": "function_call", "call_id": i, "name": "read", "arguments": "{}"} for i, _ in CALLED),
    *({"type": "function_call_output", "call_id": i, "output": text} for i, text in GIVEN),
]  # fmt: skip


@pytest.mark.parametrize(
    ("endpoint", "reply", "second"),
    [("chat", chat_reply, CHAT), ("messages", messages_reply, MESSAGES), ("responses", responses_reply, RESPONSES)],
    ids=["chat", "messages", "responses"],
)
@pytest.mark.parametrize("reasoning", ["drop", "echo"])
def test_calls_go_back_with_their_ids_and_each_has_a_result(
    tmp_path: Path, endpoint: str, reply: Any, second: list[Any], reasoning: str
) -> None:
    bodies: list[Any] = []

    def script(request: Received) -> Sequence[Step]:
        if request.headers["x-request-id"].startswith("probe-"):
            return reply([])  # type: ignore[no-any-return]
        bodies.append(json.loads(request.body))
        return reply(CALLED if len(bodies) == 1 else [])  # type: ignore[no-any-return]

    (tmp_path / "talks.jsonl").write_text(json.dumps(ROWS))
    more = ["--no-stream"] if endpoint == "chat" else []
    with LiteralServer(api(script)) as server:
        words = ["--dataset", str(tmp_path / "talks.jsonl"), "--requests", "3", "--endpoint", endpoint, *more]
        records = run(server.url, tmp_path, *words, "--reasoning-in-history", reasoning)
    assert [record["outcome"] for record in records] == ["ok"] * 3
    sent = [body["input" if endpoint == "responses" else "messages"] for body in bodies]
    expected = json.loads(json.dumps(second))
    if reasoning == "echo" and endpoint == "chat":
        expected[1]["reasoning"] = "hm"
    elif reasoning == "echo" and endpoint == "messages":
        expected[1]["content"].insert(0, THINKING)
    elif reasoning == "echo":
        expected.insert(1, REASONING)
    assert sent[1] == expected
    assert sent[2][: len(expected)] == expected
    assert sent[2][-1] == {"role": "user", "content": "b"}  # The previous answer has no calls, so there are no results.
    assert ("hm" in json.dumps(sent[2])) == (reasoning == "echo")
    assert all(body["tools"] for body in bodies)


@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses"])
def test_the_mock_accepts_the_history_of_its_own_calls(tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([TOOL]))
    words = ["--tools", str(tmp_path / "tools.json"), "--turns", "3", "--input-tokens", "40", "--output-tokens", "12"]
    with mock_process("--ttft", "2ms", "--tpot", "1ms", "--tool-share", "1", "--tool-calls", "2") as mock:
        records = run(mock.url, tmp_path, *words, "--requests", "6", "--endpoint", endpoint)
    after_results = ("ok", 0)  # The server answers results with text.
    assert [(record["outcome"], record["tool_calls"]) for record in records] == [
        ("ok", 2),
        after_results,
        ("ok", 2),
    ] * 2


def test_planned_calls_and_results_are_exact_as_the_server_counts_them(tmp_path: Path) -> None:
    from promptset.sessions import read_session
    from promptset.tokens import load_tokenizer

    row = {
        "turns": [
            {"content": "Fix it.", "answer": "I look.", "answer_tool_calls": [
                {"name": "read", "arguments": {"path": "a b", "n": [1, 2]}}, {"name": "list"}], "output_tokens": 3},
            {"results": ["text of a", "a b"], "answer": "Done.", "output_tokens": 3},
            {"content": "Thanks.", "output_tokens": 3},
        ]
    }  # fmt: skip
    session, tokenizer = read_session(row, "x"), load_tokenizer()
    for number, turn in enumerate(row["turns"]):
        turn["input_tokens"] = tokenizer.count_chat(session.conversation(number))
    (tmp_path / "talks.jsonl").write_text(json.dumps(row))
    words = ["--dataset", str(tmp_path / "talks.jsonl"), "--requests", "3", "--history", "planned"]
    with mock_process("--ttft", "2ms", "--tpot", "1ms") as mock:
        for endpoint in ("chat", "messages", "responses"):
            records = run(mock.url, tmp_path / endpoint, *words, "--endpoint", endpoint)
            assert [r["input_tokens"] for r in records] == [r["input_tokens_asked"] for r in records]
            assert records[2]["input_tokens"] > records[0]["input_tokens"] + 20


def test_the_mock_keeps_the_history_of_whom_it_is_asked_to(tmp_path: Path) -> None:
    words = ["--turns", "5", "--input-tokens", "40", "--output-tokens", "8", "--requests", "10"]
    words += ["--endpoint", "responses", "--session-header", "X-Session-ID", "--ignore-eos", "--seed", "3"]
    with mock_process("--ttft", "2ms", "--tpot", "1ms") as mock:
        stored = run(mock.url, tmp_path, *words, "--history", "stored")
        lines = mock.ledger_lines(at_least=11)  # Including the probe's.
        sent = run(mock.url, tmp_path / "real", *words)
    assert [r["outcome"] for r in stored] == ["ok"] * 10
    assert sum((line["engine"] or {}).get("previous") == "found" for line in lines) == 8
    # The server reads the whole history, as if it had been sent, but the requests stay short.
    assert [r["input_tokens"] for r in stored] == [r["input_tokens"] for r in sent]
    assert stored[4]["input_tokens"] > 5 * 40
    assert max(r["bytes_sent"] for r in stored) < 1.5 * min(r["bytes_sent"] for r in stored)
    assert sent[4]["bytes_sent"] > 2 * sent[0]["bytes_sent"]


def test_a_lost_response_is_an_outcome_of_its_own_and_ends_its_session(tmp_path: Path) -> None:
    words = [
        "--turns",
        "3",
        "--input-tokens",
        "40",
        "--output-tokens",
        "4",
        "--requests",
        "4",
        "--endpoint",
        "responses",
    ]
    with mock_process("--ttft", "2ms", "--tpot", "1ms", "--fault", "lost_response:index=1") as mock:
        records = run(mock.url, tmp_path, *words, "--history", "stored", "--max-errors", "100%")
    assert [r["outcome"] for r in records] == ["ok", "lost_response", "ok", "ok"]
    assert "not found" in records[1]["error"]
    assert [r["turn"] for r in records] == [0, 1, 0, 1]


def test_each_request_of_a_session_names_it_in_a_header(tmp_path: Path) -> None:
    named: list[str] = []

    def script(request: Received) -> Sequence[Step]:
        if not request.headers["x-request-id"].startswith("probe-"):
            named.append(request.headers["x-session-affinity"])
        return chat_reply([])

    (tmp_path / "talks.jsonl").write_text(json.dumps({"session": "t", "turns": [{"content": "a"}, {"content": "b"}]}))
    with LiteralServer(api(script)) as server:
        words = ["--dataset", str(tmp_path / "talks.jsonl"), "--requests", "4", "--no-stream"]
        run(server.url, tmp_path, *words, "--session-header", "X-Session-Affinity")
    first, second = named[0], named[2]
    assert named == [first, first, second, second]
    assert re.fullmatch(r"t\.[0-9a-f]{16}", first)  # The id contains the salt of the run.
    assert second == f"{first}.2"
