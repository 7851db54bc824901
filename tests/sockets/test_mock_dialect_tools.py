"""Tool calls and JSON in messages and responses, as the official clients read them: valid, as requested, and in the
ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest

from tests.support.mock_process import MockProcess, mock_process

if TYPE_CHECKING:  # Imported on use: every test process reads this file, but only one runs its tests.
    import anthropic
    import openai

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
}
CLOCK = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
SCHEMAS = {"weather": WEATHER, "clock": CLOCK}
ASK: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOLS: Any = [{"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()]
FUNCTIONS: Any = [{"type": "function", "name": name, "parameters": schema} for name, schema in SCHEMAS.items()]


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "5ms", "--tpot", "1ms", "--tool-calls", "2") as mock:
        yield mock


@pytest.fixture
def claude(mock: MockProcess) -> Iterator[anthropic.Anthropic]:
    import anthropic

    with anthropic.Anthropic(base_url=mock.url, api_key="x", max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(mock: MockProcess) -> Iterator[openai.OpenAI]:
    import openai

    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def test_a_stream_of_messages_calls_tools(mock: MockProcess, claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model="mock-model", max_tokens=60, messages=ASK, tools=TOOLS, extra_headers={"x-request-id": "m-1"}
    ) as stream:
        events = [event.type for event in stream]
        message = stream.get_final_message()
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["tool_use", "tool_use"]
    for block in message.content:
        assert block.type == "tool_use"
        jsonschema.validate(block.input, SCHEMAS[block.name])
    line = mock.line_of("m-1")
    assert line["chunk_kind"].count("f") == sum(line["chunk_tokens"]) == message.usage.output_tokens
    assert events.count("input_json") == message.usage.output_tokens - 2
    whole = claude.messages.create(
        model="mock-model", max_tokens=60, messages=ASK, tools=TOOLS, extra_headers={"x-request-id": "m-1"}
    )
    assert [block.to_dict() for block in whole.content] == [
        {key: value for key, value in block.to_dict().items() if value is not None} for block in message.content
    ]


def test_messages_call_what_they_are_told_to(claude: anthropic.Anthropic) -> None:
    def called(choice: Any, messages: Any = ASK) -> list[str]:
        message = claude.messages.create(
            model="mock-model", max_tokens=60, messages=messages, tools=TOOLS, tool_choice=choice
        )
        return [block.name if block.type == "tool_use" else block.type for block in message.content]

    assert called({"type": "none"}) == ["text"]
    assert called({"type": "tool", "name": "clock"}) == ["clock"]
    assert len(called({"type": "any"})) == 2
    assert len(called({"type": "any", "disable_parallel_tool_use": True})) == 1
    use = {"type": "tool_use", "id": "t", "name": "clock", "input": {"zone": "UTC"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "12:00"}
    after = [*ASK, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    assert called({"type": "auto"}, after) == ["text"]


def test_a_stream_of_responses_calls_functions(mock: MockProcess, gpt: openai.OpenAI) -> None:
    asked: Any = {"model": "mock-model", "max_output_tokens": 60, "input": ASK, "tools": FUNCTIONS}
    headers = {"x-request-id": "r-1"}
    with gpt.responses.stream(**asked, extra_headers=headers) as stream:
        events = list(stream)
        response = stream.get_final_response()
    assert [item.type for item in response.output] == ["function_call", "function_call"]
    for item in response.output:
        assert item.type == "function_call"
        jsonschema.validate(json.loads(item.arguments), SCHEMAS[item.name])
    line = mock.line_of("r-1")
    assert response.usage is not None
    assert line["chunk_kind"].count("f") == sum(line["chunk_tokens"]) == response.usage.output_tokens
    deltas = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(deltas) == response.usage.output_tokens - 2
    whole = gpt.responses.create(**asked, extra_headers=headers)
    assert [item.to_dict() for item in whole.output] == [
        {key: value for key, value in item.to_dict().items() if key != "parsed_arguments"} for item in response.output
    ]


def test_responses_call_what_they_are_told_to(gpt: openai.OpenAI) -> None:
    def called(choice: Any, **more: Any) -> list[str]:
        response = gpt.responses.create(
            model="mock-model", max_output_tokens=60, input=ASK, tools=FUNCTIONS, tool_choice=choice, **more
        )
        return [item.name if item.type == "function_call" else item.type for item in response.output]

    assert called("none") == ["message"]
    assert called({"type": "function", "name": "clock"}) == ["clock"]
    assert len(called("required")) == 2
    assert len(called("required", parallel_tool_calls=False)) == 1


def test_json_is_what_its_schema_says(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    import anthropic

    config: Any = {"format": {"type": "json_schema", "schema": WEATHER}}
    message = claude.messages.create(model="mock-model", max_tokens=60, messages=ASK, output_config=config)
    (block,) = message.content
    assert block.type == "text"
    jsonschema.validate(json.loads(block.text), WEATHER)
    text: Any = {"format": {"type": "json_schema", "name": "weather", "schema": WEATHER}}
    for stream in (False, True):
        asked: Any = {"model": "mock-model", "input": ASK, "text": text, "max_output_tokens": 60}
        reply: Any = gpt.responses.create(**asked, stream=stream)
        response = list(reply)[-1].response if stream else reply
        jsonschema.validate(json.loads(response.output_text), WEATHER)
        assert response.status == "completed"
    with pytest.raises(anthropic.BadRequestError, match="schema"):
        claude.messages.create(
            model="mock-model",
            max_tokens=60,
            messages=ASK,
            output_config={"format": {"type": "json_schema", "schema": {"type": "nonsense"}}},
        )


@pytest.mark.parametrize(
    "fault", ["duplicate:after=0", "reorder:after=2", "empty:after=0", "malformed:after=3", "u2028"]
)
def test_faults_strike_calls_too(mock: MockProcess, fault: str) -> None:
    for path, body in (
        ("/v1/messages", {"model": "mock-model", "max_tokens": 40, "messages": ASK, "tools": TOOLS, "stream": True}),
        ("/v1/responses", {"max_output_tokens": 40, "input": ASK, "tools": FUNCTIONS, "stream": True}),
    ):
        name = f"{fault.partition(':')[0]}{path.replace('/', '-')}-1"
        headers = {"x-request-id": name, "x-mock-fault": fault}
        response = httpx.post(mock.url + path, json=body, headers=headers)
        assert response.status_code == 200
        line = mock.line_of(name)
        assert line["bytes_out"] == len(response.content)
        assert response.text.count("data: ") == len(line["write_ns"])
        assert (line["fault"] is None) is (fault == "u2028")
