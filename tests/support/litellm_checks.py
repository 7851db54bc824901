"""`litellm` against the mock: streams, tools, structured output, embeddings, rerank, and its typed errors.

tests/sockets/test_mock_litellm.py runs this file in a process of its own, as litellm leaves event loops and sockets open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.mock_process import mock_process

# Otherwise its import asks the internet for a list of prices.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
litellm = pytest.importorskip("litellm", reason="needs litellm: install the extra dev")

ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": WEATHER}}]

# Its own models and its handling of streams warn; that is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore")


class City(BaseModel):
    name: str
    people: int


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    with mock_process("--ttft", "5ms", "--tpot", "1ms", "--embedding-size", "8") as mock:
        yield {"api_base": f"{mock.url}/v1", "api_key": "x", "num_retries": 0, "max_retries": 0}


def test_text_whole_and_streamed_with_usage(options: dict[str, Any]) -> None:
    whole = litellm.completion("openai/mock-model", messages=ASK, max_tokens=7, **options)
    assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (7, "length")
    chunks = list(
        litellm.completion(
            "openai/mock-model",
            messages=ASK,
            max_tokens=7,
            stream=True,
            stream_options={"include_usage": True},
            **options,
        )
    )
    assert litellm.stream_chunk_builder(chunks, messages=ASK).usage.completion_tokens == 7


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_is_read_and_its_result_gets_text(options: dict[str, Any], stream: bool) -> None:
    reply = litellm.completion("openai/mock-model", messages=ASK, tools=TOOLS, stream=stream, **options)
    if stream:
        reply = litellm.stream_chunk_builder(list(reply), messages=ASK)
    message = reply.choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments)["city"]
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    after = litellm.completion(
        "openai/mock-model", messages=[*ASK, message.model_dump(), result], tools=TOOLS, max_tokens=4, **options
    )
    assert after.choices[0].message.content
    assert not after.choices[0].message.tool_calls


def test_structured_output_and_log_probabilities(options: dict[str, Any]) -> None:
    reply = litellm.completion(
        "openai/mock-model", messages=ASK, response_format=City, logprobs=True, top_logprobs=1, max_tokens=40, **options
    )
    City.model_validate_json(reply.choices[0].message.content)
    assert len(reply.choices[0].logprobs.content) == 40


def test_embeddings_and_rerank(options: dict[str, Any]) -> None:
    found = litellm.embedding("openai/mock-model", input=["a", "b"], encoding_format="float", **options)
    assert [len(row["embedding"]) for row in found.data] == [8, 8]
    base = options["api_base"].removesuffix("/v1")
    ranked = litellm.rerank(
        "cohere/mock-model", query="a", documents=["b", "c", "d"], top_n=2, api_base=base, api_key="x"
    )
    assert [row["relevance_score"] for row in ranked.results] == sorted(
        (row["relevance_score"] for row in ranked.results), reverse=True
    )
    assert len(ranked.results) == 2
    assert ranked.meta["billed_units"]["search_units"] == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", "RateLimitError"),
        ("401", "AuthenticationError"),
        ("400", "BadRequestError"),
        ("404", "NotFoundError"),
        ("500", "InternalServerError"),
        ("503", "ServiceUnavailableError"),
    ],
)
def test_each_refusal_is_its_typed_error(options: dict[str, Any], fault: str, error: str) -> None:
    with pytest.raises(getattr(litellm, error)):
        litellm.completion("openai/mock-model", messages=ASK, extra_headers={"x-mock-fault": fault}, **options)
