"""Events recognised by their bytes give the same result as with JSON, whatever the server writes between them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.endpoints.chat import ChatCompletions
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.interface import ParsedReply, ReadOptions

FIELD = b'"content":"'


def chunk(text: object, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return json.dumps({"id": "x", "choices": [choice], **more}, separators=(",", ":"), ensure_ascii=False).encode()


ERROR = b'{"error":{"message":"out of memory"}}'
TEXTS = st.one_of(
    st.sampled_from(
        [" word", "", '"', "\\", 'a"b', "\u2028", "é", "\\u0041", '","finish_reason":"x', "\x00", '"content":"']
    )
    | st.text(max_size=6)
)
EVENTS = st.one_of(
    TEXTS.map(chunk),
    TEXTS.map(lambda text: chunk(text, usage={"completion_tokens": 3})),
    st.just(b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":9}}'),
    st.just(ERROR),
    st.just(b"[DONE]"),
    st.just(b'{"id":"x","choices":[{"index":0,"delta":{"content":" a" b"},"finish_reason":null}]}'),
    st.just(b'{"id":"x","choices":[{"index":0,"delta":{"content":" \x01"},"finish_reason":null}]}'),
)


def oracle(events: list[bytes]) -> tuple[str, str, bool]:
    """Returns (kinds, text, whether an event is not JSON), event by event, with the json module."""
    kinds, text = "", ""
    for event in events:
        if event == b"[DONE]":
            kinds += "o"
            continue
        try:
            said = json.loads(event)
        except ValueError:
            return kinds.ljust(len(events), "o"), text, True
        choices = said.get("choices")
        content = choices[0]["delta"]["content"] if choices else ""
        kinds += "c" if content else "u" if choices == [] else "o"
        text += content
    return kinds, text, False


def _is_malformed(reply: ParsedReply, events: list[bytes]) -> bool:
    """Whether an event was not JSON, if this shows: a reported server error takes precedence."""
    if ERROR in events:
        return oracle(events)[2]
    return reply.problem is not None and "is not JSON" in reply.problem.message


@given(st.lists(EVENTS, max_size=30), st.integers(1, 30))
def test_a_stream_reads_as_json_reads_it_in_batches_of_any_size(events: list[bytes], size: int) -> None:
    reader = ChatCompletions().event_reader(ReadOptions(count=len))
    for at in range(0, len(events), size):
        reader.feed(events[at : at + size])
    reply = reader.close()
    kinds, text, malformed = oracle(events)
    assert (reply.chunk_kind, reply.text, _is_malformed(reply, events)) == (kinds, text, malformed)


def test_events_that_differ_in_their_text_alone_are_told_without_json() -> None:
    template = ContentTemplate(FIELD)
    template.learn(chunk(" one"), " one")
    assert template.learned
    assert template.texts([chunk(" two"), chunk("3"), chunk('"'), chunk(" four")]) == [b" two", b"3"]


def test_nothing_is_told_before_an_event_was_learned() -> None:
    template = ContentTemplate(FIELD)
    assert template.texts([b"[DONE]", chunk(" one")]) == []


def test_nothing_is_told_that_ends_the_string_or_escapes_in_it() -> None:
    template = ContentTemplate(FIELD)
    template.learn(chunk(" one"), " one")
    for text in ('a"b', "a\\b", "", "é", "\n"):
        assert template.texts([chunk(text)]) == []
    assert template.texts([chunk(" two", usage=None)]) == []


def test_an_event_with_the_field_twice_or_with_an_escaped_text_teaches_nothing() -> None:
    template = ContentTemplate(FIELD)
    template.learn(b'{"content":"a","choices":[{"delta":{"content":"a"}}]}', "a")
    template.learn(chunk('"'), '"')
    assert not template.learned


def counted(text: str, number: object) -> bytes:
    event = {"type": "response.output_text.delta", "sequence_number": number, "delta": text, "logprobs": []}
    return json.dumps(event, separators=(",", ":")).encode()


def test_events_that_are_counted_differ_in_text_and_number_alone() -> None:
    template = ContentTemplate(b'"delta":"', counter=b'"sequence_number":')
    template.learn(counted(" a", 4), " a")
    events = [counted(" b", 5), counted(" c", 123456), counted(" d", 0)]
    assert template.texts(events) == [b" b", b" c", b" d"]
    for other in (counted(" b", "5"), counted(" b", -1), counted(" b", 5.5), counted('a"b', 5), counted("", 5), b"{}"):
        assert template.texts([other, *events]) == []
    number_leads_with_zero = counted(" b", 5).replace(b":5,", b":05,")  # Not valid JSON: the JSON parser reports it.
    assert template.texts([number_leads_with_zero]) == []


def test_no_pattern_is_made_for_a_reply_whose_events_fit_none(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ContentTemplate(b'"delta":"', counter=b'"sequence_number":')
    made: list[bytes] = []
    really = re.compile

    def compiled(pattern: bytes) -> re.Pattern[bytes]:
        made.append(pattern)
        return really(pattern)

    monkeypatch.setattr(re, "compile", compiled)
    for order in ("sequence_number,item_id,delta", "item_id,sequence_number,delta", "item_id,delta,sequence_number"):
        for reply in ("a", "b"):
            kinds = [{"sequence_number": number, "item_id": reply, "delta": "x"} for number in (4, 5)]
            events = [json.dumps({name: kind[name] for name in order.split(",")}).encode() for kind in kinds]
            events = [event.replace(b": ", b":") for event in events]
            assert template.texts(events) == []
            template.learn(events[-1], "x")
            assert template.learned
    assert made == []
    assert template.texts(events) == [b"x", b"x"]
    assert len(made) == 1
