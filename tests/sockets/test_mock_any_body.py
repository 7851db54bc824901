"""Whatever JSON a body is, every endpoint of the mock replies or refuses with a sentence: never a 500."""

from __future__ import annotations

import json
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
"""Fields with values that are right somewhere."""

LEAVES = st.none() | st.booleans() | st.integers(-5, 200) | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.sampled_from(
    ["type", "text", "content", "role", "function", "name", "schema", "json_schema", "parameters", "$ref", "x"]
)
ANYTHING = st.recursive(
    LEAVES | st.sampled_from(["function", "text", "image_url", "user", "tool", "object", "required"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def bodies(draw: st.DrawFn) -> Any:
    """A body in which most fields are right and some are anything."""
    row: dict[str, Any] = {}
    for name in draw(st.sets(st.sampled_from([*GOOD]), max_size=9)):
        row[name] = draw(st.sampled_from(GOOD[name])) if draw(st.integers(0, 3)) else draw(ANYTHING)
    return row if draw(st.integers(0, 15)) else draw(ANYTHING)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=12, deadline=None, suppress_health_check=[*HealthCheck])
@given(asked=st.lists(st.tuples(st.sampled_from(PATHS), bodies()), min_size=25, max_size=25))
def test_any_body_is_answered_or_refused_with_a_sentence(asked: list[tuple[str, Any]]) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        for path, body in asked:
            response = await client.post(path, content=json.dumps(body))
            where = f"{path} {json.dumps(body)}: {response.text[:300]}"
            assert response.status_code in (200, 400, 404), where
            if response.status_code != 200:
                error = response.json()["error"]
                assert len(error if isinstance(error, str) else error["message"]) > 10, where

    through_asgi(call, "--max-model-len", "300", "--ttft", "0s", "--tpot", "0s", "--output-tokens", "3")


def test_every_endpoint_is_asked() -> None:
    assert {*ENDPOINTS, *POOLING_ENDPOINTS} - {*PATHS} == {"/rerank", "/v1/score"}
