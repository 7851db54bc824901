"""The prefix cache over a conversation: each turn finds the full blocks of everything computed for the previous turn,
its prompt and its reply except for the last token, whatever the turns are; usage, ledger and /metrics agree to the
token."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest

from promptset.tokens import load_tokenizer
from tests.support.mock_asgi import through_asgi

BLOCK = 16
SYSTEM = "You are an agent that reads files and says what is in them. " * 6
SCHEMA = {"type": "object", "properties": {"what": {"type": "string"}, "n": {"type": "integer"}}, "required": ["what"]}
FLAGS = (
    "--engine", "batching", "--step-cost", "b0=200,b1=1,b2=10,a0=100", "--max-model-len", "8000", "--kv-blocks", "4000",
    "--reply-details", "cached_tokens",
)  # fmt: skip
TURNS = 6

Row = dict[str, Any]
Ask = Callable[[int, str, Row], Awaitable[Row]]


async def chat(ask: Ask) -> None:
    """The user, calls, results, text: as a client sends them back."""
    tools = [{"type": "function", "function": {"name": "read_file", "parameters": SCHEMA}}]
    messages: list[Row] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Read it, please."}]
    for turn in range(TURNS):
        body = {"messages": messages, "tools": tools, "max_tokens": 30 + 7 * turn}
        reply = await ask(turn, "/v1/chat/completions", body)
        said = {name: value for name, value in reply["choices"][0]["message"].items() if value}
        messages.append(said)
        for call in said.get("tool_calls", []):
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"Result {turn}. " * 9})
        if "tool_calls" not in said:
            messages.append({"role": "user", "content": "And the next one?"})


async def responses(ask: Ask, by_id: bool) -> None:
    tools = [{"type": "function", "name": "read_file", "parameters": SCHEMA}]
    items: list[Row] = [{"role": "user", "content": "Read it, please."}]
    previous = None
    for turn in range(TURNS):
        body = {"instructions": SYSTEM, "input": items, "tools": tools, "max_output_tokens": 30 + 7 * turn}
        reply = await ask(turn, "/v1/responses", {**body, "previous_response_id": previous})
        calls = [item for item in reply["output"] if item["type"] == "function_call"]
        new = [
            {"type": "function_call_output", "call_id": c["call_id"], "output": f"Result {turn}. " * 9} for c in calls
        ]
        new = new or [{"role": "user", "content": "And the next one?"}]
        items, previous = (new, reply["id"]) if by_id else ([*items, *reply["output"], *new], None)


async def messages(ask: Ask) -> None:
    tools = [{"name": "read_file", "input_schema": SCHEMA}]
    said: list[Row] = [{"role": "user", "content": "Read it, please."}]
    for turn in range(TURNS):
        body = {"model": "mock-model", "system": SYSTEM, "messages": said, "tools": tools, "max_tokens": 90 + 7 * turn}
        reply = await ask(turn, "/v1/messages", body)
        calls = [block for block in reply["content"] if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": c["id"], "content": f"Result {turn}. " * 9} for c in calls]
        said += [{"role": "assistant", "content": reply["content"]}]
        said += [{"role": "user", "content": results or "And the next one?"}]


async def documents(ask: Ask) -> None:
    """JSON for a schema, and text."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    messages: list[Row] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Say it in JSON."}]
    for turn in range(TURNS):
        body: Row = {"messages": messages, "max_tokens": 40 + 7 * turn}
        reply = await ask(turn, "/v1/chat/completions", {**body, "response_format": form} if turn % 2 else body)
        messages += [reply["choices"][0]["message"], {"role": "user", "content": "Go on."}]


KINDS: dict[str, Callable[[Ask], Awaitable[None]]] = {
    "chat": chat,
    "documents": documents,
    "messages": messages,
    "responses with the whole history": lambda ask: responses(ask, by_id=False),
    "responses by id": lambda ask: responses(ask, by_id=True),
}


def cached_of(reply: Row) -> int:
    usage = reply["usage"]
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    return int(usage["cache_read_input_tokens"] if details is None else details["cached_tokens"])


@pytest.mark.parametrize("kind", KINDS)
def test_each_turn_finds_the_full_blocks_of_the_turn_before_it(kind: str) -> None:
    told: list[int] = []
    totals: dict[str, float] = {}

    async def call(client: httpx.AsyncClient) -> None:
        async def ask(turn: int, path: str, body: Row) -> Row:
            response = await client.post(path, json=body, headers={"x-request-id": f"t-{turn}"})
            assert response.status_code == 200, response.text
            reply: Row = response.json()
            told.append(cached_of(reply))
            return reply

        await KINDS[kind](ask)
        page = (await client.get("/metrics")).text
        for name, value in re.findall(r"^vllm:(prefix_cache_\w+_total){[^}]*} (\S+)$", page, re.MULTILINE):
            totals[name] = float(value)

    lines = through_asgi(call, *FLAGS)
    assert len(lines) == TURNS
    found = [line["engine"]["cached_tokens"] for line in lines]
    for (before, after), hit in zip(pairwise(lines), found[1:], strict=True):
        computed = before["input_tokens"] + before["planned"]["output_tokens"] - 1
        assert hit == computed // BLOCK * BLOCK
        assert hit < after["input_tokens"]
    assert told == found
    assert totals == {
        "prefix_cache_queries_total": sum(line["input_tokens"] for line in lines),
        "prefix_cache_hits_total": sum(found),
    }


def test_a_sub_agent_finds_the_system_prompt_that_it_shares_and_no_more() -> None:
    tokenizer = load_tokenizer()
    asked = [
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
        for text in ("Do the whole of it.", "Read the first file.", "Read the second file.")
    ]
    asked.append(
        [{"role": "system", "content": "Something else."}, {"role": "user", "content": "Read the first file."}]
    )

    async def call(client: httpx.AsyncClient) -> None:
        for i, conversation in enumerate(asked):
            body = {"messages": conversation, "max_tokens": 20}
            await client.post("/v1/chat/completions", json=body, headers={"x-request-id": f"s-{i}"})

    lines = through_asgi(call, *FLAGS)
    ids = [tokenizer.encode(tokenizer.render_chat(conversation)) for conversation in asked]
    for i, line in enumerate(lines):
        shared = [next((n for n, (a, b) in enumerate(zip(ids[i], one, strict=False)) if a != b), 0) for one in ids[:i]]
        assert line["engine"]["cached_tokens"] == max(shared, default=0) // BLOCK * BLOCK
    assert lines[1]["engine"]["cached_tokens"] >= 64


def test_a_reply_that_a_stop_string_ends_is_found_up_to_its_end() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        said: list[Row] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Tell me."}]
        body = {"messages": said, "max_tokens": 60}
        headers = {"x-request-id": "s-0"}
        whole = (await client.post("/v1/chat/completions", json=body, headers=headers)).json()
        text = whole["choices"][0]["message"]["content"]
        stop = text.split()[-8] + " " + text.split()[-7]
        reply = await client.post("/v1/chat/completions", json={**body, "stop": [stop]}, headers=headers)
        cut = reply.json()["choices"][0]
        assert (cut["finish_reason"], cut["message"]["content"]) == ("stop", text[: text.index(stop)])
        said += [cut["message"], {"role": "user", "content": "Go on."}]
        await client.post("/v1/chat/completions", json=body, headers={"x-request-id": "s-1"})

    first, second, third = through_asgi(call, *FLAGS)
    assert second["engine"]["cached_tokens"] == (first["input_tokens"] - 1) // BLOCK * BLOCK
    # Most of the reply. The stop string cut its last words in the middle of a block.
    assert (second["input_tokens"] + 30) // BLOCK * BLOCK <= third["engine"]["cached_tokens"]
