"""The engines behind the server: one process, real sockets, and ledger, /metrics and /truth compared."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S

MS = 1_000_000
EARLY_NS = 100_000
"""Deadlines within 0.1 ms share a wake-up."""
FAST = ("--engine", "batching", "--step-cost", "b0=2000,b1=5,b2=20,a0=500", "--max-model-len", "4096")


def ask(mock: MockProcess, index: int, prompt: str | list[dict[str, str]], tokens: int, **more: Any) -> httpx.Response:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    body = {"messages": messages, "max_tokens": tokens, "stream": True, **more}
    response = httpx.post(
        f"{mock.url}/v1/chat/completions", json=body, headers={"x-request-id": f"r-{index}"}, timeout=PATIENCE_S
    )
    assert response.status_code == 200
    return response


def text_of(response: httpx.Response) -> str:
    events = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    return "".join(json.loads(event)["choices"][0]["delta"].get("content", "") for event in events)


def metrics(mock: MockProcess) -> dict[str, float]:
    text = httpx.get(f"{mock.url}/metrics").text
    return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}


def assert_kept(line: dict[str, Any]) -> None:
    """Every text chunk was sent at the planned time of its last token or later, never earlier."""
    planned = line["planned"]
    due = list(accumulate(planned["gaps_ns"], initial=line["received_ns"] + planned["ttft_ns"]))
    assert len(due) == planned["output_tokens"]
    chunks = [
        (at, n)
        for at, n, kind in zip(line["write_ns"], line["chunk_tokens"], line["chunk_kind"], strict=True)
        if kind == "c"
    ]
    for (at, _), out in zip(chunks, accumulate(n for _, n in chunks), strict=True):
        assert at >= due[out - 1] - EARLY_NS
    assert sum(line["chunk_tokens"]) == planned["output_tokens"]


def test_batching_is_true_to_itself_in_ledger_metrics_and_truth() -> None:
    with mock_process(*FAST, "--stream-interval", "3", "--num-speculative-tokens", "2") as mock:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda i: ask(mock, i, "word " * 20 * (i + 1), 20), range(6)))
        lines = mock.ledger_lines(at_least=6)
        for line in lines:
            assert_kept(line)
            assert line["chunk_tokens"][1] == 1
            assert all(n >= 3 for n in [n for n in line["chunk_tokens"] if n][1:-1])
            # Steps begin when the request is in the queue, and the first takes at least the cost of its prompt.
            least = 500_000 + 2_000_000 + 5_000 * (line["input_tokens"] - line["engine"]["cached_tokens"])
            assert line["planned"]["ttft_ns"] >= least
        seen = metrics(mock)
        for name, key in (("queue", "queue_ns"), ("prefill", "prefill_ns")):
            total = sum(line["engine"][key] for line in lines) / 1e9
            assert abs(seen[f"vllm:request_{name}_time_seconds_sum"] - total) < 1e-9
            assert seen[f"vllm:request_{name}_time_seconds_count"] == 6
        assert seen["vllm:prefix_cache_hits_total"] == sum(line["engine"]["cached_tokens"] for line in lines)
        assert seen["vllm:prefix_cache_queries_total"] == sum(line["input_tokens"] for line in lines)
        assert seen["vllm:num_requests_running"] == seen["vllm:kv_cache_usage_perc"] == 0
        truth = httpx.get(f"{mock.url}/truth?input_tokens=100&output_tokens=20").json()["expected"]
        assert truth["input_tokens"] == 100
        assert truth["step_cost"]["b0"] == 2000


def test_the_next_turn_of_a_conversation_finds_what_the_turn_before_computed() -> None:
    with mock_process(*FAST) as mock:
        turn = [{"role": "user", "content": "tell me of the sea " * 10}]
        first = ask(mock, 0, turn, 40)
        turn += [{"role": "assistant", "content": text_of(first)}, {"role": "user", "content": "and of the land"}]
        ask(mock, 1, turn, 4)
        before, after = mock.ledger_lines(at_least=2)
        known = before["input_tokens"] + before["planned"]["output_tokens"]
        assert after["engine"]["cached_tokens"] > before["input_tokens"]
        # Full blocks of the common part: everything except the last token was computed, and the template ends the turn
        # after it.
        assert after["engine"]["cached_tokens"] == (known - 1) // 16 * 16


def test_without_prefix_caching_nothing_is_found() -> None:
    with mock_process(*FAST, "--prefix-caching", "off") as mock:
        for i in range(2):
            ask(mock, i, "the same " * 30, 2)
        assert [line["engine"]["cached_tokens"] for line in mock.ledger_lines(at_least=2)] == [0, 0]


def test_a_ledger_is_replayed_request_by_request(tmp_path: Path) -> None:
    with mock_process("--ttft", "uniform:10ms..40ms", "--itl", "exp:mean=3ms") as mock:
        for i in range(3):
            ask(mock, i, "hello", 5)
        recorded = mock.ledger_lines(at_least=3)
        path = tmp_path / "seen.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in recorded))
    with mock_process("--replay", str(path)) as mock:
        for i in (2, 0, 1):
            ask(mock, i, "hello", 5)
        for line in mock.ledger_lines(at_least=3):
            was = recorded[line["index"]]
            stamps = [at for at, kind in zip(was["write_ns"], was["chunk_kind"], strict=True) if kind == "c"]
            assert line["planned"]["ttft_ns"] == stamps[0] - was["received_ns"]
            assert line["planned"]["gaps_ns"] == [b - a for a, b in pairwise(stamps)]
            assert_kept(line)


@pytest.mark.parametrize("said_by", ["flags", "sampled times"])
def test_ttft_grows_with_the_tokens_of_the_prompt(said_by: str, tmp_path: Path) -> None:
    flags = ["--ttft", "20ms", "--ttft-per-input-token", "100us", "--tpot", "1ms"]
    if said_by == "sampled times":
        times: dict[str, Any] = {"ttft_ms": [20, 20], "ttft_per_input_token_us": 100, "gap_ms": [1, 1]}
        times |= {"between": 0, "follows": 0, "load": [[1, 1, 1]]}
        (tmp_path / "times.json").write_text(json.dumps(times))
        flags = ["--sampled-times", str(tmp_path / "times.json")]
    with mock_process(*flags) as mock:
        for i, words in enumerate((1, 300)):
            ask(mock, i, "word " * words, 2)
        for line in mock.ledger_lines(at_least=2):
            assert line["planned"]["ttft_ns"] == 20 * MS + 100_000 * line["input_tokens"]
            assert_kept(line)
