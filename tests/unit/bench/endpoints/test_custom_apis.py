"""APIs defined by files: the shipped ones against literal bodies and replies."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from bench.config import resolve
from bench.endpoints import choice
from bench.endpoints.body_template import filled
from bench.endpoints.custom import CustomEndpoint
from bench.endpoints.definition import read_definition, shipped
from bench.endpoints.interface import BodyOptions, ParsedReply, ReadOptions
from bench.endpoints.urls import url_of
from bench.errors import UsageError
from bench.records import Outcome
from bench.transport.lines import LineParser
from bench.transport.sse import SSEParser
from promptset.samples import Sample

CHAT = Sample(
    messages=(
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "Ho"}]},
        {"role": "user", "content": "And?"},
    ),
    output_tokens=5,
)
PROMPT = Sample(prompt="Hi", output_tokens=5)
MINE: dict[str, Any] = {"path": "/talk", "body": {"q": "Ask: {{ prompt }}", "n": "{{ max_tokens }}"}, "reply": "chunks"}


def api(name: str, *, stream: bool = True) -> CustomEndpoint:
    return CustomEndpoint(read_definition(shipped()[name]), stream=stream)


def body_of(name: str, sample: Sample, *, stream: bool = True, model: str | None = "m") -> Any:
    options = BodyOptions(endpoint=name, model=model, stream=stream)
    return orjson.loads(api(name, stream=stream).encode(sample, options).body)


GEMINI_BODY = {
    "contents": [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Ho"}]},
        {"role": "user", "parts": [{"text": "And?"}]},
    ],
    "systemInstruction": {"parts": [{"text": "Be short."}]},
    "generationConfig": {"maxOutputTokens": 5},
}
KSERVE_INPUT = {"name": "text_input", "shape": [1], "datatype": "BYTES", "data": ["Hi"]}
BODIES: list[tuple[str, Sample, Any]] = [
    ("ollama-generate", PROMPT, {"model": "m", "prompt": "Hi", "stream": True, "options": {"num_predict": 5}}),
    ("tgi", PROMPT, {"inputs": "Hi", "parameters": {"max_new_tokens": 5, "details": True, "decoder_input_details": False}}),
    ("triton", PROMPT, {"text_input": "Hi", "max_tokens": 5, "stream": True}),
    ("kserve", PROMPT,
     {"inputs": [KSERVE_INPUT, {"name": "max_tokens", "shape": [1], "datatype": "INT32", "data": [5]}]}),
    ("kserve", Sample(prompt="Hi"), {"inputs": [KSERVE_INPUT]}),
    ("gemini", CHAT, GEMINI_BODY),
    ("gemini", PROMPT,
     {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 5}}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sample", "body"), BODIES)
def test_a_body_is_what_the_api_documents(name: str, sample: Sample, body: Any) -> None:
    assert body_of(name, sample) == body


@pytest.mark.parametrize(
    ("name", "limit"), [("ollama", {"options": {"num_predict": 5}}), ("cohere", {"max_tokens": 5})]
)
def test_messages_go_as_they_are_to_apis_that_take_openais(name: str, limit: dict[str, Any]) -> None:
    assert body_of(name, CHAT) == {"model": "m", "messages": list(CHAT.messages or ()), "stream": True, **limit}


PATHS = {
    "ollama": ("/api/chat", "/api/chat"),
    "ollama-generate": ("/api/generate", "/api/generate"),
    "tgi": ("/generate_stream", "/generate"),
    "triton": ("/v2/models/{model}/generate_stream", "/v2/models/{model}/generate"),
    "kserve": ("/v2/models/{model}/infer", "/v2/models/{model}/infer"),
    "gemini": ("/v1beta/models/{model}:streamGenerateContent?alt=sse", "/v1beta/models/{model}:generateContent"),
    "cohere": ("/v2/chat", "/v2/chat"),
}


def test_every_shipped_file_defines_an_api_with_its_paths() -> None:
    found = {name: (api(name).path, api(name, stream=False).path) for name in shipped()}
    assert found == PATHS


@pytest.mark.parametrize(
    "given", ["http://h:1", "http://h:1/", "http://h:1/v1beta/models/{model}:streamGenerateContent"]
)
def test_the_path_stands_below_the_server_and_a_query_of_it_is_kept(given: str) -> None:
    full = "http://h:1/v1beta/models/{model}:streamGenerateContent?alt=sse"
    assert url_of(given, api("gemini")) == full
    assert url_of(f"{given}?key=1", api("gemini")) == f"{full}&key=1"


def test_the_model_is_in_the_url_where_the_path_names_it() -> None:
    options = BodyOptions(endpoint="gemini", model="m")
    assert api("gemini").encode(PROMPT, options).url_model == "m"
    assert api("gemini").encode(Sample(prompt="Hi", model="own"), options).url_model == "own"
    assert api("cohere").encode(PROMPT, options).url_model is None


@pytest.mark.parametrize(
    ("name", "header"),
    [("gemini", ("x-goog-api-key", "k")), ("cohere", ("authorization", "Bearer k"))],
)
def test_a_key_goes_where_the_api_wants_it(name: str, header: tuple[str, str]) -> None:
    assert api(name).headers("k") == (header,)
    assert api(name).headers(None) == ()


def sse(*events: Any) -> bytes:
    return b"".join(b"data:" + orjson.dumps(event) + b"\n\n" for event in events)


def lines(*rows: Any) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def ollama(field: dict[str, Any], **last: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "2026-01-01T00:00:00.1Z", **field, "done": bool(last), **last}


def said(text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}}


OLLAMA_END = {"done_reason": "length", "prompt_eval_count": 7, "eval_count": 2, "total_duration": 5}


def token(number: int, text: str, **end: Any) -> dict[str, Any]:
    row = {"id": number, "text": text, "logprob": -0.5, "special": False}
    return {"index": number, "token": row, "generated_text": None, "details": None, **end}


def candidate(text: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, **more}], "modelVersion": "m"}


TGI_END = {"finish_reason": "length", "generated_tokens": 2, "input_length": 7, "seed": None}
GEMINI_USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9, "cachedContentTokenCount": 3}
COHERE_END = {"finish_reason": "MAX_TOKENS", "usage": {"tokens": {"input_tokens": 7, "output_tokens": 2}}}
STREAMS: dict[str, tuple[bytes, str]] = {
    # name: the body, the kinds of its chunks. Each reply is "a", " b".
    "ollama": (lines(ollama(said("a")), ollama(said(" b")), ollama(said(""), **OLLAMA_END)), "ccu"),
    "ollama-generate": (
        lines(ollama({"response": "a"}), ollama({"response": " b"}), ollama({"response": ""}, **OLLAMA_END)), "ccu",
    ),
    "tgi": (sse(token(1, "a"), token(2, " b", generated_text="a b", details=TGI_END)), "cc"),
    "triton": (sse({"model_name": "m", "text_output": "a"}, {"model_name": "m", "text_output": " b"}), "cc"),
    "gemini": (sse(candidate("a"), {**candidate(" b", finishReason="MAX_TOKENS"), "usageMetadata": GEMINI_USAGE}), "cc"),
    "cohere": (
        sse({"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant"}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "a"}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": " b"}}}},
            {"type": "content-end", "index": 0}, {"type": "message-end", "delta": COHERE_END}), "ooccou",
    ),
}  # fmt: skip


def read(name: str, body: bytes, size: int | None = None, asked: int | None = 2) -> ParsedReply:
    """The reply of a stream that arrives in pieces of this size."""
    endpoint = api(name)
    parser = LineParser() if endpoint.framing == "lines" else SSEParser()
    reader = endpoint.event_reader(ReadOptions(output_tokens_asked=asked, keep_answer=True))
    step = len(body) if size is None else size
    for events in parser.feed_all([body[at : at + step] for at in range(0, len(body), step)]):
        reader.feed(events)
    unfinished = parser.end()
    if isinstance(parser, LineParser):
        reader.feed(parser.take_last())
    return reader.close(unfinished)


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_however_it_is_cut(name: str, size: int | None) -> None:
    body, kinds = STREAMS[name]
    reply = read(name, body, size)
    assert (reply.problem, reply.text, reply.chunk_kind, reply.output_tokens) == (None, "a b", kinds, 2)
    counted = name != "triton"
    assert (reply.input_tokens, reply.output_tokens_from) == ((7, "usage") if counted else (None, "chunks"))
    assert reply.cached_tokens == (3 if name == "gemini" else None)
    assert reply.chunk_tokens == tuple(1 if kind == "c" else 0 for kind in kinds)


def test_output_tokens_of_gemini_hold_its_reasoning() -> None:
    usage = [{**GEMINI_USAGE, "candidatesTokenCount": so_far, "thoughtsTokenCount": 40} for so_far in (1, 3)]
    first = {**candidate("a"), "usageMetadata": usage[0]}
    reply = read("gemini", sse(first, {**candidate(" b c", finishReason="STOP"), "usageMetadata": usage[1]}), asked=64)
    assert (reply.output_tokens, reply.reasoning_tokens, reply.chunk_tokens) == (43, 40, (41, 2))
    assert (reply.usage_contradiction, reply.problem) == (None, None)


@pytest.mark.parametrize("name", [name for name in STREAMS if name != "triton"])
def test_a_stream_without_its_last_event_is_truncated(name: str) -> None:
    body, _ = STREAMS[name]
    mark = b"\n" if api(name).framing == "lines" else b"\n\n"
    events = body.split(mark)[:-2]
    problem = read(name, mark.join(events) + mark, asked=None).problem
    assert problem is not None
    assert problem.outcome is Outcome.TRUNCATED
    cut = read(name, body[: len(body) - 9], asked=None).problem
    assert cut is not None
    assert cut.outcome is Outcome.TRUNCATED


ERRORS = {
    "ollama": lines(ollama(said("a")), {"error": "model runner has stopped"}),
    "tgi": sse(token(1, "a"), {"error": "model runner has stopped", "error_type": "generation"}),
    "triton": sse({"text_output": "a"}, {"error": "model runner has stopped"}),
    "gemini": sse(
        candidate("a"), {"error": {"code": 503, "message": "model runner has stopped", "status": "UNAVAILABLE"}}
    ),
    "cohere": sse({"type": "message-end", "delta": {"error": "model runner has stopped", "finish_reason": "ERROR"}}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_in_a_stream_is_told_in_its_words(name: str) -> None:
    problem = read(name, ERRORS[name]).problem
    assert problem is not None
    assert problem.outcome is Outcome.STREAM_ERROR
    assert "model runner has stopped" in problem.message


def test_an_end_that_is_no_success_is_an_error() -> None:
    problem = read("gemini", sse(candidate("a", finishReason="SAFETY"))).problem
    assert problem is not None
    assert problem.message == "the reply ended with $.candidates[0].finishReason 'SAFETY'"


@pytest.mark.parametrize("unsaid", ["", "null", False])
@pytest.mark.parametrize(("said_at_the_end", "named"), [("length", "length"), (True, "true"), (2, "2")])
def test_a_reason_may_be_empty_until_the_end_and_need_not_be_a_text(
    unsaid: Any, said_at_the_end: Any, named: str
) -> None:
    paths = {"path": "/talk", "body": {"q": "{{ prompt }}"}, "reply": "lines", "text": "$.text", "finish": "$.why"}
    mine = CustomEndpoint({**paths, "good": [named], "limit": [named]}, stream=True)

    def replied(*events: dict[str, Any]) -> ParsedReply:
        reader = mine.event_reader(ReadOptions(output_tokens_asked=2))
        reader.feed([orjson.dumps(event) for event in events])
        return reader.close()

    begun = {"text": "a", "why": unsaid}
    whole = replied(begun, {"text": "b", "why": said_at_the_end})
    assert (whole.problem, whole.limited) == (None, True)
    cut = replied(begun).problem
    assert cut is not None
    assert cut.outcome is Outcome.TRUNCATED
    failed = replied(begun, {"text": "b", "why": "lost"}).problem
    assert failed is not None
    assert failed.message == "the reply ended with $.why 'lost'"


LAST = {"d": True, "i": 7, "o": 1}


@pytest.mark.parametrize(
    ("events", "outcome", "words"),
    [
        ([{"t": "a", "e": []}, {**LAST, "e": {}}], None, ""),
        ([{"t": "a"}, {"e": True}], Outcome.STREAM_ERROR, "$.e is true"),
        ([{"t": "a"}, LAST, {"t": "b"}], Outcome.MALFORMED, "event 2 comes after the end of the reply: '{"),
        ([{"t": "a"}, LAST, {"x": "b"}, b"[DONE]"], None, ""),
        ([{"t": "a"}, b"[DONE]"], Outcome.TRUNCATED, "without $.d=true"),
        ([{"t": 5}, LAST], Outcome.NO_TOKENS, "no event has a text at $.t or $.r"),
        ([{"t": "a", "i": 7}, {**LAST, "i": 0}], None, ""),
        ([b'\xef\xbb\xbf{"t":"a"}', LAST], None, ""),
    ],
)
def test_what_a_stream_of_an_api_says_and_where(events: list[Any], outcome: Outcome | None, words: str) -> None:
    paths = {"text": "$.t", "reasoning": "$.r", "end": "$.d=true", "error": "$.e", "input_tokens": "$.i"}
    mine = CustomEndpoint({**MINE, "reply": "sse", **paths}, stream=True)
    reader = mine.event_reader(ReadOptions())
    reader.feed([event if isinstance(event, bytes) else orjson.dumps(event) for event in events])
    reply = reader.close()
    assert (None if reply.problem is None else reply.problem.outcome) is outcome
    assert words in ("" if reply.problem is None else reply.problem.message)
    assert outcome is not None or reply.input_tokens == 7


def test_an_event_that_is_no_json_is_malformed() -> None:
    problem = read("ollama", b"<html>\n").problem
    assert problem is not None
    assert problem.outcome is Outcome.MALFORMED


WHOLE: dict[str, Any] = {
    "ollama": ollama(said("a b"), **OLLAMA_END),
    "ollama-generate": ollama({"response": "a b"}, **OLLAMA_END),
    "tgi": {"generated_text": "a b", "details": TGI_END},
    "triton": {"model_name": "m", "text_output": "a b"},
    "kserve": {
        "model_name": "m",
        "outputs": [{"name": "text_output", "datatype": "BYTES", "shape": [1], "data": ["a b"]}],
    },
    "gemini": {**candidate("a b", finishReason="STOP"), "usageMetadata": GEMINI_USAGE},
    "cohere": {"id": "x", "message": {"role": "assistant", "content": [{"type": "text", "text": "a b"}]}, **COHERE_END},
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_reply_is_read(name: str) -> None:
    endpoint = api(name, stream=False)
    reply = endpoint.read_whole(orjson.dumps(WHOLE[name]), ReadOptions(output_tokens_asked=2))
    counted = name not in ("triton", "kserve")
    assert (reply.problem, reply.text, reply.content) == (None, "a b", "a b")
    assert (reply.input_tokens, reply.output_tokens) == ((7, 2) if counted else (None, None))
    none = endpoint.read_whole(b"{}", ReadOptions()).problem
    assert none is not None
    assert none.outcome is Outcome.MALFORMED
    if name != "cohere":
        failed = endpoint.read_whole(b'{"error":"no room"}', ReadOptions()).problem
        assert failed is not None
        assert (failed.outcome, failed.message) == (Outcome.STREAM_ERROR, "no room")


def test_raw_chunks_are_the_text_and_a_character_may_be_cut() -> None:
    endpoint = CustomEndpoint(MINE, stream=True)
    reader = endpoint.event_reader(ReadOptions())
    reader.feed(["é".encode()[:1], "é".encode()[1:] + b"a", b"b"])
    reply = reader.close()
    assert (reply.text if reply.text else reply.chunk_kind, reply.problem) == ("occ", None)
    whole = CustomEndpoint(MINE, stream=False).read_whole("é".encode(), ReadOptions())
    assert (whole.text, whole.problem) == ("é", None)
    assert orjson.loads(endpoint.encode(PROMPT, BodyOptions(endpoint="x", model=None)).body) == {"q": "Ask: Hi", "n": 5}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"error": "no room"}', Outcome.STREAM_ERROR),
        (b'{"answer": 5}', None),
        (b'{"error": ', None),
        (b"\x00\x01\xff", Outcome.MALFORMED),
    ],
)
def test_raw_chunks_may_be_an_error_or_no_text(body: bytes, outcome: Outcome | None) -> None:
    content = {**MINE, "error": "$.error"}
    reader = CustomEndpoint(content, stream=True).event_reader(ReadOptions())
    reader.feed([body[:6], body[6:]])
    problem = reader.close().problem
    assert (None if problem is None else problem.outcome) is outcome
    whole = CustomEndpoint(content, stream=False).read_whole(body, ReadOptions()).problem
    assert outcome is Outcome.MALFORMED or (None if whole is None else whole.outcome) is outcome


def test_a_custom_endpoint_travels_between_processes() -> None:
    endpoint = api("gemini", stream=False)
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint
    assert endpoint != api("gemini")


def test_a_file_is_kept_in_the_configuration_so_that_it_may_go(tmp_path: Path) -> None:
    path = tmp_path / "my-api.yaml"
    path.write_text(yaml.safe_dump(MINE))
    config = resolve({"url": "http://h", "endpoint": str(path)})
    path.unlink()
    assert config.api == MINE
    stored = type(config).stored(config.public())
    assert choice.endpoint_of(stored) == choice.endpoint_of(config)
    assert url_of(config.url, choice.endpoint_of(config)) == "http://h/talk"


def test_an_api_without_streams_is_asked_for_whole_replies() -> None:
    assert resolve({"url": "http://h", "endpoint": "kserve"}).stream is False
    assert resolve({"url": "http://h", "endpoint": "tgi"}).stream is True


def test_tokens_that_a_body_cannot_ask_for_are_not_asked() -> None:
    plain = CustomEndpoint({**MINE, "body": {"q": "{{ prompt }}"}}, stream=True)
    asks = CustomEndpoint({**MINE, "body": {"q": "{{ prompt }}, in {{ max_tokens }} words"}}, stream=True)
    options = BodyOptions(endpoint="mine", model="m")
    assert [each.encode(PROMPT, options).output_tokens_asked for each in (plain, asks)] == [None, 5]


def test_what_is_unknown_is_left_out_with_its_key() -> None:
    template = {"a": "{{ x }}", "b": {"c": "{{ x }}"}, "d": [{"e": "{{ x }}", "f": 1}, "{{ y }}"], "g": {}, "h": []}
    assert filled(template, {"y": 0}) == {"d": [0], "g": {}, "h": []}
    assert filled({"a": "{{ x }}"}, {}) == {}


def test_a_class_of_traffic_goes_to_an_endpoint_of_ours_alone() -> None:
    rows = [{"name": "a", "share": 1, "endpoint": "ollama"}, {"name": "b", "share": 1}]
    with pytest.raises(UsageError, match=r"class a: endpoint: a class has one of chat, .*; a file or a package is for"):
        resolve({"url": "http://h", "mix": {"classes": rows}})
    rows[0]["endpoint"] = "completions"
    config = resolve({"url": "http://h", "endpoint": "ollama", "mix": {"classes": rows}})
    assert choice.endpoint_of(config.classes[0].config).path == "/completions"
    assert choice.endpoint_of(config.classes[1].config).path == "/api/chat"
