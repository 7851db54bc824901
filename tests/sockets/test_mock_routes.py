"""The mock's answers to an unknown path, method or query: like a FastAPI server's."""

from __future__ import annotations

import httpx

from tests.support.mock_asgi import through_asgi


def test_an_unknown_path_and_another_method_are_refused_in_json() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        absent = await client.get("/v1/nothing")
        assert (absent.status_code, absent.json()) == (404, {"detail": "Not Found"})
        for method, path, allowed in (
            ("HEAD", "/health", "GET"),
            ("GET", "/v1/chat/completions", "POST"),
            ("DELETE", "/admin/reset", "POST"),
        ):
            other = await client.request(method, path)
            assert (other.status_code, other.headers["allow"]) == (405, allowed), path
            assert method == "HEAD" or other.json() == {"detail": "Method Not Allowed"}

    assert through_asgi(call) == []


def test_every_wrong_number_of_a_query_is_named() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        wrong = await client.get("/truth?output_tokens=0&input_tokens=many")
        assert wrong.status_code == 422
        rows = wrong.json()["detail"]
        assert [(row["loc"], row["type"], row["input"]) for row in rows] == [
            (["query", "output_tokens"], "greater_than_equal", "0"),
            (["query", "input_tokens"], "int_parsing", "many"),
        ]
        assert (await client.get("/ledger?since=0.5")).status_code == 422
        assert (await client.get("/truth?output_tokens=1&input_tokens=0")).status_code == 200

    assert through_asgi(call) == []
