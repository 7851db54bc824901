"""Requests for text through the whole mock: their lengths, what may exceed a limit, and what the engine reports."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from mockserver.cli import read_arguments
from mockserver.http.app import create_app
from tests.support.mock_asgi import through_asgi
from tests.support.mock_protocol import Mock

QUICK = ("--ttft", "2ms", "--tpot", "1ms")
JSON = {"response_format": {"type": "json_object"}}
HELLO = [{"role": "user", "content": "hello"}]


def asked(
    body: dict[str, Any], *flags: str, path: str = "/v1/completions", **headers: str
) -> tuple[httpx.Response, dict[str, Any]]:
    """The answer, and the line of the ledger."""
    answers: list[httpx.Response] = []

    async def call(client: httpx.AsyncClient) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answers.append(await client.post(path, json=body, headers={"x-request-id": "r-1", **named}))

    (line,) = through_asgi(call, *QUICK, *flags)
    return answers[0], line


def length_and_end(body: dict[str, Any], *flags: str, **headers: str) -> tuple[int, str]:
    answer, _ = asked(body, *flags, **headers)
    row = answer.json()
    return row["usage"]["completion_tokens"], row["choices"][0]["finish_reason"]


@pytest.mark.parametrize(
    ("fields", "headers", "tokens", "end"),
    [
        ({"max_tokens": 10}, {}, 10, "length"),
        ({}, {}, 7, "stop"),
        ({"max_tokens": 10}, {"x_mock_output_tokens": "3"}, 3, "stop"),
        ({"max_tokens": 10}, {"x_mock_output_tokens": "10"}, 10, "length"),
        ({"max_tokens": 10}, {"x_mock_output_tokens": "20"}, 10, "length"),
        ({}, {"x_mock_output_tokens": "20"}, 20, "stop"),
        ({"max_tokens": 3}, {"x_mock_fault": "length:more=5"}, 8, "length"),
        ({"max_tokens": 1}, {}, 1, "length"),
    ],
)
def test_a_text_is_as_long_as_it_is_asked_for(
    fields: dict[str, Any], headers: dict[str, str], tokens: int, end: str
) -> None:
    assert length_and_end({"prompt": "hello", **fields}, "--output-tokens", "7", **headers) == (tokens, end)


@pytest.mark.parametrize(
    ("fields", "headers", "tokens", "end"),
    [
        ({"max_tokens": 40}, {}, 12, "stop"),
        ({}, {}, 12, "stop"),
        ({"max_tokens": 40, "ignore_eos": True}, {}, 40, "stop"),
        ({"max_tokens": 40, "min_tokens": 20}, {}, 20, "stop"),
        ({"max_tokens": 40, "min_tokens": 5}, {}, 12, "stop"),
        ({"max_tokens": 12}, {}, 12, "stop"),
        ({"max_tokens": 20}, {"x_mock_fault": "length:more=5"}, 25, "stop"),
        ({"max_tokens": 40}, {"x_mock_output_tokens": "30"}, 30, "stop"),
    ],
)
def test_a_document_ends_itself_unless_more_is_asked_for(
    fields: dict[str, Any], headers: dict[str, str], tokens: int, end: str
) -> None:
    assert length_and_end({"prompt": "hello", **JSON, **fields}, "--output-tokens", "12", **headers) == (tokens, end)


def test_reasoning_comes_before_a_document_and_counts() -> None:
    flags = ("--output-tokens", "20", "--reasoning-tokens", "5")
    body = {"messages": HELLO, **JSON, "max_tokens": 40}
    answer, line = asked(body, *flags, path="/v1/chat/completions")
    usage = answer.json()["usage"]
    assert usage["completion_tokens"] == line["planned"]["output_tokens"] == 20
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 5}
    json.loads(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("prompt", "asks", "tokens"),
    [(60, 4, 4), (60, 5, None), (63, None, 1), (64, None, None), (63, 1, 1), (64, 1, None)],
)
def test_a_prompt_and_its_reply_fit_into_the_context_to_the_last_token(
    prompt: int, asks: int | None, tokens: int | None
) -> None:
    body = {"prompt": [5] * prompt, **({} if asks is None else {"max_tokens": asks})}
    answer, line = asked(body, "--max-model-len", "64", "--output-tokens", "30")
    if tokens is not None:
        assert answer.json()["usage"] == {
            "prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens,
        }  # fmt: skip
        return
    assert (answer.status_code, line["status"]) == (400, 400)
    wanted = 1 if asks is None else asks
    assert answer.json()["error"]["message"].startswith(
        f"This model's maximum context length is 64 tokens. However, you requested {wanted} output tokens and your prompt "
        f"contains {prompt} input tokens, for a total of {prompt + wanted} tokens."
    )


@pytest.mark.parametrize("prompt", ["hello", [5, 6, 7]])
def test_a_completion_that_repeats_its_prompt_begins_with_it(prompt: Any) -> None:
    plain, echoed = (asked({"prompt": prompt, "max_tokens": 3, "echo": echo})[0].json() for echo in (False, True))
    text, whole = plain["choices"][0]["text"], echoed["choices"][0]["text"]
    assert whole.endswith(text)
    assert len(whole) > len(text)
    assert whole == "hello" + text or prompt != "hello"
    assert plain["usage"] == echoed["usage"]


def test_all_prompts_count_and_each_has_its_choices() -> None:
    one = asked({"prompt": "hello", "max_tokens": 3})[0].json()["usage"]["prompt_tokens"]
    answer, line = asked({"prompt": ["hello", "hello", [5, 6]], "n": 2, "max_tokens": 3})
    row = answer.json()
    assert [choice["index"] for choice in row["choices"]] == [0, 1, 2, 3, 4, 5]
    assert row["usage"]["prompt_tokens"] == line["input_tokens"] == 2 * one + 2
    assert row["usage"]["completion_tokens"] == 18
    assert len({choice["text"] for choice in row["choices"]}) == 6


def test_the_engine_reports_its_times_of_a_planned_reply() -> None:
    body = {"prompt": [5], "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}}
    flags = ("--reply-details", "metrics", "--reply-details", "timings")
    usages: list[dict[str, Any]] = []

    async def main() -> None:
        app = create_app(read_arguments([*QUICK, *flags]))
        async with app.router.lifespan_context(app):
            answer, _ = await Mock(app).ask("/v1/completions", json.dumps(body).encode(), {})
            chunks = [line[6:] for line in answer.decode().splitlines() if line.startswith("data: {")]
            usages.append(json.loads(chunks[-1]))

    asyncio.run(main())
    assert usages[0]["metrics"] == {
        "time_to_first_token_ms": 2.0, "generation_time_ms": 2.0, "queue_time_ms": 0.0, "mean_itl_ms": 1.0,
        "tokens_per_second": 750.0,
    }  # fmt: skip
    assert (usages[0]["timings"]["prompt_ms"], usages[0]["timings"]["predicted_ms"]) == (2.0, 2.0)


@pytest.mark.parametrize("stream", [True, False])
def test_each_input_token_takes_its_time_if_it_is_configured(stream: bool) -> None:
    flags = ("--ttft-per-input-token", "10us")
    for prompt, tokens in (([5] * 50, 50), ("hello", 1)):
        _, line = asked({"prompt": prompt, "max_tokens": 2, "stream": stream}, *flags)
        assert line["planned"]["ttft_ns"] == 2_000_000 + tokens * 10_000
    _, line = asked({"prompt": [[5] * 50, [5] * 70], "max_tokens": 2, "stream": stream}, *flags)
    assert (line["input_tokens"], line["planned"]["ttft_ns"]) == (
        120,
        2_500_000,
    )  # The plan is that of the first choice.


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/tokenize", "prompt"),
        ("/v1/embeddings", "input"),
        ("/v1/completions", "prompt"),
        ("/tokenize", "messages"),
        ("/v1/chat/completions", "messages"),
    ],
)
def test_a_text_of_too_many_characters_is_refused_before_it_is_counted(path: str, field: str) -> None:
    text = "x" * 200_000
    body = {field: text} if field != "messages" else {"messages": [{"role": "user", "content": text}]}
    answers: list[httpx.Response] = []

    async def call(client: httpx.AsyncClient) -> None:
        answers.append(await client.post(path, json=body))

    through_asgi(call, *QUICK, "--max-model-len", "64")
    message = answers[0].json()["error"]["message"]
    assert (answers[0].status_code, message[:11]) == (400, "You passed ")
    assert "the model's context length is only 64 tokens" in message


@pytest.mark.parametrize("fault", ["garble:after=0,tokens=9", "batch_dependent"])
def test_a_fault_of_the_answer_strikes_the_first_choice_alone(fault: str) -> None:
    body = {"prompt": "hello", "n": 3, "max_tokens": 3}
    plain, struck = (asked(body, **headers)[0].json()["choices"] for headers in ({}, {"x_mock_fault": fault}))
    assert plain[0]["text"] != struck[0]["text"]
    assert plain[1:] == struck[1:]
