"""The details of vLLM (on CPU) about each request add up to its own counters (cached tokens, drafts), and its times fit
the client's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from tests.support.real_servers import HAS_VLLM, VLLM_MISSING, vllm, write_vllm_model
from tests.support.record_rows import record_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_VLLM, reason=VLLM_MISSING),
]

DRAFTS = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 2, "prompt_lookup_min": 1}
FLAGS = ("--enable-prompt-tokens-details", "--enable-per-request-metrics")
SPECULATION = ("--per-request-spec-decode-metrics", "summary", "--speculative-config", json.dumps(DRAFTS))
LOAD = ("--concurrency", "4", "--requests", "24", "--warmup", "4", "--prefix", "tokens=300", "--input-tokens", "400")
# At temperature 0 a random model soon repeats itself, so drafts from n-grams are right.
REPLIES = ("--output-tokens", "uniform:8..60", "--ignore-eos", "--extra-body", '{"temperature": 0}')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("model")
    write_vllm_model(folder)
    with vllm(folder, *FLAGS, *SPECULATION) as url:
        yield url


def run(server: str, out: Path, *more: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    cli.main(["run", "--url", server, "--out", str(out), *LOAD, *REPLIES, *more, "--quiet"])
    records = record_rows(out / "requests.jsonl")
    assert {record["outcome"] for record in records} == {"ok"}
    return json.loads((out / "summary.json").read_text()), records


@pytest.mark.parametrize("endpoint", ["chat", "completions", "messages", "responses"])
def test_cached_tokens_and_drafts_are_those_of_the_servers_counters(server: str, tmp_path: Path, endpoint: str) -> None:
    summary, records = run(server, tmp_path / "run", "--endpoint", endpoint)
    found = {line["what"]: line for line in summary["server"]["reconciliation"]["counts"]}
    names = ["cached_tokens"]
    if endpoint in ("chat", "completions"):
        names += ["draft_steps", "draft_tokens", "accepted_tokens"]
    for name in names:
        total = sum(record[name] for record in records)
        assert (found[name]["server"], found[name]["client"], found[name]["agree"]) == (total, total, True)
        assert total > 0


@pytest.mark.parametrize("how", [(), ("--no-stream",)])
def test_the_servers_times_lie_within_the_clients(server: str, tmp_path: Path, how: tuple[str, ...]) -> None:
    _, records = run(server, tmp_path / "run", *how)
    for record in records:
        times = [record[f"server_{name}_ms"] for name in ("queue", "prefill", "decode")]
        assert min(times) >= 0
        assert sum(times) < (record["end_ns"] - record["sent_ns"]) / 1e6
        assert sum(record["acceptance"]) == record["accepted_tokens"]
        assert record["acceptance"][0] <= record["draft_steps"]
