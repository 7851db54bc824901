"""The application without our server: through ASGI, where sse-starlette carries the events."""

from __future__ import annotations

import sys
from pathlib import Path

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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_application_that_ends_gives_its_timers_back() -> None:
    def timers() -> set[Path]:
        return {entry for entry in Path("/proc/self/fd").iterdir() if entry.resolve().name == "anon_inode:[timerfd]"}

    async def call(client: httpx.AsyncClient) -> None:
        assert timers() - before

    before = timers()
    through_asgi(call)
    assert timers() <= before


def test_the_arrivals_are_stamped_by_the_handler_and_the_truth_says_so() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        await client.post("/v1/chat/completions", json=BODY)
        truth = (await client.get("/truth")).json()
        assert truth["arrival_clock"] == {"kernel": 0, "user": 1}
        assert truth["plans_keyed_by"] == {"index": 0, "id": 0, "arrival_order": 1}

    (line,) = through_asgi(call)
    assert line["received_ns"] == line["handled_ns"]


def test_a_page_of_an_allowed_origin_may_call_and_another_may_not() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-mock-ttft"}
        for origin, status in (("http://ui.example", 204), ("http://evil.example", 400)):
            headers = {"origin": origin}
            preflight = await client.options("/v1/chat/completions", headers={**headers, **asks})
            plain = await client.get("/health", headers=headers)
            given = [reply.headers.get("access-control-allow-origin") for reply in (preflight, plain)]
            assert (preflight.status_code, plain.status_code, given) == (
                status, 200, [origin if status == 204 else None] * 2,
            )  # fmt: skip
            if status == 204:
                assert preflight.headers["access-control-allow-methods"] == "GET, POST, PATCH, OPTIONS"
                assert preflight.headers["access-control-allow-headers"] == "x-mock-ttft"
                assert preflight.headers["access-control-max-age"] == "600"
                assert plain.headers["vary"] == "Origin"
                assert plain.headers["access-control-expose-headers"] == "retry-after, x-ledger-lines, x-request-id"
        assert "access-control-allow-origin" not in (await client.get("/health")).headers

    assert through_asgi(call, "--cors", "http://ui.example", "--ttft", "0ms") == []


def test_a_change_of_the_configuration_is_taken_or_refused_in_words() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        for body, words in (
            (b"{", "The request body is not valid JSON: "),
            (b"[1]", "The body must be a JSON object of the fields to change"),
            (b'{"ttft": "x"}', "ttft"),
        ):
            refused = await client.patch("/admin/config", content=body)
            assert (refused.status_code, words in refused.json()["error"]["message"]) == (400, True)
        before = (await client.get("/admin/config")).json()
        after = (await client.patch("/admin/config", json={"ttft": "9ms"})).json()
        assert (before["config"]["ttft"], after["config"]["ttft"], after["all"]["ttft"]) == ("7ms", "9ms", "9ms")
        assert (after["version"] - before["version"], after["ledger_lines"]) == (1, 0)
        reset = (await client.post("/admin/reset")).json()
        assert reset["config"]["ttft"] == "7ms"

    through_asgi(call, "--admin", "everyone", "--ttft", "7ms")


def test_what_does_not_fit_or_has_no_key_is_refused() -> None:
    key = {"authorization": "Bearer secret"}

    async def call(client: httpx.AsyncClient) -> None:
        for headers, status in (({}, 401), ({"x-api-key": "other"}, 401), ({"x-api-key": "secret"}, 200), (key, 200)):
            assert (await client.get("/v1/models", headers=headers)).status_code == status
        for tokens, status in ((8, 200), (9, 400)):
            reply = await client.post("/tokenize", json={"prompt": " a" * tokens}, headers=key)
            assert reply.status_code == status, reply.text
        text = "a" * 100_000  # No token has an eighth of it, so it is refused without counting its tokens.
        for path, body in (
            ("/v1/completions", {"prompt": text}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": text}]}),
        ):
            refused = (await client.post(path, json=body, headers=key)).json()["error"]
            assert (refused["code"], refused["param"]) == (400, "input_text")
            assert refused["message"].startswith("You passed 100")
        headers = {**key, "x-mock-tool-calls": "x"}
        wrong = (await client.post("/v1/chat/completions", json=BODY, headers=headers)).json()["error"]
        assert wrong["message"].startswith("x-mock-tool-calls: 'x': write a whole number from 0 to ")

    through_asgi(call, "--api-key", "secret", "--max-model-len", "8", "--ttft", "0ms")
