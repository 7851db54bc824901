"""Mode sessions over sockets: histories of real answers, exact histories of planned answers, files, several workers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit
from tests.support.literal_replies import DONE, ROLE, api, content, delta, finish, stream, usage, whole
from tests.support.literal_server import LiteralServer, Received, Step
from tests.support.mock_process import mock_process
from tests.support.record_rows import record_rows


def run(url: str, tmp_path: Path, *more: str) -> list[dict[str, Any]]:
    words = ["run", "--url", url, "--mode", "sessions", "--out", str(tmp_path / "run"), "--quiet", *more]
    # A busy machine may be late. Only the sent requests matter here.
    assert cli.main(words) in (Exit.GOOD, Exit.INVALID)
    records = record_rows(tmp_path / "run" / "requests.jsonl")
    return sorted(records, key=lambda record: record["index"])


@pytest.mark.parametrize("how", [(), ("--no-stream",), ("--transport", "httpx")], ids=["stream", "whole", "httpx"])
def test_the_history_has_what_the_server_said_and_not_what_it_thought(tmp_path: Path, how: tuple[str, ...]) -> None:
    bodies: list[Any] = []

    def chat(request: Received) -> Sequence[Step]:
        body = json.loads(request.body)
        if not request.headers["x-request-id"].startswith("probe-"):
            bodies.append(body["messages"])
        if not body["stream"]:
            message = {"role": "assistant", "reasoning": "hm", "content": "An ü."}
            counts = {"prompt_tokens": 3, "completion_tokens": 3}
            return whole("200 OK", {"choices": [{"message": message, "finish_reason": "stop"}], "usage": counts})
        return stream(ROLE, delta(reasoning="hm"), content("An "), content("ü."), finish(), usage(3), DONE)

    (tmp_path / "talks.jsonl").write_text(
        json.dumps({"session": "t", "system": "S", "turns": [{"content": "a"}, {"content": "b", "think_time_s": 0.02}]})
    )
    with LiteralServer(api(chat)) as server:
        words = ["--dataset", str(tmp_path / "talks.jsonl"), "--requests", "3", "--concurrency", "1"]
        records = run(server.url, tmp_path, *words, *how)
    system, a, b = (
        {"role": "system", "content": "S"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
    )
    assert bodies == [[system, a], [system, a, {"role": "assistant", "content": "An ü."}, b], [system, a]]
    assert [r["session"] for r in records] == ["t"] * 3
    waited_ms = (records[1]["intended_ns"] - records[0]["end_ns"]) / 1e6
    assert waited_ms == pytest.approx(20)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_planned_histories_are_exact_as_the_server_counts_them(tmp_path: Path, workers: str) -> None:
    words = ["--concurrency", "2", "--turns", "3", "--think-time", "uniform:5ms..20ms", "--history", "planned"]
    words += ["--input-tokens", "uniform:30..60", "--output-tokens", "6", "--requests", "14", "--workers", workers]
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as mock:
        records = run(mock.url, tmp_path, *words)
    assert len(records) == 14
    assert [r["input_tokens"] for r in records] == [r["input_tokens_asked"] for r in records]
    assert max(r["input_tokens"] for r in records) > 3 * 30
    assert len({r["session"] for r in records}) >= 14 // 3
