"""The knee of a sweep over the mock's batching engine, beside the closed form that the mock publishes in /truth."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import httpx
import orjson

from bench.cli import main
from bench.errors import Exit
from bench.process.mock_process import running_mock

MOCK = "--engine batching --step-cost b0=8000,b1=1,b2=200,a0=0 --max-num-seqs 512"
INPUT, OUTPUT = 64, 64
LOADS = "concurrency=1..256x2"
WITHIN = 0.05


def measure() -> int:
    """Print N1/2 as the sweep found it and its true value. Returns 1 if they are more than 5% apart."""
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder, running_mock(MOCK, seed=0, tokenizer=None) as mock:
        out = Path(folder) / "sweep"
        asked = {"input_tokens": str(INPUT), "output_tokens": str(OUTPUT)}
        truth = httpx.get(f"{mock.url}/truth", params=asked, timeout=30).json()["expected"]["half_load_users"]
        words = ["--input-tokens", asked["input_tokens"], "--output-tokens", asked["output_tokens"], "--ignore-eos"]
        status = main(
            ["sweep", "--url", mock.url, "--loads", LOADS, *words, "--warmup", "6s", "--duration", "12s",
             "--out", str(out), "--quiet"]
        )  # fmt: skip
        if status not in (Exit.GOOD, Exit.INVALID):
            return status
        knee = orjson.loads((out / "sweep.json").read_bytes())["knee"]
    if knee is None:
        print("no knee: too few loads were measured")
        return 1
    found, interval = knee["half_at"], knee["half_at_interval"]
    print(f"\nN1/2 by the sweep {found:.2f} [{interval[0]:.2f}, {interval[1]:.2f}], by the closed form {truth:.2f}")
    print(f"difference {found / truth - 1:+.1%}, at most {WITHIN:.0%}")
    return 0 if abs(found / truth - 1) <= WITHIN else 1


if __name__ == "__main__":
    sys.exit(measure())
