"""The numbers of each segment of a load that changes over time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import bench.report
from bench.metrics.facts import RunFacts
from bench.metrics.objectives import parse
from bench.metrics.planned_load import PlannedLoad
from bench.metrics.summary import Summary
from bench.metrics.window import CHANGES
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from tests.support.made_records import START_NS, made_record
from tests.support.tables import table_of

S = 1_000_000_000
STEPS = (PlannedLoad(5, 5, 0, 40 * S), PlannedLoad(10, 10, 40 * S, 80 * S))


def summarize(records: list[RequestRecord], **fields: Any) -> Any:
    facts = {"mode": "rate", "open_loop": True, "endpoint": "chat", "start_ns": START_NS, "seed": 7, "segments": STEPS}
    summary = Summary(RunFacts(**{**facts, **fields}))
    summary.add(table_of(*records))
    return to_plain(summary.close())


def two_steps() -> list[RequestRecord]:
    """5/s with a TTFT of 50 ms and 100 ms in all for 40 s, then 10/s with 150 ms and 400 ms; four tokens each."""
    first = [made_record(i, sent_ms=i * 200.0, chunks_ms=[50, 60, 80, 100]) for i in range(200)]
    second = [made_record(200 + i, sent_ms=40_000 + i * 100.0, chunks_ms=[150, 200, 300, 400]) for i in range(400)]
    return [*first, *second]


def test_each_step_has_numbers_of_its_own_once_it_has_settled() -> None:
    low, high = summarize(two_steps())["segments"]
    assert [(s["first"], s["last"], s["start_s"], s["measured_from_s"], s["end_s"]) for s in (low, high)] == [
        (5, 5, 0, 10, 40),
        (10, 10, 40, 50, 80),
    ]
    assert [(s["sent"], s["succeeded"], s["failed"]) for s in (low, high)] == [(200, 200, 0), (400, 400, 0)]
    # The requests, of 200 and 400, that were sent after 10 s of settling.
    assert [s["latency"]["ttft_ms"]["n"] for s in (low, high)] == [150, 300]
    assert [s["latency"]["ttft_ms"]["p50"] for s in (low, high)] == [50, 150]
    assert [s["latency"]["e2el_ms"]["p99"] for s in (low, high)] == [100, 400]
    assert [s["throughput"]["requests_per_s"] for s in (low, high)] == pytest.approx([5, 10], rel=0.01)
    assert [s["throughput"]["output_tokens_per_s"] for s in (low, high)] == pytest.approx([20, 40], rel=0.01)
    # By Little's law: 5/s of 0.1 s, and 10/s of 0.4 s.
    assert [s["concurrency_mean"] for s in (low, high)] == pytest.approx([0.5, 4.0], rel=0.01)
    assert [s["plan"]["planned_rps"] for s in (low, high)] == pytest.approx([5, 10])
    assert [s["plan"] for s in summarize(two_steps(), open_loop=False)["segments"]] == [None, None]


def test_a_slow_server_settles_for_longer_and_never_for_more_than_half_of_the_step() -> None:
    slow = [made_record(i, sent_ms=i * 1_000.0, chunks_ms=[100, 6_000]) for i in range(80)]
    assert [s["measured_from_s"] for s in summarize(slow)["segments"]] == [15, 55]
    slower = [made_record(i, sent_ms=i * 1_000.0, chunks_ms=[100, 30_000]) for i in range(80)]
    assert [s["measured_from_s"] for s in summarize(slower)["segments"]] == [20, 60]


def test_a_request_belongs_to_the_segment_in_which_it_was_due() -> None:
    lost = made_record(900, sent_ms=39_990.0, outcome=Outcome.RESET, chunks_ms=[])
    low, high = summarize([*two_steps(), lost])["segments"]
    assert (low["failed"], high["failed"]) == (1, 0)


def test_a_line_is_shown_in_ten_parts_each_measured_whole() -> None:
    parts = summarize(two_steps(), segments=(PlannedLoad(0, 20, 0, 80 * S),))["segments"]
    assert [(p["first"], p["last"]) for p in parts] == [(2 * k, 2 * k + 2) for k in range(10)]
    assert [(p["start_s"], p["measured_from_s"]) for p in parts] == [(8 * k, 8 * k) for k in range(10)]
    assert [p["sent"] for p in parts] == [40] * 5 + [80] * 5


def test_a_load_that_ended_early_has_the_segments_that_it_came_to() -> None:
    records = [r for r in two_steps() if r.intended_ns - START_NS <= 59_000_000_000]
    low, high = summarize(records, ended_early=True)["segments"]
    assert (low["end_s"], high["end_s"]) == (40, pytest.approx(59.4))
    (only,) = summarize(records[:50], ended_early=True)["segments"]
    assert only["end_s"] == pytest.approx(9.9)
    assert len(summarize([made_record(sent_ms=39_900.0, chunks_ms=[50, 100])], ended_early=True)["segments"]) == 1
    assert summarize([], ended_early=True)["segments"] == summarize([], open_end=True)["segments"] == []


def test_a_load_that_only_its_last_send_ends_reaches_up_to_when_that_was_due() -> None:
    records = [r for r in two_steps() if r.intended_ns - START_NS <= 59 * S]
    low, high = summarize(records, open_end=True)["segments"]
    assert (low["end_s"], high["end_s"], high["sent"]) == (40, 59.000000001, 191)
    (only,) = summarize([made_record(sent_ms=39_999.999999)], open_end=True)["segments"]
    assert (only["end_s"], only["sent"]) == (40, 1)
    # A single request that was due at once: the step took no time, and has no rate.
    (only,) = summarize([made_record()], open_end=True)["segments"]
    assert (only["sent"], only["throughput"]["requests_per_s"]) == (1, None)


def test_what_is_sent_at_the_last_instant_of_a_step_is_measured_in_it() -> None:
    low, high = summarize([*two_steps(), made_record(900, sent_ms=39_999.999999)])["segments"]
    assert (low["latency"]["ttft_ms"]["n"], high["latency"]["ttft_ms"]["n"]) == (151, 300)


def test_goodput_is_told_where_there_are_objectives_for_it() -> None:
    assert [s["goodput"] for s in summarize(two_steps())["segments"]] == [None, None]
    low, high = summarize(two_steps(), objectives=parse(["ttft:p99<100ms"]))["segments"]
    assert (low["goodput"]["share"], high["goodput"]["share"]) == (1, 0)


def test_a_load_that_changes_has_no_steady_window_and_one_that_stays_no_segments() -> None:
    changing = summarize(two_steps())
    assert (changing["steady"], changing["window"]["method"]) == (None, CHANGES)
    staying = summarize(two_steps(), segments=())
    assert staying["segments"] is None
    assert staying["steady"] is not None


def test_segments_are_as_the_schema_says() -> None:
    schema = json.loads((Path(bench.report.__file__).parent / "summary.schema.json").read_text())
    of_segments = {**schema["properties"]["segments"], "$defs": schema["$defs"]}
    for found in (summarize(two_steps()), summarize([]), summarize(two_steps(), segments=())):
        Draft202012Validator(of_segments).validate(found["segments"])
