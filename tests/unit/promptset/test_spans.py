"""Recorded spans at their borders: times that are equal, spans that touch, keys in either spelling."""

from __future__ import annotations

from typing import Any

import pytest

from promptset.loaders.otel import FORMAT
from promptset.loaders.recorded import Call


def span(name: str, start: float, end: float, operation: str | None = "chat", **more: Any) -> dict[str, Any]:
    """A span below `root`, with times in seconds. `tokens`: of its prompt; `attributes`: more of them."""
    attributes: dict[str, Any] = dict(more.pop("attributes", {}))
    if operation is not None:
        attributes["gen_ai.operation.name"] = operation
    if (tokens := more.pop("tokens", 100 if operation == "chat" else None)) is not None:
        attributes["gen_ai.usage.input_tokens"] = tokens
    times = {"startTimeUnixNano": int(start * 1e9), "endTimeUnixNano": int(end * 1e9)}
    return {"traceId": "t", "spanId": name, "parentSpanId": "root", **times, "attributes": attributes, **more}


def calls(*spans: dict[str, Any]) -> list[Call]:
    items = [item for row in spans for _, item in FORMAT.items(row)]
    assert [problem for item in items for problem in FORMAT.problems(item)] == []
    session = FORMAT.read("k", items)
    assert session is not None
    return list(session.calls)


@pytest.mark.parametrize(
    ("begin", "end", "pause"),
    [
        (1, 2, None),  # It ended when the call before ended, so it is not in the pause.
        (1, 2.5, "tool"),
        (2, 5, "tool"),
        (4.5, 6, "tool"),
        (5, 6, None),  # It began when the next call began.
    ],
)
def test_a_pause_is_that_of_a_tool_if_the_tool_runs_within_it(begin: float, end: float, pause: str | None) -> None:
    tool = span("x", begin, end, "execute_tool", parentSpanId="elsewhere")
    first, second = calls(span("a", 1, 2), tool, span("b", 5, 6))
    assert (first.pause, first.pause_s) == ("tool", 0)
    assert (second.after, second.pause_s, second.pause) == ((0,), 3, pause)


def test_a_call_that_waits_for_none_has_no_pause_of_a_tool() -> None:
    # Both begin before the other ends, and the tool runs beside them.
    tool = span("x", 1, 4, "execute_tool", parentSpanId="elsewhere")
    first, second = calls(span("a", 1, 4), tool, span("b", 3, 6))
    assert (second.after, second.pause_s, second.pause) == ((), 2, None)
    assert first.pause == "tool"


def test_a_span_that_begins_when_another_ends_waits_for_it() -> None:
    first, second, third = calls(span("a", 1, 2), span("b", 2, 3), span("c", 2.5, 4))
    assert [one.after for one in (first, second, third)] == [(), (0,), (0,)]
    # It goes on with the prompt of a call that ended when it began, and not with that of one that was still running.
    assert (second.path, third.path) == ((("k 0", 100),), (("k 0", 100),))
    beside, later = calls(span("a", 1, 3), span("b", 2, 4))
    assert (beside.path, later.path) == ((("k 0", 100),), (("k 1", 100),))


def test_a_span_waits_for_the_last_of_those_that_followed_each_other() -> None:
    assert [one.after for one in calls(span("a", 1, 2), span("b", 2, 3), span("c", 3, 4))] == [(), (0,), (1,)]
    # b and c overlap, so the next one waits for both.
    overlapping = calls(span("a", 0, 1), span("b", 1, 3), span("c", 2, 4), span("d", 4, 5))
    assert [one.after for one in overlapping] == [(), (0,), (0,), (1, 2)]


@pytest.mark.parametrize(
    ("tokens", "cached", "path"),
    [
        (100, None, (("k 0", 100),)),
        (101, None, (("k 0", 100), ("k 1", 1))),
        (99, None, (("k 1", 99),)),
        (150, 64, (("k 0", 64), ("k 1", 86))),
        (50, 64, (("k 0", 50),)),
        (150, 0, (("k 1", 150),)),
        (150, 120, (("k 0", 100), ("k 1", 50))),
    ],
)
def test_a_prompt_shares_what_the_cache_had_or_all_of_the_one_before(
    tokens: int, cached: int | None, path: tuple[tuple[str, int], ...]
) -> None:
    more = {} if cached is None else {"gen_ai.usage.cache_read.input_tokens": cached}
    assert calls(span("a", 1, 2), span("b", 3, 4, tokens=tokens, attributes=more))[1].path == path


def test_old_names_of_attributes_count_too() -> None:
    old = {"gen_ai.usage.prompt_tokens": "70", "gen_ai.usage.completion_tokens": 9.0}
    (call,) = calls(span("a", 1, 2, None, attributes=old))
    assert (call.input_tokens, call.output_tokens) == (70, 9)
    both = {**old, "gen_ai.usage.input_tokens": 80, "gen_ai.usage.output_tokens": 0}
    (call,) = calls(span("a", 1, 2, "text_completion", attributes=both))
    assert (call.input_tokens, call.output_tokens) == (80, None)


@pytest.mark.parametrize(
    ("operation", "is_call"),
    [("chat", True), ("generate_content", True), ("text_completion", True), ("embeddings", False), (None, True)],
)
def test_the_operation_says_whether_a_span_is_a_call(operation: str | None, is_call: bool) -> None:
    one = span("a", 1, 2, operation, tokens=80)
    ((_, flat),) = FORMAT.items(one)
    assert [*FORMAT.lengths(flat)] == [80] * is_call
    assert FORMAT.begins(flat) == (1.0 if is_call else None)
    assert (FORMAT.read("k", [flat]) is not None) == is_call


def test_calls_below_an_agent_within_an_agent_and_below_a_tool_are_of_a_sub_agent() -> None:
    found = calls(
        span("outer", 0, 20, "invoke_agent", attributes={"gen_ai.agent.name": "planner"}),
        span("a", 1, 2, parentSpanId="outer"),
        span("inner", 3, 6, "invoke_agent", parentSpanId="outer", attributes={"gen_ai.agent.name": "searcher"}),
        span("b", 4, 5, parentSpanId="inner"),
        span("nameless", 7, 10, "invoke_agent", parentSpanId="outer"),
        span("c", 8, 9, parentSpanId="nameless"),
        span("tool", 11, 14, "execute_tool", parentSpanId="outer", attributes={"gen_ai.tool.name": "read"}),
        span("d", 12, 13, parentSpanId="tool"),
        # Below a tool, even the first agent is a second one.
        span("below", 15, 19, "execute_tool", parentSpanId="none"),
        span("agent", 15, 19, "invoke_agent", parentSpanId="below"),
        span("e", 16, 17, parentSpanId="agent"),
    )
    assert [one.agent for one in found] == [None, "searcher", "nameless", "read", "agent"]
    assert {one.job for one in found} == {0}


def test_documents_of_older_exporters_are_read_and_what_is_no_object_is_left_out() -> None:
    spans = [span("a", 1, 2), span("b", 3, 4)]
    newer = {"resourceSpans": [7, {"scopeSpans": [{"spans": [spans[0], "x"]}, {"spans": None}]}]}
    older = {"resourceSpans": [{"instrumentationLibrarySpans": [{"spans": spans[1:]}]}]}
    assert FORMAT.recognizes(newer)
    items = [item for row in (newer, older) for item in FORMAT.items(row)]
    assert items == [item for one in spans for item in FORMAT.items(one)]
    assert [*FORMAT.items({"resourceSpans": "x"})] == []


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"traceId": "t", "spanId": "s"}, True),
        ({"traceId": "t"}, False),
        ({"spanId": "s"}, False),
        ({"context": {"trace_id": "t", "span_id": "s"}}, True),
        ({"context": {"trace_id": "t"}}, False),
        ({"context": {"span_id": "s"}}, False),
        ({"context": "trace_id span_id"}, False),
        ({"prompt": "Hi"}, False),
    ],
)
def test_spans_are_recognized_by_both_of_their_ids(row: dict[str, Any], known: bool) -> None:
    assert FORMAT.recognizes(row) is known


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_500_000_000, 1.5),
        ("2500000000", 2.5),
        (1_500_000_000.0, 1.5),
        ("1970-01-01T00:00:01.5Z", 1.5),
        (True, None),
        (1.5, None),
        ("-5", None),
        (None, None),
        ("soon", None),
    ],
)
def test_a_time_is_in_nanoseconds_or_a_date(value: object, seconds: float | None) -> None:
    ((_, flat),) = FORMAT.items({**span("a", 1, 2), "startTimeUnixNano": value})
    assert flat["start_s"] == seconds


def test_an_attribute_has_the_value_of_its_kind() -> None:
    listed: list[Any] = [
        {"key": "a", "value": {"intValue": "12"}},
        {"key": "b", "value": {"stringValue": "12"}},
        {"key": "c", "value": {"intValue": "12", "more": 1}},
        {"key": "d", "value": 5},
        "e",
    ]
    ((_, flat),) = FORMAT.items({**span("a", 1, 2), "attributes": listed})
    assert flat["attributes"] == {"a": 12, "b": "12", "c": {"intValue": "12", "more": 1}, "d": 5}
    ((_, flat),) = FORMAT.items({**span("a", 1, 2), "attributes": 7})
    assert flat["attributes"] == {}


def test_spans_deeper_than_200_are_siblings_of_their_parent() -> None:
    def nested(levels: int) -> list[dict[str, Any]]:
        return [span(f"d{at}", 0, 50, "invoke_agent", parentSpanId=f"d{at - 1}") for at in range(levels)]

    # A call waits for a call below its own sibling once that has ended, at whatever depth.
    for levels in (199, 200, 201, 202, 250):
        last = f"d{levels - 1}"
        deep = [span("a", 5, 6, parentSpanId=last), span("b", 7, 8, parentSpanId=last)]
        assert [one.after for one in calls(*nested(levels), *deep)] == [(), (0,)]
