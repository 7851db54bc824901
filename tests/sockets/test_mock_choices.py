"""Several choices and prompts, log probabilities and `echo` of the mock, through ASGI, and their ledger lines."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx
import pytest

from promptset.tokens import load_tokenizer
from tests.support.mock_asgi import through_asgi

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ASK = [{"role": "user", "content": "Say something."}]


async def events(client: httpx.AsyncClient, path: str, body: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    response = await client.post(path, json={**body, "stream": True}, headers=headers)
    return [json.loads(event[6:]) for event in response.text.split("\n\n") if event.startswith("data: {")]


@pytest.mark.parametrize("engine", ["sampled", "batching"])
def test_choices_have_each_its_text_and_plan(engine: str) -> None:
    kept: list[Any] = []

    async def call(client: httpx.AsyncClient) -> None:
        body = {"messages": ASK, "max_tokens": 6, "n": 3, "stream_options": {"include_usage": True}}
        kept.append(await events(client, CHAT, body, **{"x-request-id": "n-7"}))
        kept.append((await client.post(CHAT, json={"messages": ASK, "max_tokens": 6, "n": 3})).json())
        one = await client.post(CHAT, json={"messages": ASK, "max_tokens": 6}, headers={"x-request-id": "m-7"})
        kept.append(one.json())

    flags = {"sampled": ("--ttft", "5ms", "--itl", "exp:mean=1ms"), "batching": ("--engine", "batching")}
    streamed, whole_line, one_line = through_asgi(call, *flags[engine])
    chunks, whole, one = kept
    texts: dict[int, str] = dict.fromkeys(range(3), "")
    for chunk in chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert len(set(texts.values())) == 3
    # The first choice equals the reply to the request without n.
    assert texts[0] == one["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 18
    assert chunks[-1]["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert (streamed["chunk_kind"], whole_line["chunk_kind"]) == ("rrr" + "c" * 18 + "uo", "")
    order = streamed["chunk_choice"]
    assert (order[:3], order[-2:]) == ([0, 1, 2], [None, None])
    assert sorted(order[3:-2]) == [0] * 6 + [1] * 6 + [2] * 6
    plans = streamed["planned"]["choices"]
    assert [plan["output_tokens"] for plan in plans] == [6, 6, 6]
    assert plans[0]["gaps_ns"] == streamed["planned"]["gaps_ns"]
    assert ("chunk_choice" in one_line, "choices" in one_line["planned"]) == (False, False)
    if engine == "sampled":
        assert streamed["planned"]["gaps_ns"] == one_line["planned"]["gaps_ns"] != plans[1]["gaps_ns"]
    # No chunk before its time: each choice follows its own plan.
    for number, plan in enumerate(plans):
        due = streamed["received_ns"] + plan["ttft_ns"]
        stamps = [
            at
            for at, of, kind in zip(streamed["write_ns"], order, streamed["chunk_kind"], strict=True)
            if (of, kind) == (number, "c")
        ]
        for stamp, gap in zip(stamps, [*plan["gaps_ns"], 0], strict=True):
            assert stamp >= due - 150_000
            due += gap


def test_several_prompts_have_n_choices_each_and_their_tokens_count_once() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        body = {"prompt": ["one two three", "four"], "n": 2, "max_tokens": 3}
        whole = (await client.post(COMPLETIONS, json=body)).json()
        assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
        tokens = load_tokenizer().count_batch(["one two three", "four"])
        assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (sum(tokens), 12)
        ids = (await client.post(COMPLETIONS, json={"prompt": [[1, 2], [3]], "max_tokens": 2})).json()
        assert (len(ids["choices"]), ids["usage"]["prompt_tokens"]) == (2, 3)
        long = await client.post(COMPLETIONS, json={"prompt": ["a", "b " * 150], "max_tokens": 3})
        assert (long.status_code, "maximum context length" in long.text) == (400, True)

    lines = through_asgi(call, "--max-model-len", "100", "--ttft", "1ms", "--tpot", "1ms")
    assert [len(line["planned"].get("choices", ())) for line in lines] == [4, 2, 0]


def test_faults_strike_the_first_of_several_choices() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        for fault in ("reset:after=2", "error_in_stream:after=2", "duplicate:after=1", "malformed:after=1"):
            asked = {"messages": ASK, "max_tokens": 4, "n": 2, "stream": True}
            await client.post(CHAT, json=asked, headers={"x-mock-fault": fault})
        body = {"messages": ASK, "max_tokens": 4, "n": 2, "stop": ["a", "e"]}
        reply = (await client.post(CHAT, json=body)).json()
        assert [choice["stop_reason"] in ("a", "e") for choice in reply["choices"]] == [True, True]

    reset, error, duplicate, malformed, _ = through_asgi(call)
    assert reset["fault"] == "reset"
    assert (error["chunk_kind"][-2:], error["chunk_choice"][-2:]) == ("oo", [None, None])
    kinds = [*zip(duplicate["chunk_kind"], duplicate["chunk_choice"], strict=True)]
    assert (kinds.count(("c", 0)), kinds.count(("c", 1))) == (5, 4)
    assert sum(duplicate["chunk_tokens"]) == 8
    assert malformed["chunk_kind"].count("c") == 7


def test_log_probabilities_of_a_chat_belong_to_its_tokens() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        body = {"messages": ASK, "max_tokens": 9, "logprobs": True, "top_logprobs": 3}
        headers = {"x-request-id": "l-1"}
        choice = (await client.post(CHAT, json=body, headers=headers)).json()["choices"][0]
        rows = choice["logprobs"]["content"]
        assert "".join(row["token"] for row in rows) == choice["message"]["content"]
        for row in rows:
            assert bytes(row["bytes"]).decode() == row["token"]
            assert len(row["top_logprobs"]) == 3
            likely = [top["logprob"] for top in row["top_logprobs"]]
            assert likely == sorted(likely, reverse=True)
            assert (row["token"], row["logprob"]) in [(top["token"], top["logprob"]) for top in row["top_logprobs"]]
            assert sum(math.exp(value) for value in likely) < 1
        chunks = await events(client, CHAT, body, **headers)
        assert [row for chunk in chunks[1:] for row in chunk["choices"][0]["logprobs"]["content"]] == rows
        assert chunks[0]["choices"][0]["logprobs"] is None
        bare = await client.post(CHAT, json={**body, "top_logprobs": 0}, headers=headers)
        assert [row["top_logprobs"] for row in bare.json()["choices"][0]["logprobs"]["content"]] == [[]] * 9
        for more in ({"logprobs": False, "top_logprobs": None}, {"tools": [{"function": {"name": "f"}}]}):
            other = (await client.post(CHAT, json={**body, **more})).json()["choices"][0]
            assert not (other["logprobs"] or {}).get("content")

    through_asgi(call)


@pytest.mark.parametrize("echo", [False, True])
def test_log_probabilities_of_completions_have_offsets_into_the_text(echo: bool) -> None:
    async def call(client: httpx.AsyncClient) -> None:
        body = {"prompt": "Once upon", "max_tokens": 7, "logprobs": 2, "echo": echo}
        headers = {"x-request-id": "l-1"}
        choice = (await client.post(COMPLETIONS, json=body, headers=headers)).json()["choices"][0]
        text, found = choice["text"], choice["logprobs"]
        assert text.startswith("Once upon") is echo
        assert len(found["tokens"]) == len(found["token_logprobs"]) == len(found["top_logprobs"]) == 7
        for token, start in zip(found["tokens"], found["text_offset"], strict=True):
            assert text[start : start + len(token)] == token
        chunks = await events(client, COMPLETIONS, body, **headers)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == text
        for name in found:
            assert [value for chunk in chunks for value in chunk["choices"][0]["logprobs"][name]] == found[name]

    through_asgi(call)


def test_echo_repeats_a_text_and_token_ids_and_adds_no_output_tokens() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        ids = load_tokenizer().encode("a b c")
        for prompt in ("a b c", ids):
            reply = (await client.post(COMPLETIONS, json={"prompt": prompt, "echo": True, "max_tokens": 2})).json()
            assert reply["choices"][0]["text"].startswith("a b c")
            assert reply["usage"]["completion_tokens"] == 2
        chunks = await events(client, COMPLETIONS, {"prompt": ["a b", "c d"], "echo": True, "max_tokens": 2})
        texts = [""] * 2
        for chunk in chunks:
            texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
        assert [text[:3] for text in texts] == ["a b", "c d"]

    lines = through_asgi(call)
    assert lines[2]["chunk_kind"] == "cccco"
