"""Embeddings and rerank of third-party servers: llama.cpp and, if installed, vLLM."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.ready_made import run_to_end
from tests.support.real_servers import HAS_VLLM, MODEL, VLLM_MISSING, counters, llama_cpp, vllm, write_vllm_model
from tests.support.record_rows import record_rows

pytestmark = [pytest.mark.slow, pytest.mark.long]

REQUESTS = 24


def run(url: str, endpoint: str, out: Path, *words: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary and the records of a run."""
    command = [sys.executable, "-m", "bench", "run", "--url", url, "--endpoint", endpoint, "--concurrency", "4"]
    command += ["--requests", str(REQUESTS), "--input-tokens", "uniform:5..60", "--batch-inputs", "uniform:1..4"]
    ran = run_to_end([*command, "--out", str(out), *words])
    assert (out / "summary.json").exists(), ran.stderr
    records = record_rows(out / "requests.jsonl")
    return json.loads((out / "summary.json").read_text()), records


def check_embeddings(summary: dict[str, Any], records: list[dict[str, Any]]) -> None:
    assert summary["counts"]["by_outcome"] == {"ok": REQUESTS}
    assert summary["inputs"]["dimensions"] == {str(MODEL["hidden_size"]): REQUESTS}
    assert summary["inputs"]["total"] == sum(record["inputs"] for record in records) > REQUESTS
    assert summary["latency"]["e2el_ms"]["n"] == REQUESTS
    # Every text has exactly the requested tokens, by the server's count.
    asked = summary["tokens"]["asked_against_got"]["input"]
    assert (asked["compared"], asked["differ"]) == (REQUESTS, 0)


def llama_cpp_or_skip() -> None:
    pytest.importorskip("xllamacpp", reason="the extra `real` is not installed")
    pytest.importorskip("gguf", reason="the extra `real` is not installed")


def test_llama_cpp_embeds(tmp_path: Path) -> None:
    llama_cpp_or_skip()
    with llama_cpp("--serve", "embeddings") as url:
        check_embeddings(*run(url, "embeddings", tmp_path / "floats"))
        base64 = ("--extra-body", json.dumps({"encoding_format": "base64"}), "--transport", "httpx")
        before = counters(url)["llamacpp:prompt_tokens_total"]
        summary, records = run(url, "embeddings", tmp_path / "base64", *base64)
        check_embeddings(summary, records)
        counted = counters(url)["llamacpp:prompt_tokens_total"] - before
        # In addition to the run, the server has embedded the few tokens of the probe.
        assert 0 < counted - summary["tokens"]["usage"]["input"] < 10


def test_llama_cpp_ranks(tmp_path: Path) -> None:
    llama_cpp_or_skip()
    with llama_cpp("--serve", "rerank") as url:
        summary, records = run(url, "rerank", tmp_path / "all")
        assert summary["counts"]["by_outcome"] == {"ok": REQUESTS}
        assert summary["inputs"]["are"] == "documents"
        assert summary["inputs"]["total"] == sum(record["inputs"] for record in records) > REQUESTS
        # The model reads the query again with each document.
        assert all(record["input_tokens"] >= record["input_tokens_asked"] for record in records)
        summary, _ = run(url, "rerank", tmp_path / "best", "--extra-body", '{"top_n": 1}')
        assert summary["counts"]["by_outcome"] == {"ok": REQUESTS}


@pytest.mark.skipif(not HAS_VLLM, reason=VLLM_MISSING)
def test_vllm_embeds_and_ranks(tmp_path: Path) -> None:
    write_vllm_model(tmp_path)
    with vllm(tmp_path, "--runner", "pooling") as url:
        before = counters(url)
        summary, records = run(url, "embeddings", tmp_path / "floats")
        check_embeddings(summary, records)
        after = counters(url)

        def rise(name: str) -> float:
            return after[name] - before.get(name, 0.0)

        # The server's own counts: the run, and the few tokens of the probe. It serves each text separately.
        assert 0 < rise("vllm:prompt_tokens_total") - summary["tokens"]["usage"]["input"] < 10
        assert rise("vllm:e2e_request_latency_seconds_count") == summary["inputs"]["total"] + 1
        lines = {line["what"]: line["agree"] for line in summary["server"]["reconciliation"]["counts"]}
        assert lines["prompt_tokens"] is True
        assert lines["requests"] is not False
        assert "generation_tokens" not in lines
        summary, records = run(url, "embeddings", tmp_path / "base64", "--extra-body", '{"encoding_format": "base64"}')
        check_embeddings(summary, records)
        # An embedding model ranks by the similarity of vectors.
        summary, _ = run(url, "rerank", tmp_path / "ranked", "--extra-body", '{"top_n": 2}')
        assert summary["counts"]["by_outcome"] == {"ok": REQUESTS}
