"""`previous_response_id`: continuing from a stored response gives the same as sending the whole history."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.mock_asgi import through_asgi
from tests.support.mock_process import mock_process

RESPONSES = "/v1/responses"
TOOL = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
}
LOST = {"message": "Response with id 'resp_x' not found.", "type": "invalid_request_error", "param": "response_id"}


class Chain:
    """Sends each turn by id, and again with the whole history."""

    def __init__(self, client: httpx.AsyncClient, **always: Any) -> None:
        self._client = client
        self._always = always
        self._history: list[Any] = []
        self._turn = 0
        self.previous: str | None = None
        self.said: list[dict[str, Any]] = []

    async def _ask(self, name: str, **body: Any) -> dict[str, Any]:
        response = await self._client.post(RESPONSES, json={**self._always, **body}, headers={"x-request-id": name})
        assert response.status_code == 200, response.text
        reply: dict[str, Any] = response.json()
        return reply

    async def turn(self, *items: Any, **body: Any) -> dict[str, Any]:
        self._turn += 1
        self._history += items
        # Separate prompts, so that neither finds the other's prefix in the cache.
        whole = await self._ask(f"whole-{self._turn}", input=self._history, store=False, **body)
        reply = await self._ask(f"turn-{self._turn}", input=items, previous_response_id=self.previous, **body)
        assert reply["usage"]["input_tokens"] == whole["usage"]["input_tokens"]
        assert reply["previous_response_id"] == self.previous
        self.previous = reply["id"]
        self._history += reply["output"]
        return reply


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_conversation_by_ids_costs_what_its_whole_history_costs() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        chain = Chain(client, instructions="Be brief.", max_output_tokens=12, tools=[TOOL])
        calls = [item for item in (await chain.turn(user("Look!")))["output"] if item["type"] == "function_call"]
        results = [{"type": "function_call_output", "call_id": item["call_id"], "output": "a cat"} for item in calls]
        await chain.turn(*results)
        await chain.turn(user("And now?"), user("Are you there?"), tool_choice="none")
        await chain.turn({"role": "assistant", "content": "I"}, tool_choice="none")
        await chain.turn(user("Go on."), tool_choice="none")

    lines = through_asgi(call, "--ttft", "1ms", "--tpot", "1us", "--reasoning-tokens", "3")
    assert len(lines) == 10
    assert [line["engine"].get("previous") for line in lines if line["id"].startswith("turn")] == [None] + ["found"] * 4


def test_instructions_are_each_requests_own() -> None:
    short = {"input": "Hi.", "max_output_tokens": 5}

    async def call(client: httpx.AsyncClient) -> None:
        first = (await client.post(RESPONSES, json={**short, "instructions": "one two three " * 20})).json()
        more = {**short, "previous_response_id": first["id"]}
        without = (await client.post(RESPONSES, json=more)).json()
        assert without["usage"]["input_tokens"] < first["usage"]["input_tokens"]
        assert without["instructions"] is None
        again = (await client.post(RESPONSES, json={**more, "instructions": "one two three " * 20})).json()
        # It counts its own instructions once, and not the first response's.
        assert 0 < again["usage"]["input_tokens"] - first["usage"]["input_tokens"] < 30

    through_asgi(call, "--ttft", "1ms", "--tpot", "1us")


def test_the_store_has_what_was_said_and_forgets_it() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        reply = (await client.post(RESPONSES, json={"input": "Hi."})).json()
        where = f"{RESPONSES}/{reply['id']}"
        assert (await client.get(where)).json() == reply
        assert (await client.get("/truth")).json()["stored_responses"]["responses"] == 1
        deleted = await client.delete(where)
        assert deleted.json() == {"id": reply["id"], "object": "response", "deleted": True}
        for gone in (await client.get(where), await client.delete(where)):
            assert (gone.status_code, gone.json()["error"]["param"]) == (404, "response_id")
        unstored = (await client.post(RESPONSES, json={"input": "Hi.", "store": False})).json()
        assert (await client.get(f"{RESPONSES}/{unstored['id']}")).status_code == 404
        # Failed responses are not stored, and neither are cancelled ones.
        broken = await client.post(
            RESPONSES, json={"input": "Hi."}, headers={"x-mock-fault": "error_in_stream", "x-request-id": "b"}
        )
        assert broken.status_code == 500
        assert (await client.get(f"{RESPONSES}/resp_b")).status_code == 404
        third = (await client.post(RESPONSES, json={"input": "Hi."})).json()
        await client.post("/admin/reset", headers={"host": "localhost"})
        assert (await client.get(f"{RESPONSES}/{third['id']}")).status_code == 404

    through_asgi(call, "--ttft", "1ms", "--tpot", "1us", "--admin", "everyone")


@pytest.mark.parametrize(
    ("style", "status", "error"),
    [
        ("vllm", 404, {**LOST, "code": 404}),
        (
            "openai",
            400,
            {
                "message": "Previous response with id 'resp_x' not found.",
                "type": "invalid_request_error",
                "param": "previous_response_id",
                "code": "previous_response_not_found",
            },
        ),
    ],
)
def test_an_id_that_is_not_stored_is_refused_in_the_servers_words(style: str, status: int, error: Any) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        response = await client.post(RESPONSES, json={"input": "Hi.", "previous_response_id": "resp_x"})
        assert (response.status_code, response.json()) == (status, {"error": error})

    (line,) = through_asgi(call, "--lost-response", style, "--fault", "stall:rate=0.5")
    assert (line["status"], line["engine"], line["fault"], line["planned"]["fault"]) == (
        status,
        {"previous": "lost"},
        None,
        None,
    )


def test_the_oldest_responses_make_room() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        ids = [(await client.post(RESPONSES, json={"input": "Hi."})).json()["id"] for _ in range(5)]
        found = [(await client.get(f"{RESPONSES}/{name}")).status_code for name in ids]
        assert found == [404, 404, 404, 200, 200]
        state = (await client.get("/truth")).json()["stored_responses"]
        assert (state["responses"], state["dropped"]) == (2, 3)

    through_asgi(call, "--ttft", "1ms", "--tpot", "1us", "--stored-responses", "2")


def test_a_lost_response_stays_lost_and_the_ledger_says_why() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        first = (await client.post(RESPONSES, json={"input": "Hi."}, headers={"x-request-id": "a-0"})).json()
        more = {"input": "Go on.", "previous_response_id": first["id"]}
        hit = await client.post(RESPONSES, json=more, headers={"x-request-id": "a-1"})
        missed = await client.post(RESPONSES, json=more, headers={"x-request-id": "a-2"})
        assert (hit.status_code, missed.status_code) == (404, 404)

    lines = through_asgi(
        call, "--ttft", "1ms", "--tpot", "1us", "--fault", "lost_response:index=1", "--fault", "lost_response:index=0"
    )
    assert [(line["status"], line["fault"], line["planned"]["fault"], line["engine"].get("previous")) for line in lines] == [
        (200, None, "lost_response", None), (404, "lost_response", "lost_response", "lost"), (404, None, None, "lost"),
    ]  # fmt: skip
    # No token is planned for a refusal.
    assert lines[1]["planned"] == {"ttft_ns": None, "gaps_ns": [], "output_tokens": 0, "fault": "lost_response"}


def test_any_worker_continues_what_another_one_said() -> None:
    import openai

    with (
        mock_process("--ttft", "2ms", "--tpot", "100us", "--workers", "3") as mock,
        openai.OpenAI(base_url=f"{mock.url}/v1", api_key="x", max_retries=0) as client,
    ):
        previous: str | None = None
        inputs: list[int] = []
        for turn in range(20):
            # A new connection each time: the kernel chooses a worker.
            stream = client.responses.create(
                model="mock-model", input=f"Turn {turn}.", max_output_tokens=5, previous_response_id=previous, stream=True,
                extra_headers={"connection": "close"},
            )  # fmt: skip
            (done,) = (event.response for event in stream if event.type == "response.completed")
            previous = done.id
            assert done.usage is not None
            inputs.append(done.usage.input_tokens)
        assert inputs == sorted(set(inputs))
        assert previous is not None
        assert client.responses.retrieve(previous).id == previous
        client.responses.delete(previous)
        with pytest.raises(openai.NotFoundError, match=f"Response with id '{previous}' not found"):
            client.responses.create(model="mock-model", input="Go on.", previous_response_id=previous)
        # Workers write their lines when they have time.
        lines = sorted(mock.ledger_lines(at_least=21), key=lambda line: int(line["received_ns"]))
    assert [line["engine"].get("previous") for line in lines] == [None] + ["found"] * 19 + ["lost"]
    assert [line["input_tokens"] for line in lines[:20]] == inputs
