"""Recorded sessions over sockets: the prefix cache of a batching server has the planned hits, in every replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit
from tests.support.mock_process import mock_process
from tests.support.record_rows import record_rows

pytestmark = pytest.mark.long

RECORDINGS = Path(__file__).parents[1] / "support" / "recordings"
SERVER = ("--engine", "batching", "--step-cost", "b0=500,b1=1,b2=5,a0=100", "--prefix-caching", "on",
          "--reply-details", "cached_tokens")  # fmt: skip


def run(url: str, tmp_path: Path, *more: str) -> list[dict[str, Any]]:
    words = ["run", "--url", url, "--mode", "sessions", "--out", str(tmp_path / "run"), "--quiet", *more]
    # A busy machine may be late. Only the sent requests matter here.
    assert cli.main(words) in (Exit.GOOD, Exit.INVALID)
    records = record_rows(tmp_path / "run" / "requests.jsonl")
    return sorted(records, key=lambda record: record["index"])


def share(records: list[dict[str, Any]], key: str) -> float:
    return float(sum(one[key] for one in records) / sum(one["input_tokens"] for one in records))


def two_of_one_team(tmp_path: Path) -> Path:
    """Two sessions whose prompts begin with the same 30 blocks, which grow, are compacted, and grow again."""

    def session(name: str, own: int) -> dict[str, Any]:
        asked = [(40, 40), (60, 60), (75, 75), (75, 45), (140, 48)]
        ids = [
            [*range(30), *range(own + at * (same < n), own + at * (same < n) + n - 30)]
            for at, (n, same) in enumerate(asked)
        ]
        requests = [
            {"t": at * 2.0, "type": "s", "in": 64 * len(found) + 7 * at, "out": 8, "hash_ids": found, "api_time": 2.0,
             "input_types": ["tool_result"]}
            for at, found in enumerate(ids)
        ]  # fmt: skip
        return {"id": name, "block_size": 64, "hash_id_scope": "global", "requests": requests}

    path = tmp_path / "team.jsonl"
    path.write_text("".join(json.dumps(session(name, own)) + "\n" for own, name in ((1000, "a"), (5000, "b"))))
    return path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_cache_finds_what_was_planned_in_both_replays(tmp_path: Path, workers: str) -> None:
    with mock_process(*SERVER) as mock:
        words = ["--dataset", str(two_of_one_team(tmp_path)), "--requests", "20", "--workers", workers]
        records = run(mock.url, tmp_path, *words, "--concurrency", workers)
    assert len(records) == 20
    assert [one["input_tokens"] for one in records] == [one["input_tokens_asked"] for one in records]
    first = [one for one in records if "replay" not in one["session"]]
    second = [one for one in records if one["session"] in ("a replay 2", "b replay 2")]
    if workers == "1":  # Two workers begin both sessions at once, so neither finds the other's beginning in time.
        assert (len(first), len(second)) == (10, 10)
        for replay in (first, second):
            assert [one["cached_tokens"] for one in replay] == [one["cached_tokens_planned"] for one in replay]
        assert share(first, "cached_tokens") > 0.4
    for replay in (first, second):
        warm = [one for one in replay if one["turn"] > 0]
        assert share(warm, "cached_tokens") == pytest.approx(share(warm, "cached_tokens_planned"), abs=0.005)


@pytest.mark.parametrize("name", ["weka.json", "tracelab.jsonl", "spans.jsonl"])
def test_sub_agents_run_beside_each_other_and_their_parent_waits_for_both(name: str, tmp_path: Path) -> None:
    turns = {"weka.json": 6, "tracelab.jsonl": 3, "spans.jsonl": 7}[name]
    words = ["--dataset", str(RECORDINGS / name), "--requests", str(2 * turns), "--concurrency", "1"]
    with mock_process(*SERVER) as mock:
        records = run(mock.url, tmp_path, *words, "--max-idle", "200ms", "--trace-speed", "10")
    assert [one["outcome"] for one in records] == ["ok"] * 2 * turns
    assert [one["input_tokens"] for one in records] == [one["input_tokens_asked"] for one in records]
    assert [one["cached_tokens"] for one in records] == [one["cached_tokens_planned"] for one in records]
    ends = {(one["session"], one["turn"]): one["end_ns"] for one in records}
    for one in records:
        before = one["after"] if one["after"] is not None else [one["turn"] - 1] if one["turn"] else []
        if before:
            due = max(ends[one["session"], turn] for turn in before) + one["pause_ns"]
            assert one["intended_ns"] == due
            assert 0 <= one["pause_ns"] <= 20_000_000


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sessions_begin_when_the_recording_says(tmp_path: Path, workers: str) -> None:
    spans = [json.loads(line) for line in (RECORDINGS / "spans.jsonl").read_text().splitlines()]
    second = {"c": 4.0, "a": 0.0, "b": 1.0}
    path = tmp_path / "teams.jsonl"
    with path.open("w") as file:
        for name, later in second.items():  # Not in the order of their starts.
            for span in spans:
                moved = {
                    key: str(int(span[key]) + int(later * 1e9)) for key in ("startTimeUnixNano", "endTimeUnixNano")
                }
                file.write(json.dumps({**span, **moved, "traceId": name}) + "\n")
    words = ["--dataset", str(path), "--sessions-begin", "recorded", "--trace-speed", "20", "--max-idle", "3s"]
    with mock_process(*SERVER) as mock:
        records = run(mock.url, tmp_path, *words, "--requests", "42", "--workers", workers)
    first = {one["session"]: one["intended_ns"] for one in records if one["turn"] == 0}
    # The gap of 3 s before the last request equals the cap. The next replay comes a mean gap later: 2 s.
    expected = [("a", 0.0), ("b", 1.0), ("c", 4.0), ("a replay 2", 6.0), ("b replay 2", 7.0), ("c replay 2", 10.0)]
    got = [(name, (first[name] - first["a"]) / 1e9 * 20) for name in dict(expected) if name in first]
    assert len(got) >= 4
    assert got == [(name, pytest.approx(at, abs=1e-6)) for name, at in expected[: len(got)]]


def test_a_recording_without_times_is_refused_where_they_are_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--mode", "sessions", "--dataset", str(RECORDINGS / "weka.json"), "--sessions-begin", "recorded"]
    with mock_process(*SERVER) as mock:
        assert cli.main(["run", "--url", mock.url, *words, "--out", str(tmp_path / "r"), "--quiet"]) == Exit.USAGE
    said = " ".join(capsys.readouterr().err.split())
    assert "does not say it of row 1: use --concurrency or --rate" in said


def test_wrong_rows_are_said_in_the_report_where_they_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "spoilt.jsonl"
    good = (RECORDINGS / "weka.json").read_text()
    path.write_text(good + '{"id": "x", "block_size": 64, "requests": 7}\n')
    with mock_process(*SERVER) as mock:
        words = ["--dataset", str(path), "--requests", "2", "--concurrency", "1", "--max-idle", "1ms"]
        assert (
            cli.main(["run", "--url", mock.url, "--mode", "sessions", *words, "--out", str(tmp_path / "r")])
            == Exit.USAGE
        )
        assert run(mock.url, tmp_path, *words, "--bad-rows", "skip")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert f"{path}, line 2: requests must be a list" in json.dumps(summary)
