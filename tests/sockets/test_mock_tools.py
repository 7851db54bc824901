"""Tool calls and JSON replies of the mock, through ASGI: streamed and whole, with faults, and in the ledger."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import jsonschema
import pytest

from tests.support.mock_asgi import through_asgi

CHAT = "/v1/chat/completions"
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
AFTER = [
    *ASK,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
}
CLOCK = {"type": "object", "properties": {"zone": {"type": "string", "pattern": "^UTC[+]\\d$"}}, "required": ["zone"]}
SCHEMAS = {"weather": WEATHER, "clock": CLOCK}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in SCHEMAS.items()]
Post = Callable[..., Awaitable[dict[str, Any]]]


def post_to(client: httpx.AsyncClient, **headers: str) -> Post:
    async def post(**body: Any) -> dict[str, Any]:
        response = await client.post(CHAT, json={"messages": ASK, **body}, headers=headers)
        assert response.status_code == 200, response.text
        choice: dict[str, Any] = response.json()["choices"][0]
        return {**choice, "usage": response.json()["usage"]}

    return post


def called(message: dict[str, Any]) -> list[str]:
    """The names of the called tools, whose arguments satisfy their schemas."""
    calls = message.get("tool_calls") or []
    for call in calls:
        assert call["type"] == "function"
        jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMAS[call["function"]["name"]])
    assert len({call["id"] for call in calls}) == len(calls)
    return [call["function"]["name"] for call in calls]


async def streamed(client: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    response = await client.post(CHAT, json={"messages": ASK, "stream": True, **body}, headers=headers)
    events = response.text.split("\n\n")
    return [json.loads(event[6:]) for event in events if event.startswith("data: {")]


def test_who_decides_whether_a_tool_is_called() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        post = post_to(client)
        auto = await post(tools=TOOLS, max_tokens=60)
        assert len(called(auto["message"])) == 1
        assert (auto["finish_reason"], auto["message"]["content"]) == ("tool_calls", None)
        for text in (
            await post(tools=TOOLS, messages=AFTER, max_tokens=8),
            await post(tools=TOOLS, tool_choice="none", max_tokens=8),
            await post(max_tokens=8),
            await post_to(client, **{"x-mock-tool-calls": "0"})(tools=TOOLS, max_tokens=8),
        ):
            assert (called(text["message"]), text["finish_reason"], text["usage"]["completion_tokens"]) == (
                [],
                "length",
                8,
            )
        named = {"type": "function", "function": {"name": "clock"}}
        assert called((await post(tools=TOOLS, tool_choice=named))["message"]) == ["clock"]
        assert len(called((await post(tools=TOOLS, tool_choice="required", messages=AFTER))["message"])) == 1
        three = post_to(client, **{"x-mock-tool-calls": "3"})
        assert len(called((await three(tools=TOOLS))["message"])) == 3
        assert len(called((await three(tools=TOOLS, parallel_tool_calls=False))["message"])) == 1

    through_asgi(call)


def test_the_share_and_the_number_of_calls_are_settings() -> None:
    async def some(client: httpx.AsyncClient) -> None:
        post = post_to(client)
        found = [len(called((await post(tools=TOOLS))["message"])) for _ in range(40)]
        assert set(found) == {0, 2}
        assert 8 <= found.count(2) <= 32

    through_asgi(some, "--tool-share", "0.5", "--tool-calls", "2", "--ttft", "1ms", "--tpot", "1us")


def test_a_streamed_call_has_a_head_and_a_chunk_per_token_each_in_the_ledger() -> None:
    kept: list[Any] = []

    async def call(client: httpx.AsyncClient) -> None:
        body = {"tools": TOOLS, "max_tokens": 80, "stream_options": {"include_usage": True}}
        chunks = await streamed(client, body, **{"x-mock-tool-calls": "2", "x-request-id": "t-1"})
        kept.extend(chunks)
        whole = await client.post(
            CHAT,
            json={"messages": ASK, "tools": TOOLS, "max_tokens": 80},
            headers={"x-mock-tool-calls": "2", "x-request-id": "u-1"},
        )
        kept.append(whole.json())

    streamed_line, whole_line = through_asgi(call)
    *chunks, whole = kept
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas[1:]:
        (part,) = delta["tool_calls"]
        if "id" in part:
            assert part["index"] == len(calls)
            assert (part["type"], part["function"]["arguments"]) == ("function", "")
            calls[part["index"]] = {"id": part["id"], "type": "function", "function": {**part["function"]}}
        else:
            assert part["function"].keys() == {"arguments"}
            calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    assert len(called({"tool_calls": [*calls.values()]})) == 2
    assert [*calls.values()] == whole["choices"][0]["message"]["tool_calls"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    # One token per head and per piece of arguments: the requested number, as a string can be longer.
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 80
    assert streamed_line["chunk_kind"] == "r" + "f" * 80 + "uo"
    assert streamed_line["chunk_tokens"] == [0, *[1] * 80, 0, 0]
    assert len(streamed_line["planned"]["gaps_ns"]) == 79
    assert streamed_line["planned"]["ttft_ns"] == whole_line["planned"]["ttft_ns"]
    assert whole_line["planned"]["output_tokens"] == 80


@pytest.mark.parametrize("kind", ["a tool", "JSON", "two tools"])
def test_max_tokens_is_only_the_limit_of_what_ends_by_itself_unless_the_request_asks_for_the_length(kind: str) -> None:
    fields: dict[str, Any] = {"response_format": {"type": "json_object"}} if kind == "JSON" else {"tools": TOOLS[:1]}
    headers = {"x-mock-tool-calls": "2"} if kind == "two tools" else {}
    end = "stop" if kind == "JSON" else "tool_calls"
    drawn, limit = 70, 400

    async def call(client: httpx.AsyncClient) -> None:
        for asked, length in (
            ({}, drawn),
            ({"max_tokens": limit}, drawn),
            ({"max_completion_tokens": limit}, drawn),
            ({"max_tokens": 60}, 60),
            ({"max_tokens": limit, "ignore_eos": False, "min_tokens": 0}, drawn),
            ({"max_tokens": limit, "ignore_eos": True}, limit),
            ({"max_tokens": limit, "min_tokens": 200}, 200),
            ({"min_tokens": 200}, 200),
            ({"max_tokens": limit, "min_tokens": 30}, drawn),
        ):
            reply = await post_to(client, **headers)(**fields, **asked)
            assert (asked, reply["finish_reason"], reply["usage"]["completion_tokens"]) == (asked, end, length)
        own = await post_to(client, **headers, **{"x-mock-output-tokens": "90"})(**fields, max_tokens=limit)
        assert own["usage"]["completion_tokens"] == 90
        longer = await post_to(client, **headers, **{"x-mock-fault": "length:more=5"})(**fields, max_tokens=100)
        assert longer["usage"]["completion_tokens"] == 105

    lines = through_asgi(call, "--output-tokens", str(drawn), "--ttft", "1ms", "--tpot", "1us")
    # The plan has the sent length, and a gap for each token after the first.
    for line in lines:
        planned = line["planned"]
        assert len(planned["gaps_ns"]) == planned["output_tokens"] - 1
    assert [line["planned"]["output_tokens"] for line in lines] == [
        *(drawn, drawn, drawn, 60, drawn, limit, 200, 200, drawn, 90, 105)
    ]


def test_the_lengths_of_tool_calls_are_drawn_from_the_configured_distribution() -> None:
    found: list[int] = []

    async def call(client: httpx.AsyncClient) -> None:
        for number in range(12):
            post = post_to(client, **{"x-request-id": f"drawn-{number}"})
            found.append((await post(tools=TOOLS[:1], max_tokens=4096))["usage"]["completion_tokens"])

    through_asgi(call, "--output-tokens", "uniform:40..90", "--ttft", "1ms", "--tpot", "1us")
    assert len(set(found)) > 3
    assert all(40 <= tokens <= 90 for tokens in found)


def test_a_call_that_does_not_fit_is_cut_at_max_tokens() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        reply = await post_to(client)(tools=TOOLS, tool_choice="required", max_tokens=4)
        assert (reply["finish_reason"], reply["usage"]["completion_tokens"]) == ("length", 4)
        assert reply["message"]["tool_calls"][0]["function"]["arguments"]

    through_asgi(call)


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_in_json_satisfies_its_schema_and_has_the_asked_length(stream: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    named = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}

    async def call(client: httpx.AsyncClient) -> None:
        for field in (
            {"response_format": named},
            {"response_format": {"type": "json_object"}},
            {"structured_outputs": {"json": schema}},
            {"guided_json": schema},
        ):
            if stream:
                chunks = await streamed(client, {**field, "max_tokens": 50})
                text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
                end, tokens = chunks[-1]["choices"][0]["finish_reason"], len(chunks) - 1
            else:
                reply = await post_to(client)(**field, max_tokens=50)
                text, end = reply["message"]["content"], reply["finish_reason"]
                tokens = reply["usage"]["completion_tokens"]
            assert (end, tokens) == ("stop", 50)
            jsonschema.validate(json.loads(text), {"type": "object"} if "json_object" in str(field) else schema)

    lines = through_asgi(call)
    assert all(line["planned"]["output_tokens"] == 50 for line in lines)


def test_a_document_without_a_free_string_ends_by_itself_and_one_that_is_too_long_is_cut() -> None:
    schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 12, "maxItems": 12}
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    async def call(client: httpx.AsyncClient) -> None:
        short = await post_to(client)(response_format=format_, max_tokens=500)
        assert (short["finish_reason"], len(json.loads(short["message"]["content"]))) == ("stop", 12)
        cut = await post_to(client)(response_format=format_, max_tokens=5)
        assert (cut["finish_reason"], cut["usage"]["completion_tokens"]) == ("length", 5)
        # Without its own limit a document is complete, however short the drawn length.
        own = await post_to(client)(response_format=format_)
        assert (own["finish_reason"], len(json.loads(own["message"]["content"]))) == ("stop", 12)

    through_asgi(call, "--output-tokens", "3", "--ttft", "1ms", "--tpot", "1us")


def test_reasoning_comes_before_the_document() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        reply = await post_to(client)(response_format={"type": "json_object"}, max_tokens=60)
        assert reply["message"]["reasoning"]
        assert json.loads(reply["message"]["content"])
        usage = reply["usage"]
        assert (usage["completion_tokens"], usage["completion_tokens_details"]["reasoning_tokens"]) == (60, 10)

    through_asgi(call, "--reasoning-tokens", "10", "--ttft", "1ms", "--tpot", "1us")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"tools": [{}]}, "tools[0] must be a function with a name"),
        ({"tools": [{"type": "function", "function": {"name": "a", "parameters": 5}}]}, "must be a JSON schema"),
        ({"tools": 5}, "tools must be a list"),
        ({"tool_choice": "required"}, "`tools` must be set"),
        ({"tools": TOOLS, "tool_choice": "perhaps"}, "tool_choice must be none, auto, required or a function"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice must name a function"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "x"}}}, "does not match any of the specified"),
        ({"tools": TOOLS, "parallel_tool_calls": 1}, "parallel_tool_calls must be true or false"),
        ({"tools": [{"function": {"name": "a", "parameters": {"type": "animal"}}}]}, "The schema is not a JSON schema"),
        ({"response_format": "json"}, "response_format must be an object"),
        ({"response_format": {"type": "xml"}}, "response_format must be an object"),
        ({"response_format": {"type": "json_schema"}}, "json_schema.schema must be a JSON schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "#/no"}}}}, "cannot be used"),
    ],
    ids=lambda value: str(value)[-60:] if isinstance(value, dict) else "",
)
def test_a_request_that_cannot_be_met_is_a_400_that_says_why(body: dict[str, Any], says: str) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        response = await client.post(CHAT, json={"messages": ASK, **body})
        assert (response.status_code, says in response.json()["error"]["message"]) == (400, True), response.text

    (line,) = through_asgi(call)
    assert line["status"] == 400


FAULTS = {
    # Fault -> the letters of the chunks of a call of 12 tokens.
    "reset:after=3": "rfff",
    "cut_frame:after=3": "rfff",
    "error_in_stream:after=3": "rfffoo",
    "malformed:after=3": "rfffoffffffffo",
    "empty:after=0,chunks=2": "roo" + "f" * 12 + "o",
    "duplicate:after=0": "rff" + "f" * 11 + "o",
    "reorder:after=3": "r" + "f" * 12 + "o",
    "no_done": "r" + "f" * 12,
    "role_with_token": "f" * 12 + "o",
    "u2028:after=3": "r" + "f" * 12 + "o",
    "split_utf8:after=3": "r" + "f" * 12 + "o",
    "coalesce:chunks=3": "r" + "f" * 12 + "o",
    "crlf": "r" + "f" * 12 + "o",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_strikes_a_tool_call_too(fault: str) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        body = {"messages": ASK, "tools": TOOLS[:1], "max_tokens": 12, "stream": True}
        await client.post(CHAT, json=body, headers={"x-mock-fault": fault})

    (line,) = through_asgi(call)
    assert line["chunk_kind"] == FAULTS[fault]
    # A fault that breaks arguments in a different way has no effect.
    name = fault.partition(":")[0]
    assert line["fault"] == (None if name in ("u2028", "split_utf8") else name)
