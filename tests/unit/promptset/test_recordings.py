"""Recorded sessions: which calls wait for which, in each format, and which rows are invalid. The rows are made up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptset import loaders
from promptset.errors import SpecError
from promptset.loaders.recorded import Call
from promptset.loaders.recordings import RECORDINGS, format_of
from promptset.sessions.recorded import Pace, RecordedSessions, is_recording
from promptset.tokens import load_tokenizer

SECOND = 1_000_000_000
RECORDINGS_OF_TESTS = Path(__file__).parents[2] / "support" / "recordings"


def weka_request(t: float, n: int, out: int = 5, **more: Any) -> dict[str, Any]:
    return {"t": t, "type": "s", "model": "m", "in": n, "out": out, **more}


def rows_of(name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (RECORDINGS_OF_TESTS / name).read_bytes().splitlines()]


WEKA = rows_of("weka.json")[0]
"""A request, two parallel sub-agents (one with two requests), and two more requests."""
TRACELAB = rows_of("tracelab.jsonl")
"""Three rounds: of a person, of two tools, and of a person who waited while the context was compacted."""
SPANS = rows_of("spans.jsonl")
"""An agent plans; two tools run in parallel, one of them a sub-agent with two calls; then it continues alone."""


def rounds(*rows: dict[str, Any], session: str = "t-1") -> list[dict[str, Any]]:
    return [{"session_id": session, "provider": "p", "round_index": at, **row} for at, row in enumerate(rows)]


def span(
    name: str, parent: str | None, start: float, end: float, operation: str, trace: str = "t", **attributes: Any
) -> dict[str, Any]:
    values = {"gen_ai.operation.name": operation, **{key.replace("__", "."): v for key, v in attributes.items()}}
    kinds = {int: "intValue", str: "stringValue"}
    return {
        "traceId": trace, "spanId": name, **({} if parent is None else {"parentSpanId": parent}), "name": name,
        "startTimeUnixNano": str(int((1000 + start) * SECOND)), "endTimeUnixNano": str(int((1000 + end) * SECOND)),
        "attributes": [{"key": key, "value": {kinds[type(v)]: str(v)}} for key, v in values.items()],
    }  # fmt: skip


def chat(name: str, parent: str, start: float, end: float, tokens: int, out: int = 5, **more: Any) -> dict[str, Any]:
    usage: dict[str, Any] = {"gen_ai__usage__input_tokens": tokens, "gen_ai__usage__output_tokens": out}
    return span(name, parent, start, end, "chat", **usage, **more)


def calls_of(*rows: dict[str, Any]) -> tuple[Call, ...]:
    """The calls of the one session of these rows."""
    used = format_of(rows[0])
    assert used is not None
    items = [(key, item) for row in rows for key, item in used.items(row)]
    assert [problem for _, item in items for problem in used.problems(item)] == []
    (key,) = {key for key, _ in items}
    read = used.read("k" if key is None else key, [item for _, item in items])
    assert read is not None
    return read.calls


def plan(calls: Sequence[Call]) -> list[tuple[Any, ...]]:
    """The plan of each call: input and output tokens, the calls it waits for, its pause and who pauses, and its owner."""
    return [
        (one.input_tokens, one.output_tokens, one.after, round(one.pause_s, 6), one.pause, one.agent) for one in calls
    ]


def test_a_parent_of_weka_waits_for_its_sub_agents_and_pauses_run_from_an_end_to_a_start() -> None:
    assert plan(calls_of(WEKA)) == [
        (300, 5, (), 0.0, None, None),
        (200, 5, (0,), 0.5, None, "a"),
        (260, 5, (1,), 0.5, "tool", "a"),
        (90, 5, (0,), 1.5, None, "b"),
        (400, 5, (2, 3), 1.0, "tool", None),
        (460, 5, (4,), 486.0, "human", None),
    ]


def test_hash_ids_are_the_text_that_prompts_begin_with() -> None:
    local, other = calls_of(WEKA), calls_of({**WEKA, "hash_id_scope": "global"})
    assert local[0].path == (("k 1", 64), ("k 2", 64), ("k 3", 64), ("k 4", 64))
    assert local[1].path[:2] == local[0].path[:2]
    assert other[0].path == ((1, 64), (2, 64), (3, 64), (4, 64))


def test_what_a_recording_of_weka_leaves_out_is_taken_from_what_it_has() -> None:
    def pauses(*requests: dict[str, Any]) -> list[float]:
        return [one.pause_s for one in calls_of({"id": "x", "block_size": 64, "requests": [*requests]})]

    first = weka_request(0, 99)
    assert pauses(first, weka_request(9, 99, think_time=1.25)) == [0, 1.25], "without an end, the client's delay counts"
    assert pauses(first, weka_request(9, 99)) == [0, 9], "without either, the time from start to start counts"
    assert pauses(weka_request(5, 99, api_time=7.5), weka_request(12, 99, api_time=1)) == [0, 0], (
        "it was sent immediately"
    )


def test_no_call_of_a_trace_waits_for_one_that_began_after_it_where_clocks_differ() -> None:
    # The clock of b is behind: its call seems to begin before its parent span, and before the end of what that waited
    # for.
    spans = [
        span("r", None, 0, 30, "invoke_agent"),
        chat("a", "r", 1, 3, 50),
        span("s", "r", 4, 9, "invoke_agent"),
        chat("b", "s", 0.5, 5, 60),
        chat("c", "s", 6, 7, 70),
    ]
    assert [(one.input_tokens, one.after) for one in calls_of(*spans)] == [(60, ()), (50, ()), (70, (0,))]


def test_a_size_of_blocks_that_is_null_is_the_usual_one() -> None:
    requests = [weka_request(0, 128, hash_ids=[1, 2])]
    usual, null = (calls_of({"id": "x", "block_size": size, "requests": requests}) for size in (64, None))
    assert usual == null


def test_a_parent_that_was_seen_to_go_on_runs_beside_its_sub_agent_and_joins_it_later() -> None:
    inner = [weka_request(3, 99, api_time=20)]
    calls = calls_of({"id": "x", "block_size": 64, "requests": [
        weka_request(0, 99, api_time=2),
        {"t": 3, "type": "subagent", "agent_id": "a", "status": "async_launched", "requests": inner},
        weka_request(5, 99, api_time=2),
        weka_request(24, 99, api_time=2),
    ]})  # fmt: skip
    assert [one.after for one in calls] == [(), (0,), (0,), (1, 2)]
    assert [one.pause_s for one in calls] == [0, 1, 3, 1]


def test_older_files_count_the_times_of_a_sub_agent_from_its_own_start() -> None:
    inner = [weka_request(0.5, 99, api_time=1), weka_request(3, 99, api_time=1)]
    calls = calls_of({"id": "x", "block_size": 64, "requests": [
        weka_request(0, 99, api_time=8),
        {"t": 10, "type": "subagent", "agent_id": "a", "requests": inner},
        weka_request(15, 99),
    ]})  # fmt: skip
    assert [(one.after, one.pause_s) for one in calls] == [((), 0), ((0,), 2.5), ((1,), 1.5), ((2,), 1.0)]


def test_rounds_of_tracelab_tell_tools_from_people_and_cut_what_was_cut() -> None:
    calls = calls_of(*reversed(TRACELAB))
    assert plan(calls) == [
        (1000, 40, (), 0.0, None, None),
        (1200, 20, (0,), 1.5, "tool", None),
        (650, 7, (1,), 45.0, "human", None),
    ]
    assert [one.path for one in calls] == [
        (("t-1 0", 1000),),
        (("t-1 0", 1000), ("t-1 1", 200)),
        (("t-1 0", 600), ("t-1 2", 50)),
    ]


def test_rounds_without_events_pause_as_long_as_their_tools() -> None:
    calls = calls_of(*rounds(
        {"prefix_tokens": 0, "newly_append_tokens": 99, "output_tokens": 0, "tools": [{"tool_wall_latency_ms": 250}]},
        {"prefix_tokens": 200, "newly_append_tokens": 99, "output_tokens": 3},
        {"prefix_tokens": 299, "newly_append_tokens": 1, "output_tokens": 3},
    ))  # fmt: skip
    assert [(one.pause, one.pause_s) for one in calls] == [(None, 0), ("tool", 0.25), ("human", 0)]
    assert calls[1].path == (("t-1 0", 99), ("t-1 1", 200)), "at most the previous prompt is shared"
    assert calls[0].output_tokens is None


def test_a_round_is_sent_with_the_last_input_before_its_answer() -> None:
    def round_of(*events: tuple[float, str]) -> dict[str, Any]:
        timed = [{"timestamp": f"2026-01-01T00:00:{at:06.3f}Z", "event_type": kind} for at, kind in events]
        return {"prefix_tokens": 0, "newly_append_tokens": 9, "output_tokens": 1, "timing_events": timed}

    calls = calls_of(*rounds(
        round_of((5, "user_message"), (6, "text"), (8, "tool_call")),
        # A pause of a tool, although a person wrote earlier. Events after the start of its answer are not its input.
        round_of((9, "user_message"), (10, "tool_result"), (11, "reasoning"), (12, "user_message"), (13, "text")),
        round_of(),
        round_of((20, "text")),
        round_of((18, "user_message"), (19, "text")),
    ))  # fmt: skip
    assert [(one.pause, one.pause_s, one.at_s) for one in calls] == [
        (None, 0, 0), ("tool", 2, 5), ("human", 0, 5), ("human", 0, 15), ("human", 0, 15),
    ]  # fmt: skip


def test_rounds_of_which_none_is_timed_begin_one_pause_after_another() -> None:
    row = {"prefix_tokens": 0, "newly_append_tokens": 9, "output_tokens": 1, "tools": [{"tool_wall_latency_ms": 250}]}
    late = {**row, "timing_events": [{"timestamp": "2026-01-01T00:00:30Z", "event_type": "text"}]}
    later = {**row, "timing_events": [{"timestamp": "2026-01-01T00:00:31.5Z", "event_type": "text"}]}
    calls = calls_of(*rounds(row, row, row, late, later))
    # The first call with a time is the start of the session.
    assert [one.at_s for one in calls] == [0, 0.25, 0.5, 0.5, 1.5]


def test_spans_that_overlap_run_beside_each_other_and_the_next_one_waits_for_both() -> None:
    calls = calls_of(*SPANS)
    assert plan(calls) == [
        (500, 5, (), 0.0, "tool", None),
        (120, 5, (0,), 1.0, "tool", "searcher"),
        (70, 5, (0,), 2.0, "tool", "read"),
        (180, 5, (1,), 1.0, "tool", "searcher"),
        (640, 5, (2, 3), 3.0, "tool", None),
        (300, 5, (4,), 0.25, None, None),
        (700, 5, (5,), 1.0, None, None),
    ]
    assert {one.job for one in calls} == {0}


def test_a_span_goes_on_with_the_prompt_before_it_unless_it_is_shorter_or_says_what_a_cache_held() -> None:
    calls = calls_of(*SPANS)
    assert calls[3].path == (("t 1", 120), ("t 3", 60))
    assert calls[4].path == (("t 0", 500), ("t 4", 140))
    assert calls[5].path == (("t 5", 300),), "a shorter prompt was compacted"
    assert calls[6].path == (("t 5", 256), ("t 6", 444))


def test_every_shape_of_spans_says_the_same() -> None:
    document = {"resourceSpans": [{"scopeSpans": [{"spans": SPANS[:5]}, {"spans": SPANS[5:]}]}]}
    printed = [
        {
            "name": one["name"],
            "context": {"trace_id": "t", "span_id": one["spanId"], "trace_state": "[]"},
            "parent_id": one.get("parentSpanId"),
            "start_time": f"1970-01-01T00:{16 + int(offset // 60)}:{offset % 60:09.6f}Z",
            "end_time": f"1970-01-01T00:{16 + int(ends // 60)}:{ends % 60:09.6f}Z",
            "attributes": {
                pair["key"]: int(v) if (v := next(iter(pair["value"].values()))).isdecimal() else v
                for pair in one["attributes"]
            },
        }
        for one in SPANS
        for offset in [int(one["startTimeUnixNano"]) / SECOND - 960]
        for ends in [int(one["endTimeUnixNano"]) / SECOND - 960]
    ]
    assert plan(calls_of(document)) == plan(calls_of(*SPANS)) == plan(calls_of(*printed))


def test_a_call_without_output_tokens_has_an_unknown_number() -> None:
    assert [one.output_tokens for one in calls_of(chat("a", "r", 0, 1, 50, 0), chat("b", "r", 2, 3, 50, 1))] == [
        None,
        1,
    ]


def test_a_call_around_a_call_is_one_call() -> None:
    calls = calls_of(chat("outer", "none", 0, 5, 100), chat("inner", "outer", 1, 4, 100))
    assert [(one.input_tokens, one.at_s) for one in calls] == [(100, 0)]


def test_spans_may_be_nested_deeply_and_may_name_each_other_as_parents() -> None:
    deep = [span(f"d{at}", f"d{at - 1}", at / 1000, 20 - at / 1000, "invoke_agent") for at in range(1100)]
    calls = calls_of(*deep, chat("a", "d1099", 5, 6, 90), chat("b", "d1099", 7, 8, 90), chat("c", "d3", 9, 10, 90))
    # The last call runs in parallel with everything below its sibling, which had not ended.
    assert [one.after for one in calls] == [(), (0,), ()]
    circle = [span("x", "y", 0, 9, "invoke_agent"), span("y", "x", 0, 9, "invoke_agent"), chat("a", "x", 1, 2, 90)]
    assert len(calls_of(*circle)) == 1


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "recording.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


@pytest.mark.parametrize(("rows", "name"), [([WEKA], "weka"), (TRACELAB, "tracelab"), (SPANS, "otel")])
def test_a_file_is_recognized_by_its_keys(rows: list[dict[str, Any]], name: str, tmp_path: Path) -> None:
    assert format_of(rows[0]) is RECORDINGS[name]
    assert is_recording(written(tmp_path, *rows))
    with pytest.raises(SpecError, match="--mode sessions sends such rows"):
        loaders.load(tmp_path / "recording.jsonl")


def test_rows_of_ours_are_no_recording(tmp_path: Path) -> None:
    assert not is_recording(written(tmp_path, {"turns": [{"content": "Hi"}]}))
    assert not is_recording(written(tmp_path, {"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": [1]}))


def test_sessions_of_interleaved_rows_are_put_together(tmp_path: Path) -> None:
    other = rounds({"prefix_tokens": 0, "newly_append_tokens": 80, "output_tokens": 1}, session="t-2")
    path = written(tmp_path, TRACELAB[2], *other, TRACELAB[0], TRACELAB[1])
    recorded = RecordedSessions(path, load_tokenizer())
    assert [[turn.input_tokens for turn in recorded.session_at(at).turns] for at in (0, 1)] == [[1000, 1200, 650], [80]]


def test_pauses_are_cut_and_then_played_faster(tmp_path: Path) -> None:
    def pauses(pace: Pace | None, *rows: Any) -> list[float]:
        recorded = RecordedSessions(written(tmp_path, *rows), load_tokenizer(), pace=pace)
        return [turn.think_time_s for turn in recorded.session_at(0).turns]

    assert pauses(None, WEKA) == [0, 0.5, 0.5, 1.5, 1.0, 10.0]
    assert pauses(Pace(max_idle_s=1000.0, speed=2.0), WEKA) == [0, 0.25, 0.25, 0.75, 0.5, 243.0]
    assert pauses(Pace(max_idle_s=1.0, speed=4.0), WEKA) == [0, 0.125, 0.125, 0.25, 0.25, 0.25]
    assert pauses(None, *TRACELAB) == [0, 1.5, 45.0]
    assert pauses(Pace(max_idle_s=20.0), *TRACELAB) == [0, 1.5, 20.0]


WRONG_WEKA = {"id": "", "block_size": 64, "hash_id_scope": "here", "requests": [
    {"type": "s", "in": 0, "out": -1},
    weka_request(1, 100, hash_ids=[1, 2, 3], api_time="fast"),
    weka_request(1, 100, hash_ids=[1, 2, 3]),
    {"type": "call"},
    {"t": 1, "type": "subagent", "requests": [weka_request(-1, 5)]},
    weka_request(1, 100, hash_ids="12", input_types="user"),
    weka_request(1, 100, hash_ids=[1.0], input_types=["user", 1]),
    weka_request(1, 128, hash_ids=[1, 2], input_types=[]),
]}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        (
            [WRONG_WEKA],
            [
                "line 1: id must be a string that is not empty",
                "line 1: hash_id_scope must be local or global, not 'here'",
                "line 1: request 1: t is missing",
                "line 1: request 1: in must be a whole number of at least 1, not 0",
                "line 1: request 1: out must be a whole number of at least 0, not -1",
                "line 1: request 2: api_time must be a number of seconds from 0 on, not 'fast'",
                "line 1: request 3: 3 hash_ids, and 100 tokens are 1 blocks of 64",
                "line 1: request 4 must be an object whose type is n, s or subagent",
                "line 1: request 5, request 1: t must be a number of seconds from 0 on, not -1",
                "line 1: request 6: hash_ids must be a list of whole numbers",
                "line 1: request 6: input_types must be a list of strings",
                "line 1: request 7: hash_ids must be a list of whole numbers",
                "line 1: request 7: input_types must be a list of strings",
            ],
        ),
        ([WEKA, {"id": "x", "block_size": 64, "requests": []}, TRACELAB[0], 7], [
            "line 2: it has no requests", "line 3: not of the format of the first row", "line 4: not a JSON object",
        ]),
        ([{**WEKA, "requests": [weka_request(0, 3)]}], [
            "line 1: 3 tokens are too few: the shortest prompt of a recording has ",
        ]),
        ([{**WEKA, "requests": [weka_request(0, 10**12)]}], [
            "line 1: a prompt of 1,000,000,000,000 tokens is too long: a prompt has at most 10,000,000",
        ]),
        (
            rounds({"prefix_tokens": 0, "newly_append_tokens": 0, "output_tokens": 1})
            + rounds({"prefix_tokens": True, "newly_append_tokens": 9, "timing_events": [{"timestamp": "noon"}],
                      "tools": [{"tool_wall_latency_ms": -1}]}, session=""),
            [
                "line 1: prefix_tokens and newly_append_tokens are both 0: a prompt has tokens",
                "line 2: session_id must be a string that is not empty",
                "line 2: prefix_tokens must be a whole number of at least 0, not True",
                "line 2: output_tokens must be a whole number of at least 0, not None",
                "line 2: timing_events 1: timestamp is not a time: 'noon'",
                "line 2: tools 1: tool_wall_latency_ms must be a number of milliseconds from 0 on, not -1",
            ],
        ),
        (
            [chat("a", "r", 5, 1, 50), span("b", "r", 1, 2, "chat"), {**chat("c", "r", 1, 2, 50), "traceId": ""}],
            [
                "line 1: the span a ends before it starts",
                "line 2: the span b: gen_ai.usage.input_tokens must be a whole number of at least 1, not None",
                "line 3: a span has no traceId",
            ],
        ),
        ([span("a", None, 0, 1, "execute_tool")], ["has no sessions: no row has the calls of a model"]),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_with_all_that_is_wrong(rows: list[Any], sentences: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        RecordedSessions(written(tmp_path, *rows), load_tokenizer())
    found = caught.value.problems
    for sentence in sentences:
        assert any(sentence in problem for problem in found), (sentence, found)
    assert len(found) == len(sentences)


def test_wrong_rows_can_be_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, WEKA, {"id": "x", "block_size": 64, "requests": []}, {**WEKA, "id": "w-2"})
    recorded = RecordedSessions(path, load_tokenizer(), bad_rows="skip")
    assert [recorded.session_at(at).id for at in range(len(recorded))] == ["w-1", "w-2"]
    assert recorded.skipped_rows == 1
    assert recorded.skipped == [f"{path}, line 2: it has no requests"]


def test_a_round_that_is_skipped_leaves_its_session(tmp_path: Path) -> None:
    wrong = {**TRACELAB[1], "output_tokens": "many"}
    recorded = RecordedSessions(written(tmp_path, TRACELAB[0], wrong, TRACELAB[2]), load_tokenizer(), bad_rows="skip")
    assert [turn.input_tokens for turn in recorded.session_at(0).turns] == [1000, 650]


def test_sessions_come_in_the_order_of_their_begins_where_asked_and_replays_behind_them(tmp_path: Path) -> None:
    def began(second: int, session: str) -> dict[str, Any]:
        event = {"event_type": "user_message", "timestamp": f"2026-03-01T10:00:{second:02d}Z"}
        row = {"prefix_tokens": 0, "newly_append_tokens": 80, "output_tokens": 1, "timing_events": [event]}
        return rounds(row, session=session)[0]

    path = written(tmp_path, began(30, "late"), began(0, "early"), began(6, "middle"))
    by_file = RecordedSessions(path, load_tokenizer())
    by_start = RecordedSessions(path, load_tokenizer(), pace=Pace(by_start=True))
    assert [by_file.session_at(at).id for at in range(3)] == ["late", "early", "middle"]
    assert [by_start.session_at(at).id for at in range(4)] == ["early", "middle", "late", "early replay 2"]
    assert by_start.untimed() is None
    assert [*islice(by_start.begins_s(), 7)] == [0, 6, 30, 45, 51, 75, 90]
    cut = RecordedSessions(path, load_tokenizer(), pace=Pace(by_start=True, max_idle_s=10.0))
    assert [*islice(cut.begins_s(), 4)] == [0, 6, 16, 24]


def test_a_trace_of_weka_does_not_say_when_its_sessions_began(tmp_path: Path) -> None:
    recorded = RecordedSessions(written(tmp_path, WEKA), load_tokenizer())
    assert recorded.untimed() == f"{tmp_path / 'recording.jsonl'} does not say it of row 1"


def test_how_many_calls_of_a_session_run_beside_each_other_is_known_about(tmp_path: Path) -> None:
    assert RecordedSessions(written(tmp_path, *TRACELAB), load_tokenizer()).at_once == 1
    three = [chat(f"c{at}", "root", 1, 3, 90) for at in range(3)]
    assert RecordedSessions(written(tmp_path, *three), load_tokenizer()).at_once == 3


ROUND = {"session_id": "a", "round_index": 0, "prefix_tokens": 0, "newly_append_tokens": 9, "output_tokens": 1}
CALL = {"t": 0, "type": "s", "in": 128, "out": 3}


def weka(*requests: Any, **more: Any) -> dict[str, Any]:
    return {"id": "a", "block_size": 64, "requests": [*requests], **more}


@pytest.mark.parametrize(
    ("row", "problems"),
    [
        (ROUND, []),
        ({**ROUND, "session_id": 3}, ["session_id must be a string that is not empty"]),
        ({**ROUND, "prefix_tokens": None}, ["prefix_tokens must be a whole number of at least 0, not None"]),
        (
            {**ROUND, "newly_append_tokens": 0},
            ["prefix_tokens and newly_append_tokens are both 0: a prompt has tokens"],
        ),
        (
            {**ROUND, "tools": 3, "timing_events": [4]},
            ["timing_events must be a list of objects", "tools must be a list of objects"],
        ),
        (
            {**ROUND, "tools": [{}, {"tool_wall_latency_ms": -1}], "timing_events": [{"timestamp": "noon"}]},
            [
                "timing_events 1: timestamp is not a time: 'noon'",
                "tools 2: tool_wall_latency_ms must be a number of milliseconds from 0 on, not -1",
            ],
        ),
        (weka(CALL), []),
        (weka(CALL, block_size=0, id=""), ["id must be a string", "block_size must be"]),
        (weka(CALL, hash_id_scope="all"), ["hash_id_scope must be local or global, not 'all'"]),
        (weka(), ["it has no requests"]),
        (weka({"t": 0, "type": "subagent", "requests": []}), ["it has no requests"]),
        (
            weka(CALL, {"t": 0, "type": "x"}, 3),
            ["request 2 must be an object whose", "request 3 must be an object whose"],
        ),
        (
            weka({"t": -1, "type": "subagent", "requests": 3}, {"type": "s", "in": 0, "out": 3}),
            [
                "request 1: t must be",
                "request 1, requests must be a list",
                "request 2: t is missing",
                "request 2: in must",
            ],
        ),
        (weka({**CALL, "hash_ids": [1, True]}), ["request 1: hash_ids must be a list of whole numbers"]),
        (weka({**CALL, "in": 129, "hash_ids": [1, 2, 3]}), []),
        (weka({**CALL, "hash_ids": [1, 2, 3]}), ["request 1: 3 hash_ids, and 128 tokens are 2 blocks of 64"]),
        (weka({**CALL, "input_types": [1]}), ["request 1: input_types must be a list of strings"]),
        (chat("a", "r", 1, 3, 50), []),
        ({**chat("a", "r", 1, 3, 50), "traceId": None}, ["a span has no traceId"]),
        (chat("a", "r", 3, 3, 50), []),
        (chat("a", "r", 3, 1, 50), ["the span a ends before it starts"]),
        (
            {**chat("a", "r", 1, 3, 50), "endTimeUnixNano": "x"},
            ["the span a has no startTimeUnixNano or endTimeUnixNano"],
        ),
        (
            chat("a", "r", 1, 3, 0, -1),
            ["the span a: gen_ai.usage.input_tokens", "the span a: gen_ai.usage.output_tokens"],
        ),
        # Without an operation, a span with token counts is a call; a tool with token counts is not.
        (
            {**chat("a", "r", 1, 3, 0), "attributes": {"gen_ai.usage.input_tokens": 0}},
            ["the span a: gen_ai.usage.input_tokens"],
        ),
        (span("a", "r", 1, 3, "execute_tool", gen_ai__usage__input_tokens=0), []),
    ],
)
def test_what_is_wrong_with_a_recorded_row_is_said(row: dict[str, Any], problems: list[str]) -> None:
    used = format_of(row)
    assert used is not None
    said = [problem for _, item in used.items(row) for problem in used.problems(item)]
    assert len(said) == len(problems), said
    assert [one.startswith(begin) for one, begin in zip(said, problems, strict=True)] == [True] * len(said), said
