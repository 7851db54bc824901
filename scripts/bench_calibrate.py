"""How far off our numbers are against the mock, and how often the verdict says so, at loads from 1 to 1,000 streams.

Each line is one load (TTFT 50 ms, ITL 20 ms, 64 tokens) measured several times by `python -m bench calibrate`: how many
runs ended VALID, SUSPECT and INVALID; the median over the runs of the largest error of TTFT, ITL, TPOT and E2EL; and
how many runs were VALID but further off than the target, which must be 0. With `--beside 6` six busy loops compete for
the processors; with `--transport httpx` the loads go through httpx; with `--priority normal` neither the client nor the
mock takes real-time priority.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METRICS = ("ttft_ms", "itl_ms", "tpot_ms", "e2el_ms")
TARGET_MS = {"p50": 0.05, "p90": 0.05, "p99": 0.1}

LOADS = {
    "1": ("--concurrency", "1", "--requests", "8"),
    "10": ("--concurrency", "10", "--requests", "60"),
    "100": ("--concurrency", "100", "--requests", "500"),
    "500": ("--concurrency", "500", "--requests", "2000"),
    "1000": ("--concurrency", "1000", "--requests", "3000"),
    "poisson-200": ("--rate", "200", "--duration", "6s"),
}
"""By name: concurrent streams, or arrivals per second."""


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """This many busy processes beside the load."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


LONGEST_S = 300
"""A calibration that takes longer is given up: at these loads it takes 10 s."""


def calibrate(load: tuple[str, ...], transport: str, priority: str, folder: Path) -> dict[str, Any] | None:
    """The summary of one calibration; None if it did not finish."""
    command = [sys.executable, "-m", "bench", "calibrate", *load, "--input-tokens", "128", "--output-tokens", "64"]
    command += ["--cpu-priority", priority, "--mock", f"--ttft 50ms --tpot 20ms --cpu-priority {priority}"]
    command += ["--transport", transport, "--out", str(folder / "run"), "--no-store", "--quiet"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    try:
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return None
    if ran.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)} exits {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    summary: dict[str, Any] = json.loads((folder / "run" / "summary.json").read_text())
    return summary


def errors(summary: dict[str, Any]) -> dict[str, float]:
    """The largest error of the four metrics at each quantile, in ms."""
    rows = summary["calibration"]["metrics"]
    return {
        stat: max(abs(row["error"]) for row in rows if row["stat"] == stat and row["metric"] in METRICS)
        for stat in TARGET_MS
    }


def worst(summary: dict[str, Any]) -> str:
    """The numbers that miss the target, as text."""
    rows = summary["calibration"]["metrics"]
    return ", ".join(
        f"{row['stat']} of {row['metric']} {row['error']:+.3f} ms"
        for row in rows
        if row["metric"] in METRICS and abs(row["error"]) > TARGET_MS.get(row["stat"], math.inf)
    )


def main() -> None:
    """Print the table, and exit 1 if a VALID run was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=f"of {', '.join(LOADS)} (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="runs a load (default: 3)")
    parser.add_argument("--transport", default="wire", choices=("wire", "httpx"))
    parser.add_argument("--beside", type=int, default=0, metavar="N", help="busy loops beside the load (default: 0)")
    parser.add_argument(
        "--priority", default="auto", choices=("auto", "normal", "realtime"), help="of client and mock (default: auto)"
    )
    given = parser.parse_args()
    if unknown := [name for name in given.loads if name not in LOADS]:
        parser.error(f"no load is called {', '.join(unknown)}: there are {', '.join(LOADS)}")
    beside = f", {given.beside} busy loops beside it" if given.beside else ""
    what = f"{given.transport}, priority {given.priority}, {given.runs} runs a load{beside}"
    print(f"{what}; targets {TARGET_MS} ms", flush=True)
    print(
        f"{'load':>12} {'VALID':>6} {'SUSPECT':>8} {'INVALID':>8}   {'p50':>8} {'p90':>8} {'p99':>8} ms   wrong and VALID"
    )
    wrong_in_all = 0
    reasons: Counter[str] = Counter()
    beyond: list[str] = []
    for name in given.loads or LOADS:
        verdicts: Counter[str] = Counter()
        seen: dict[str, list[float]] = {stat: [] for stat in TARGET_MS}
        wrong = 0
        for _ in range(given.runs):
            with tempfile.TemporaryDirectory(prefix="trueload-") as folder, busy(given.beside):
                summary = calibrate(LOADS[name], given.transport, given.priority, Path(folder))
            if summary is None:
                reasons[f"{name}: it did not end in {LONGEST_S} s"] += 1
                continue
            verdict = summary["verdict"]
            verdicts[verdict["status"]] += 1
            reasons.update(f"{name}: {reason}" for reason in verdict["reasons"])
            off = errors(summary)
            for stat, value in off.items():
                seen[stat].append(value)
            if verdict["status"] == "VALID" and any(off[stat] > TARGET_MS[stat] for stat in TARGET_MS):
                wrong += 1
                beyond.append(f"{name}: {worst(summary)}")
        wrong_in_all += wrong
        middle = " ".join(f"{statistics.median(values):8.3f}" if values else f"{'–':>8}" for values in seen.values())
        counts = f"{verdicts['VALID']:6} {verdicts['SUSPECT']:8} {verdicts['INVALID']:8}"
        print(f"{name:>12} {counts}   {middle}      {wrong}", flush=True)
    if beyond:
        print("\nVALID and over the target:", *beyond, sep="\n  ")
    print("\nwhy not VALID:" if reasons else "\nevery run was VALID")
    for reason, times in reasons.most_common(20):
        print(f"  {times} x {reason}")
    sys.exit(1 if wrong_in_all else 0)


if __name__ == "__main__":
    main()
