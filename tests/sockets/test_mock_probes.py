"""The mock answers probes over all its APIs, and the ledger names the faults that made an answer wrong."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from promptset.probes import Probe, codes_in, make_probes, parse_probes
from tests.support.mock_asgi import QUICK, through_asgi

PROBES = make_probes(parse_probes("6"), seed=31)
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}


def body(api: str, probe: Probe, *, stream: bool, **more: Any) -> dict[str, Any]:
    """The request for a probe."""
    limit = "max_output_tokens" if api == "responses" else "max_tokens"
    asked: dict[str, Any] = {"model": "mock-model", limit: probe.max_tokens, "stream": stream, **more}
    text = probe.messages[0]["content"]
    if api == "completions":
        return {**asked, "prompt": text}
    asked["input" if api == "responses" else "messages"] = [*probe.messages]
    functions = [tool["function"] for tool in probe.tools or ()]
    if functions and api == "messages":
        asked["tools"] = [{"name": f["name"], "input_schema": f["parameters"]} for f in functions]
    elif functions:
        asked["tools"] = [{"type": "function", **f} for f in functions] if api == "responses" else probe.tools
    form = {"type": "json_schema", "name": "order", "schema": probe.schema}
    if probe.schema is not None and api == "chat":
        asked["response_format"] = {"type": "json_schema", "json_schema": {"name": "order", "schema": probe.schema}}
    elif probe.schema is not None:
        asked |= {"text": {"format": form}} if api == "responses" else {"output_config": {"format": form}}
    return asked


def streamed(text: str) -> tuple[str | None, str]:
    """The tool name and text of a stream of any API."""
    tool, said = None, ""
    for line in text.splitlines():
        if not line.startswith("data: {"):
            continue
        event = json.loads(line.removeprefix("data: "))
        for choice in event.get("choices", ()):
            delta = choice.get("delta", {"content": choice.get("text")})
            said += delta.get("content") or ""
            for call in delta.get("tool_calls", ()):
                tool = call["function"].get("name", tool)
                said += call["function"].get("arguments", "")
        if event.get("type") in ("response.output_text.delta", "response.function_call_arguments.delta"):
            said += event["delta"]
        elif event.get("type") == "content_block_delta":
            said += event["delta"].get("text", "") + event["delta"].get("partial_json", "")
        item = event.get("item", event.get("content_block", {}))
        tool = item.get("name", tool)
    return tool, said


def whole(reply: dict[str, Any]) -> tuple[str | None, str]:
    """The same for a whole reply."""
    if "choices" in reply:
        choice = reply["choices"][0]
        if "text" in choice:
            return None, choice["text"]
        if not choice["message"].get("tool_calls"):
            return None, choice["message"]["content"]
        function = choice["message"]["tool_calls"][0]["function"]
        return function["name"], function["arguments"]
    (part,) = reply.get("output") or reply["content"]
    if part["type"] == "message":
        (part,) = part["content"]
    if "text" in part:
        return None, part["text"]
    return part["name"], part["arguments"] if "arguments" in part else json.dumps(part["input"])


async def ask(
    client: httpx.AsyncClient, probe: Probe, fault: str = "", api: str = "chat", **more: Any
) -> tuple[str | None, str]:
    headers = {"x-mock-fault": fault} if fault else {}
    asked = body(api, probe, **{"stream": False, **more})
    answer = await client.post(PATHS[api], json=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    return streamed(answer.text) if asked["stream"] else whole(answer.json())


def is_right(probe: Probe, said: tuple[str | None, str]) -> bool:
    tool, text = said
    if probe.kind not in ("schema", "tool"):
        return said == (None, probe.answer)
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return False
    right = json.loads(probe.answer)
    return bool(value == (right if tool is None else right["arguments"]))


@pytest.mark.parametrize("api", PATHS)
def test_every_probe_is_answered_whole_and_streamed(api: str) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        for stream in (False, True):
            for probe in PROBES:
                tool, said = await ask(client, probe, api=api, stream=stream)
                called = probe.kind == "tool" and api != "completions"
                assert tool == ("open_ticket" if called else None)
                if probe.kind == "tool" and not called:
                    assert json.loads(said) == json.loads(probe.answer)["arguments"]
                else:
                    assert is_right(probe, (tool, said)), (probe.kind, said)

    lines = through_asgi(call)
    assert [line["engine"]["probe"] for line in lines] == [probe.kind for probe in PROBES] * 2
    assert {line["fault"] for line in lines} == {None}
    # A reply ends after its answer, and its tokens are counted.
    assert all(line["planned"]["output_tokens"] < 40 for line in lines)


def test_an_answer_ends_at_max_tokens_and_other_requests_get_their_text() -> None:
    canary = PROBES[0]

    async def call(client: httpx.AsyncClient) -> None:
        cut = await client.post(PATHS["chat"], json={**body("chat", canary, stream=False), "max_tokens": 2})
        choice = cut.json()["choices"][0]
        assert choice["finish_reason"] == "length"
        assert canary.answer.startswith(choice["message"]["content"])
        talk = {
            "messages": [*canary.messages, {"role": "assistant", "content": "x"}, {"role": "user", "content": "Go on."}]
        }
        plain = await client.post(PATHS["chat"], json={**talk, "max_tokens": 5})
        assert plain.json()["usage"]["completion_tokens"] == 5

    first, second = through_asgi(call)
    assert "probe" in first["engine"]
    assert "probe" not in second["engine"]


def test_a_tool_that_must_not_be_called_is_answered_in_text() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        tool, said = await ask(client, PROBES[5], tool_choice="none")
        assert tool is None
        assert json.loads(said) == json.loads(PROBES[5].answer)["arguments"]

    through_asgi(call)


def test_the_log_probabilities_of_a_probe_are_the_same_each_time() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        seen = []
        for fault in ("none", "none", "wrong_answer"):
            asked = body("chat", PROBES[3], stream=False, logprobs=True, top_logprobs=2)
            reply = await client.post(PATHS["chat"], json=asked, headers={"x-mock-fault": fault})
            seen.append(reply.json()["choices"][0]["logprobs"]["content"])
        assert seen[0] == seen[1] != seen[2]
        differs = next(i for i, (one, other) in enumerate(zip(seen[0], seen[2], strict=False)) if one != other)
        assert seen[0][differs]["token"] != seen[2][differs]["token"]

    through_asgi(call)


@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_makes_the_answer_wrong_and_is_in_the_ledger(stream: bool) -> None:
    canary, retrieve, _, _, schema, tool = PROBES
    other = make_probes(parse_probes("retrieve=2"), seed=31)[1]
    cases = [
        (canary, "wrong_answer"), (schema, "wrong_answer"), (tool, "batch_dependent"), (canary, "garble"),
        (schema, "cut_json"), (tool, "cut_json"), (retrieve, "stale_prefix"),
    ]  # fmt: skip
    nothing = [(canary, "cut_json"), (canary, "cross_talk"), (canary, "garble_preempted"), (schema, "stale_prefix")]

    async def call(client: httpx.AsyncClient) -> None:
        assert is_right(other, await ask(client, other, stream=stream))
        for probe, fault in cases:
            said = await ask(client, probe, fault, stream=stream)
            assert not is_right(probe, said), (fault, said)
            if fault == "stale_prefix":
                assert is_right(other, said)
            if fault == "garble":
                assert "\ufffd" in said[1]
        for probe, fault in nothing[:-1]:
            assert is_right(probe, await ask(client, probe, fault, stream=stream)), fault

    _, *lines = through_asgi(call)
    assert [line["planned"]["fault"] for line in lines] == [fault for _, fault in [*cases, *nothing[:-1]]]
    assert [line["fault"] for line in lines] == [*(fault for _, fault in cases), *[None] * 3]


def test_cross_talk_under_load_is_in_the_ledger_and_nowhere_else() -> None:
    """A reply has another probe's code exactly if the ledger says so."""
    probes = make_probes(parse_probes("canary=200,tool=100"), seed=8)
    mixed_up = set()

    async def call(client: httpx.AsyncClient) -> None:
        async def one(number: int, probe: Probe) -> None:
            asked = body("chat", probe, stream=False)
            reply = await client.post(PATHS["chat"], json=asked, headers={"x-request-id": f"r-{number}"})
            codes = set(codes_in(whole(reply.json())[1]))
            assert len(codes) == 1
            if codes != {probe.code}:
                assert codes <= {other.code for other in probes}
                mixed_up.add(number)

        await asyncio.gather(*(one(number, probe) for number, probe in enumerate(probes)))

    lines = through_asgi(call, *QUICK, "--fault", "cross_talk:rate=0.05")
    planted = {line["index"] for line in lines if line["fault"] == "cross_talk"}
    planned = {line["index"] for line in lines if line["planned"]["fault"] == "cross_talk"}
    assert mixed_up == planted
    # The first to arrive may have no others in flight.
    assert len(planned - planted) <= 1
    assert 5 <= len(planted) <= 30


def test_runs_with_the_same_indexes_meet_other_wrong_answers() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        for run in ("a", "b"):
            for number in range(30):
                asked = body("chat", PROBES[2], stream=False)
                await client.post(PATHS["chat"], json=asked, headers={"x-request-id": f"{run}-{number}"})

    lines = through_asgi(call, *QUICK, "--fault", "garble:rate=0.3")
    garbled = [[line["fault"] for line in lines[at : at + 30]] for at in (0, 30)]
    assert garbled[0] != garbled[1]


def test_a_crowd_counts_the_other_requests_in_flight() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        for together in (1, 5, 40):
            await asyncio.gather(*(ask(client, PROBES[0]) for _ in range(together)))

    lines = through_asgi(call, *QUICK, "--fault", "wrong_answer:crowd=0.1")
    struck = [line["fault"] is not None for line in lines]
    assert struck[0] is False
    # With 40 at once, the last 30 have at least ten others in flight.
    assert all(struck[-28:])


def test_what_follows_a_preemption_is_garbled() -> None:
    asked = {"messages": [{"role": "user", "content": "word " * 30}], "max_tokens": 60}
    garbled: list[bool] = []

    async def call(client: httpx.AsyncClient) -> None:
        bodies = [{**asked, "stream": number % 2 == 0} for number in range(6)]
        replies = await asyncio.gather(*(client.post(PATHS["chat"], json=body) for body in bodies))
        garbled.extend("\ufffd" in reply.text or "\\ufffd" in reply.text for reply in replies)

    # A reply takes two seconds, so all six overlap, however slowly they arrive.
    lines = through_asgi(
        call, "--engine", "batching", "--step-cost", "b0=30000,b1=1,b2=1", "--kv-blocks", "16", "--max-model-len", "200",
        "--fault", "garble_preempted",
    )  # fmt: skip
    preempted = [line["engine"]["preemptions"] > 0 for line in lines]
    assert any(preempted)
    assert not all(preempted)
    assert [line["fault"] == "garble_preempted" for line in lines] == preempted
    assert sum(garbled) == sum(preempted)
