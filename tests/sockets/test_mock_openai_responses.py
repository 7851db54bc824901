"""The official `openai` client reads the mock's Responses API: streams event by event, whole replies, and each error."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, get_args

import pytest
from pydantic import TypeAdapter

from mockserver.faults import ArrivalFacts, parse_rule
from mockserver.plans.plan import draw_faults
from promptset.tokens import load_tokenizer
from tests.support.mock_process import MockProcess, mock_process

if TYPE_CHECKING:  # Imported on use: every test process reads this file, but only one runs its tests.
    import openai

HELLO = "Tell me something."
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": HELLO}]


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process(
        "--ttft", "5ms", "--tpot", "1ms", "--api-key", "right", "--max-model-len", "2000", "--reasoning-tokens", "4"
    ) as mock:
        yield mock


@pytest.fixture
def client(mock: MockProcess) -> Iterator[openai.OpenAI]:
    import openai

    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="right", max_retries=0) as client:
        yield client


@functools.cache
def event_type() -> TypeAdapter[Any]:
    from openai.types.responses import ResponseStreamEvent

    return TypeAdapter(get_args(ResponseStreamEvent)[0])


def streamed(client: openai.OpenAI, **more: Any) -> list[Any]:
    events = list(client.responses.create(model="mock-model", input=HELLO, stream=True, **more))
    for event in events:
        # The client itself accepts everything; this rejects missing fields and wrong types.
        event_type().validate_python(event.to_dict())
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events


def test_a_stream_is_reasoning_and_text_and_as_many_tokens_as_it_says(mock: MockProcess, client: openai.OpenAI) -> None:
    events = streamed(client, instructions="Be brief.", max_output_tokens=40, extra_headers={"x-request-id": "s-0"})
    assert [event.type.removeprefix("response.") for event in events] == [
        "created", "in_progress",
        "output_item.added", "content_part.added", *["reasoning_text.delta"] * 4, "reasoning_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", *["output_text.delta"] * 36, "output_text.done",
        "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    reasoning = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    done = events[-1].response
    assert done.output_text == text
    assert done.output[0].content[0].text == reasoning
    tokenizer = load_tokenizer()
    assert done.usage.output_tokens == 40 == tokenizer.count_plain([reasoning + text])[0]
    assert done.usage.output_tokens_details.reasoning_tokens == 4
    assert done.usage.input_tokens == tokenizer.count_chat(CHAT)
    assert (done.id, done.status, done.incomplete_details.reason, done.instructions) == (
        "resp_s-0", "incomplete", "max_output_tokens", "Be brief.",
    )  # fmt: skip
    line = mock.line_of("s-0")
    assert line["chunk_kind"] == "oooo" + "t" * 4 + "ooooo" + "c" * 36 + "ooou"
    assert sum(line["chunk_tokens"]) == line["planned"]["output_tokens"] == 40
    assert line["input_tokens"] == done.usage.input_tokens


def test_the_first_events_go_out_with_the_head_as_those_of_vllm(client: openai.OpenAI) -> None:
    # They arrive long before the first token is due.
    with client.responses.create(
        model="mock-model", input=HELLO, stream=True, extra_headers={"x-mock-ttft": "600s"}
    ) as stream:
        assert [next(stream).type for _ in range(2)] == ["response.created", "response.in_progress"]


def test_a_whole_reply_is_the_last_event_of_the_stream(client: openai.OpenAI) -> None:
    from openai.types.responses import Response

    headers = {"x-request-id": "w-3"}
    whole = client.responses.create(model="mock-model", input=HELLO, max_output_tokens=12, extra_headers=headers)
    Response.model_validate(whole.to_dict())
    last = streamed(client, max_output_tokens=12, extra_headers=headers)[-1].response
    assert {**whole.to_dict(), "created_at": 0} == {**last.to_dict(), "created_at": 0}


def test_the_helper_of_the_client_follows_the_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model="mock-model", input=HELLO, extra_headers={"x-mock-output-tokens": "9"}
    ) as stream:
        for _ in stream:
            pass
        response = stream.get_final_response()
    assert (response.status, response.usage and response.usage.output_tokens) == ("completed", 9)


def test_what_a_request_has_is_counted(client: openai.OpenAI) -> None:
    tool: Any = {
        "type": "function",
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    given: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": HELLO}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Rome."}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "I shall ask.", "annotations": []}]},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Rome"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "Sunny."},
    ]  # fmt: skip
    reply = client.responses.create(
        model="mock-model", input=given, tools=[tool], tool_choice="none", max_output_tokens=5
    )
    function: Any = {name: tool[name] for name in ("name", "description", "parameters")}
    call = {"name": "weather", "arguments": '{"city": "Rome"}'}
    chat: Any = [
        {"role": "user", "content": HELLO},
        {
            "role": "assistant",
            "reasoning": "Rome.",
            "content": "I shall ask.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny."},
    ]
    same: Any = client.chat.completions.create(
        model="mock-model",
        messages=chat,
        tools=[{"type": "function", "function": function}],
        tool_choice="none",
        max_tokens=5,
    )
    assert reply.usage is not None
    assert reply.usage.input_tokens == same.usage.prompt_tokens
    assert reply.tools[0].to_dict() == tool


def test_finish_separate_ends_as_openai_does() -> None:
    import openai

    with (
        mock_process("--ttft", "1ms", "--tpot", "0ms", "--finish", "separate") as mock,
        openai.OpenAI(base_url=f"{mock.url}/v1", api_key="x", max_retries=0) as client,
    ):
        cut = streamed(client, max_output_tokens=3)[-1]
        ended = streamed(client, extra_headers={"x-mock-output-tokens": "3"})[-1]
    assert (cut.type, cut.response.status) == ("response.incomplete", "incomplete")
    assert (ended.type, ended.response.status) == ("response.completed", "completed")


ERRORS = [
    ("400", "BadRequestError"),
    ("401", "AuthenticationError"),
    ("403", "PermissionDeniedError"),
    ("404", "NotFoundError"),
    ("413", "APIStatusError"),
    ("429:retry_after=7", "RateLimitError"),
    ("500", "InternalServerError"),
    ("529", "InternalServerError"),
]


@pytest.mark.parametrize(("fault", "exception"), ERRORS)
@pytest.mark.parametrize("stream", [True, False])
def test_each_refusal_is_its_typed_exception(client: openai.OpenAI, fault: str, exception: str, stream: bool) -> None:
    import openai

    refused: type[openai.APIStatusError] = getattr(openai, exception)
    with pytest.raises(refused) as caught:
        client.responses.create(model="mock-model", input=HELLO, stream=stream, extra_headers={"x-mock-fault": fault})
    assert caught.value.status_code == int(fault[:3])


def test_what_does_not_fit_or_is_not_stored_is_refused(client: openai.OpenAI) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="maximum context length is 2000 tokens"):
        client.responses.create(model="mock-model", input=HELLO, max_output_tokens=1999)
    with pytest.raises(openai.NotFoundError, match="Response with id 'resp_1' not found"):
        client.responses.create(model="mock-model", input=HELLO, previous_response_id="resp_1")
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.create(model="mock-model", input=HELLO, background=True)


def test_a_failure_in_mid_stream_is_said_twice_after_the_text(client: openai.OpenAI) -> None:
    events = streamed(client, max_output_tokens=9, extra_headers={"x-mock-fault": "error_in_stream:after=6"})
    assert [event.type for event in events[-3:]] == ["response.output_text.delta", "error", "response.failed"]
    assert (events[-2].code, events[-1].response.error.code) == ("server_error", "server_error")
    assert (events[-1].response.status, events[-1].response.usage) == ("failed", None)


def test_the_client_tries_again_after_a_429() -> None:
    import openai

    def refused(seed: int, attempt: int) -> bool:
        return bool(draw_faults((parse_rule("429:rate=0.5"),), seed, 7, attempt, ArrivalFacts(index=7)))

    seed = next(seed for seed in count() if refused(seed, 1) and not refused(seed, 2))
    with mock_process("--ttft", "5ms", "--fault", "429:rate=0.5,retry_after=0", "--seed", str(seed)) as mock:
        with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="x", max_retries=1) as client:
            client.responses.create(
                model="mock-model", input=HELLO, max_output_tokens=2, extra_headers={"x-request-id": "r-7"}
            )
        lines = mock.ledger_lines(at_least=2)
    assert [(line["attempt"], line["status"]) for line in lines] == [(1, 429), (2, 200)]
