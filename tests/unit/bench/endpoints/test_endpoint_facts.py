"""What each endpoint declares, what its bodies take from a sample, and which events the fast path reads."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from bench.endpoints import ENDPOINTS, content_template, event_stream
from bench.endpoints.completions import Completions
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.failure import _is_ordinary
from bench.endpoints.inputs import finite
from bench.endpoints.interface import BodyOptions, Problem, ReadOptions, put_own
from bench.endpoints.multipart import CONTENT_TYPE
from bench.endpoints.urls import endpoint_url, metrics_url, models_url
from bench.records import Outcome
from promptset.samples import Sample

CHOICE: dict[str, Any] = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}


# ---- Declarations --------------------------------------------------------------------------------------------------


FACTS: dict[str, tuple[Any, ...]] = {
    # path, takes messages, inputs instead of text, usage only on request, tokens of the probe, variable of the key
    "chat": ("/chat/completions", True, None, True, 4, "OPENAI_API_KEY"),
    "completions": ("/completions", False, None, True, 4, "OPENAI_API_KEY"),
    "messages": ("/messages", True, None, False, 4, "ANTHROPIC_API_KEY"),
    "responses": ("/responses", True, None, False, 16, "OPENAI_API_KEY"),
    "embeddings": ("/embeddings", False, "texts", False, 4, "OPENAI_API_KEY"),
    "rerank": ("/rerank", False, "documents", False, 4, "OPENAI_API_KEY"),
    "tei-rerank": ("/rerank", False, "documents", False, 4, "OPENAI_API_KEY"),
    "transcriptions": ("/audio/transcriptions", False, None, True, 4, "OPENAI_API_KEY"),
    "speech": ("/audio/speech", False, "utterances", False, 4, "OPENAI_API_KEY"),
    "realtime": ("/realtime?model={model}", False, None, False, 4, "OPENAI_API_KEY"),
    "images": ("/images/generations", False, "images", False, 4, "OPENAI_API_KEY"),
    "http": ("", False, "requests", False, 4, "TRUELOAD_API_KEY"),
}


def test_each_endpoint_has_its_facts() -> None:
    assert list(FACTS) == list(ENDPOINTS), "FACTS needs a row for each endpoint, in the order of ENDPOINTS"


@pytest.mark.parametrize(("name", "facts"), FACTS.items(), ids=FACTS)
def test_what_each_endpoint_says_of_itself(name: str, facts: tuple[Any, ...]) -> None:
    one = ENDPOINTS[name]
    found = (one.path, one.takes_messages, one.inputs_are, one.usage_on_request, one.probe_tokens, one.key_variable)
    assert found == facts
    assert one.error_message(b"") == "''"


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_a_key_goes_in_the_header_of_its_api_and_without_one_there_is_none(name: str) -> None:
    always = {
        "messages": (("anthropic-version", "2023-06-01"),),
        "transcriptions": (("content-type", CONTENT_TYPE),),
    }
    version = always.get(name, ())
    key = ("x-api-key", "k") if name == "messages" else ("authorization", "Bearer k")
    assert ENDPOINTS[name].headers(None) == version
    assert ENDPOINTS[name].headers("k") == (*version, key)


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_an_error_response_is_told_in_the_servers_words(name: str) -> None:
    assert ENDPOINTS[name].error_message(b'{"error":{"message":"busy"}}') == "busy"
    assert ENDPOINTS[name].error_message(b"busy") == "'busy'"


def test_an_endpoint_of_inputs_has_no_stream() -> None:
    with pytest.raises(AssertionError, match="/rerank has no streams"):
        ENDPOINTS["rerank"].event_reader(ReadOptions())


@pytest.mark.parametrize(
    "url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/messages"]
)
def test_models_and_metrics_are_found_from_every_url_of_a_server(url: str) -> None:
    assert models_url(url) == "http://h:1/v1/models"
    assert metrics_url(url) == "http://h:1/metrics"
    assert endpoint_url(url, "rerank") == "http://h:1/v1/rerank"


def test_metrics_stand_beside_the_root_of_an_api_below_a_path() -> None:
    assert metrics_url("http://h/a/v1") == "http://h/a/metrics"
    assert metrics_url("http://h/v2/rerank") == "http://h/v2/metrics"


# ---- What a body takes from its sample -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "sample", "options", "left", "told"),
    [
        ({}, {}, {}, {"model": "m"}, None),
        ({}, {"priority": 0}, {}, {"priority": 0, "model": "m"}, None),
        ({"priority": 7}, {"priority": 3}, {}, {"priority": 3, "model": "m"}, None),
        ({"model": "own"}, {"model": "s"}, {"keep_models": True}, {"model": "s"}, "s"),
        ({"model": "own"}, {}, {}, {"model": "m"}, None),
        ({"model": "own"}, {}, {"keep_models": True}, {"model": "own"}, "own"),
        ({"model": "own"}, {}, {"model": None}, {"model": "own"}, "own"),
        ({"model": 5}, {}, {"keep_models": True}, {"model": 5}, None),
        ({}, {}, {"keep_models": True}, {"model": "m"}, None),
        ({}, {}, {"model": None}, {}, None),
    ],
)
def test_a_body_has_the_priority_and_the_model_of_its_sample_or_else_the_model_of_the_run(
    body: dict[str, Any], sample: dict[str, Any], options: dict[str, Any], left: dict[str, Any], told: str | None
) -> None:
    given = dict(body)
    assert put_own(given, Sample(**sample), BodyOptions(**{"endpoint": "chat", "model": "m", **options})) == told
    assert given == left


# ---- Answers of completions ----------------------------------------------------------------------------------------


def test_an_answer_of_completions_is_its_text_alone() -> None:
    reader = Completions().event_reader(ReadOptions(keep_answer=True))
    for said in ({"text": "a", "finish_reason": None}, {"text": "", "finish_reason": "stop"}):
        reader.feed([json.dumps({"choices": [{"index": 0, **said}]}).encode()])
    reader.feed([b"[DONE]"])
    answer = reader.close().answer
    assert answer is not None
    assert (answer.content, answer.tool_calls, answer.reasoning) == ("a", (), {})
    whole = Completions().read_whole(
        b'{"choices":[{"text":"a","finish_reason":"stop"}]}', ReadOptions(keep_answer=True)
    )
    assert whole.answer == answer


@pytest.mark.parametrize(("asked", "empty"), [(None, True), (0, False), (1, True), (2, True)])
def test_a_whole_reply_without_text_is_good_where_no_token_was_asked_for(asked: int | None, empty: bool) -> None:
    body = b'{"choices":[{"text":"","finish_reason":"length"}]}'
    problem = Completions().read_whole(body, ReadOptions(output_tokens_asked=asked)).problem
    none = Problem(Outcome.NO_TOKENS, "the reply has no text (finish_reason 'length')")
    assert problem == (none if empty else None)


@pytest.mark.parametrize(
    ("value", "number"), [(0, True), (-1.5, True), (True, False), ("1", False), (None, False), (float("inf"), False)]
)
def test_a_score_is_a_number_that_can_be_compared(value: object, number: bool) -> None:
    assert finite(value) is number


# ---- The fast path -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "ordinary"),
    [
        ({"choices": [CHOICE]}, True),
        ({"choices": [CHOICE], "usage": {}, "object": "chat.completion.chunk"}, True),
        ({"choices": [{"text": "a"}]}, True),
        ({"choices": [{"delta": {}}]}, True),
        ({"choices": [], "usage": {}}, True),
        ({"choices": []}, False),
        ({"choices": [], "usage": None}, False),
        ({"choices": None}, False),
        ({"choices": [CHOICE, CHOICE]}, False),
        ({"choices": ["a"]}, False),
        ({"choices": [{"message": {"content": "a"}}]}, False),
        ({"choices": [{"delta": {}, "error": None}]}, False),
        ({"choices": [{"delta": {"error": None}}]}, False),
        ({"choices": [{"delta": "a"}]}, False),
        ({"choices": [CHOICE], "object": "error"}, False),
        ({"choices": [{"text": "a"}], "object": "error"}, False),
        *(
            ({"choices": [CHOICE], name: None}, False)
            for name in ("error", "message", "code", "type", "status", "x_groq")
        ),
    ],
)
def test_what_needs_no_closer_look_is_one_choice_or_usage_and_nothing_that_errors_have(
    event: dict[str, Any], ordinary: bool
) -> None:
    assert _is_ordinary(event) is ordinary


def text_event(endpoint: str, words: str) -> bytes:
    events: dict[str, Any] = {
        "chat": {"choices": [{"index": 0, "delta": {"content": words}, "finish_reason": None}]},
        "completions": {"choices": [{"index": 0, "text": words, "finish_reason": None}]},
        "messages": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}},
        "responses": {
            "type": "response.output_text.delta",
            "item_id": "i",
            "output_index": 0,
            "content_index": 0,
            "delta": words,
            "logprobs": [],
            "obfuscation": "o",
            "sequence_number": len(words),
        },
    }
    return json.dumps(events[endpoint], separators=(",", ":")).encode()


@pytest.mark.parametrize("endpoint", ["chat", "completions", "messages", "responses"])
def test_two_events_of_text_are_read_as_json_and_those_that_look_like_them_are_not(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []

    class Noted:
        JSONDecodeError = orjson.JSONDecodeError

        @staticmethod
        def loads(data: bytes) -> object:
            seen.append(data)
            return orjson.loads(data)

    monkeypatch.setattr(event_stream, "orjson", Noted)
    reader = ENDPOINTS[endpoint].event_reader(ReadOptions(keep_answer=True))
    reader.feed([text_event(endpoint, "~" * n) for n in range(1, 40)])
    reader.feed([text_event(endpoint, "^" * n) for n in range(1, 9)])
    # An event that is no piece of text is read as JSON, and so are the events that come with it.
    ping = b'{"type":"ping","choices":[]}'
    reader.feed([ping, text_event(endpoint, "|"), ping, ping])
    reader.feed([text_event(endpoint, "^")])
    assert [(data.count(b"~"), data.count(b"^"), data.count(b"|")) for data in seen] == [(1 + 2, 0, 0), (0, 0, 1)]
    reply = reader.close()
    assert reply.chunk_kind == "c" * 47 + "ocooc"
    assert reply.text == "~" * sum(range(40)) + "^" * sum(range(9)) + "|^"


@pytest.mark.parametrize("compiled", [True, False])
def test_with_and_without_the_compiled_core_an_event_is_told_in_the_same_way(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(content_template, "core", None)
    template = ContentTemplate(b'"t":"')
    template.learn(b'{"t":"a","n":1}', "a")

    def event(text: bytes, rest: bytes = b'","n":1}') -> bytes:
        return b'{"t":"' + text + rest

    good = [event(b"b"), event(b" !#[]~"), event(b"c")]
    assert template.texts_in_python(good) == template.texts(good) == [b"b", b" !#[]~", b"c"]
    for other in (event(b'a"b'), event(b"a\\nb"), event(b""), event("é".encode()), event(b"a", b'","n":2}'),
                  b'{"u":"a","n":1}', b'{"t":"}'):  # fmt: skip
        assert template.texts_in_python([good[0], other, good[1]]) == [b"b"]
        assert template.texts([good[0], other, good[1]]) == [b"b"]
