"""The application without our server: through ASGI, where sse-starlette carries the events."""

from __future__ import annotations

import httpx
import pytest

from tests.support.mock_asgi import through_asgi

BODY = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, "stream": True}


def test_a_stream_is_the_same_events_and_the_ledger_has_them() -> None:
    bodies: list[bytes] = []

    async def call(client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/chat/completions", json=BODY, headers={"x-request-id": "a-1"})
        assert response.headers["content-type"].startswith("text/event-stream")
        bodies.append(response.content)

    (line,) = through_asgi(call)
    assert bodies[0].count(b"data: ") == 5
    assert bodies[0].endswith(b"data: [DONE]\n\n")
    assert (line["chunk_kind"], line["bytes_out"]) == ("rccco", len(bodies[0]))
    assert line["write_ns"] == sorted(line["write_ns"])


def test_a_whole_reply_and_a_refusal_are_plain_responses() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        whole = await client.post("/v1/chat/completions", json={**BODY, "stream": False})
        assert whole.json()["usage"]["completion_tokens"] == 3
        refused = await client.post("/v1/chat/completions", json=BODY, headers={"x-mock-fault": "429:retry_after=4"})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "4")

    assert [line["status"] for line in through_asgi(call)] == [200, 429]


@pytest.mark.parametrize("fault", ["reset:after=1", "truncate:after=1"])
def test_a_cut_stream_ends_without_done(fault: str) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/chat/completions", json=BODY, headers={"x-mock-fault": fault})
        assert b"[DONE]" not in response.content

    (line,) = through_asgi(call)
    assert (line["fault"], line["chunk_kind"]) == (fault.partition(":")[0], "rc")


def test_the_arrivals_are_stamped_by_the_handler_and_the_truth_says_so() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        await client.post("/v1/chat/completions", json=BODY)
        truth = (await client.get("/truth")).json()
        assert truth["arrival_clock"] == {"kernel": 0, "user": 1}
        assert truth["plans_keyed_by"] == {"index": 0, "id": 0, "arrival_order": 1}

    (line,) = through_asgi(call)
    assert line["received_ns"] == line["handled_ns"]
