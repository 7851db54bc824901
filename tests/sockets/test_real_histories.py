"""Histories with vLLM itself: calls and results in every dialect, conversations that it stores, and a lost id."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.endpoints.failure import is_lost_response
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import run_to_end
from tests.support.real_servers import HAS_VLLM, VLLM_MISSING, vllm, write_vllm_model
from tests.support.record_rows import record_rows

pytestmark = [pytest.mark.slow, pytest.mark.long]

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not HAS_VLLM:
        pytest.skip(VLLM_MISSING)
    folder = tmp_path_factory.mktemp("model")
    write_vllm_model(folder)
    with vllm(folder, "--enable-auto-tool-choice", "--tool-call-parser", "hermes") as at:
        yield at


def ran(url: str, folder: Path, *flags: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bench", "run", "--url", url, "--out", str(folder / "run"), "--mode", "sessions"]
    command += ["--concurrency", "2", "--turns", "4", "--input-tokens", "60", "--requests", "8", "--quiet", *flags]
    done = run_to_end(command)
    assert (folder / "run" / "summary.json").exists(), done.stderr
    assert json.loads((folder / "run" / "summary.json").read_text())["errors"] == []
    records = record_rows(folder / "run" / "requests.jsonl")
    return sorted(records, key=lambda record: (record["session"], record["turn"]))


@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses"])
def test_it_takes_back_its_own_calls_with_results(url: str, endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([TOOL]))
    words = ["--tools", str(tmp_path / "tools.json"), "--tool-choice", "weather", "--output-tokens", "40"]
    records = ran(url, tmp_path, "--endpoint", endpoint, *words)
    assert [record["outcome"] for record in records] == ["ok"] * 8
    assert sum(record["tool_calls"] for record in records) >= 4
    for before, after in itertools.pairwise(records):
        if after["turn"]:
            assert after["input_tokens"] > before["input_tokens"]


@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses"])
def test_planned_histories_have_the_tokens_that_it_counts(url: str, endpoint: str, tmp_path: Path) -> None:
    words = ["--history", "planned", "--check-usage", "--output-tokens", "8", "--ignore-eos"]
    records = ran(url, tmp_path, "--endpoint", endpoint, *words)
    assert [record["input_tokens"] for record in records] == [record["input_tokens_asked"] for record in records]


def test_it_keeps_conversations(url: str, tmp_path: Path) -> None:
    words = ["--endpoint", "responses", "--history", "stored", "--output-tokens", "8", "--ignore-eos"]
    records = ran(url, tmp_path, *words)
    assert [record["outcome"] for record in records] == ["ok"] * 8
    assert max(r["bytes_sent"] for r in records) < 1.5 * min(r["bytes_sent"] for r in records)
    for before, after in itertools.pairwise(records):
        if after["turn"]:
            assert after["input_tokens"] > before["input_tokens"] + 40


def test_an_id_that_it_does_not_know_is_a_lost_response(url: str) -> None:
    body = {"model": "m", "input": "x", "previous_response_id": "resp_unknown", "max_output_tokens": 16}
    answer = httpx.post(f"{url}/v1/responses", json=body, timeout=PATIENCE_S)
    assert answer.status_code == 404
    assert is_lost_response(answer.content)
