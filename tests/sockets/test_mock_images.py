"""Images in messages cost input tokens, whatever they show, in every dialect."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.mock_asgi import through_asgi

URL = "data:image/png;base64,iVBORw0KGgo="
TEXT = {"type": "text", "text": "What is this?"}
IMAGE = {"type": "image_url", "image_url": {"url": URL}}


def test_each_image_costs_the_configured_tokens() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        async def tokens(parts: list[dict[str, Any]]) -> int:
            body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 2}
            response = await client.post("/v1/chat/completions", json=body)
            assert response.status_code == 200, response.text
            return int(response.json()["usage"]["prompt_tokens"])

        bare = await tokens([TEXT])
        assert await tokens([TEXT, IMAGE]) == bare + 85
        assert await tokens([IMAGE, TEXT, IMAGE]) == bare + 170
        assert 85 < await tokens([IMAGE]) < bare + 85
        source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
        body = {
            "model": "mock-model",
            "max_tokens": 2,
            "messages": [{"role": "user", "content": [TEXT, {"type": "image", "source": source}]}],
        }
        message = (await client.post("/v1/messages", json=body)).json()
        counted = (await client.post("/v1/messages/count_tokens", json=body)).json()
        assert message["usage"]["input_tokens"] == counted["input_tokens"] == bare + 85
        parts = [{"type": "input_text", "text": TEXT["text"]}, {"type": "input_image", "image_url": URL}]
        body = {"input": [{"role": "user", "content": parts}], "max_output_tokens": 2}
        assert (await client.post("/v1/responses", json=body)).json()["usage"]["input_tokens"] == bare + 85
        long = await client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": [IMAGE] * 12}], "max_tokens": 2}
        )
        assert (long.status_code, "maximum context length is 1000 tokens" in long.text) == (400, True)

    lines = through_asgi(call, "--image-tokens", "85", "--max-model-len", "1000", "--ttft", "1ms", "--tpot", "1ms")
    assert lines[1]["input_tokens"] == lines[0]["input_tokens"] + 85


def test_the_batching_engine_takes_time_for_an_image() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        for parts in ([TEXT], [TEXT, IMAGE]):
            body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 2}
            assert (await client.post("/v1/chat/completions", json=body)).status_code == 200

    bare, shown = through_asgi(
        call, "--engine", "batching", "--step-cost", "b0=1000,b1=100,b2=1,a0=0", "--prefix-caching", "off"
    )
    assert shown["engine"]["prefill_ns"] - bare["engine"]["prefill_ns"] == 256 * 100_000
