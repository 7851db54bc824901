"""Modes trace and sessions: requests at recorded times, the number of workers, and refused settings."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config import RunConfig, resolve
from bench.errors import UsageError
from bench.load.components import source_of
from bench.modes.interface import LoadPlan
from bench.modes.share import OpenLoopArrivals
from bench.modes.trace import Trace
from bench.scale.plan import workers_of
from bench.schedule import trace
from bench.sources.rows import RowSource, RowsSpec
from promptset.tokens import load_tokenizer
from tests.support.changed import replace

URL = "http://h"
WEKA = str(Path(__file__).parents[3] / "support" / "recordings" / "weka.json")
TIMES = st.lists(st.floats(0, 1e5), max_size=40).map(sorted)
S = 1_000_000_000


@pytest.fixture
def data(tmp_path: Path) -> Any:
    def write(*times: float | None) -> str:
        path = tmp_path / "rows.jsonl"
        rows = [{"prompt": f"row {i}", **({} if at is None else {"at_s": at})} for i, at in enumerate(times)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def recording(dataset: str, **flags: Any) -> OpenLoopArrivals:
    config = resolve({"url": URL, "mode": "trace", "dataset": dataset, **flags})
    assert isinstance(config.load, Trace)
    return config.load.recording(config.length, rows_by_time(dataset))


def plan(dataset: str, **flags: Any) -> LoadPlan:
    config = resolve({"url": URL, "mode": "trace", "dataset": dataset, **flags})
    return config.load.plan(config.length, rows_by_time(dataset))


def rows_by_time(dataset: str, first: int = 0, step: int = 1) -> RowSource:
    return RowsSpec(path=Path(dataset), by_time=True).open(None, seed=0, first=first, step=step)


@given(TIMES, st.floats(0.01, 100))
def test_each_request_is_sent_at_its_time_over_the_speed(times: list[float], speed: float) -> None:
    assert list(trace.offsets(times, speed)) == [round(at / speed * 1e9) for at in times]


@given(TIMES)
def test_twice_the_speed_halves_every_offset(times: list[float]) -> None:
    pairs = zip(trace.offsets(times, 1.5), trace.offsets(times, 3.0), strict=True)
    assert all(abs(slow - 2 * fast) <= 1 for slow, fast in pairs)


@pytest.mark.parametrize("times", [[1.0, 0.5], [float("nan")], [0.0, float("nan"), 1.0]])
def test_times_that_decrease_or_are_none_are_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="times must not decrease"):
        list(trace.offsets(times))


@pytest.mark.parametrize(("last", "speed"), [(1e308, 0.5), (1.7e18, 1.0)])
def test_times_that_are_no_seconds_are_refused(data: Any, last: float, speed: float) -> None:
    with pytest.raises(UsageError, match="at_s is in seconds, not in ms or ns"):
        recording(data(0.0, last), trace_speed=speed)


def test_rows_are_sent_in_the_order_of_their_times_each_with_its_own_text(data: Any) -> None:
    path = data(12.0, 10.0, 11.5, 10.0)
    assert list(recording(path).offsets_ns) == [0, 0, 1_500_000_000, 2 * S]
    rows = rows_by_time(path)
    assert [next(rows).prompt for _ in range(4)] == ["row 1", "row 3", "row 2", "row 0"]
    as_filed = RowsSpec(path=Path(path)).open(None, seed=0)
    assert [next(as_filed).prompt for _ in range(4)] == [f"row {i}" for i in range(4)]
    part = rows_by_time(path, first=1, step=2)
    assert [next(part).prompt for _ in range(2)] == ["row 3", "row 0"]


@pytest.mark.parametrize(
    ("flags", "offsets", "warmup"),
    [
        ({}, [0, 1, 2, 3, 4], 0),
        ({"trace_speed": 2}, [0, 0.5, 1, 1.5, 2], 0),
        ({"requests": 2}, [0, 1], 0),
        ({"duration": 2.5}, [0, 1, 2], 0),
        ({"duration": 1.5, "trace_speed": 2}, [0, 0.5, 1], 0),
        ({"warmup": 2, "requests": 2}, [0, 1, 2, 3], 2),
        ({"warmup": "1500ms"}, [0, 1, 2, 3, 4], 2),
        ({"requests": 50}, [0, 1, 2, 3, 4], 0),
    ],
)
def test_the_limits_of_a_run_cut_the_recording(
    data: Any, flags: dict[str, Any], offsets: list[float], warmup: int
) -> None:
    made = recording(data(0, 1, 2, 3, 4), **flags)
    assert list(made.offsets_ns) == [round(at * S) for at in offsets]
    assert (made.warmup, made.requests) == (warmup, len(offsets) - warmup)


def test_a_warm_up_that_takes_every_row_is_refused(data: Any) -> None:
    with pytest.raises(UsageError, match="takes all 3 rows of the recording"):
        recording(data(0, 1, 2), warmup=3)


def test_a_row_without_a_time_is_named(data: Any) -> None:
    with pytest.raises(UsageError, match="row 2 has none: give each an at_s"):
        recording(data(0, None, 2))


def test_workers_together_send_every_arrival_once(data: Any) -> None:
    path = data(*range(7))
    planned = plan(path)
    assert (planned.requests, planned.total) == (7, 7)
    assert workers_of(planned, "3", 8) == 3
    shares = planned.shares(3)
    assert sorted(at for share in shares for at in (share.offsets_ns or [])) == list(recording(path).offsets_ns)
    assert [share.requests for share in shares] == [3, 2, 2]


def test_connections_and_workers_follow_the_busiest_ten_seconds(data: Any) -> None:
    path = data(*[i / 500 for i in range(3000)], *[100 + i for i in range(50)])
    assert recording(path).busiest == 3000
    uncapped = plan(path)
    assert (uncapped.at_once, uncapped.bounded) == (3000, False)
    assert workers_of(uncapped, "auto", 8) == 1
    crowd = OpenLoopArrivals(array("q", range(0, 10 * S, 200_000)), 0)
    assert crowd.busiest == 50_000
    busy = replace(uncapped, rate=crowd.busiest / 10, requests=50_000)
    assert workers_of(busy, "auto", 8) == 3
    capped = plan(path, max_concurrency=20)
    assert (capped.at_once, capped.bounded) == (20, True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"mode": "trace"}, "--mode trace needs --dataset"),
        ({"mode": "trace", "concurrency": 5}, "to cap a trace, use --max-concurrency"),
        ({"mode": "trace", "rate": 5}, "--rate cannot be combined with --mode trace"),
        ({"mode": "trace", "ramp_up": 5}, "--ramp-up is for users, and mode trace has none"),
        ({"mode": "trace", "burstiness": 2}, "--burstiness is for --mode rate and sessions, and this is mode trace"),
        ({"mode": "rate", "rate": 5, "trace_speed": 2}, "--trace-speed is for --mode trace and sessions, and this is"),
        ({"concurrency": 5, "drop_late": True}, "--drop-late is for --mode rate and trace"),
        ({"columns": "prompt=a"}, "--columns needs a file in --dataset"),
        ({"bad_rows": "skip"}, "--bad-rows needs a file in --dataset"),
        ({"dataset": "chatbot", "columns": "prompt=a"}, "--columns needs a file in --dataset"),
        ({"dataset": "chatbot", "mode": "trace"}, "the recipe chatbot has no gaps: use --rate"),
        ({"dataset": "chatbot", "input_tokens": "5"}, "--dataset has its own"),
        ({"dataset": "chatbott"}, "there is no file chatbott, and no recipe of that name (there are azure-2023-code, "),
        ({"dataset": "x" * 300}, "xxx cannot be checked: File name too long"),
        ({"ca_file": "x" * 300}, "xxx cannot be checked: File name too long"),
        ({"turns": "3"}, "--turns is for --mode sessions, and this is mode concurrency"),
        ({"rate": 5, "think_time": "3s"}, "--think-time is for --mode sessions, and this is mode rate"),
        ({"mode": "sessions", "endpoint": "completions"}, "--mode sessions needs an endpoint of chats (chat, "),
        (
            {"mode": "sessions", "dataset": "chatbot"},
            "--dataset: the recipe chatbot makes single requests, and no sessions",
        ),
        ({"dataset": "coding-agent"}, "--dataset: the recipe coding-agent makes sessions, and no single requests"),
        (
            {"mode": "sessions", "context_limit": 9000},
            "--context-limit scales the lengths of a recipe of sessions: name",
        ),
        ({"mode": "sessions", "trace_speed": 2}, "--trace-speed shortens the pauses of a recipe of sessions: name one"),
        ({"mode": "sessions", "dataset": "coding-agent", "turns": "3"}, "--turns: the recipe says that"),
        ({"mode": "sessions", "dataset": __file__, "turns": "3"}, "--turns: the rows of a file of sessions say that"),
        ({"mode": "sessions", "dataset": __file__, "output_tokens": "3"}, "--output-tokens: the turns of a file of"),
        ({"mode": "sessions", "sessions_begin": "recorded"}, "--sessions-begin recorded needs recorded sessions"),
        (
            {"mode": "sessions", "dataset": WEKA, "sessions_begin": "recorded", "concurrency": 3},
            "--concurrency cannot be combined with --sessions-begin recorded",
        ),
        ({"mode": "sessions", "dataset": WEKA, "history": "planned"}, "--history: the prompts of a recording do not"),
        ({"mode": "sessions", "dataset": WEKA, "tools": __file__}, "--tools cannot be combined with sessions"),
        ({"mode": "sessions", "max_idle": 3}, "--max-idle is for recorded sessions"),
        ({"mode": "sessions", "max_concurrency": 3}, "--max-concurrency caps a --rate"),
        ({"mode": "sessions", "think_time": "3"}, "--think-time: "),
        ({"mode": "sessions", "text": "code"}, "--text cannot be combined with sessions"),
        ({"dataset": __file__, "columns": "promt=a"}, "--columns: 'promt=a': 'promt' is not one of prompt"),
    ],
)
def test_what_does_not_go_together_is_said(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": URL, **flags})
    assert any(said in problem for problem in refused.value.problems), refused.value.problems


def test_rows_left_out_are_in_the_notes(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": ""}\n{"prompt": "c"}\n')
    (note,) = RowsSpec(path=path, bad_rows="skip").open(None, seed=0).notes
    assert note.startswith(f"1 rows of the data set are wrong and left out; the first: {path}, line 2: prompt must")
    assert RowsSpec(path=path, columns="prompt=prompt", bad_rows="skip").open(None, seed=0).first.prompt == "a"


def recipe_times(config: RunConfig) -> OpenLoopArrivals:
    assert isinstance(config.load, Trace)
    return config.load.recording(config.length, source_of(config, load_tokenizer()))


def test_a_recipe_is_a_data_set_with_lengths_and_times_of_its_own() -> None:
    config = resolve({"url": URL, "mode": "trace", "dataset": "azure-2023-code", "requests": 400, "trace_speed": 2})
    made = recipe_times(config)
    assert (len(made.offsets_ns), made.offsets_ns[0]) == (400, 0)
    assert recipe_times(config) == made
    slow = resolve({"url": URL, "mode": "trace", "dataset": "azure-2023-code", "requests": 400})
    offsets = recipe_times(slow).offsets_ns
    assert all(abs(at - 2 * half) <= 1 for at, half in zip(offsets, made.offsets_ns, strict=True))
    assert resolve({"url": URL, "mode": "trace", "dataset": "azure-2023-code"}).requests == 100


def test_a_recipe_says_what_prompts_are_like_and_flags_say_what_answers_are() -> None:
    config = resolve({"url": URL, "dataset": "chatbot"})
    sample = next(source_of(config, load_tokenizer()))
    assert (sample.input_tokens, sample.output_tokens) == (256, 256)
    asked = resolve({"url": URL, "dataset": "chatbot", "output_tokens": "9"})
    assert next(source_of(asked, load_tokenizer())).output_tokens == 9
    shares = resolve({"url": URL, "dataset": "mooncake-like"})
    tally = source_of(shares, load_tokenizer()).planned_sharing(2000)
    assert tally is not None
    assert tally.share == pytest.approx(0.28, abs=0.02)
