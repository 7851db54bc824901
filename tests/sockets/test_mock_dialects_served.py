"""Messages and Responses behind the server: engines, workers, /metrics and /truth treat them like chat."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S

EARLY_NS = 100_000
"""Deadlines within 0.1 ms share a wake-up."""
BATCHING = ("--engine", "batching", "--step-cost", "b0=2000,b1=5,b2=20,a0=500", "--max-model-len", "4096")


def body_of(path: str, prompt: str, tokens: int) -> dict[str, Any]:
    chat = {"model": "mock-model", "messages": [{"role": "user", "content": prompt}], "stream": True}
    return {
        "/v1/messages": {**chat, "max_tokens": tokens},
        "/v1/responses": {"input": prompt, "max_output_tokens": tokens, "stream": True},
        "/v1/chat/completions": {**chat, "max_tokens": tokens},
    }[path]


PATHS = ("/v1/messages", "/v1/responses", "/v1/chat/completions")


def ask(mock: MockProcess, index: int, prompt: str, tokens: int) -> None:
    path = PATHS[index % 3]
    headers = {"x-request-id": f"r-{index}"}
    response = httpx.post(mock.url + path, json=body_of(path, prompt, tokens), headers=headers, timeout=PATIENCE_S)
    assert response.status_code == 200


def metrics(mock: MockProcess) -> dict[str, float]:
    text = httpx.get(f"{mock.url}/metrics").text
    return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}


@pytest.mark.parametrize(
    "flags",
    [
        (*BATCHING, "--stream-interval", "3", "--num-speculative-tokens", "2"),
        ("--ttft", "10ms", "--tpot", "2ms", "--load-slowdown", "0.5"),
        ("--ttft", "10ms", "--tpot", "2ms", "--workers", "2"),
    ],
    ids=["batching", "load-slowdown", "workers"],
)
def test_every_dialect_keeps_the_plan_of_the_engine(flags: tuple[str, ...]) -> None:
    with mock_process(*flags) as mock:
        with ThreadPoolExecutor(9) as pool:
            list(pool.map(lambda i: ask(mock, i, "word " * 40, 12), range(9)))
        lines = mock.ledger_lines(at_least=9)
        seen = metrics(mock)
        truth = httpx.get(f"{mock.url}/truth?input_tokens=100&output_tokens=20").json()
    for line in lines:
        planned = line["planned"]
        due = list(accumulate(planned["gaps_ns"], initial=line["received_ns"] + planned["ttft_ns"]))
        rows = zip(line["write_ns"], line["chunk_tokens"], line["chunk_kind"], strict=True)
        chunks = [(at, tokens) for at, tokens, kind in rows if kind == "c"]
        for (at, _), out in zip(chunks, accumulate(tokens for _, tokens in chunks), strict=True):
            assert at >= due[out - 1] - EARLY_NS
        assert sum(line["chunk_tokens"]) == planned["output_tokens"] == 12
    # The same conversation has as many tokens in all three dialects.
    assert len({line["input_tokens"] for line in lines}) == 1
    assert seen["vllm:generation_tokens_total"] == 9 * 12
    assert seen["vllm:prompt_tokens_total"] == sum(line["input_tokens"] for line in lines)
    assert seen["vllm:time_to_first_token_seconds_count"] == 9
    assert truth["expected"]


def usage_of(response: httpx.Response) -> dict[str, Any]:
    """The last usage in a stream."""
    found: dict[str, Any] = {}
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            row = json.loads(line[6:])
            usage = (row.get("response") or row).get("usage")
            found = found if usage is None else usage
    return found


@pytest.mark.parametrize("caching", ["on", "off"])
def test_usage_says_what_came_from_the_prefix_cache(caching: str) -> None:
    usages = {}
    with mock_process(*BATCHING, "--prefix-caching", caching) as mock:
        for index in (2, 0, 1):  # Chat computes the prompt, and the others find it in the cache.
            path = PATHS[index]
            body = body_of(path, "the same " * 40, 3)
            headers = {"x-request-id": f"c-{index}"}
            usages[index] = usage_of(httpx.post(mock.url + path, json=body, headers=headers, timeout=PATIENCE_S))
        lines = {line["index"]: line for line in mock.ledger_lines(at_least=3)}
    cached = [lines[index]["engine"]["cached_tokens"] for index in range(3)]
    assert (cached[0] > 40) is (cached[1] > 40) is (caching == "on")
    total = lines[0]["input_tokens"]
    assert usages[0]["input_tokens"] == total - cached[0]
    assert usages[0].get("cache_read_input_tokens") == (cached[0] if caching == "on" else None)
    assert usages[1]["input_tokens"] == total
    assert usages[1]["input_tokens_details"]["cached_tokens"] == cached[1]
