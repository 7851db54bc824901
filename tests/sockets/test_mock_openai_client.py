"""The official `openai` client against the mock: streaming, whole, usage, and each error as its typed exception."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import httpx
import pytest

from mockserver.faults import ArrivalFacts, parse_rule
from mockserver.plans.plan import draw_faults
from promptset.tokens import load_tokenizer
from tests.support.mock_process import MockProcess, mock_process

if TYPE_CHECKING:  # Imported on use: every test process reads this file, but only one runs its tests.
    import openai
    from openai.types.chat import ChatCompletionMessageParam

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me something."}]


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "5ms", "--tpot", "1ms", "--api-key", "right", "--max-model-len", "2000") as mock:
        yield mock


@pytest.fixture
def client(mock: MockProcess) -> Iterator[openai.OpenAI]:
    import openai

    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="right", max_retries=0) as client:
        yield client


def test_a_chat_stream_has_as_many_tokens_as_it_says(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="mock-model", messages=HELLO, stream=True, max_tokens=40, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(texts) == 40
    assert chunks[-2].choices[0].finish_reason == "length"
    usage = chunks[-1].usage
    tokenizer = load_tokenizer()
    assert usage is not None
    assert usage.completion_tokens == 40 == tokenizer.count_plain(["".join(texts)])[0]
    assert usage.prompt_tokens == tokenizer.count_chat([dict(message) for message in HELLO])
    assert usage.total_tokens == usage.prompt_tokens + 40
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_a_chat_stream_without_usage_has_none(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="mock-model", messages=HELLO, stream=True, max_tokens=3))
    assert all(chunk.usage is None for chunk in chunks)
    assert len(chunks) == 4


def test_continuous_usage_is_on_every_chunk(client: openai.OpenAI) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    stream = client.chat.completions.create(
        model="mock-model", messages=HELLO, stream=True, max_tokens=3, extra_body={"stream_options": options}
    )
    counts = [chunk.usage.completion_tokens for chunk in stream if chunk.usage is not None]
    assert counts == [0, 1, 2, 3, 3]


def test_a_whole_chat_reply_has_text_and_usage(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="mock-model", messages=HELLO, max_completion_tokens=12)
    text = reply.choices[0].message.content
    assert text is not None
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 12 == load_tokenizer().count_plain([text])[0]
    assert (reply.object, reply.choices[0].finish_reason) == ("chat.completion", "length")


def test_the_server_chooses_the_length_where_the_request_does_not(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="mock-model", messages=HELLO)
    assert reply.usage is not None
    assert (reply.usage.completion_tokens, reply.choices[0].finish_reason) == (128, "stop")


def test_completions_stream_and_whole(client: openai.OpenAI) -> None:
    prompt = "Once upon a time"
    chunks = list(
        client.completions.create(
            model="mock-model", prompt=prompt, max_tokens=9, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 9 == load_tokenizer().count_plain([text])[0]
    assert chunks[-1].usage.prompt_tokens == load_tokenizer().count(prompt)
    whole = client.completions.create(model="mock-model", prompt=[1, 2, 3], max_tokens=9)
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == 3


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["mock-model"]


def test_a_wrong_key_is_an_authentication_error(mock: MockProcess) -> None:
    import openai

    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="mock-model", messages=HELLO)
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_a_wrong_model_is_not_found(client: openai.OpenAI) -> None:
    import openai

    with pytest.raises(
        openai.NotFoundError, match=r"`gpt-x` does not exist\. This server has one model: `mock-model`\."
    ):
        client.chat.completions.create(model="gpt-x", messages=HELLO)


def test_what_does_not_fit_into_the_context_is_a_bad_request(client: openai.OpenAI) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="maximum context length is 2000 tokens"):
        client.chat.completions.create(model="mock-model", messages=HELLO, max_tokens=1999)
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.completions.create(model="mock-model", prompt="word " * 3000)


def test_a_long_prompt_that_fits_is_answered_as_far_as_the_context_goes(client: openai.OpenAI) -> None:
    prompt = "word " * 1900
    tokens = load_tokenizer().count(prompt)
    reply = client.completions.create(model="mock-model", prompt=prompt)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == tokens
    assert reply.usage.completion_tokens == 2000 - tokens
    assert reply.choices[0].finish_reason == "length"


ERRORS = [
    ("400", "BadRequestError"),
    ("401", "AuthenticationError"),
    ("404", "NotFoundError"),
    ("429:retry_after=7", "RateLimitError"),
    ("500", "InternalServerError"),
    ("503", "InternalServerError"),
]


@pytest.mark.parametrize(("fault", "exception"), ERRORS)
@pytest.mark.parametrize("stream", [True, False])
def test_each_refusal_is_its_typed_exception(client: openai.OpenAI, fault: str, exception: str, stream: bool) -> None:
    import openai

    refused: type[openai.APIStatusError] = getattr(openai, exception)
    with pytest.raises(refused) as caught:
        client.chat.completions.create(
            model="mock-model", messages=HELLO, stream=stream, extra_headers={"x-mock-fault": fault}
        )
    assert caught.value.status_code == int(fault[:3])
    assert caught.value.response.headers.get("retry-after") == {"429": "7", "503": "1"}.get(fault[:3])


def test_an_error_in_the_stream_is_an_api_error_after_the_tokens(client: openai.OpenAI) -> None:
    import openai

    stream = client.chat.completions.create(
        model="mock-model",
        messages=HELLO,
        stream=True,
        max_tokens=9,
        extra_headers={"x-mock-fault": "error_in_stream:after=2"},
    )
    assert [bool(next(stream).choices[0].delta.content) for _ in range(3)] == [False, True, True]
    with pytest.raises(openai.APIError, match="engine failed"):
        next(stream)


@pytest.mark.parametrize("fault", ["reset:after=2", "truncate:after=2"])
def test_a_cut_stream_ends_in_an_error(client: openai.OpenAI, fault: str) -> None:
    import openai

    stream = client.chat.completions.create(
        model="mock-model", messages=HELLO, stream=True, max_tokens=9, extra_headers={"x-mock-fault": fault}
    )
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, openai.APIConnectionError)):
        list(stream)


def refused(seed: int, attempt: int) -> bool:
    return bool(draw_faults((parse_rule("429:rate=0.5"),), seed, 7, attempt, ArrivalFacts(index=7)))


def test_the_client_tries_again_after_a_429_and_both_attempts_are_in_the_ledger() -> None:
    import openai

    seed = next(seed for seed in count() if refused(seed, 1) and not refused(seed, 2))
    with mock_process("--ttft", "5ms", "--fault", "429:rate=0.5", "--seed", str(seed)) as mock:
        with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="x", max_retries=1) as client:
            client.chat.completions.create(
                model="mock-model", messages=HELLO, max_tokens=2, extra_headers={"x-request-id": "r-7"}
            )
        lines = mock.ledger_lines(at_least=2)
    assert [(line["id"], line["attempt"], line["status"]) for line in lines] == [("r-7", 1, 429), ("r-7", 2, 200)]
