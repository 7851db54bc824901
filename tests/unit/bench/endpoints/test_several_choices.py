"""Replies with several choices (`n`, several prompts): each choice that began must end, and the texts of all choices
count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import BodyOptions, ReadOptions
from bench.records import Outcome
from promptset.samples import Sample

DONE = b"[DONE]"


def one(endpoint: str, index: int | None, text: str = "", reason: str | None = None) -> dict[str, Any]:
    said = {"text": text} if endpoint == "completions" else {"delta": {"content": text} if text else {}}
    return {**({} if index is None else {"index": index}), **said, "finish_reason": reason}


def stream(endpoint: str, *choices: tuple[int | None, str, str | None], batch: int, **options: Any) -> Any:
    """The reply of a stream with an event for each choice, read in batches of events."""
    reader = ENDPOINTS[endpoint].event_reader(ReadOptions(**options))
    events = [json.dumps({"choices": [one(endpoint, *choice)]}, separators=(",", ":")).encode() for choice in choices]
    events.append(DONE)
    for at in range(0, len(events), batch):
        reader.feed(events[at : at + batch])
    return reader.close()


def texts(*places: int | None) -> list[tuple[int | None, str, str | None]]:
    return [(place, f"word{number} ", None) for number, place in enumerate(places)]


def ends(*places: int | None) -> list[tuple[int | None, str, str | None]]:
    return [(place, "", "stop") for place in places]


OPEN = {
    "in turn": [*texts(0, 1, 0, 1), *ends(0)],
    "one token each": [*texts(0, 1), *ends(0)],
    "the first never ends": [*texts(0, 1, 0, 1), *ends(1)],
    "one behind the other": [*texts(0, 0, 0), *ends(0), *texts(1, 1, 1, 1)],
    "long runs of each": [*texts(*[0] * 9, *[1] * 9, *[0] * 9), *ends(0)],
    "the third": [*texts(0, 1, 2, 0, 1, 2), *ends(0, 1)],
}
WHOLE = {
    "in turn": [*texts(0, 1, 0, 1), *ends(1, 0)],
    "one behind the other": [*texts(0, 0, 0), *ends(0), *texts(1, 1, 1), *ends(1)],
    "one alone": [*texts(0, 0, 0, 0, 0), *ends(0)],
    "an index that is always 5": [*texts(5, 5, 5), *ends(5)],
    "an index that counts the events": [*texts(0, 1, 2, 3, 4), *ends(5)],
    "an index of the texts alone": [*texts(1, 1, 1), *ends(None)],
}


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@pytest.mark.parametrize("name", OPEN)
def test_a_choice_that_began_and_never_ended_makes_the_reply_truncated(name: str, endpoint: str, batch: int) -> None:
    problem = stream(endpoint, *OPEN[name], batch=batch).problem
    assert problem is not None
    assert problem.outcome is Outcome.TRUNCATED
    assert "without a finish reason of choice" in problem.message


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@pytest.mark.parametrize("name", WHOLE)
def test_a_reply_whose_choices_all_ended_is_whole(name: str, endpoint: str, batch: int) -> None:
    assert stream(endpoint, *WHOLE[name], batch=batch).problem is None


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_choice_that_goes_on_between_the_events_of_another_has_to_end(batch: int) -> None:
    # The texts of the first choice are all alike, so most are read without decoding. The second choice never has a
    # text.
    role = {"index": 1, "delta": {"role": "assistant"}, "finish_reason": None}
    choices = [*[one("chat", 0, "word ")] * 3, role, *[one("chat", 0, "word ")] * 3, one("chat", 1, "", "stop")]
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    events = [*(json.dumps({"choices": [choice]}, separators=(",", ":")).encode() for choice in choices), DONE]
    for at in range(0, len(events), batch):
        reader.feed(events[at : at + batch])
    problem = reader.close().problem
    assert problem is not None
    assert problem.message == "the stream ended without a finish reason of choice 0, which had begun"


def test_a_choice_that_came_beside_another_and_never_again_has_to_end() -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    for choices in ([one("chat", 0, "a"), one("chat", 1, "b")], [one("chat", 1, "c")], [one("chat", 1, "", "stop")]):
        reader.feed([json.dumps({"choices": choices}).encode()])
    reader.feed([DONE])
    problem = reader.close().problem
    assert problem is not None
    assert problem.message == "the stream ended without a finish reason of choice 0, which had begun"


def test_a_server_that_names_no_reason_at_all_ends_its_choices_with_the_stream() -> None:
    assert stream("chat", *texts(0, 1, 0, 1), batch=1).problem is None


def test_a_reply_with_all_tokens_that_were_asked_is_whole() -> None:
    assert stream("chat", *OPEN["in turn"], batch=1, output_tokens_asked=4).problem is None
    assert stream("chat", *OPEN["in turn"], batch=1, output_tokens_asked=5).problem is not None


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_the_texts_of_all_choices_of_an_event_count(endpoint: str) -> None:
    reader = ENDPOINTS[endpoint].event_reader(ReadOptions(count=lambda text: len(text.split())))
    for word in ("a ", "b ", "c "):
        choices = [one(endpoint, 0, word), one(endpoint, 1, word)]
        reader.feed([json.dumps({"choices": choices}).encode()])
    reader.feed(
        [json.dumps({"choices": [one(endpoint, 0, "", "stop"), one(endpoint, 1, "", "length")]}).encode(), DONE]
    )
    reply = reader.close()
    assert (reply.text, reply.counted, reply.output_tokens, reply.problem) == ("a a b b c c ", 6, 6, None)


def test_an_event_whose_second_choice_alone_has_text_is_a_token_chunk() -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    ended = {"index": 0, "delta": {}, "finish_reason": "stop"}
    for choices in (
        [one("chat", 0, "a"), one("chat", 1, "b")],
        [ended, one("chat", 1, "c")],
        [one("chat", 1, "", "stop")],
    ):
        reader.feed([json.dumps({"choices": choices}).encode()])
    reader.feed([DONE])
    reply = reader.close()
    assert (reply.chunk_kind, reply.problem) == ("ccoo", None)


@pytest.mark.parametrize(("reason", "outcome"), [("stop", None), (None, Outcome.MALFORMED)])
def test_each_choice_of_a_whole_reply_has_its_text_and_its_end(reason: str | None, outcome: Outcome | None) -> None:
    choices = [
        {"index": at, "message": {"content": f"word{at} "}, "finish_reason": end}
        for at, end in enumerate(["stop", reason])
    ]
    reply = ENDPOINTS["chat"].read_whole(json.dumps({"choices": choices}).encode(), ReadOptions(count=len))
    assert (reply.text, reply.counted) == ("word0 word1 ", 12)
    assert (None if reply.problem is None else reply.problem.outcome) is outcome


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"n": 3}, 30),
        ({"prompt": ["a", "b"]}, 20),
        ({"prompt": [[1, 2], [3]], "n": 2}, 40),
        ({"prompt": [1, 2, 3]}, 10),
        ({"n": None}, 10),
        ({"n": 0}, 10),
        ({"n": True}, 10),
    ],
)
def test_as_many_tokens_are_asked_for_as_all_choices_may_have(body: dict[str, Any], asked: int) -> None:
    sample = Sample(body={"prompt": "a", **body}, output_tokens=10)
    options = BodyOptions(endpoint="completions", model="m")
    assert ENDPOINTS["completions"].encode(sample, options).output_tokens_asked == asked
