"""`calibrate --endpoint messages|responses`: records and ledger agree in every count, with reasoning, sessions and
errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from tests.support.calm import lasting

pytestmark = pytest.mark.long

MOCK = "--ttft 20ms --tpot 4ms --reasoning-tokens 3"
"""Slow enough for a busy machine to read tokens apart."""


def calibrated(words: str, mock: str, out: Path) -> dict[str, Any]:
    flags = f"calibrate --no-store --quiet --input-tokens 40 --output-tokens 9 {words}".split()
    cli.main([*flags, "--out", str(out), "--mock", mock])
    summary: dict[str, Any] = json.loads((out / "summary.json").read_bytes())
    assert lasting(summary["calibration"]["problems"]) == []
    return summary


@pytest.mark.parametrize("endpoint", ["messages", "responses"])
def test_every_count_of_a_stream_is_that_of_the_ledger(endpoint: str, tmp_path: Path) -> None:
    faults = "--fault 529:index=7 --fault error_in_stream:after=2,index=8 --fault no_done:index=9"
    words = f"--endpoint {endpoint} --concurrency 4 --requests 24 --max-errors 100%"
    summary = calibrated(words, f"{MOCK} {faults}", tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 21, "http_error": 1, "stream_error": 1, "truncated": 1}
    assert summary["counts"]["by_status"] == {"200": 23, "529": 1}
    tokens = summary["tokens"]
    assert tokens["asked_against_got"]["input"]["differ"] == tokens["asked_against_got"]["output"]["differ"] == 0
    assert tokens["kinds"]["reasoning"] == {"chunks": 63, "tokens": 63}
    assert tokens["kinds"]["content"] == {"chunks": 126, "tokens": 126}


@pytest.mark.parametrize("endpoint", ["messages", "responses"])
def test_sessions_and_whole_replies_agree_too(endpoint: str, tmp_path: Path) -> None:
    planned = "--mode sessions --turns 3 --history planned --concurrency 2 --requests 12"
    summary = calibrated(f"--endpoint {endpoint} {planned}", "--ttft 20ms --tpot 4ms", tmp_path / "sessions")
    assert summary["counts"]["by_outcome"] == {"ok": 12}
    # The history is the counted chat, in the endpoint's form.
    assert summary["tokens"]["asked_against_got"]["input"] == {"compared": 12, "differ": 0, "share": 0}
    whole = calibrated(f"--endpoint {endpoint} --no-stream --concurrency 2 --requests 8", MOCK, tmp_path / "whole")
    assert whole["counts"]["by_outcome"] == {"ok": 8}
    assert whole["tokens"]["usage"]["output"] == 8 * 9


@pytest.mark.parametrize("endpoint", ["ollama", "ollama-generate", "tgi"])
def test_an_api_of_a_file_is_counted_as_the_ledger_counts(endpoint: str, tmp_path: Path) -> None:
    faults = "--fault 529:index=7 --fault error_in_stream:after=2,index=8 --fault no_done:index=9"
    faults += " --fault cut_frame:after=8,index=10"
    words = f"--endpoint {endpoint} --concurrency 4 --requests 24 --max-errors 100%"
    summary = calibrated(words, f"--ttft 20ms --tpot 4ms {faults}", tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 20, "http_error": 1, "stream_error": 1, "truncated": 2}
    tokens = summary["tokens"]
    assert tokens["asked_against_got"]["input"]["differ"] == tokens["asked_against_got"]["output"]["differ"] == 0
    whole = calibrated(f"--endpoint {endpoint} --no-stream --concurrency 2 --requests 8", MOCK, tmp_path / "whole")
    assert whole["counts"]["by_outcome"] == {"ok": 8}


def test_every_count_over_a_websocket_is_that_of_the_ledger(tmp_path: Path) -> None:
    words = "--endpoint responses --websocket --concurrency 4 --requests 24 --max-errors 100%"
    faults = "--fault 529:index=7 --fault truncate:after=2,index=8 --fault no_done:index=9"
    summary = calibrated(words, f"{MOCK} {faults}", tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 21, "http_error": 1, "truncated": 2}
    assert summary["counts"]["by_status"] == {"200": 23, "529": 1}
    assert summary["tokens"]["asked_against_got"]["output"]["differ"] == 0


@pytest.mark.parametrize("way", ["", "--websocket"])
def test_stored_histories_agree_and_lost_responses_are_no_surprise(way: str, tmp_path: Path) -> None:
    sessions = "--mode sessions --turns 4 --history stored --concurrency 2 --requests 12 --max-errors 100%"
    mock = "--ttft 20ms --tpot 4ms --fault lost_response:index=4"
    summary = calibrated(f"--endpoint responses {way} {sessions}", mock, tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 11, "lost_response": 1}


@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses"])
def test_tool_calls_agree_and_ttft_ends_at_the_name(endpoint: str, tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    function = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    tools.write_text(json.dumps([{"type": "function", "function": function}]))
    words = f"--endpoint {endpoint} --concurrency 2 --requests 8 --tools {tools} --tool-choice weather"
    summary = calibrated(words, "--ttft 20ms --tpot 4ms", tmp_path / "run")
    calls = summary["tokens"]["tool_calls"]
    assert (calls["judged"], calls["replies"], calls["calls_per_reply"]) == (8, 8, 1)
    kinds = summary["tokens"]["kinds"]
    assert kinds["tool_calls"]["tokens"] == summary["tokens"]["output"] > 0
    assert kinds["content"]["chunks"] == 0
    # The error of TTFT was measured, and no count was off.
    assert "ttft_ms" in {row["metric"] for row in summary["calibration"]["metrics"]}
