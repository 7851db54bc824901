"""Clean runs against the mock: nothing is wrong with them, so what is the verdict, and is it right?

Each run has a random mode, number of requests (6 to 2,000), of streams (1 to 500) and of output tokens, so that it
takes a few seconds and asks no more of this machine than it has. Its numbers are compared with the mock's ledger by the
bands of `calibrate` (docs/troubleshooting.md); the run's verdict does not use the ledger. Prints a line for each run
that is not VALID or has wrong numbers, a line for each sign, and at the end how often the verdict was right.

`--from` and `--json` split a long series into pieces: `--runs 40 --from 80 --json FILE` does runs 80 to 119 of the
series and adds them to FILE; `--table FILE` prints the tables of everything in it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.calibrate.measure import calibrate_at
from bench.config import resolve
from bench.errors import BenchError, Exit
from bench.observer import SILENT
from bench.process.mock_process import running_mock
from bench.verdict import SIGNS
from bench.verdict.finding import Status

SPIN = [sys.executable, "-c", "while True: pass"]

REQUESTS = (6, 2_000)
STREAMS = (1, 500)
TOKENS = (1, 2, 8, 24, 64)
RATES = (10, 400)
MODES = ("concurrency", "rate", "throughput", "sessions", "trace")

MOST_S = 8.0
MOST_CHUNKS_PER_S = 15_000
MOST_REQUESTS_PER_S = 600
"""A run that takes longer, or asks more of the two processors that mock and client share, is drawn again."""


@dataclass(frozen=True)
class MockTimes:
    """A mock's mean times (ms), and their spread."""

    ttft_ms: float
    tpot_ms: float
    cv: float = 0.0

    def flags(self) -> str:
        """As mock flags."""
        ttft, tpot = (
            f"lognormal:mean={ms:g}ms,cv={self.cv:g}" if self.cv else f"{ms:g}ms" for ms in (self.ttft_ms, self.tpot_ms)
        )
        return f"--ttft {ttft} --tpot {tpot}"


MOCKS = (MockTimes(30, 10), MockTimes(8, 2), MockTimes(100, 20, cv=0.3))


@dataclass(frozen=True)
class CleanRun:
    """The result of one run. `wrong`: where the ledger contradicts its numbers; empty if they are right."""

    number: int
    load: dict[str, Any]
    busy: int
    status: str
    statuses: dict[str, str]
    """The status of each sign that found something other than VALID."""
    sentences: list[str]
    wrong: list[str]

    @property
    def right(self) -> bool:
        """Whether every number agrees with the ledger within the bands."""
        return not self.wrong


@contextmanager
def process(command: list[str]) -> Iterator[None]:
    """A process that ends with the block."""
    started = subprocess.Popen(command)
    try:
        yield
    finally:
        started.terminate()
        started.wait()


def between(ends: tuple[int, int], rng: random.Random) -> int:
    """A random whole number, log-uniform between the ends."""
    low, high = ends
    drawn: float = low * (high / low) ** rng.random()
    return min(max(round(drawn), low), high)


def draw(rng: random.Random, times: MockTimes, folder: Path) -> dict[str, Any]:
    """Random flags of a run: drawn again until it takes a few seconds and suits this machine."""
    while True:
        mode, tokens = rng.choice(MODES), rng.choice(TOKENS)
        requests, streams = between(REQUESTS, rng), between(STREAMS, rng)
        rate: float = between(RATES, rng)
        streams = min(streams, requests)
        e2el_s = (times.ttft_ms + (tokens - 1) * times.tpot_ms) / 1000
        if mode == "rate":
            streams = max(1, round(rate * e2el_s))
        elif mode != "trace":
            rate = streams / e2el_s
        takes_s = requests / rate + e2el_s
        if takes_s <= MOST_S and rate <= MOST_REQUESTS_PER_S and rate * tokens <= MOST_CHUNKS_PER_S and streams <= 500:
            break
    flags: dict[str, Any] = {"requests": requests, "input_tokens": "32", "output_tokens": str(tokens)}
    match mode:
        case "rate":
            return flags | {"rate": float(rate)}
        case "throughput":
            return flags | {"mode": mode, "max_concurrency": streams}
        case "sessions":
            return flags | {"mode": mode, "concurrency": streams, "turns": "3", "think_time": "20ms"}
        case "trace":
            return {"mode": mode, "dataset": str(write_trace(folder, requests, rate, tokens, rng))}
    return flags | {"concurrency": streams}


def write_trace(folder: Path, requests: int, rate: float, tokens: int, rng: random.Random) -> Path:
    """A recording of this many requests with exponential gaps."""
    path, at_s, rows = folder / f"trace-{requests}-{rng.getrandbits(32)}.jsonl", 0.0, []
    for _ in range(requests):
        rows.append({"timestamp": round(at_s * 1000), "input_length": 32, "output_length": tokens, "hash_ids": []})
        at_s += rng.expovariate(rate)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measure(number: int, url: str, given: dict[str, Any], busy: int, folder: Path) -> CleanRun:
    """One run: its verdict as a user without the ledger would see it, and the errors against the ledger."""
    config = resolve({"url": url, "quiet": True, "out": str(folder / "run"), **given})
    result = calibrate_at(config, observer=SILENT)
    if result.exit == Exit.INTERRUPTED:
        raise KeyboardInterrupt
    order = list(Status)
    found = sorted(result.verdict.findings, key=lambda f: order.index(f.status), reverse=True)
    bad = [f for f in found if f.status is not Status.VALID]
    seen = [f for f in bad if f.sign != "calibration"]
    statuses: dict[str, str] = {}
    for finding in seen:
        statuses.setdefault(finding.sign, str(finding.status))
    return CleanRun(
        number=number,
        load={key: value for key, value in given.items() if key not in ("input_tokens", "dataset")},
        busy=busy,
        status=str(seen[0].status if seen else Status.VALID),
        statuses=statuses,
        sentences=[f"{f.sign}: {f.sentence}" for f in seen],
        wrong=[f"{f.status}: {f.sentence}" for f in bad if f.sign == "calibration"],
    )


def told(run: CleanRun) -> str:
    """The lines of an unexpected run."""
    shape = " ".join(f"{key}={value}" for key, value in run.load.items())
    lines = [f"{run.number:4} {run.status:8} {'right' if run.right else 'WRONG'}  {shape}"]
    lines += [f"       {sentence}" for sentence in run.sentences]
    lines += [f"       ledger, {sentence}" for sentence in run.wrong[:3]]
    return "\n".join(lines)


def tables(runs: Sequence[CleanRun]) -> str:
    """The signs that fired, and how the verdicts compare with the ledger."""
    lines = [f"{'sign':18} {'SUSPECT':>8} {'INVALID':>8} {'FAILED':>7} {'of these right':>15}"]
    for sign in SIGNS:
        spoke = [run for run in runs if sign in run.statuses]
        if spoke:
            n = Counter(run.statuses[sign] for run in spoke)
            right = sum(run.right for run in spoke)
            lines.append(f"{sign:18} {n['SUSPECT']:>8} {n['INVALID']:>8} {n['FAILED']:>7} {right:>15}")
    lines.append("")
    lines.append(
        f"{'busy loops beside':18} {'n':>5} {'VALID':>6} {'SUSPECT':>8} {'INVALID':>8} {'not VALID and right':>20} "
        f"{'INVALID and right':>18} {'VALID and wrong':>16}"
    )
    for busy in sorted({run.busy for run in runs}):
        these = [run for run in runs if run.busy == busy]
        n = Counter(run.status for run in these)
        counts = (
            sum(run.right and run.status != "VALID" for run in these),
            sum(run.right and run.status == "INVALID" for run in these),
            sum(not run.right and run.status == "VALID" for run in these),
        )
        lines.append(
            f"{busy:<18} {len(these):>5} {n['VALID']:>6} {n['SUSPECT']:>8} {n['INVALID']:>8} "
            f"{counts[0]:>20} {counts[1]:>18} {counts[2]:>16}"
        )
    return "\n".join(lines)


def read(path: Path) -> list[CleanRun]:
    """The runs in a file."""
    return [CleanRun(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="scripts/clean-runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help="(default 200)")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="number of the first run")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="busy loops beside (default 0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="add each run to this file")
    parser.add_argument("--table", type=Path, metavar="FILE", help="only print the tables of such a file")
    flags = parser.parse_args()
    if flags.table:
        print(tables(read(flags.table)))
        return
    signal.signal(signal.SIGTERM, interrupt)
    runs: list[CleanRun] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clean-")))
        os.environ["XDG_CACHE_HOME"] = str(folder)  # Certificates of other loads are ignored.
        urls = [stack.enter_context(running_mock(times.flags(), seed=1, tokenizer=None)).url for times in MOCKS]
        for _ in range(flags.busy):
            stack.enter_context(process(SPIN))
        try:
            for number in range(flags.first, flags.first + flags.runs):
                which = number % len(MOCKS)
                given = draw(random.Random(f"{flags.seed} {number}"), MOCKS[which], folder)
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    run = measure(number, urls[which], given, flags.busy, Path(place))
                runs.append(run)
                if run.sentences or run.wrong:
                    print(told(run), flush=True)
                if flags.json:
                    with flags.json.open("a") as file:
                        file.write(json.dumps(asdict(run)) + "\n")
        except KeyboardInterrupt:
            print(f"interrupted after {len(runs)} runs", file=sys.stderr)
        except BenchError as e:
            sys.exit(f"run {flags.first + len(runs)}: {e}")
    print(f"\n{tables(runs)}")


if __name__ == "__main__":
    main()
