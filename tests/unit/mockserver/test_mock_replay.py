"""Replayed latencies: what is read from each kind of file, and what each request gets from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mockserver.cli import read_arguments
from mockserver.errors import UsageError
from mockserver.plans.latencies import latencies_of
from mockserver.plans.plan import Plan, ReplyLength, StreamKey, draw_plan
from mockserver.plans.replay import RecordedReply, read_source

MS = 1_000_000


def ledger_line(index: int | None, ttft_ms: int, *gaps_ms: int, **more: Any) -> dict[str, Any]:
    """A chat line: role chunk, one chunk per token, usage, [DONE]."""
    stamps = [1000 * MS + ttft_ms * MS]
    for gap in gaps_ms:
        stamps.append(stamps[-1] + gap * MS)
    texts = len(stamps)
    return {
        "id": f"r-{index}", "index": index, "received_ns": 1000 * MS,
        "write_ns": [stamps[0], *stamps, stamps[-1] + 5, stamps[-1] + 9],
        "chunk_tokens": [0, *[1] * texts, 0, 0], "chunk_kind": "r" + "c" * texts + "uo",
        "status": 200, "fault": None, "engine": {"steps": texts},
    } | more  # fmt: skip


def record(index: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"r-{index}", "index": index, "phase": "run", "outcome": "ok", "sent_ns": 500,
        "chunk_ns": [700, 700, 900, 1000], "chunk_tokens": [0, 1, 2, 0], "chunk_kind": "rctu",
    } | more  # fmt: skip


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def plan(path: Path, key: StreamKey, *flags: str, asked: int | None = None) -> Plan:
    latencies = latencies_of(read_arguments([f"--replay={path}", *flags]))
    return draw_plan(latencies, 3, key, ReplyLength(1000, asked=asked))


def test_a_ledger_gives_its_times_from_arrival_to_each_chunk_of_text(tmp_path: Path) -> None:
    path = write(tmp_path / "ledger.jsonl", ledger_line(4, 50, 20, 30), ledger_line(7, 80, 10))
    assert plan(path, 4) == Plan(50 * MS, (20 * MS, 30 * MS), 3, step_tokens=(1, 1, 1), finish="stop")
    assert plan(path, 7) == Plan(80 * MS, (10 * MS,), 2, step_tokens=(1, 1), finish="stop")


def test_records_of_a_run_give_theirs_from_the_sending_with_the_tokens_of_chunks(tmp_path: Path) -> None:
    again = {"attempts": 2, "sent_ns": 100, "resent_ns": 500}
    path = write(tmp_path / "requests.jsonl", record(0), record(1, chunk_tokens=None), record(2, **again))
    assert plan(path, 0) == Plan(200, (200, 0), 3, step_tokens=(1, 2), finish="stop")
    assert plan(path, 1) == Plan(200, (200,), 2, step_tokens=(1, 1), finish="stop")
    assert plan(path, 2) == plan(path, 0)  # The server answered the second attempt.


def test_what_failed_or_only_warmed_up_is_left_out(tmp_path: Path) -> None:
    lines = [
        ledger_line(0, 1, status=503), ledger_line(1, 2, fault="reset"), ledger_line(2, 3, engine={"cut": "shutdown"}),
        ledger_line(3, 4),
    ]  # fmt: skip
    source = read_source(write(tmp_path / "ledger.jsonl", *lines), "order")
    assert source.recording is not None
    assert [reply.ttft_ns for reply in source.recording.replies] == [4 * MS]
    rows = [record(0, outcome="reset"), record(1, phase="warmup"), record(2, sent_ns=600)]
    source = read_source(write(tmp_path / "requests.jsonl", *rows), "order")
    assert source.recording is not None
    assert [reply.ttft_ns for reply in source.recording.replies] == [100]


def test_an_index_that_was_not_recorded_takes_the_replies_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "ledger.jsonl", *(ledger_line(i, i) for i in (10, 11, 12)))
    assert [plan(path, key).ttft_ns for key in (0, 1, 2, 3, 11)] == [10 * MS, 11 * MS, 12 * MS, 10 * MS, 11 * MS]
    assert [plan(path, ("arrival", i)).ttft_ns for i in range(4)] == [10 * MS, 11 * MS, 12 * MS, 10 * MS]


def test_at_random_each_recorded_reply_is_drawn_as_often_and_the_same_again(tmp_path: Path) -> None:
    path = write(tmp_path / "ledger.jsonl", *(ledger_line(None, i) for i in range(1, 5)))
    latencies = latencies_of(read_arguments([f"--replay={path}", "--replay-draw=random"]))
    drawn = [draw_plan(latencies, 3, key, ReplyLength(1000)).ttft_ns for key in range(400)]
    assert drawn[:20] == [plan(path, key, "--replay-draw=random").ttft_ns for key in range(20)]
    assert {ms * MS for ms in range(1, 5)} == set(drawn)
    assert all(60 <= drawn.count(ms * MS) <= 140 for ms in range(1, 5))
    assert drawn[:8] != [(1 + i % 4) * MS for i in range(8)]


def test_a_longer_reply_goes_on_with_the_second_chunk_and_a_shorter_one_is_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "ledger.jsonl", ledger_line(0, 5, 10, 30), ledger_line(1, 5))
    assert plan(path, 0, asked=6).gaps_ns == (10 * MS, 30 * MS, 10 * MS, 30 * MS, 10 * MS)
    assert plan(path, 0, asked=2).gaps_ns == (10 * MS,)
    assert plan(path, 1, "--tpot=7ms", asked=3).gaps_ns == (7 * MS, 7 * MS)
    assert RecordedReply(1, (1, 2, 3), (1,) * 4).stretched(6, 0) == ((1, 2, 3, 1, 2), (1,) * 6)
    assert RecordedReply(1, (9,), (3, 4)).stretched(2, 0) == ((0,), (2,))
    assert RecordedReply(1, (9,), (3, 4)).stretched(9, 0) == ((0, 0, 9, 0, 0, 0, 9, 0), (3, 4, 2))


def test_a_recording_refuses_the_settings_that_it_would_hide(tmp_path: Path) -> None:
    path = write(tmp_path / "ledger.jsonl", ledger_line(0, 5))
    with pytest.raises(UsageError) as refused:
        plan(path, 0, "--ttft=7ms", "--tpot=7ms", "--itl=7ms", "--output-tokens=7")
    assert refused.value.problems == [
        f"{flag} has no effect with the recording --replay {path}: remove it"
        for flag in ("--ttft", "--itl", "--output-tokens")
    ]


def test_a_profile_gives_distributions_in_place_of_the_flags(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"ttft": "30ms", "tpot": "4ms", "ttft_per_input_token": "10us", "output_tokens": "6"}))
    latencies = latencies_of(read_arguments([f"--replay={path}", "--itl=9ms"]))
    drawn = draw_plan(latencies, 0, 1, ReplyLength(100), input_tokens=50)
    assert drawn == Plan(int(30.5 * MS), (4 * MS,) * 5, 6, finish="stop")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read"),
        ("", "no reply in it"),
        ("{}", "is empty"),
        ("[" * 200_000, "cannot be read: it is nested too deeply"),
        ('{"ttft": "50", "tpit": "1ms"}', "tpit: no such key"),
        ('{"ttft": "50", "tpit": "1ms"}', "a time without a unit"),
        ('{"index": 1}\n{"index": 2}\n', ":1: not a line of a ledger"),
        (json.dumps(ledger_line(0, 5, -3)) + "\n" + json.dumps(ledger_line(0, 5)), ":1: not a line of a ledger"),
        (json.dumps(ledger_line(0, 1, status=500)) + "\n", "no reply in it"),
    ],
)
def test_a_file_that_cannot_be_replayed_says_why(text: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "seen"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_source(path, "order")
    assert says in str(caught.value), caught.value.problems
