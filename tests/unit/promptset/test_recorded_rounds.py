"""Requests of Weka's format and rounds of TraceLab at their borders: times that are equal, parts that are missing."""

from __future__ import annotations

from typing import Any

import pytest

from promptset.loaders import tracelab, weka
from promptset.loaders.recorded import Call, cut
from promptset.loaders.tracelab import time_of


def request(t: float, took_s: float | None = 1.0, **more: Any) -> dict[str, Any]:
    took = {} if took_s is None else {"api_time": took_s}
    return {"t": t, "type": "s", "in": 100, "out": 5, **took, **more}


def agent(t: float, *requests: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"t": t, "type": "subagent", "requests": [*requests], **more}


def calls(*requests: dict[str, Any], **more: Any) -> list[Call]:
    row = {"id": "a", "block_size": 64, "requests": [*requests], **more}
    assert weka.FORMAT.problems(row) == []
    session = weka.FORMAT.read("k", [row])
    assert session is not None
    assert session.id == "a"
    return list(session.calls)


def after(*requests: dict[str, Any]) -> list[tuple[int, ...]]:
    return [one.after for one in calls(*requests)]


@pytest.mark.parametrize(
    ("begins", "waits"),
    [
        (13.0, (1,)),  # The sub-agent ended at 13.
        (12.0, (1,)),  # Times may be rounded to seconds.
        (11.9, (0,)),
    ],
)
def test_a_parent_waits_for_a_sub_agent_that_had_ended_up_to_a_second_later(
    begins: float, waits: tuple[int, ...]
) -> None:
    made = after(request(0), agent(2, request(3, 10.0)), request(begins), request(50))
    assert made[:3] == [(), (0,), waits]
    # If it ran on, the next request that began after its end waits for it and for its own parent.
    assert made[3] == ((2,) if waits == (1,) else (1, 2))


def test_a_sub_agent_that_another_one_began_is_joined_with_what_began_it() -> None:
    # The parent goes on beside the first sub-agent, and begins a second one after its own second request.
    made = after(request(0), agent(1, request(2, 20.0)), request(5), agent(7, request(8)), request(30))
    assert made == [(), (0,), (0,), (2,), (1, 3)]


def test_a_sub_agent_without_requests_is_none() -> None:
    assert after(request(0), agent(2), request(5)) == [(), (0,)]
    assert calls(request(0), agent(2, request(3, agent_id="no name"), agent(9)), request(9))[1].agent == "subagent"
    assert calls(request(0), agent(2, request(3), agent_id=7), request(9))[1].agent == "7"


def test_times_of_a_sub_agent_count_from_its_own_start_if_they_are_before_it() -> None:
    # At the same time as the sub-agent's start they count from the session's.
    (_, whole, _), (_, own, _) = (calls(request(0), agent(4, request(inner)), request(20)) for inner in (4.0, 3.5))
    assert (whole.at_s, own.at_s) == (4.0, 7.5)


def test_a_pause_is_the_thinking_time_only_if_an_end_is_unknown() -> None:
    assert [one.pause_s for one in calls(request(0, 2.0), request(9, think_time=1.25))] == [0.0, 7.0]
    assert [one.pause_s for one in calls(request(0, None), request(9, think_time=1.25))] == [0.0, 1.25]
    assert [one.pause_s for one in calls(request(0, None), request(9, think_time=0))] == [0.0, 0.0]
    # The end of one of two is unknown.
    known, unknown = (
        calls(request(0), agent(2, request(3, took_s)), request(9, think_time=1.25)) for took_s in (1.0, None)
    )
    assert (known[2].pause_s, unknown[2].pause_s) == (5.0, 1.25)
    # The session begins with its first request.
    assert [(one.at_s, one.pause_s) for one in calls(request(5, 2.0), request(9))] == [(0.0, 0.0), (4.0, 2.0)]


@pytest.mark.parametrize(
    ("more", "stop", "pause"),
    [
        ({"input_types": ["tool_result"]}, "", "tool"),
        ({"input_types": ["text", "tool_result"]}, "", "tool"),
        ({"input_types": ["text"]}, "tool_use", "human"),
        ({"input_types": ["image"]}, "tool_use", None),
        ({"input_types": ["image"]}, "end_turn", None),
        ({}, "tool_use", "tool"),
        ({}, "end_turn", "human"),
        ({}, "max_tokens", None),
    ],
)
def test_the_input_says_who_paused_and_else_the_end_of_the_answer_before(
    more: dict[str, Any], stop: str, pause: str | None
) -> None:
    first, second = calls(request(0, stop=stop), request(5, **more))
    assert (first.pause, second.pause) == (None, pause)
    # A sub-agent does not wait for a person. No answer came before its first request.
    _, begin, later = calls(request(0), agent(2, request(2, stop=stop, **more), request(4, **more)))
    assert begin.pause == ("tool" if "tool_result" in more.get("input_types", []) else None)
    assert later.pause == ("tool" if pause == "tool" else None)


def test_blocks_have_the_size_of_the_file_and_one_name_in_all_sessions_if_it_says_so() -> None:
    ids = request(0, hash_ids=[7, 8])
    assert calls({**ids, "in": 200}, block_size=128)[0].path == (("k 7", 128), ("k 8", 128))
    assert calls(ids, hash_id_scope="global")[0].path == ((7, 64), (8, 64))
    assert calls(ids, hash_id_scope="local")[0].path == (("k 7", 64), ("k 8", 64))
    shares = [weka.FORMAT.shares({"hash_id_scope": scope}) for scope in ("global", "local")]
    assert (shares, weka.FORMAT.shares({}), weka.FORMAT.begins({})) == ([True, False], False, None)
    assert calls({**request(0), "out": 0})[0].output_tokens is None


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"requests": [], "block_size": 64}, True),
        ({"requests": [], "hash_id_scope": "local"}, True),
        ({"requests": []}, False),
        ({"block_size": 64, "hash_id_scope": "local"}, False),
    ],
)
def test_a_row_of_weka_has_requests_and_blocks(row: dict[str, Any], known: bool) -> None:
    assert weka.FORMAT.recognizes(row) is known


def round_of(index: int, new: int = 50, prefix: int = 0, **more: Any) -> dict[str, Any]:
    return {"session_id": "s", "round_index": index, "prefix_tokens": prefix, "newly_append_tokens": new,
            "output_tokens": 3, **more}  # fmt: skip


def events(**at: float) -> list[dict[str, Any]]:
    return [{"event_type": kind, "timestamp": f"1970-01-01T00:00:{s:06.3f}Z"} for kind, s in at.items()]


def rounds(*rows: dict[str, Any]) -> list[Call]:
    assert [problem for row in rows for problem in tracelab.FORMAT.problems(row)] == []
    session = tracelab.FORMAT.read("s", rows)
    assert session is not None
    return list(session.calls)


@pytest.mark.parametrize(
    ("before", "this", "pause", "pause_s"),
    [
        # An input that came with the first output is still the input of that round.
        (events(text=4), events(user_message=6, text=6), "human", 2.0),
        (events(text=4), events(text=6, user_message=7), "human", 2.0),
        (events(text=4, tool_call=5), events(tool_result=9, text=10), "tool", 4.0),
        (events(reasoning=4), events(user_message=3, text=10), "human", 0.0),
        # Without an output, a round ended when it was sent.
        (events(user_message=2), events(user_message=6), "human", 4.0),
        ([], events(user_message=6), "human", 0.0),
    ],
)
def test_a_pause_runs_from_the_last_output_to_the_last_input(
    before: list[dict[str, Any]], this: list[dict[str, Any]], pause: str, pause_s: float
) -> None:
    _, second = rounds(round_of(0, timing_events=before), round_of(1, timing_events=this))
    assert (second.pause, second.pause_s) == (pause, pause_s)


def test_the_slowest_tool_is_the_pause_and_a_tool_of_unknown_time_is_one_too() -> None:
    walls = [{"tool_wall_latency_ms": 250}, {"tool_wall_latency_ms": 1500}, {}]
    assert [(one.pause, one.pause_s) for one in rounds(round_of(0, tools=walls), round_of(1))] == [
        (None, 0.0),
        ("tool", 1.5),
    ]
    unknown = rounds(round_of(0, tools=[{}], timing_events=events(text=4)), round_of(1, timing_events=events(text=6)))
    assert (unknown[1].pause, unknown[1].pause_s) == ("tool", 2.0)
    # A person's pause is the tool's if no event has a time.
    person = round_of(1, timing_events=[{"event_type": "user_message"}])
    assert [one.pause_s for one in rounds(round_of(0, tools=walls), person)] == [0.0, 1.5]


@pytest.mark.parametrize(
    ("new", "prefix", "path"),
    [
        (20, 50, (("s 0", 50), ("s 1", 20))),
        (0, 50, (("s 0", 50),)),
        (20, 49, (("s 0", 49), ("s 1", 20))),
        (20, 51, (("s 0", 50), ("s 1", 21))),
        (20, 0, (("s 1", 20),)),
    ],
)
def test_a_round_begins_with_as_much_of_the_one_before_as_it_says(
    new: int, prefix: int, path: tuple[tuple[str, int], ...]
) -> None:
    first, second = rounds(round_of(0), round_of(1, new, prefix))
    assert (first.path, second.path, second.input_tokens) == ((("s 0", 50),), path, new + prefix)
    assert (first.after, second.after) == ((), (0,))


@pytest.mark.parametrize(
    ("tokens", "path"),
    [(-1, ()), (0, ()), (1, (("a", 1),)), (5, (("a", 5),)), (6, (("a", 5), ("b", 1))), (9, (("a", 5), ("b", 3)))],
)
def test_a_path_is_cut_after_its_tokens(tokens: int, path: tuple[tuple[str, int], ...]) -> None:
    assert cut((("a", 5), ("b", 3)), tokens) == path


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"round_index": 0, "newly_append_tokens": 1}, True),
        ({"round_index": 0, "prefix_tokens": 1}, True),
        ({"round_index": 0}, False),
        ({"prefix_tokens": 1, "newly_append_tokens": 1}, False),
    ],
)
def test_a_row_of_tracelab_has_a_round_and_its_tokens(row: dict[str, Any], known: bool) -> None:
    assert tracelab.FORMAT.recognizes(row) is known


def test_a_date_with_a_zone_is_that_moment() -> None:
    assert [time_of(text) for text in ("1970-01-01T02:00:10+02:00", "1970-01-01T00:00:10", 10, "noon")] == [
        10.0, 10.0, None, None,
    ]  # fmt: skip


def test_pauses_are_cut_at_the_limit_of_their_format_and_rounds_follow_each_other() -> None:
    assert (weka.FORMAT.max_idle_s, tracelab.FORMAT.max_idle_s) == (10.0, 60.0)
    assert (weka.FORMAT.branches, tracelab.FORMAT.branches, tracelab.FORMAT.shares({})) == (True, False, False)
    assert tracelab.FORMAT.begins(round_of(0, timing_events=events(user_message=2, text=3))) == 2.0
    assert tracelab.FORMAT.begins(round_of(0, timing_events=events(text=3))) == 3.0
    assert tracelab.FORMAT.begins(round_of(0)) is None
