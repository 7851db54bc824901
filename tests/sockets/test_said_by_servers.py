"""A server's details about each request are in its record, match the ledger, and add up to the server's metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench import cli
from bench.errors import Exit
from tests.support.mock_process import MockProcess, mock_process
from tests.support.record_rows import record_rows

FLAGS = ("--engine", "batching", "--step-cost", "b0=2000,b1=5,b2=20,a0=500", "--max-model-len", "4096")
DRAFTS = ("--num-speculative-tokens", "3")
EVERY = ("--reply-details", "cached_tokens", "--reply-details", "metrics", "--reply-details", "speculative_decoding")
REQUESTS, WARMUP = 12, 3


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process(*FLAGS, *DRAFTS, *EVERY) as running:
        yield running


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Complete bodies with a long common beginning. The probe sends the first, and has its own hits and drafts."""
    path = tmp_path_factory.mktemp("data") / "bodies.jsonl"
    common = "All of this is said again and again. " * 40
    rows = [{"messages": [{"role": "user", "content": f"{common}{n}"}], "max_tokens": 9 + n} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Run = tuple[dict[str, Any], list[dict[str, Any]]]


def run(url: str, out: Path, *more: str) -> Run:
    words = ["--requests", str(REQUESTS), "--warmup", str(WARMUP), "--concurrency", "4", "--quiet"]
    status = cli.main(["run", "--url", url, "--out", str(out), *words, *more])
    assert status in (Exit.GOOD, Exit.INVALID)
    records = record_rows(out / "requests.jsonl")
    return json.loads((out / "summary.json").read_text()), records


def counted(summary: dict[str, Any]) -> dict[str, tuple[float, float, bool | None]]:
    lines = summary["server"]["reconciliation"]["counts"]
    return {line["what"]: (line["server"], line["client"], line["agree"]) for line in lines}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_cached_tokens_and_drafts_add_up_to_the_servers_counters_and_the_probes_are_not_among_them(
    mock: MockProcess, bodies: Path, tmp_path: Path, workers: str
) -> None:
    first = bodies.read_text().splitlines()[0]
    assert httpx.post(f"{mock.url}/v1/chat/completions", content=first).status_code == 200
    summary, records = run(mock.url, tmp_path / "run", "--dataset", str(bodies), "--workers", workers)
    found = counted(summary)
    assert len(records) == REQUESTS + WARMUP
    for what in ("cached_tokens", "draft_steps", "draft_tokens", "accepted_tokens"):
        total = sum(record[what] for record in records)
        assert total > 0
        assert found[what] == (total, total, True)
    # The report's numbers are those of the run, without its warm-up.
    assert summary["server_requests"]["drafts"]["replies"] == REQUESTS
    # The probe had some, too. If they were included, the sums would not match.
    asked = f"probe-{str(records[0]['id']).rpartition('-')[0]}-0"
    probe = mock.line_of(asked)["engine"]
    assert probe["cached_tokens"] > 0
    assert probe["draft_tokens"] > 0


@pytest.mark.parametrize(
    "how", [("--endpoint", "chat"), ("--endpoint", "completions"), ("--endpoint", "chat", "--no-stream")]
)
def test_each_record_says_what_the_ledger_says(mock: MockProcess, tmp_path: Path, how: tuple[str, ...]) -> None:
    data = ("--prefix", "tokens=64", "--input-tokens", "100", "--output-tokens", "uniform:1..20")
    summary, records = run(mock.url, tmp_path / "run", *data, *how)
    ledger = mock.lines_of({record["id"] for record in records})
    for record in records:
        engine = ledger[record["id"]]["engine"]
        for name in ("queue", "prefill", "decode"):
            assert record[f"server_{name}_ms"] == engine[f"{name}_ns"] / 1e6
        for name in ("cached_tokens", "draft_steps", "draft_tokens", "accepted_tokens"):
            assert record[name] == engine[name]
        assert sum(record["acceptance"]) == engine["accepted_tokens"]
    assert [counted(summary)[what][2] for what in ("cached_tokens", "draft_steps", "accepted_tokens")] == [True] * 3


@pytest.mark.parametrize("endpoint", ["messages", "responses"])
def test_other_dialects_say_what_was_cached(mock: MockProcess, tmp_path: Path, endpoint: str) -> None:
    data = ("--endpoint", endpoint, "--prefix", "tokens=64", "--input-tokens", "100", "--output-tokens", "4")
    summary, records = run(mock.url, tmp_path / "run", *data)
    found = counted(summary)
    assert found["cached_tokens"] == (*[sum(record["cached_tokens"] for record in records)] * 2, True)
    assert found["cached_tokens"][0] > 0
    assert "draft_steps" not in found


def test_the_timings_of_llama_cpp_are_read_too(tmp_path: Path) -> None:
    with mock_process(*FLAGS, *DRAFTS, "--reply-details", "timings") as mock:
        _, records = run(mock.url, tmp_path / "run", "--output-tokens", "8", "--endpoint", "responses")
        ledger = mock.lines_of({record["id"] for record in records})
    for record in records:
        engine = ledger[record["id"]]["engine"]
        assert (record["server_queue_ms"], record["draft_steps"]) == (None, None)
        assert record["server_prefill_ms"] == engine["prefill_ns"] / 1e6
        assert record["draft_tokens"] == engine["draft_tokens"]
