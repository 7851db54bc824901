"""`--model one,two`: one model under several names."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.mock_asgi import through_asgi

CHAT = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 2}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "Hi.", "max_tokens": 2},
    "/v1/messages": {**CHAT, "model": "one"},
    "/v1/responses": {"input": "Hi.", "max_output_tokens": 2},
    "/v1/embeddings": {"input": "Hi."},
    "/v1/rerank": {"query": "Hi.", "documents": ["Ho."]},
}


def test_each_name_is_served_under_that_name_and_counted_under_the_first() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        cards = (await client.get("/v1/models")).json()["data"]
        assert [(card["id"], card["object"]) for card in cards] == [("one", "model"), ("two", "model")]
        assert (await client.get("/v1/models/two")).json() == cards[1]
        assert (await client.get("/v1/models/three")).status_code == 404
        for path, body in ASKED.items():
            for name in ("one", "two"):
                assert (await client.post(path, json={**body, "model": name})).json()["model"] == name
            refused = await client.post(path, json={**body, "model": "three"})
            assert refused.status_code == 404
            assert "The model `three` does not exist. This server has the models `one`, `two`." in refused.text
        assert (await client.post("/v1/completions", json={"prompt": "Hi.", "max_tokens": 2})).json()["model"] == "one"
        stream = (await client.post("/v1/chat/completions", json={**CHAT, "model": "two", "stream": True})).text
        assert stream.count('"model":"two"') == 3
        metrics = (await client.get("/metrics")).text
        assert 'model_name="one"' in metrics
        assert 'model_name="two"' not in metrics

    lines = through_asgi(call, "--ttft", "1ms", "--tpot", "1us", "--model", "one", "--model", "two")
    served = [line["engine"].get("model") for line in lines if line["status"] == 200]
    assert served == [None, "two"] * len(ASKED) + [None, "two"]
