"""Histories that the server keeps: the content of each request, the response that it continues, and lost responses."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.endpoints import ENDPOINTS, encode
from bench.endpoints.failure import is_lost_response
from bench.endpoints.interface import BodyOptions
from bench.records import Outcome
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading
from bench.workload import Continuation, Request
from bench.workload.turns import Conversations, History
from promptset.answers import Answer, ToolCall
from promptset.sessions import Session, Turn, read_session
from tests.support.dialect_streams import CREATED, ended, framed, part, usage

OPTIONS = BodyOptions(endpoint="responses", model="m")
ROW: dict[str, Any] = {
    "session": "s",
    "system": "Be brief.",
    "tools": [{"type": "function", "function": {"name": "read"}}],
    "turns": [
        {"id": "a", "content": "one", "answer": "x"},
        {"results": ["of a", "of b"]},
        {"content": "a sub-agent's", "continues": None, "after": ["a"],
         "opening": [{"role": "developer", "content": "Find."}, {"role": "user", "content": "before"}]},
        {"content": "another way", "continues": "a", "after": ["a"]},
    ],
}  # fmt: skip


def told(answers: dict[int, Answer], turn: int, row: dict[str, Any] = ROW) -> tuple[dict[str, Any], Request]:
    made = Conversations(
        iter([read_session(row, "x")]), lambda sample: encode(sample, OPTIONS), "run", History(True, stored=True)
    )
    conversation = made.begin()
    for number, answer in answers.items():
        request = made.request(conversation, number, "run")
        assert request.on_answer is not None
        request.on_answer(answer)
        conversation.answered(number)
    request = made.request(conversation, turn, "run")
    return orjson.loads(request.body), request


def test_the_first_turn_brings_all_there_is() -> None:
    body, request = told({}, 0)
    assert (body["input"], body["instructions"], body["store"]) == (
        [{"role": "user", "content": "one"}], "Be brief.", True,
    )  # fmt: skip
    assert "previous_response_id" not in body
    assert request.continuation == Continuation(conversation="0.0", last=False, stored=True)


def test_a_later_turn_says_only_what_is_new() -> None:
    called = Answer(content="so", tool_calls=(ToolCall("c1", "read"), ToolCall("c2", "read")), response_id="resp_a")
    body, request = told({0: called}, 1)
    assert body["previous_response_id"] == "resp_a"
    assert body["input"] == [
        {"type": "function_call_output", "call_id": "c1", "output": "of a"},
        {"type": "function_call_output", "call_id": "c2", "output": "of b"},
    ]
    assert (body["instructions"], len(body["tools"])) == ("Be brief.", 1)
    assert request.continuation == Continuation(conversation="0.0", last=True, stored=True, previous="resp_a")
    assert request.input_tokens_asked is None


def test_a_turn_goes_on_with_the_latest_response_of_its_own_conversation() -> None:
    row = {"turns": [{"content": "a"}, {"content": "other", "continues": None}, {"content": "b", "continues": "1"},
                     {"content": "c"}]}  # fmt: skip
    answers = {number: Answer(response_id=f"resp_{number}") for number in range(3)}
    assert told(answers, 3, row)[0]["previous_response_id"] == "resp_2"
    assert told({0: answers[0], 1: answers[1]}, 2, row)[0]["previous_response_id"] == "resp_0"


def test_a_branch_goes_on_with_the_same_response_in_a_conversation_of_its_own() -> None:
    body, request = told({0: Answer(content="so", response_id="resp_a")}, 3)
    assert (body["previous_response_id"], body["input"]) == ("resp_a", [{"role": "user", "content": "another way"}])
    assert request.continuation == Continuation(conversation="0.3", last=True, stored=True, previous="resp_a")


def test_a_conversation_of_its_own_begins_with_its_opening() -> None:
    body, request = told({0: Answer(content="so", response_id="resp_a")}, 2)
    assert (body["instructions"], [item["content"] for item in body["input"]]) == (
        "Find.", ["before", "a sub-agent's"],
    )  # fmt: skip
    assert "previous_response_id" not in body
    assert request.continuation == Continuation(conversation="0.2", last=True, stored=True)


def test_the_lines_of_a_session_leave_branches_to_themselves() -> None:
    session = Session(
        id="s",
        turns=(Turn(content="a"), Turn(content="b"), Turn(content="c", continues=0), Turn(content="d", continues=1)),
    )
    assert session.lines == ((0, False), (0, False), (2, True), (0, True))


VLLM = {"message": "Response with id 'resp_a' not found.", "type": "invalid_request_error", "param": "response_id",
        "code": 404}  # fmt: skip
OPENAI = {"message": "Previous response with id 'resp_a' not found.", "type": "invalid_request_error",
          "param": "previous_response_id", "code": "previous_response_not_found"}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error", "previous", "outcome"),
    [
        (404, VLLM, "resp_a", Outcome.LOST_RESPONSE),
        (400, OPENAI, "resp_a", Outcome.LOST_RESPONSE),
        (404, VLLM, None, Outcome.HTTP_ERROR),
        (404, {"message": "no such model", "code": 404, "param": "model"}, "resp_a", Outcome.HTTP_ERROR),
        (400, {**OPENAI, "code": "context_length_exceeded"}, "resp_a", Outcome.HTTP_ERROR),
        (503, {"message": "busy"}, "resp_a", Outcome.HTTP_ERROR),
    ],
)
def test_a_refusal_of_the_response_to_go_on_with_is_no_other_refusal(
    status: int, error: dict[str, Any], previous: str | None, outcome: Outcome
) -> None:
    exchange = opened(Continuation(conversation="0.0", last=False, stored=True, previous=previous))
    exchange.head(status, "application/json", "", None)
    exchange.feed(orjson.dumps({"error": error}), 3, 3)
    record = exchange.close(4)
    assert (record.outcome, record.status) == (outcome, status)
    assert error["message"] in (record.error or "")
    assert not is_lost_response(b"<html>")
    assert not is_lost_response(b"[1]")


@pytest.mark.parametrize("status", [404, 400])
def test_an_error_event_may_say_it_too(status: int) -> None:
    event = {"type": "error", "status": status, "error": {"code": "previous_response_not_found", "message": "gone"}}
    record = read([event], Continuation(conversation="0.0", last=False, stored=True, previous="resp_a"))
    assert (record.outcome, record.error) == (Outcome.LOST_RESPONSE, "previous_response_not_found: gone")
    other = read([{**event, "error": {"code": "server_error", "message": "gone"}}], None)
    assert other.outcome is Outcome.STREAM_ERROR


@pytest.mark.parametrize(
    ("last", "stored", "outcome"), [(False, True, "lost_response"), (True, True, "ok"), (False, False, "ok")]
)
def test_a_reply_without_an_id_cannot_be_gone_on_with(last: bool, stored: bool, outcome: str) -> None:
    end = ended(usage=usage(1))
    del end["response"]["id"]
    events = [part("output_text", "a"), end]
    assert read(events, Continuation(conversation="0.0", last=last, stored=stored)).outcome == outcome
    assert (
        read([CREATED, *events[:1], ended(usage=usage(1))], Continuation(conversation="0.0", last=False)).outcome
        == "ok"
    )


def opened(continuation: Continuation | None) -> Exchange:
    request = Request(
        id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None,
        continuation=continuation, on_answer=lambda answer: None,
    )  # fmt: skip
    return Exchange(request, 1, 1, Reading(endpoint=ENDPOINTS["responses"]), clock="user")


def read(events: list[dict[str, Any]], continuation: Continuation | None) -> Any:
    exchange = opened(continuation)
    exchange.head(200, "text/event-stream", "", None)
    exchange.feed(framed(events), 3, 3)
    return exchange.close(4)


@pytest.mark.parametrize(
    ("message", "previous", "told"),
    [
        ("llama.cpp does not support 'previous_response_id'.", "resp_1", True),
        ("llama.cpp does not support 'previous_response_id'.", None, False),
        ("max_output_tokens is too large", "resp_1", False),
    ],
)
def test_a_server_that_stores_no_responses_is_told_from_other_refusals(
    message: str, previous: str | None, told: bool
) -> None:
    exchange = opened(Continuation(conversation="0.0", last=False, stored=True, previous=previous))
    exchange.head(400, "application/json", "", None)
    body = {"error": {"code": 400, "message": message, "type": "invalid_request_error"}}
    exchange.feed(orjson.dumps(body), 3, 3)
    record = exchange.close(4)
    assert record.outcome is Outcome.HTTP_ERROR
    assert record.error is not None
    assert message in record.error
    assert ("which --history stored asks for: use --history real" in record.error) is told
