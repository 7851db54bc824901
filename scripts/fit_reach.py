"""Prints how well `bench fit` finds a mock's coefficients, and how the profile does at an unseen load."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.cli import main as bench
from tests.support.mock_process import mock_process

TRUTH = {"b0": 6_400.0, "b1": 11.0, "b2": 74.0, "b3": 0.02, "a0": 2_900.0, "w0": 4_200.0}
WITHIN = {"b0": 0.03, "b1": 0.10, "b2": 0.10}
LOADS, HELD_OUT = (1, 4, 16), 9
HELD_SEEDS = (7, 8, 9)
WARMUP_S = 2.0
"""Users who all begin at once would dominate the p99 of a short run, and which of them share a step is chance."""
RATE = 10.0
"""Requests per second of one more load: some find the server idle, and some arrive during steps."""
LENGTHS = ("--input-tokens", "lognormal:mean=300,cv=0.8,max=2000", "--output-tokens", "uniform:16..128")
HELD_NUMBERS = (("ttft_ms", "p50", 0.03), ("ttft_ms", "p99", 0.10), ("tpot_ms", "p50", 0.03), ("tpot_ms", "p99", 0.10))


def run(url: str, how: tuple[str, float], seconds: float, out: Path, seed: int = 0) -> dict[str, Any]:
    """The summary of a run: ("--concurrency", users) or ("--rate", requests a second)."""
    load = [how[0], str(how[1]), "--warmup", str(WARMUP_S), "--duration", str(seconds), "--seed", str(seed)]
    bench(["run", "--url", url, *load, *LENGTHS, "--quiet", "--out", str(out)])
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def held_out(url: str, seconds: float, place: Path) -> list[dict[str, Any]]:
    """The held-out load, once with each seed: which prompts meet is chance, and moves a p99 by some 5%."""
    return [run(url, ("--concurrency", HELD_OUT), seconds, place / str(seed), seed) for seed in HELD_SEEDS]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="fit-reach-") as folder:
        place = Path(folder)
        cost = ",".join(f"{name}={value:g}" for name, value in TRUTH.items())
        with mock_process("--engine", "batching", "--step-cost", cost) as mock:
            for users in LOADS:
                run(mock.url, ("--concurrency", users), seconds, place / f"users-{users}")
            run(mock.url, ("--rate", RATE), seconds, place / "rate")
            measured = held_out(mock.url, seconds, place / "held-out")
        runs = [str(place / name) for name in (*(f"users-{users}" for users in LOADS), "rate")]
        bench(["fit", *runs, "--no-replay", "--out", str(place / "profile.json")])
        with mock_process("--profile", str(place / "profile.json")) as mock:
            replayed = held_out(mock.url, seconds, place / "replayed")
        found = json.loads((place / "profile.json").read_text())["step_cost"]
    print(f"\n{'':<12}{'truth':>10}{'fitted':>10}{'off':>9}{'allowed':>9}")
    for name, value in TRUTH.items():
        allowed = f"{WITHIN[name]:.0%}" if name in WITHIN else ""
        print(f"{name:<12}{value:>10g}{found[name]:>10.5g}{found[name] / value - 1:>+9.1%}{allowed:>9}")
    print(f"\n{HELD_OUT} users   {'measured':>10}{'replayed':>10}{'off':>9}{'allowed':>9}")
    for name, stat, within in HELD_NUMBERS:
        one, two = (statistics.median(one["latency"][name][stat] for one in made) for made in (measured, replayed))
        print(
            f"{name.removesuffix('_ms') + ' ' + stat:<10}{one:>10.2f}{two:>10.2f}{two / one - 1:>+9.1%}{within:>9.0%}"
        )


if __name__ == "__main__":
    main()
