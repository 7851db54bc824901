"""`langchain-openai` against the mock: text, streams, bound tools, structured output, embeddings, errors and retries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from pydantic import BaseModel

from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S

# Imported on use: every test process reads this file, but only one runs its tests. Its models and the libraries under
# it emit warnings, which are not tested here. The import takes seconds, and it uses OpenAI's client, which
# test_mock_openai_client.py and test_mock_openai_features.py test.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.long]


class City(BaseModel):
    """A city."""

    name: str
    people: int


class Server(NamedTuple):
    url: str
    http: httpx.Client
    """Closed at the end; langchain's own is not."""


@pytest.fixture(scope="module")
def mock() -> Iterator[Server]:
    pytest.importorskip("langchain_openai", reason="needs langchain-openai: install the extra dev")
    with (
        mock_process("--ttft", "5ms", "--tpot", "1ms", "--embedding-size", "8") as process,
        httpx.Client(timeout=PATIENCE_S) as http,
    ):
        yield Server(process.url, http)


def chat(mock: Server, **options: Any) -> Any:
    given = {"max_retries": 0, "max_tokens": 40, "http_client": mock.http, **options}
    langchain_openai = pytest.importorskip("langchain_openai")

    return langchain_openai.ChatOpenAI(model="mock-model", base_url=f"{mock.url}/v1", api_key="x", **given)


def test_text_whole_and_streamed(mock: Server) -> None:
    reply = chat(mock, max_tokens=6).invoke("hello")
    assert reply.usage_metadata["output_tokens"] == 6
    chunks = list(chat(mock, max_tokens=6, stream_usage=True).stream("hello"))
    assert len([chunk for chunk in chunks if chunk.content]) == 6
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.usage_metadata["output_tokens"] == 6
    assert chat(mock, logprobs=True, max_tokens=3).invoke("hello").response_metadata["logprobs"]["content"]


@pytest.mark.parametrize("stream", [False, True])
def test_bound_tools_are_called_and_then_text_comes(mock: Server, stream: bool) -> None:
    from langchain_core import messages, tools

    @tools.tool  # type: ignore[untyped-decorator, unused-ignore]
    def weather(city: str, days: int) -> str:
        """The weather of a city."""
        return f"sunny in {city} for {days} days"

    bound = chat(mock).bind_tools([weather])
    told = [messages.HumanMessage("What is the weather?")]
    if stream:
        reply = None
        for chunk in bound.stream(told):
            reply = chunk if reply is None else reply + chunk
    else:
        reply = bound.invoke(told)
    assert reply is not None
    (call,) = reply.tool_calls
    assert (call["name"], call["args"].keys()) == ("weather", {"city", "days"})
    told += [reply, weather.invoke(call)]
    assert str(told[-1].content).startswith("sunny in ")
    last = bound.invoke(told)
    assert (last.tool_calls, bool(last.content)) == ([], True)
    assert chat(mock).bind_tools([weather], tool_choice="weather").invoke(told).tool_calls


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output_by_each_of_its_methods(mock: Server, method: str) -> None:
    if method == "json_mode":
        found = chat(mock).with_structured_output(None, method=method).invoke("A city, in JSON.")
        assert isinstance(found, dict)
        return
    assert isinstance(chat(mock).with_structured_output(City, method=method).invoke("A city."), City)


def test_embeddings(mock: Server) -> None:
    # By default it sends token ids of OpenAI's tokenizer, whose file comes from the internet.
    langchain_openai = pytest.importorskip("langchain_openai")

    embed = langchain_openai.OpenAIEmbeddings(
        model="mock-model",
        base_url=f"{mock.url}/v1",
        api_key="x",
        check_embedding_ctx_length=False,
        http_client=mock.http,
    )
    vectors = embed.embed_documents(["a", "b"])
    assert [len(vector) for vector in vectors] == [8, 8]
    assert vectors[0] == embed.embed_query("a")


def test_errors_are_those_of_openai_and_are_tried_again(mock: Server) -> None:
    import openai

    failing = {"x-mock-fault": "503:retry_after=0", "x-request-id": "lc-1"}
    with pytest.raises(openai.InternalServerError):
        chat(mock, max_retries=1, default_headers=failing).invoke("hello")
    lines = [json.loads(line) for line in httpx.get(f"{mock.url}/ledger").text.splitlines()]
    assert [line["attempt"] for line in lines if line["id"] == "lc-1"] == [1, 2]
