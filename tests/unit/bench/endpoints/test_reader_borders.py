"""Streams and whole replies at their borders: which calls, ends and pieces form an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.event_stream import MOST_STRAY, most_bytes
from bench.endpoints.interface import OtherLine, Problem, ReadOptions
from bench.endpoints.responses_reader import is_last, items_of, may_end, wrong_end
from bench.records import Outcome
from tests.support.dialect_streams import (
    CREATED,
    MESSAGE_STOP,
    block,
    delta,
    ended,
    framed,
    item,
    message_delta,
    message_start,
    part,
    read,
    response,
    text,
    usage,
)

TOOLS = ({"type": "function", "function": {"name": "f", "parameters": {}}},)
CHOICE: dict[str, Any] = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}


# ---- Streams of chat -----------------------------------------------------------------------------------------------


def chat(*events: Any, lines: tuple[OtherLine, ...] = (), unfinished: bytes = b"", **options: Any) -> Any:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions(**options))
    data = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    reader.feed(data, lines)
    return reader.close(unfinished)


def said(reason: str | None = None, **given: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": given, "finish_reason": reason}]}


def call(place: int | None, call_id: str | None = None, **function: Any) -> dict[str, Any]:
    placed = {} if place is None else {"index": place}
    return {"tool_calls": [{**placed, "id": call_id, "function": function}]}


END = said("stop")
DONE = b"[DONE]"


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ([call(0, "a", name="f"), call(0, None, arguments="{}"), call(1, "b", name="g")], 2),
        ([call(0, "a", name="f"), call(0, "a", arguments="{}")], 1),
        ([call(0, "a", name="f"), call(0, "b", name="g")], 2),  # A server that does not number its calls.
        ([call(0, None, name="f"), call(0, "b", arguments="{}")], 1),
        ([call(0, "a", name="f"), call(0, None, arguments="{"), call(0, "b", name="g")], 2),
        ([call(None, "a", name="f")], 1),
        ([{"function_call": {"name": "f", "arguments": "{}"}}], 1),
        ([{"function_call": "f"}], 0),
    ],
)
def test_calls_are_told_apart_by_place_and_id(deltas: list[dict[str, Any]], calls: int) -> None:
    reply = chat(*(said(**given) for given in deltas), said("tool_calls"), DONE)
    assert reply.tool_calls == calls


def test_calls_of_the_same_place_of_two_choices_are_two() -> None:
    choices = [{"index": at, "delta": call(0, None, name="f", arguments="{}")} for at in (0, 1)]
    ends: list[dict[str, Any]] = [{"index": at, "delta": {}, "finish_reason": "tool_calls"} for at in (0, 1)]
    reply = chat({"choices": choices}, {"choices": ends}, DONE)
    assert (reply.tool_calls, reply.problem) == (2, None)


def test_calls_that_come_with_text_in_one_chunk_are_calls_too() -> None:
    both = {"content": "Let me look.", **call(0, "a", name="f", arguments="{}")}
    more = {"reasoning": "hm", **call(1, "b", name="g", arguments="{}")}
    reply = chat(said(**both), said(**more), said("tool_calls"), DONE, keep_answer=True)
    assert (reply.tool_calls, reply.text, reply.chunk_kind) == (2, "Let me look.f{}hmg{}", "ctoo")
    assert reply.answer is not None
    assert (reply.content, [*reply.answer.reasoning.values()]) == ("Let me look.", ["hm"])
    assert [one.name for one in reply.answer.tool_calls] == ["f", "g"]


def test_calls_are_kept_for_an_answer_alone() -> None:
    for kept in (False, True):
        reader = ENDPOINTS["chat"].event_reader(ReadOptions(keep_answer=kept))
        reader.feed([json.dumps(said(**call(0, "a", name="f", arguments="{}"))).encode(), json.dumps(END).encode()])
        assert len(reader._parts.calls()) == int(kept)  # type: ignore[attr-defined]
        assert reader.close().tool_calls == 1


def test_the_answer_of_a_chat_has_its_calls_and_its_reasoning_in_the_field_it_came_in() -> None:
    reply = chat(
        said(reasoning="hm"), said(reasoning_content="m"), said(content="so"),
        said(**call(0, "a", name="f", arguments='{"x":')), said(**call(0, None, arguments="1}")), said("tool_calls"), DONE,
        keep_answer=True,
    )  # fmt: skip
    assert reply.answer is not None
    message = reply.answer.message(reasoning=True)
    assert (message["content"], message["reasoning"]) == ("so", "hmm")
    (kept,) = message["tool_calls"]
    assert (kept["id"], kept["function"]) == ("a", {"name": "f", "arguments": '{"x":1}'})
    whole = {"choices": [{"message": {"content": "so", "reasoning_content": "hm"}, "finish_reason": "stop"}]}
    read_whole = ENDPOINTS["chat"].read_whole(json.dumps(whole).encode(), ReadOptions(keep_answer=True)).answer
    assert read_whole is not None
    assert read_whole.message(reasoning=True)["reasoning_content"] == "hm"


def test_the_bytes_of_a_text_are_those_of_all_its_pieces() -> None:
    # Ten chunks of 20 bytes, each with a different field, so that no two are alike. 150 tokens are possible.
    events = [{**said(content="x" * 20), "n": n} for n in range(10)]
    counted = {"choices": [], "usage": {"completion_tokens": 150}}
    reply = chat(*events, END, counted, DONE)
    assert (reply.output_tokens, reply.usage_contradiction) == (150, None)
    assert chat(*[said(content="x" * 20)] * 10, END, counted, DONE).output_tokens == 150
    assert [most_bytes("ab"), most_bytes("é"), most_bytes("")] == [2, 4, 0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (OtherLine(None, b"event: error"), Problem(Outcome.STREAM_ERROR, "event: error")),
        (OtherLine(None, b"event: stream_Aborted"), Problem(Outcome.STREAM_ERROR, "event: stream_Aborted")),
        (OtherLine(None, b"event: ping"), None),
        (OtherLine(None, b'error: {"message":"gone"}'), Problem(Outcome.STREAM_ERROR, "gone")),
        (OtherLine(None, b"error:"), Problem(Outcome.STREAM_ERROR, "an error without a message")),
        (OtherLine(None, b'{"error":{"message":"gone"}}'), Problem(Outcome.STREAM_ERROR, "gone")),
        (OtherLine(None, b"odd"), Problem(Outcome.MALFORMED, "the stream has text that is not an event: 'odd'")),
        (OtherLine(None, b"<html><title>x</title>"),
         Problem(Outcome.MALFORMED, "the reply is an HTML page ('x'), not a stream of events")),
    ],
)  # fmt: skip
def test_lines_beside_the_events_say_what_went_wrong(line: OtherLine, problem: Problem | None) -> None:
    assert chat(said(content="a"), END, DONE, lines=(line,)).problem == problem


def test_an_event_that_is_called_an_error_is_one_by_its_number() -> None:
    lines = (OtherLine(1, b"event: error"), OtherLine(0, b"event: message"))
    reply = chat(said(content="a"), {"message": "gone"}, lines=lines)
    assert reply.problem == Problem(Outcome.STREAM_ERROR, "gone")
    # The first error is reported.
    both = chat(
        {"message": "first"},
        {"message": "second"},
        lines=(OtherLine(1, b"event: error"), OtherLine(0, b"event: error")),
    )
    assert both.problem == Problem(Outcome.STREAM_ERROR, "first")


def test_lines_of_no_event_are_kept_up_to_a_limit() -> None:
    lines = [OtherLine(None, b"x" * 9_000)] * 5
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    reader.feed([], lines)
    assert len(reader._stray) == 18_002  # type: ignore[attr-defined]
    full = ENDPOINTS["chat"].event_reader(ReadOptions())
    full.feed([], [OtherLine(None, b"x" * 16_383), OtherLine(None, b"y")])
    assert full._stray == b"x" * 16_383 + b"\n"  # type: ignore[attr-defined]
    long = ENDPOINTS["chat"].event_reader(ReadOptions())
    long.feed([], [OtherLine(None, b"x" * 20_000)] * 2)
    assert len(long._stray) == MOST_STRAY + 1 == 16_385  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("events", "unfinished", "outcome", "words"),
    [
        ([said(content="a"), END, DONE], b"", None, ""),
        ([said(content="a"), END], b"", None, ""),
        ([said(content="a"), END], b"[DONE]", None, ""),
        ([said(content="a"), END], b'{"cho', Outcome.TRUNCATED, "in the middle of an event (5 bytes of it came)"),
        ([said(content="a")], b"", Outcome.TRUNCATED, "the stream ended without [DONE] or a finish reason"),
        ([said(content="a")], b'{"error":"gone"}', Outcome.STREAM_ERROR, "gone"),
        ([said(content="a"), END, DONE, said(content="b")], b"", Outcome.MALFORMED, "event 3 comes after [DONE]"),
        ([said(content="a"), {"id": 1}, END, DONE], b"", Outcome.MALFORMED, "event 1 is not a chunk of a reply"),
        ([said(content="a"), END, DONE, DONE], b"", None, ""),
        ([END, DONE], b"", Outcome.NO_TOKENS, "none of its chunks has text (finish reason 'stop')"),
        ([], b'{"id": 1}\n{"id": 2}\n[DONE]', Outcome.MALFORMED, "no blank line ends an event"),
        ([], b'{\n"id": 1}', Outcome.TRUNCATED, "in the middle of an event (10 bytes of it came)"),
    ],
)
def test_a_stream_of_chat_ends_as_it_should_or_says_why_not(
    events: list[Any], unfinished: bytes, outcome: Outcome | None, words: str
) -> None:
    problem = chat(*events, unfinished=unfinished).problem
    assert (None if problem is None else problem.outcome) == outcome
    assert problem is None or words in problem.message


def test_a_reply_of_which_no_token_was_asked_needs_none_and_one_of_calls_alone_neither() -> None:
    assert chat(END, DONE, output_tokens_asked=0).problem is None
    assert chat(said(**call(0, "a", name="", arguments="")), END, DONE).problem is None
    early = chat(said(content="a"), DONE, output_tokens_asked=2).problem
    assert early == Problem(
        Outcome.TRUNCATED, "the stream ended with [DONE], without a finish reason and after 1 of 2 tokens"
    )
    assert chat(said(content="a"), DONE, output_tokens_asked=1).problem is None
    assert chat(said(content="a"), DONE).problem is None
    nothing = chat(DONE, output_tokens_asked=2).problem
    assert nothing is not None
    assert nothing.outcome is Outcome.NO_TOKENS


def test_as_many_choices_as_ended_may_have_the_tokens() -> None:
    usage_of_three = {"choices": [], "usage": {"completion_tokens": 90}}
    for index, believed in ((2, True), (0, False)):
        last = {"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]}
        reply = chat(said(content="a"), last, usage_of_three, DONE)
        assert (reply.usage_contradiction is None) is believed


# ---- Streams of Messages -------------------------------------------------------------------------------------------


def test_the_answer_of_messages_keeps_its_blocks_whole() -> None:
    events = [message_start(), block(type="thinking", thinking="h", signature=""), delta("thinking_delta", thinking="m"),
              delta("signature_delta", signature="abc"), block(1, type="text", text=""), delta("text_delta", 1, text="so"),
              block(2, type="tool_use", id="t", name="f", input={}), delta("input_json_delta", 2, partial_json='{"a":'),
              delta("input_json_delta", 2, partial_json="1}"),
              message_delta("tool_use", output_tokens=9), MESSAGE_STOP]  # fmt: skip
    answer = read("messages", framed(events), keep_answer=True).answer
    assert answer is not None
    assert answer.content == "so"
    (kept,) = answer.tool_calls
    assert (kept.name, json.loads(kept.arguments)) == ("f", {"a": 1})
    assert answer.reasoning["thinking_blocks"] == [{"type": "thinking", "thinking": "hm", "signature": "abc"}]


@pytest.mark.parametrize(
    ("given", "output", "tokens"),
    [
        # A name alone has no token if the arguments account for the usage, but a chunk with arguments has one.
        ({}, 2, (0, 0, 1, 1, 0, 0)),
        ({}, 3, (0, 1, 1, 1, 0, 0)),
        ({"a": 1}, 2, None),
        ({"a": 1}, 3, (0, 1, 1, 1, 0, 0)),
    ],
)
def test_the_name_of_a_tool_need_not_have_a_token(
    given: dict[str, int], output: int, tokens: tuple[int, ...] | None
) -> None:
    pieces = [delta("input_json_delta", partial_json=piece) for piece in ('{"b":', "2}")]
    stream = [message_start(), block(type="tool_use", id="t", name="f", input=given), *pieces,
              message_delta("tool_use", output_tokens=output), MESSAGE_STOP]  # fmt: skip
    assert read("messages", framed(stream)).chunk_tokens == tokens


def test_a_text_that_comes_with_an_error_or_usage_is_looked_at() -> None:
    spoiled = {**text("b"), "error": {"message": "gone"}}
    stream = framed([message_start(), text("a"), {**text("b"), "usage": {"output_tokens": 9}}, text("c"), text("d"),
                     message_delta(output_tokens=4), MESSAGE_STOP])  # fmt: skip
    assert read("messages", stream, count=len).text == "abcd"
    failed = read("messages", framed([message_start(), text("a"), text("e"), spoiled]))
    assert (failed.chunk_kind, failed.problem) == ("rccc", Problem(Outcome.STREAM_ERROR, "gone"))


@pytest.mark.parametrize(
    ("begun", "kinds", "calls"),
    [
        ({"type": "text", "text": "a"}, "c", 0),
        ({"type": "text", "text": ""}, "o", 0),
        ({"type": "thinking", "thinking": "a"}, "t", 0),
        ({"type": "tool_use", "name": "f", "input": {}}, "f", 1),
        ({"type": "server_tool_use", "name": "f", "input": {"a": 1}}, "f", 1),
        ({"type": "tool_use", "name": "", "input": {}}, "o", 1),
        ({"type": "image"}, "o", 0),
    ],
)
def test_a_block_begins_with_what_it_has(begun: dict[str, Any], kinds: str, calls: int) -> None:
    reply = read("messages", framed([message_start(), block(**begun), message_delta("end_turn"), MESSAGE_STOP]))
    assert (reply.chunk_kind, reply.tool_calls) == (f"r{kinds}uo", calls)


def test_deltas_that_bear_no_text_are_no_tokens() -> None:
    odd = [
        delta("text_delta", text=""),
        delta("citations_delta", citation={}),
        {"type": "content_block_delta", "delta": 3},
    ]
    reply = read("messages", framed([message_start(), *odd, text("a"), message_delta("end_turn"), MESSAGE_STOP]))
    assert (reply.chunk_kind, reply.output_tokens) == ("roooc" + "uo", 1)


# ---- Streams of Responses ------------------------------------------------------------------------------------------


def test_the_answer_of_responses_has_its_items_and_its_id() -> None:
    events = [CREATED, item(type="function_call", name="f", arguments="", call_id="c"),
              part("function_call_arguments", '{"a":'), part("function_call_arguments", "1}"),
              {"type": "response.function_call_arguments.delta", "output_index": 7, "delta": "lost"}, ended()]  # fmt: skip
    answer = read("responses", framed(events), keep_answer=True).answer
    assert answer is not None
    assert answer.response_id == "resp_1"
    assert [(one.name, one.arguments) for one in answer.tool_calls] == [("f", '{"a":1}')]
    # The last event repeats everything, and takes precedence.
    whole = [{"type": "function_call", "name": "g", "arguments": "{}", "call_id": "d"}, "odd"]
    said_again = read("responses", framed([*events[:-1], ended(output=whole)]), keep_answer=True).answer
    assert said_again is not None
    assert [(one.name, one.arguments) for one in said_again.tool_calls] == [("g", "{}")]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (["odd", {"type": "message", "content": [{"text": "a"}, "odd", {"refusal": "b"}]}], ("ab", "ab", 0)),
        ([{"type": "reasoning", "summary": [{"text": "s"}], "content": [{"text": "c"}]}], ("cs", "", 0)),
        ([{"type": "message", "content": "odd"}], ("", "", 0)),
        ([{"type": "custom_tool_call", "name": "f", "input": "x"}], ("fx", "", 1)),
        (
            [
                {"type": "function_call", "name": "f"},
                {"type": "message", "content": [{"text": "a"}]},
                {"type": "function_call", "name": "g"},
            ],
            ("fag", "a", 2),
        ),
    ],
)
def test_items_have_their_texts(output: list[Any], expected: tuple[str, str, int]) -> None:
    assert items_of(output) == expected


@pytest.mark.parametrize(
    ("own", "status", "wrong"),
    [
        ({"status": "completed"}, "completed", None),
        ({}, "completed", None),
        ({"status": "failed"}, "completed", "the reply ended with status 'failed'"),
        ({}, "cancelled", "the reply ended with status 'cancelled'"),
        ({"error": {"message": "gone"}}, "completed", "gone"),
        ({"status": "incomplete"}, "completed", None),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "lost"}},
            "incomplete",
            "the reply is incomplete: lost",
        ),
        ({"status": "queued"}, "completed", "the reply ended with status 'queued'"),
    ],
)
def test_a_reply_of_responses_ended_well_or_says_why_not(own: dict[str, Any], status: str, wrong: str | None) -> None:
    assert wrong_end(own, status) == wrong


@pytest.mark.parametrize(
    ("message", "last"),
    [
        (b'{"type": "response.completed"}', True), (b'{"type":"error"}', True), (b'{"type":"response.created"}', False),
        (b'{"delta":"\\"type\\":\\"error\\"","type":"x"}', False), (b'{"a":{"type":"error"},"type":"x"}', False),
        (b'["type","error"]', False), (b'{"type":"error"', False),
    ],
)  # fmt: skip
def test_the_last_message_of_a_websocket_is_told(message: bytes, last: bool) -> None:
    assert is_last(message) is last
    assert may_end(message) or not last


def test_a_refusal_in_the_first_event_has_its_status() -> None:
    refusal = {"type": "error", "status": 429, "error": {"message": "slow down"}}
    assert read("responses", framed([refusal])).refused == 429
    assert read("responses", framed([refusal | {"status": 400}])).refused == 400
    assert read("responses", framed([refusal | {"status": 399}])).refused is None
    assert read("responses", framed([CREATED, refusal])).refused is None
    lost = {"type": "error", "status": 404, "error": {"code": "previous_response_not_found", "message": "no"}}
    problem = read("responses", framed([lost])).problem
    assert problem is not None
    assert problem.outcome is Outcome.LOST_RESPONSE


def test_a_whole_reply_of_responses_that_failed_or_has_odd_items() -> None:
    def whole(**fields: Any) -> Any:
        return ENDPOINTS["responses"].read_whole(json.dumps(fields).encode(), ReadOptions(keep_answer=True))

    assert whole(error={"message": "busy"}, output=None).problem == Problem(Outcome.STREAM_ERROR, "busy")
    good = whole(**response(output=["odd", {"type": "message", "content": [{"text": "a"}]}], usage=None))
    assert (good.problem, good.content, good.answer.content, good.answer.response_id) == (None, "a", "a", "resp_1")
    assert whole(**response(output=[], usage=usage(0))).problem.outcome is Outcome.NO_TOKENS


@pytest.mark.parametrize(
    ("texts", "doubted"),
    [
        # 200 bytes in ten chunks. A token has at most 12 bytes of ASCII, or 24 of other scripts.
        (["x" * 20] * 10, True),
        (["é" * 5] * 10, False),
        (["é" * 5, *["x" * 20] * 9], False),
        ([*["x" * 20] * 9, "é" * 5], False),
        (["é" * 7] * 10, True),
    ],
)
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("escaped", [True, False])
def test_chunks_of_more_bytes_than_a_token_has_are_doubted(
    texts: list[str], doubted: bool, alike: bool, escaped: bool
) -> None:
    events = [said(content=piece) | ({} if alike else {"n": n}) for n, piece in enumerate(texts)]
    reply = chat(*[json.dumps(event, ensure_ascii=escaped).encode() for event in events], END, DONE)
    assert reply.output_tokens == 10
    assert (reply.output_tokens_doubt is not None) is doubted


@pytest.mark.parametrize(
    ("reasons", "believed"), [(("length", "stop"), True), (("stop", "length"), True), (("stop", "stop"), False)]
)
def test_a_reply_of_several_choices_is_limited_where_one_of_them_is(reasons: tuple[str, str], believed: bool) -> None:
    ends = {"choices": [{"index": n, "delta": {}, "finish_reason": reason} for n, reason in enumerate(reasons)]}
    pieces = [{"choices": [{"index": n % 2, "delta": {"content": "word "}}]} for n in range(20)]
    counted = {"choices": [], "usage": {"completion_tokens": 4}}
    reply = chat(*pieces, ends, counted, DONE, output_tokens_asked=4)
    # 20 chunks are more than 4 tokens, unless the limit of 4 was reached: then chunks are parts of tokens.
    assert (reply.usage_contradiction is None) is believed


def test_events_that_are_good_only_when_they_are_joined_are_malformed() -> None:
    reply = chat(b'{"choices":[]},"x",{"b":[1', b"2]}", END, DONE)
    assert reply.problem is not None
    assert reply.problem.outcome is Outcome.MALFORMED
    assert "event 0 is not JSON" in reply.problem.message
