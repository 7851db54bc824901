"""/any: any method and body, a JSON document in pieces, and a ledger with the time of the first byte."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from mockserver.dialect.any_service import ANY
from tests.support.mock_asgi import through_asgi
from tests.support.played_reply import PIECES, Played

FLAGS = ("--ttft", "2ms", "--tpot", "1ms", "--output-tokens", "4")


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", "/any", b""),
        ("PUT", "/any/a/b?c=d", b"\x00 no JSON"),
        ("DELETE", "/any/x", b""),
        ("POST", "/any", b"[]"),
    ],
)
def test_every_method_and_body_is_answered_with_json(method: str, path: str, content: bytes) -> None:
    answers: list[httpx.Response] = []

    async def call(client: httpx.AsyncClient) -> None:
        answers.append(await client.request(method, path, content=content, headers={"x-request-id": "r"}))

    (line,) = through_asgi(call, *FLAGS)
    (answer,) = answers
    body: Any = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert (body["ok"], body["id"]) == (True, "any-r")
    assert body["text"]
    assert line["received_ns"] < line["first_ns"] <= line["end_ns"]
    assert (line["write_ns"], line["chunk_tokens"], line["chunk_kind"], line["blocked"]) == ([], [], "", [])
    assert (line["inputs"], line["input_tokens"], line["status"], line["fault"]) == (1, None, 200, None)
    assert (line["bytes_in"], line["bytes_out"]) == (len(content), len(answer.content))


def test_the_head_comes_with_the_first_piece_and_not_before() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        await client.get("/any", headers={"x-request-id": "r"})

    (line,) = through_asgi(call, "--ttft", "20ms", "--tpot", "3ms", "--output-tokens", "4")
    assert line["first_ns"] - line["received_ns"] >= 19_000_000
    # On a busy machine the first piece may be late, and so closer to the end.
    assert line["end_ns"] - line["received_ns"] >= 28_000_000
    assert line["end_ns"] > line["first_ns"]


def test_faults_of_events_find_nothing_to_do_and_refusals_strike() -> None:
    answers: list[httpx.Response] = []

    async def call(client: httpx.AsyncClient) -> None:
        for fault in ("error_in_stream:after=1", "malformed:after=1", "usage_missing", "429"):
            answers.append(await client.get("/any", headers={"x-mock-fault": fault}))

    lines = through_asgi(call, *FLAGS)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [line["fault"] for line in lines] == [None, None, None, "429"]
    assert all(answer.json() for answer in answers)


def test_a_reply_without_a_head_has_no_first_byte() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        await client.get("/any", headers={"x-mock-fault": "no_headers:for=1ms"})

    (line,) = through_asgi(call, *FLAGS)
    assert (line.get("first_ns"), line["status"], line["bytes_out"], line["fault"]) == (None, None, 0, "no_headers")


def test_the_head_is_sent_once_before_the_first_piece() -> None:
    played = Played(endpoint=ANY)
    assert played.wire.said == []
    played.play()
    assert [said for said in played.wire.said if isinstance(said, str)] == ["head", "end"]
    assert played.wire.said[0] == "head"
    assert json.loads(b"".join(played.writes)) == {"ok": True, "id": "id", "text": "".join(PIECES)}
