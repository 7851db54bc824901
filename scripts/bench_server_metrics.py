"""The same run with and without reading its server's metrics each second, in turn: send lateness, CPU, start and
verdict.

The server is the mock (TTFT 50 ms, ITL 20 ms). Needs an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import yaml

from tests.support.mock_process import mock_process

CHOICES = {"read each second": "auto", "not read": "off"}


def measure(url: str, choice: str, out: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One run: its summary, the CPU of its processes, and the time to its first request."""
    words = ["--url", url, "--concurrency", f"{given.streams}", "--duration", f"{given.seconds}s", "--warmup", "3s"]
    words += ["--input-tokens", "64", "--output-tokens", "64", "--server-metrics", choice, "--out", str(out), "--quiet"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun_ns = time.monotonic_ns()
    subprocess.run([sys.executable, "-m", "bench", "run", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary: dict[str, Any] = orjson.loads((out / "summary.json").read_bytes())
    start_ns = yaml.safe_load((out / "run.yaml").read_text())["manifest"]["start_ns"]
    summary["cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    summary["first_s"] = (start_ns - begun_ns) / 1e9
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CHOICES}
    with tempfile.TemporaryDirectory() as folder, mock_process("--ttft", "50ms", "--tpot", "20ms") as mock:
        for turn in range(given.turns):
            for name in list(CHOICES)[:: 1 if turn % 2 == 0 else -1]:
                found[name].append(measure(mock.url, CHOICES[name], Path(folder) / f"{turn}-{CHOICES[name]}", given))
    print(f"{given.streams} streams, {given.seconds} s, {given.turns} turns; medians (least to greatest)")
    for name, runs in found.items():
        late = [run["instrument"]["send_lateness_ms"] for run in runs]
        cpu = [1e6 * run["cpu_s"] / max(run["tokens"]["output"], 1) for run in runs]
        for what, values, unit in (
            ("send lateness p50", [one["p50"] for one in late], "ms"),
            ("send lateness p99", [one["p99"] for one in late], "ms"),
            ("CPU of the whole command, a token", cpu, "us"),
            ("start to the first request", [run["first_s"] for run in runs], "s"),
        ):
            print(f"{name:<18} {what:<36} {median(values):8.3f} {unit} ({min(values):.3f} to {max(values):.3f})")
        print(f"{name:<18} {'verdict':<36} {', '.join(run['verdict']['status'] for run in runs)}")
    for run in found["read each second"]:
        counts = run["server"]["reconciliation"]["counts"]
        print("counts: " + "; ".join(line["sentence"] for line in counts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
