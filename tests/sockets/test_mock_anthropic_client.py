"""The official `anthropic` client against the mock: streams, whole replies, thinking, usage, counts, and each error."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from mockserver.faults import ArrivalFacts, parse_rule
from mockserver.plans.plan import draw_faults
from promptset.tokens import load_tokenizer
from tests.support.mock_process import MockProcess, mock_process

if TYPE_CHECKING:  # Imported on use: every test process reads this file, but only one runs its tests.
    import anthropic

HELLO: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Tell me something."}]
CHAT: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}, *map(dict, HELLO)]
TOOLS: list[anthropic.types.ToolParam] = [
    {
        "name": "weather",
        "description": "The weather of a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process(
        "--ttft", "5ms", "--tpot", "1ms", "--api-key", "right", "--max-model-len", "2000", "--reasoning-tokens", "4"
    ) as mock:
        yield mock


@pytest.fixture
def client(mock: MockProcess) -> Iterator[anthropic.Anthropic]:
    import anthropic

    with anthropic.Anthropic(base_url=mock.url, api_key="right", max_retries=0) as client:
        yield client


def test_a_stream_is_thinking_and_text_and_as_many_tokens_as_it_says(
    mock: MockProcess, client: anthropic.Anthropic
) -> None:
    thinking, text = [], []
    with client.messages.stream(
        model="mock-model", max_tokens=40, messages=HELLO, system="Be brief.", extra_headers={"x-request-id": "s-0"}
    ) as stream:
        for event in stream:
            if event.type == "thinking":
                thinking.append(event.thinking)
            elif event.type == "text":
                text.append(event.text)
        message = stream.get_final_message()
    tokenizer = load_tokenizer()
    assert (len(thinking), len(text)) == (4, 36)
    assert [block.type for block in message.content] == ["thinking", "text"]
    first, second = message.content
    assert first.type == "thinking"
    assert second.type == "text"
    assert (first.thinking, second.text) == ("".join(thinking), "".join(text))
    assert len(first.signature) == 32
    assert message.usage.output_tokens == 40 == tokenizer.count_plain([first.thinking + second.text])[0]
    assert message.usage.input_tokens == tokenizer.count_chat(CHAT)
    assert (message.id, message.role, message.stop_reason, message.model) == (
        "msg_s-0", "assistant", "max_tokens", "mock-model",
    )  # fmt: skip
    line = mock.line_of("s-0")
    assert line["chunk_kind"] == "ro" + "t" * 4 + "ooo" + "c" * 36 + "ouo"
    assert sum(line["chunk_tokens"]) == line["planned"]["output_tokens"] == 40
    assert line["input_tokens"] == message.usage.input_tokens


def test_a_whole_reply_says_the_same_as_the_stream(client: anthropic.Anthropic) -> None:
    asked = {"model": "mock-model", "max_tokens": 20, "messages": HELLO, "extra_headers": {"x-request-id": "w-3"}}
    whole = client.messages.create(**asked)  # type: ignore[call-overload]
    with client.messages.stream(**asked) as stream:  # type: ignore[arg-type]
        streamed = stream.get_final_message()
    assert whole.to_dict(exclude_none=True) == streamed.to_dict(exclude_none=True)


def test_a_stop_sequence_ends_a_reply(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(
        model="mock-model", max_tokens=30, messages=HELLO, extra_headers={"x-request-id": "x-1"}
    )
    words = whole.content[1].text.split(" ")  # type: ignore[union-attr]
    with client.messages.stream(
        model="mock-model",
        max_tokens=30,
        messages=HELLO,
        stop_sequences=[words[5]],
        extra_headers={"x-request-id": "x-1"},
    ) as stream:
        message = stream.get_final_message()
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", words[5])
    assert message.content[1].text == " ".join(words[:5]) + " "  # type: ignore[union-attr]


def test_a_reply_that_ends_by_itself_ends_its_turn(client: anthropic.Anthropic) -> None:
    message = client.messages.create(
        model="mock-model", max_tokens=100, messages=HELLO, extra_headers={"x-mock-output-tokens": "7"}
    )
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 7)


def test_what_a_request_has_is_counted_as_its_reply_says(client: anthropic.Anthropic) -> None:
    asked = {
        "model": "mock-model",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            *HELLO,
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I shall ask."},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Sunny."}]},
        ],
        "tools": TOOLS,
    }
    counted = client.messages.count_tokens(**asked)  # type: ignore[arg-type]
    replied = client.messages.create(max_tokens=5, tool_choice={"type": "none"}, **asked)  # type: ignore[call-overload]
    assert counted.input_tokens == replied.usage.input_tokens
    without = {name: value for name, value in asked.items() if name != "system"}
    assert client.messages.count_tokens(**without).input_tokens < counted.input_tokens  # type: ignore[arg-type]


ERRORS = [
    ("400", "BadRequestError", "invalid_request_error"),
    ("401", "AuthenticationError", "authentication_error"),
    ("403", "PermissionDeniedError", "permission_error"),
    ("404", "NotFoundError", "not_found_error"),
    ("413", "APIStatusError", "request_too_large"),
    ("429:retry_after=7", "RateLimitError", "rate_limit_error"),
    ("500", "InternalServerError", "api_error"),
    ("503", "APIStatusError", "api_error"),
    ("529", "APIStatusError", "overloaded_error"),
]


@pytest.mark.parametrize(("fault", "exception", "kind"), ERRORS)
@pytest.mark.parametrize("stream", [True, False])
def test_each_refusal_is_its_typed_exception(
    client: anthropic.Anthropic, fault: str, exception: str, kind: str, stream: bool
) -> None:
    import anthropic

    refused: type[anthropic.APIStatusError] = getattr(anthropic, exception)
    with pytest.raises(refused) as caught:
        client.messages.create(
            model="mock-model", max_tokens=5, messages=HELLO, stream=stream, extra_headers={"x-mock-fault": fault}
        )
    assert caught.value.status_code == int(fault[:3])
    body: Any = caught.value.body
    assert body == {
        "type": "error",
        "error": {"type": kind, "message": body["error"]["message"]},
    }
    assert caught.value.response.headers.get("retry-after") == {"429": "7", "503": "1"}.get(fault[:3])


def test_a_wrong_key_is_an_authentication_error(mock: MockProcess) -> None:
    import anthropic

    with anthropic.Anthropic(base_url=mock.url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
            client.messages.create(model="mock-model", max_tokens=5, messages=HELLO)
        with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
            client.messages.count_tokens(model="mock-model", messages=HELLO)
    with anthropic.Anthropic(base_url=mock.url, auth_token="right", max_retries=0) as client:
        client.messages.create(model="mock-model", max_tokens=5, messages=HELLO)


def test_what_does_not_fit_or_is_not_there_is_said_in_the_words_of_the_dialect(client: anthropic.Anthropic) -> None:
    import anthropic

    with pytest.raises(anthropic.BadRequestError, match="maximum context length is 2000 tokens"):
        client.messages.create(model="mock-model", max_tokens=1999, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError, match="`claude` does not exist"):
        client.messages.create(model="claude", max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError, match="`claude` does not exist"):
        client.messages.count_tokens(model="claude", messages=HELLO)


def test_an_overload_in_mid_stream_is_an_error_after_the_text(client: anthropic.Anthropic) -> None:
    import anthropic

    stream = client.messages.create(
        model="mock-model",
        max_tokens=9,
        messages=HELLO,
        stream=True,
        extra_headers={"x-mock-fault": "error_in_stream:after=2"},
    )
    seen: list[str] = []
    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
        seen.extend(event.type for event in stream)
    assert seen == ["message_start", "content_block_start", "content_block_delta", "content_block_delta"]
    assert caught.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]


def test_pings_disturb_no_client(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model="mock-model", max_tokens=9, messages=HELLO, extra_headers={"x-mock-fault": "comments;crlf;gzip;empty"}
    ) as stream:
        assert stream.get_final_message().usage.output_tokens == 9


def refused(rule: str, seed: int, attempt: int) -> bool:
    return bool(draw_faults((parse_rule(rule),), seed, 7, attempt, ArrivalFacts(index=7)))


@pytest.mark.parametrize("status", ["429:retry_after=0,", "500:", "529:"])
def test_the_client_tries_again_and_both_attempts_are_in_the_ledger(status: str) -> None:
    import anthropic

    rule = f"{status}rate=0.5"
    seed = next(seed for seed in count() if refused(rule, seed, 1) and not refused(rule, seed, 2))
    with mock_process("--ttft", "5ms", "--tpot", "0ms", "--fault", rule, "--seed", str(seed)) as mock:
        with anthropic.Anthropic(base_url=mock.url, api_key="x", max_retries=1) as client:
            client.messages.create(
                model="mock-model", max_tokens=2, messages=HELLO, extra_headers={"x-request-id": "r-7"}
            )
        lines = mock.ledger_lines(at_least=2)
    assert [(line["attempt"], line["status"]) for line in lines] == [(1, int(status[:3])), (2, 200)]
