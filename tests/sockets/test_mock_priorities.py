"""`priority` of a body reaches the engine, and the ledger says it."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.support.mock_asgi import through_asgi
from tests.support.timing import timing

COST = "b0=20000,b1=0,b2=0,a0=2000,a1=0"


@timing(tries=10, why="TODO ")
@pytest.mark.parametrize(("policy", "order"), [("fcfs", [1, 2, 3, 4]), ("priority", [1, 4, 2, 3])])
def test_waiting_requests_are_served_by_their_priority_where_asked(policy: str, order: list[int]) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        async def ask(path: str, index: int, priority: int | None) -> None:
            body = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 3}
            if path == "/v1/responses":
                body = {"input": "Hi.", "max_output_tokens": 3}
            elif path == "/v1/completions":
                body = {"prompt": "Hi.", "max_tokens": 3}
            more = {} if priority is None else {"priority": priority}
            response = await client.post(path, json={**body, **more}, headers={"x-request-id": f"p-{index}"})
            assert response.status_code == 200

        # All are there before the first step of 20 ms has ended, and each takes three.
        await asyncio.gather(
            ask("/v1/chat/completions", 1, 5),
            ask("/v1/chat/completions", 2, None),
            ask("/v1/responses", 3, 7),
            ask("/v1/completions", 4, -1),
        )
        refused = await client.post("/v1/completions", json={"prompt": "Hi.", "priority": "high"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "priority")

    flags = ("--engine", "batching", "--step-cost", COST, "--max-num-seqs", "1", "--scheduling-policy", policy)
    lines = [
        line for line in through_asgi(call, *flags, "--max-model-len", "2000", "--kv-blocks", "200") if line["index"]
    ]
    assert [line["index"] for line in sorted(lines, key=lambda line: int(line["end_ns"]))] == order
    said = {line["index"]: line["engine"].get("priority") for line in lines}
    assert said == ({1: 5, 2: 0, 3: 7, 4: -1} if policy == "priority" else dict.fromkeys(order))
