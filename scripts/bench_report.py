"""How long a report of many requests takes, and how much memory it needs.

Makes a run directory as 500 users would leave it (TTFT 50 ms, a token every 20 ms, with some noise), then renders it
with `python -m bench report` and prints what that used, in turn with and without the autocorrelation times behind its
intervals. Takes 3 KB of disk per request.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.config import resolve
from bench.records import Outcome, RequestRecord, to_line
from bench.run_files.run_directory import REQUESTS, SAMPLES, RunDirectory

USERS = 500

WITH = "import sys; from bench.cli import main; sys.exit(main())"
WITHOUT = f"""
from bench.statistics import autocorrelation, intervals, steady_state
for module in (autocorrelation, intervals, steady_state):
    module.act = lambda values: 1.0
{WITH}
"""
"""The same report with every value treated as independent, so that no autocorrelation time is computed."""


def make(path: Path, requests: int, tokens: int) -> None:
    """Write the run directory."""
    directory = RunDirectory.create(path)
    config = resolve({"url": "http://127.0.0.1:1", "concurrency": USERS, "requests": requests})
    manifest = {
        "run_id": "made", "started": "", "command": [], "model": "made", "notes": [], "exact_lengths": False,
        "versions": {}, "host": {}, "start_ns": 10**15, "run_start_ns": 10**15, "stop_reason": "requests",
    }  # fmt: skip
    directory.write_manifest({"config": config.public(), "manifest": manifest})
    chance = random.Random(0)
    noise = [chance.gauss(0, 200_000) for _ in range(4096)]
    free = [10**15 + user * 1_000_000 for user in range(USERS)]
    with (path / REQUESTS).open("wb", buffering=1 << 20) as file:
        for index in range(requests):
            sent = free[index % USERS]
            at = sent + 50_000_000
            stamps = []
            for k in range(tokens):
                stamps.append(at + round(abs(noise[(index * 31 + k) % 4096])))
                at += 20_000_000
            end = free[index % USERS] = stamps[-1] + 20_000
            record = RequestRecord(
                id=f"made-{index}", index=index, phase="run", intended_ns=sent, eligible_ns=sent, connect_ns=0,
                sent_ns=sent + 30_000, first_byte_ns=stamps[0], end_ns=end, attempts=1, status=200, outcome=Outcome.OK,
                chunk_ns=(stamps[0], *stamps, end, end), chunk_tokens=(0, *(1,) * tokens, 0, 0),
                chunk_kind=f"r{'c' * tokens}uo", input_tokens_asked=1024,
                input_tokens=1024, output_tokens_asked=tokens, output_tokens=tokens, output_tokens_from="usage",
                bytes_sent=5000, bytes_received=250 * tokens, clock="kernel",
            )  # fmt: skip
            file.write(to_line(record))
    (path / SAMPLES).touch()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="?", type=int, default=100_000, help="of the run (default: 100000)")
    parser.add_argument("tokens", nargs="?", type=int, default=128, help="of each reply (default: 128)")
    parser.add_argument("turns", nargs="?", type=int, default=3, help="reports of each kind, in turns (default: 3)")
    asked = parser.parse_args()
    requests, tokens, turns = asked.requests, asked.tokens, asked.turns
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        path = Path(folder) / "run"
        print(f"making a run of {requests:,} requests with {tokens} tokens", file=sys.stderr)
        make(path, requests, tokens)
        rows: dict[str, list[float]] = {"with act": [], "without": []}
        for _ in range(turns):
            for name, code in (("with act", WITH), ("without", WITHOUT)):
                began = time.perf_counter()
                process = subprocess.Popen(
                    [sys.executable, "-c", code, "report", path, "--quiet"], stdout=subprocess.DEVNULL
                )
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                wall_s = time.perf_counter() - began
                rows[name].append(used.ru_utime + used.ru_stime)
                print(f"{name}: status {process.returncode}: {wall_s:.1f} s, {rows[name][-1]:.1f} s of CPU, "
                      f"{used.ru_maxrss / 1024:.0f} MiB", flush=True)  # fmt: skip
        longer = median(rows["with act"]) / median(rows["without"]) - 1
        print(f"CPU of the report, medians of {turns} in turn: {longer:+.1%} with act (<= 10%)")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
