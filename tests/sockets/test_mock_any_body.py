"""Whatever JSON comes to messages and responses, the mock answers it or refuses it in the dialect's shape: never a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mock_process import mock_process

TEXTS = st.sampled_from(
    ["", "user", "assistant", "text", "tool_use", "function_call", "message", "x\u0000\ud7ff", "🦆"]
)
NUMBERS = st.sampled_from([0, 1, -1, 3, 2**63, 10**30, 0.5, 1e300])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "name", "id", "input", "arguments", "call_id", "output"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
COMMON = ("tools", "tool_choice", "stream", "temperature", "top_k", "metadata", "parallel_tool_calls")
GOOD: dict[str, dict[str, Any]] = {
    "/v1/messages": {"model": "mock-model", "max_tokens": 2, "messages": [{"role": "user", "content": "x"}]},
    "/v1/messages/count_tokens": {"model": "mock-model", "messages": [{"role": "user", "content": "x"}]},
    "/v1/responses": {"max_output_tokens": 2, "input": "x"},
}
MORE = {
    "/v1/messages": ("messages", "system", "max_tokens", "stop_sequences", "thinking"),
    "/v1/messages/count_tokens": ("messages", "system", "thinking"),
    "/v1/responses": ("input", "instructions", "max_output_tokens", "stop", "reasoning", "text", "user"),
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        mock_process("--ttft", "1us", "--tpot", "0ms", "--output-tokens", "2") as mock,
        httpx.Client(base_url=mock.url) as client,
    ):
        yield client


@pytest.mark.parametrize("path", GOOD)
def test_any_json_is_answered_or_refused_in_the_shape_of_the_dialect(client: httpx.Client, path: str) -> None:
    statuses = set()

    @settings(max_examples=120, deadline=None)
    @given(st.dictionaries(st.sampled_from([*MORE[path], *COMMON]), VALUES, max_size=3) | VALUES)
    def ask(given: object) -> None:
        body = {**GOOD[path], **given} if isinstance(given, dict) else given
        response = client.post(path, content=json.dumps(body).encode())
        statuses.add(response.status_code)
        if response.status_code == 200:
            return
        assert response.status_code in (400, 404), response.text
        row = response.json()
        if path == "/v1/responses":
            assert row["error"].keys() == {"message", "type", "param", "code"}
        else:
            assert (row["type"], row["error"].keys()) == ("error", {"type", "message"})

    ask()
    assert statuses >= {200, 400}
