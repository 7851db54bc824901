"""Clean runs against the mock, on a machine that is kept busy if asked: what each sign of the verdict says of them.

A short run has few values, and a busy machine makes it late: a sign that speaks of such a run must have seen something wrong.
Prints a line a sign (how often it was SUSPECT and INVALID, and its largest value), the statuses, and the sentences.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.config import resolve
from bench.errors import BenchError
from bench.load_test import run
from bench.verdict import SIGNS
from bench.verdict.finding import Finding, Status

READY = "mockserver ready at "
SPIN = [sys.executable, "-c", "while True: pass"]

SHORT = {"requests": (6, 50), "streams": (1, 8), "tokens": (1, 2, 8, 24)}
LONGER = {"requests": (6, 500), "streams": (1, 100), "tokens": (1, 8, 64)}
MODES = ("concurrency", "rate", "throughput", "sessions")
MOCKS = (("30ms", "10ms"), ("8ms", "2ms"), ("lognormal:mean=100ms,cv=0.3", "lognormal:mean=20ms,cv=0.3"))


@contextmanager
def process(command: list[str], **popen: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    started = subprocess.Popen(command, text=True, **popen)
    try:
        yield started
    finally:
        started.terminate()
        started.wait()


@contextmanager
def mock(ttft: str, tpot: str) -> Iterator[str]:
    """The URL of a mock."""
    command = [sys.executable, "-m", "mockserver", "--port", "0", "--ttft", ttft, "--tpot", tpot]
    with process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        if not line.startswith(READY):
            sys.exit(f"the mock did not start: {line!r}")
        yield line.removeprefix(READY).strip()


def load(kinds: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Flags of one run: a mode, a number of requests, of streams and of output tokens, at random."""
    requests = round(10 ** rng.uniform(*(_digits(n) for n in kinds["requests"])))
    streams = min(round(10 ** rng.uniform(*(_digits(n) for n in kinds["streams"]))), requests)
    flags: dict[str, Any] = {
        "requests": requests,
        "input_tokens": "32",
        "output_tokens": str(rng.choice(kinds["tokens"])),
    }
    mode = rng.choice(MODES)
    if mode == "rate":
        return flags | {"rate": float(rng.choice((10, 50, 200)))}
    if mode == "throughput":
        return flags | {"mode": "throughput", "max_concurrency": streams}
    if mode == "sessions":
        return flags | {"mode": "sessions", "concurrency": streams, "turns": "3", "think_time": "20ms"}
    return flags | {"concurrency": streams}


def _digits(n: int) -> float:
    return len(str(n)) - 1 + (n / 10 ** (len(str(n)) - 1) - 1) / 9


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="scripts/clean-runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="busy loops beside (default 0)")
    parser.add_argument("--longer", action="store_true", help="up to 500 requests and 100 streams, not 50 and 8")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    rng = random.Random(flags.seed)
    spoke: dict[str, Counter[Status]] = defaultdict(Counter)
    largest: dict[str, float] = {}
    statuses: Counter[Status] = Counter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clean-")))
        urls = [stack.enter_context(mock(*times)) for times in MOCKS]
        for _ in range(flags.busy):
            stack.enter_context(process(SPIN))
        for number in range(flags.runs):
            given = load(LONGER if flags.longer else SHORT, rng)
            url = urls[number % len(urls)]
            config = resolve({"url": url, "quiet": True, "out": str(folder / str(number)), **given})
            try:
                verdict = run(config).verdict
            except BenchError as e:
                sys.exit(f"run {number}: {e}")
            statuses[verdict.status] += 1
            for finding in verdict.findings:
                spoke[finding.sign][finding.status] += 1
                largest[finding.sign] = max(largest.get(finding.sign, finding.value), finding.value)
            if verdict.reasons:
                shape = " ".join(f"{key}={value}" for key, value in given.items() if key != "input_tokens")
                print(f"{number:4} {verdict.status:8} {shape}")
                print(
                    "".join(f"       {_first(f)}\n" for f in verdict.findings if f.status is not Status.VALID), end=""
                )
    print(f"\n{'sign':18} {'looked':>7} {'SUSPECT':>8} {'INVALID':>8} {'FAILED':>7}  largest value")
    for sign in SIGNS:
        row = spoke[sign]
        counts = " ".join(
            f"{row[status]:>{w}}" for status, w in ((Status.SUSPECT, 8), (Status.INVALID, 8), (Status.FAILED, 7))
        )
        print(f"{sign:18} {row.total():>7} {counts}  {largest.get(sign, 0):.4g}")
    print(", ".join(f"{n} {status}" for status, n in sorted(statuses.items())))


def _first(finding: Finding) -> str:
    return f"{finding.sign}: {finding.sentence}"


if __name__ == "__main__":
    main()
