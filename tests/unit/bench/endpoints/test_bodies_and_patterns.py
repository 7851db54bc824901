"""What bodies take from samples and flags; and which events repeat the previous one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import encode
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.interface import BodyOptions
from promptset.samples import Sample

TOOLS = ({"type": "function", "function": {"name": "f", "parameters": {}}},)
CHOICE: dict[str, Any] = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}


# ---- Bodies --------------------------------------------------------------------------------------------------------


def body(endpoint: str, sample: Sample | None = None, **options: Any) -> dict[str, Any]:
    given = Sample(prompt="hi") if sample is None else sample
    sent: dict[str, Any] = json.loads(encode(given, BodyOptions(endpoint=endpoint, model="m", **options)).body)
    return sent


@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses"])
def test_a_choice_of_tools_is_sent_where_there_are_tools(endpoint: str) -> None:
    chat = ({"role": "user", "content": "hi"},)
    assert "tool_choice" not in body(endpoint, tool_choice="auto")
    assert "tool_choice" not in body(endpoint, Sample(messages=chat, tools=TOOLS))
    assert "tool_choice" in body(endpoint, Sample(messages=chat, tools=TOOLS), tool_choice="auto")


@pytest.mark.parametrize(
    ("endpoint", "limit"), [("chat", "max_tokens"), ("messages", "max_tokens"), ("responses", "max_output_tokens")]
)
def test_extra_fields_win_over_all(endpoint: str, limit: str) -> None:
    extra = {limit: 3, "stream": False, "seed": 7}
    encoded = encode(Sample(prompt="hi", output_tokens=5), BodyOptions(endpoint=endpoint, model="m", extra=extra))
    sent = json.loads(encoded.body)
    assert {name: sent[name] for name in extra} == extra
    assert (encoded.stream, encoded.output_tokens_asked) == (False, 3)
    none = encode(Sample(prompt="hi"), BodyOptions(endpoint=endpoint, model="m", extra={limit: "many"}))
    assert (none.stream, none.output_tokens_asked) == (True, None)
    assert body(endpoint, ignore_eos=True)["ignore_eos"] is True
    assert "ignore_eos" not in body(endpoint)


def test_a_message_of_a_websocket_has_no_stream_and_is_one() -> None:
    encoded = encode(
        Sample(prompt="hi"),
        BodyOptions(endpoint="responses", model="m", websocket=True, stream=False, extra={"background": True}),
    )
    assert json.loads(encoded.body) == {"input": "hi", "model": "m"}
    assert encoded.stream


def test_stored_input_has_instructions_and_goes_on_with_a_response() -> None:
    chat = ({"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"})
    first = body("responses", Sample(messages=chat, stored=True))
    assert (first["store"], first["instructions"], first["input"]) == (
        True,
        "be brief",
        [{"role": "user", "content": "hi"}],
    )
    assert "previous_response_id" not in first
    later = body("responses", Sample(messages=chat[1:], stored=True, previous="resp-1"))
    assert (later["store"], later["previous_response_id"]) == (True, "resp-1")
    assert "instructions" not in later


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("text", 1), ([], 0), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), (None, 1), ([1, "a"], 2)],
)
def test_a_list_of_numbers_is_one_input(given: Any, inputs: int) -> None:
    encoded = encode(Sample(body={"input": given}), BodyOptions(endpoint="embeddings", model="m"))
    assert encoded.batch is not None
    assert (encoded.batch.inputs, encoded.batch.entries) == (inputs, inputs)


@pytest.mark.parametrize(("dimensions", "asked"), [(256, 256), (0, 0), (-1, None), (True, None), ("256", None)])
def test_dimensions_are_asked_for_where_they_are_a_number(dimensions: Any, asked: int | None) -> None:
    encoded = encode(
        Sample(body={"input": "a", "dimensions": dimensions}), BodyOptions(endpoint="embeddings", model="m")
    )
    assert encoded.batch is not None
    assert encoded.batch.dimensions == asked


# ---- Repeated events -----------------------------------------------------------------------------------------------


def counted(number: object, words: str) -> bytes:
    return f'{{"sequence_number":{number},"delta":"{words}"}}'.encode()


def test_events_whose_number_counts_are_told_by_their_text() -> None:
    template = ContentTemplate(b'"delta":"', counter=b'"sequence_number":')
    assert template.texts([counted(1, "a")]) == []
    template.learn(counted(3, "a"), "a")
    assert template.texts([counted(4, "b"), counted(10, " c"), counted("04", "d"), counted(5, "e")]) == [b"b", b" c"]
    behind = ContentTemplate(b'"delta":"', counter=b'"sequence_number":')
    behind.learn(b'{"delta":"a","sequence_number":3}', "a")
    assert behind.texts([b'{"delta":"b","sequence_number":12}', b'{"delta":"b","sequence_number":"x"}']) == [b"b"]
    # The counter is not followed by a number, so nothing is counted, and only the identical event matches.
    odd = ContentTemplate(b'"delta":"', counter=b'"sequence_number":')
    odd.learn(counted('"x"', "a"), "a")
    assert odd.texts([counted('"x"', "b"), counted('"y"', "c")]) == [b"b"]


def test_an_event_that_cannot_be_a_pattern_is_none() -> None:
    for event, words in ((counted(1, "a") + counted(2, "a"), "a"), (counted(1, "a\\nb"), "a\nb"), (counted(1, "é"), "é"),
                         (b'{"x":1}', "a")):  # fmt: skip
        template = ContentTemplate(b'"delta":"', counter=b'"sequence_number":')
        template.learn(event, words)
        assert not template.learned
    # With two counters, the event itself is the pattern.
    twice = ContentTemplate(b'"delta":"', counter=b'"n":')
    twice.learn(b'{"n":1,"n":2,"delta":"a"}', "a")
    assert twice.texts((b'{"n":1,"n":2,"delta":"b"}', b'{"n":1,"n":3,"delta":"b"}')) == [b"b"]
