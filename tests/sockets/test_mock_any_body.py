"""Whatever JSON a body contains, every endpoint of the mock replies, or refuses with a sentence, but never with a 500."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mockserver.dialect.endpoints import ENDPOINTS, POOLING_ENDPOINTS
from tests.support.mock_asgi import through_asgi

PATHS = [*ENDPOINTS, "/v1/embeddings", "/v1/rerank", "/v2/rerank", "/score", "/v1/messages/count_tokens", "/tokenize"]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
GOOD: dict[str, list[Any]] = {
    "messages": [[{"role": "user", "content": "hi"}]],
    "prompt": ["hi", ["a", "b"], [1, 2]],
    "input": ["hi", ["a"]],
    "query": ["q"],
    "documents": [["a", {"text": "b"}]],
    "text_1": ["a"],
    "text_2": [["b"]],
    "model": ["mock-model"],
    "max_tokens": [1, 3],
    "stream": [True, False],
    "tools": [[TOOL]],
    "tool_choice": ["auto", "required", "none", {"type": "function", "function": {"name": "f"}}],
    "response_format": [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"schema": {"type": "string"}}},
    ],
    "n": [2],
    "logprobs": [True, 1],
    "top_logprobs": [2],
    "echo": [True],
    "stop": ["a"],
    "parallel_tool_calls": [True, False],
    "structured_outputs": [{"json": {"enum": [1, "b"]}}],
    "top_n": [1],
    "dimensions": [4],
    "encoding_format": ["base64"],
    "system": ["s"],
    "thinking": [{"type": "enabled", "budget_tokens": 5}],
}
"""Fields with values that are valid somewhere."""
NEEDED = {"messages", "prompt", "input", "query", "documents", "text_1", "text_2", "model"}

WORDS = ["function", "text", "image_url", "user", "tool", "object", "required", "", "é中", "a b\n"]
KEYS = ["type", "text", "content", "role", "function", "name", "schema", "json_schema", "parameters", "$ref", "x"]


def anything(chance: Random, depth: int = 3) -> Any:
    kind = chance.randrange(8 if depth else 6)
    if kind == 6:
        return [anything(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        return {chance.choice(KEYS): anything(chance, depth - 1) for _ in range(chance.randrange(4))}
    return (
        None, chance.random() < 0.5, chance.randint(-5, 200), chance.choice([0.5, -1e300, 1e-9, float("inf")]),
        chance.choice(WORDS), chance.choice(WORDS),
    )[kind]  # fmt: skip


def body(chance: Random) -> Any:
    """A body in which most fields are valid and some are arbitrary."""
    if chance.randrange(16) == 0:
        return anything(chance)
    row: dict[str, Any] = {}
    for name, right in GOOD.items():
        often = name in NEEDED  # Without these fields nothing else is checked.
        if chance.random() < (0.9 if often else 0.3):
            row[name] = chance.choice(right) if chance.randrange(12 if often else 3) else anything(chance)
    return row


# The bodies come from a seed, as Hypothesis would take longer to draw them than the mock to answer them.
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=3, deadline=None, suppress_health_check=[*HealthCheck])
@given(seed=st.integers(0, 2**32))
def test_any_body_is_answered_or_refused_with_a_sentence(seed: int) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        chance = Random(seed)
        for _ in range(100):
            path, row = chance.choice(PATHS), body(chance)
            response = await client.post(path, content=json.dumps(row))
            where = f"{path} {json.dumps(row)}: {response.text[:300]}"
            assert response.status_code in (200, 400, 404), where
            if response.status_code != 200:
                error = response.json()["error"]
                assert len(error if isinstance(error, str) else error["message"]) > 10, where

    through_asgi(call, "--max-model-len", "300", "--ttft", "0s", "--tpot", "0s", "--output-tokens", "3")


def test_every_endpoint_is_asked() -> None:
    assert {*ENDPOINTS, *POOLING_ENDPOINTS} - {*PATHS} == {"/rerank", "/v1/score"}
