"""The official `openai` client against the mock, beyond plain text: tools, structured output, log probabilities, choices,
embeddings, and its own retries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import httpx
import pytest
from pydantic import BaseModel, Field

from tests.support.mock_process import MockProcess, mock_process

if TYPE_CHECKING:  # Imported on use: every test process reads this file, but only one runs its tests.
    import openai
    from openai.types.chat import ChatCompletionMessageParam

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Who is it, and what is the weather there?"}]
MODEL = "mock-model"


class Person(BaseModel):
    name: str
    age: int = Field(ge=18, le=99)
    kind: str | None


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    days: list[int]


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "5ms", "--tpot", "1ms", "--embedding-size", "8") as mock:
        yield mock


@pytest.fixture
def client(mock: MockProcess) -> Iterator[openai.OpenAI]:
    import openai

    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def test_a_structured_output_is_parsed_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Person, max_tokens=60)
    assert isinstance(whole.choices[0].message.parsed, Person)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 60
    with client.chat.completions.stream(model=MODEL, messages=ASK, response_format=Person, max_tokens=60) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert isinstance(final.choices[0].message.parsed, Person)


def test_a_structured_output_that_is_cut_is_the_clients_own_error(client: openai.OpenAI) -> None:
    import openai

    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Person, max_tokens=3)


def test_json_mode_gives_an_object(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model=MODEL, messages=ASK, response_format={"type": "json_object"})
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


@pytest.mark.parametrize("strict", [False, True])
def test_tool_calls_stream_and_their_arguments_are_parsed(client: openai.OpenAI, strict: bool) -> None:
    import openai
    from openai.types.chat import ChatCompletionMessageFunctionToolCall

    tool = openai.pydantic_function_tool(Weather)
    if not strict:
        tool["function"].pop("strict")
        reply = client.chat.completions.create(model=MODEL, messages=ASK, tools=[tool])
        (call,) = reply.choices[0].message.tool_calls or []
        assert isinstance(call, ChatCompletionMessageFunctionToolCall)
        Weather.model_validate_json(call.function.arguments)
        return
    with client.chat.completions.stream(
        model=MODEL, messages=ASK, tools=[tool], extra_headers={"x-mock-tool-calls": "2"}
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert len(done) == len(calls) == 2
    assert all(isinstance(call.function.parsed_arguments, Weather) for call in calls)
    assert final.choices[0].finish_reason == "tool_calls"


def test_a_conversation_goes_from_the_tool_call_to_the_text(client: openai.OpenAI) -> None:
    import openai

    tool = openai.pydantic_function_tool(Weather)
    first = client.chat.completions.create(model=MODEL, messages=ASK, tools=[tool]).choices[0].message
    (call,) = first.tool_calls or []
    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    asked = cast("ChatCompletionMessageParam", first.model_dump(exclude_none=True))
    second = client.chat.completions.create(model=MODEL, messages=[*ASK, asked, result], tools=[tool], max_tokens=5)
    assert second.choices[0].message.tool_calls is None
    assert second.choices[0].message.content


def test_log_probabilities_and_choices_have_their_types(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model=MODEL, messages=ASK, n=2, logprobs=True, top_logprobs=2, max_tokens=4)
    assert [choice.index for choice in reply.choices] == [0, 1]
    for choice in reply.choices:
        assert choice.logprobs is not None
        assert "".join(row.token for row in choice.logprobs.content or []) == choice.message.content
        assert all(len(row.top_logprobs) == 2 for row in choice.logprobs.content or [])
    chunks = list(client.completions.create(model=MODEL, prompt=["a", "b"], n=2, max_tokens=3, stream=True, logprobs=1))
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1, 2, 3}
    assert all(choice.logprobs is not None for chunk in chunks for choice in chunk.choices)


def test_embeddings_come_in_base64_unless_asked_otherwise(client: openai.OpenAI) -> None:
    # The client requests base64 by default and decodes it.
    packed = client.embeddings.create(model=MODEL, input=["a b", "c"])
    plain = client.embeddings.create(model=MODEL, input=["a b", "c"], encoding_format="float")
    assert [row.embedding for row in packed.data] == [row.embedding for row in plain.data]
    short = client.embeddings.create(model=MODEL, input=[1, 2, 3], dimensions=4)
    assert (len(short.data[0].embedding), short.usage.prompt_tokens) == (4, 3)


def test_the_client_tries_again_after_an_error_that_passes(mock: MockProcess) -> None:
    import openai

    with (
        openai.OpenAI(base_url=f"{mock.url}/v1", api_key="x", max_retries=1) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.embeddings.create(
            model=MODEL, input="a", extra_headers={"x-mock-fault": "503:retry_after=0", "x-request-id": "e-1"}
        )
    lines = [json.loads(line) for line in httpx.get(f"{mock.url}/ledger").text.splitlines()]
    assert [(line["attempt"], line["status"]) for line in lines if line["id"] == "e-1"] == [(1, 503), (2, 503)]
