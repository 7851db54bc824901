"""/admin through ASGI: what it shows, what it changes, and from which line of the ledger on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mockserver.settings import LIVE
from tests.support.mock_asgi import through_asgi

BODY = {"prompt": "hello", "max_tokens": 2}
OPEN = ("--ttft", "2ms", "--tpot", "1ms", "--admin", "everyone")


async def complete(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.post("/v1/completions", json=BODY, headers={"x-request-id": name})).status_code == 200


def test_the_configuration_is_shown_with_the_lines_of_all_requests_that_have_ended() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        before = (await client.get("/admin/config")).json()
        assert (before["version"], before["from_line"], before["ledger_lines"]) == (0, 0, 0)
        assert before["config"].keys() == set(LIVE)
        assert {name: before["all"][name] for name in LIVE} == before["config"]
        assert before["all"]["embedding_size"] == 16
        await complete(client, "a-0")
        assert (await client.get("/admin/config")).json() == {**before, "ledger_lines": 1}

    through_asgi(call, *OPEN)


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_a_change_has_a_version_and_holds_from_the_next_line_on(method: str) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        before = (await client.get("/admin/config")).json()
        await complete(client, "a-0")
        changed = (await client.request(method, "/admin/config", json={"ttft": "5ms"})).json()
        assert (changed["version"], changed["from_line"], changed["ledger_lines"]) == (1, 1, 1)
        assert changed["since_ns"] > before["since_ns"]
        assert changed["config"] == {**before["config"], "ttft": "5ms"}
        await complete(client, "a-1")

    first, second = through_asgi(call, *OPEN)
    assert [line["planned"]["ttft_ns"] for line in (first, second)] == [2_000_000, 5_000_000]


def test_a_reset_restores_the_configuration_and_forgets_ids() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        first = (await client.get("/admin/config")).json()
        await client.patch("/admin/config", json={"ttft": "5ms"})
        await complete(client, "a-0")
        reset = (await client.post("/admin/reset")).json()
        assert (reset["version"], reset["from_line"], reset["ledger_lines"]) == (2, 1, 1)
        assert reset["config"] == first["config"]
        await complete(client, "a-0")

    lines = through_asgi(call, *OPEN)
    assert [(line["id"], line["attempt"]) for line in lines] == [("a-0", 1), ("a-0", 1)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "The request body is not valid JSON: "),
        (b"[]", 'The body must be a JSON object of the fields to change, for example {"ttft": "200ms"}.'),
        (b'{"port": 4, "ttft": "x"}', "port: cannot change"),
        (b'{"port": 4, "ttft": "x"}', "ttft: "),
    ],
)
def test_a_wrong_change_is_refused_as_a_whole(content: bytes, says: str) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        before = (await client.get("/admin/config")).json()
        refused = await client.patch("/admin/config", content=content)
        assert refused.status_code == 400
        assert says in refused.json()["error"]["message"]
        assert (await client.get("/admin/config")).json() == before

    through_asgi(call, *OPEN)


@pytest.mark.parametrize(
    ("flags", "headers", "status"),
    [
        (("--admin", "nobody"), {}, 404),
        (("--admin", "everyone", "--api-key", "k"), {}, 401),
        (("--admin", "everyone", "--api-key", "k"), {"authorization": "Bearer k"}, 200),
        (("--admin", "everyone"), {"origin": "http://page.example"}, 403),
        (("--admin", "everyone"), {"host": "page.example"}, 403),
        (("--admin", "loopback"), {}, 200),  # httpx's transport comes from 127.0.0.1.
    ],
)
def test_who_may_use_it(flags: tuple[str, ...], headers: dict[str, str], status: int) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        answers: list[Any] = [
            await client.get("/admin/config", headers=headers),
            await client.patch("/admin/config", headers=headers, json={}),
            await client.post("/admin/reset", headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [status] * 3

    through_asgi(call, "--ttft", "1ms", *flags)
