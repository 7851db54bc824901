"""Races flags of real servers on this machine's processors, each with a tiny random model.

llama.cpp: -np, -b, -ub, -t and -fa, one at a time (25 minutes; with --short 10). vLLM: max-num-seqs and
max-num-batched-tokens, every combination (30 minutes); TRUELOAD_VLLM_PYTHON names its Python. Server and client share
the processors, so the winner holds for this machine alone.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.cli import main as bench
from tests.support import real_servers

LOAD = {"input_tokens": "uniform:32..256", "output_tokens": "uniform:32..96", "ignore_eos": True}
OBJECTIVES = ["error_rate<1%"]


def llama_cpp(folder: Path, short: bool) -> dict[str, object]:
    """The race of llama.cpp's flags."""
    del folder
    program = shlex.join([sys.executable, str(Path(__file__).with_name("real_server.py"))])
    return {
        "server": {"command": f"{program} --port {{port}} {{flags}}"},
        "flags": {
            "-np": [4, 1, 8, 16],
            "-b": [2048, 256],
            "-ub": [512, 128],
            "-t": [1, 2],
            "-fa": ["auto", "on", "off"],
        },
        "vary": "one",
        "exclude": ["-ub > -b"],
        "objectives": OBJECTIVES,
        "loads": "concurrency=16",
        "load": LOAD,
        "visit": "8s" if short else "20s",
        "warmup": "2s" if short else "4s",
        "budget": "10m" if short else "25m",
    }


def vllm(folder: Path, short: bool) -> dict[str, object]:
    """The race of vLLM's flags."""
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    real_servers.write_vllm_model(model)
    words = [real_servers.VLLM_PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    words += ["--served-model-name", "m", "--host", "127.0.0.1", *real_servers.VLLM_FLAGS]
    return {
        "server": {
            "command": f"{shlex.join(words)} --port {{port}} {{flags}}",
            "ready": "/health",
            "environment": dict(real_servers.VLLM_OFFLINE),
        },
        "flags": {"max-num-seqs": [128, 4, 16], "max-num-batched-tokens": [2048, 256]},
        "objectives": OBJECTIVES,
        "loads": "concurrency=16",
        "load": {**LOAD, "model": "m"},
        "visit": "10s" if short else "20s",
        "warmup": "5s",
        "budget": "12m" if short else "30m",
    }


RACES = {"llama.cpp": llama_cpp, "vllm": vllm}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=RACES, action="append", help="default: both; with --short llama.cpp alone")
    parser.add_argument("--short", action="store_true", help="shorter turns: 10 minutes for llama.cpp")
    parser.add_argument("--budget", help="in place of the race's own")
    parser.add_argument("--out", type=Path, help="where to leave the races (default: a temporary directory)")
    given = parser.parse_args()
    worst = 0
    with tempfile.TemporaryDirectory(prefix="tune-real-") as folder:
        for name in given.server or (["llama.cpp"] if given.short else RACES):
            if name == "vllm" and not real_servers.HAS_VLLM:
                print(f"{name}: {real_servers.VLLM_MISSING}")
                continue
            print(f"\n== {name}", flush=True)
            file = Path(folder) / f"{name}.yaml"
            file.write_text(yaml.safe_dump(RACES[name](Path(folder), given.short), sort_keys=False))
            out = (given.out or Path(folder)) / f"race-{name}"
            budget = [] if given.budget is None else ["--budget", given.budget]
            worst = max(worst, bench(["tune", str(file), "--out", str(out), *budget]))
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
