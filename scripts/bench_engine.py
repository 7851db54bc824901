"""What the measuring engine costs and how far off it is, each number beside its target.

The truth is scripts/native/source.c: it stamps each chunk immediately before it writes it, and its ledger is joined
with our records by the same code as in a calibration. The yardstick of cost is scripts/native/client.c, a bare epoll
client that receives the same streams in the same call. Both are compiled with gcc into a temporary folder. Every figure
is the median of several runs; compared runs take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.evaluate import evaluate
from bench.results.certificate import LedgerCalibration
from bench.results.summary import RunSummary, from_json
from bench.run_files.run_directory import LEDGER, RunDirectory
from bench.verdict.finding import Status

NATIVE = Path(__file__).parent / "native"


@dataclass
class Run:
    """One load test of ours: its summary, its CPU time during the load, the CPU time of the whole command including
    child processes, and its peak memory."""

    summary: RunSummary
    cpu_s: float
    command_cpu_s: float
    peak_mib: float

    @property
    def token_chunks(self) -> int:
        return self.summary.tokens.output

    @property
    def cpu_us_a_chunk(self) -> float:
        return self.cpu_s / self.token_chunks * 1e6

    def error_ms(self, stat: str) -> float:
        """The largest error of TTFT, ITL and E2EL at this quantile."""
        metrics = ("ttft_ms", "itl_ms", "e2el_ms")
        return max(abs(row.error) for row in self.ledger.metrics if row.stat == stat and row.metric in metrics)

    @property
    def ledger(self) -> LedgerCalibration:
        """The calibration against the ledger."""
        assert isinstance(self.summary.calibration, LedgerCalibration)
        return self.summary.calibration


class Bench:
    def __init__(self, folder: Path, runs: int, more: str = "") -> None:
        """`more`: additional flags for each run of ours."""
        self.folder, self.runs, self.more = folder, runs, more
        self.places: tuple[set[int], set[int]] | None = None
        """The processors of the client and of the source, if they are pinned."""
        self.pid: int | None = None
        """The run of ours in progress."""
        for name in ("source", "client"):
            subprocess.run(["gcc", "-O2", "-o", folder / name, NATIVE / f"{name}.c"], check=True)

    @contextlib.contextmanager
    def source(self, ttft_ms: float, itl_ms: float, ledger: Path | None = None) -> Iterator[str]:
        command: list[str | Path] = [
            self.folder / "source",
            "--ttft-us",
            str(round(ttft_ms * 1000)),
            "--itl-us",
            str(round(itl_ms * 1000)),
        ]
        if ledger is not None:
            command += ["--ledger", ledger]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            if self.places is not None:
                os.sched_setaffinity(process.pid, self.places[1])
            try:
                assert process.stdout is not None
                yield process.stdout.readline().split()[-1]
            finally:
                process.terminate()

    def run(self, flags: str, ttft_ms: float = 50, itl_ms: float = 20, transport: str = "wire") -> Run:
        out, ledger = self.folder / "run", self.folder / "ledger.jsonl"
        shutil.rmtree(out, ignore_errors=True)
        with self.source(ttft_ms, itl_ms, ledger) as url:
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "bench",
                "run",
                "--url",
                url,
                "--out",
                out,
                "--quiet",
                "--transport",
                transport,
            ]
            process = subprocess.Popen(
                [*command, "--workers", "1", "--input-tokens", "32", *flags.split(), *self.more.split()],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            self.pid = process.pid
            if self.places is not None:
                os.sched_setaffinity(process.pid, self.places[0])
            assert process.stderr is not None
            said = process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 3):
                raise SystemExit(f"bench run failed ({process.returncode}): {said.decode()}")
        shutil.copyfile(ledger, out / LEDGER)
        directory = RunDirectory.open(out)
        before, cpu_s = None, 0.0
        for row in directory.samples():
            if before is not None and "cpu" in row:
                cpu_s += row["cpu"] * (row["t_ns"] - before) / 1e9
            before = row["t_ns"]
        command_cpu_s = used.ru_utime + used.ru_stime
        return Run(evaluate(directory).summary, cpu_s, command_cpu_s, used.ru_maxrss / 1024)

    def other_client_us(self, *command: object) -> float:
        """CPU per chunk, in us, of another client: 500 streams of 128 tokens at once."""
        with self.source(50, 20) as url:
            words = [*map(str, command), url.rpartition(":")[2], "500", "128"]
            told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        return float(told["cpu_s"]) / int(told["chunks"]) * 1e6

    def median(self, measure: Callable[[], float]) -> float:
        return statistics.median(measure() for _ in range(self.runs))


def say(what: str, figure: str, target: str, good: bool) -> None:
    end = "" if not target else "reached" if good else "MISSED"
    print(f"{what:<58} {figure:>24}   {target:<22} {end}".rstrip(), flush=True)


STREAMS_500 = "--mode throughput --requests 500 --output-tokens 128"


def cost(bench: Bench) -> None:
    """Print the CPU cost during the load, and of the whole command: including prompts, records and report, without the
    fixed cost of a command with one request."""
    loading, whole, bare, ratios, whole_ratios = [], [], [], [], []
    for _ in range(bench.runs):
        start_s = bench.run("--requests 1 --output-tokens 128").command_cpu_s
        ours = bench.run("--concurrency 500 --requests 1500 --output-tokens 128")
        bare.append(bench.other_client_us(bench.folder / "client"))
        loading.append(ours.cpu_us_a_chunk)
        whole.append((ours.command_cpu_s - start_s) / ours.token_chunks * 1e6)
        ratios.append(loading[-1] / bare[-1])
        whole_ratios.append(whole[-1] / bare[-1])
    say("CPU per token chunk, 500 streams, while it loads", f"{statistics.median(loading):.2f} us", "", True)
    say("  of a bare C epoll client, in turns with it", f"{statistics.median(bare):.2f} us", "", True)
    say("  ratio of the two", f"{statistics.median(ratios):.2f}", "", True)
    say("CPU per token chunk, whole command beyond start-up", f"{statistics.median(whole):.2f} us", "", True)
    ratio = statistics.median(whole_ratios)
    say("  ratio to the bare client", f"{ratio:.2f}", "<= 1.5", ratio <= 1.5)


SMALL_S = 20
"""How long a small load is observed, once everything has started."""


def small(bench: Bench) -> None:
    """4 streams, where nearly every token wakes the client: the cost of each of its threads, and of the rest of the
    command."""
    parts: dict[str, list[float]] = {}
    besides = []
    for _ in range(bench.runs):
        besides.append(bench.run("--requests 1 --output-tokens 1", ttft_ms=1, itl_ms=1).command_cpu_s)
        seen: list[tuple[int, dict[str, int]]] = []

        def look(seen: list[tuple[int, dict[str, int]]] = seen) -> None:
            assert bench.pid is not None
            seen.append((time.monotonic_ns(), threads_ns(bench.pid)))

        timers = [threading.Timer(5 + later, look) for later in (0, SMALL_S)]
        for timer in timers:
            timer.start()
        bench.run(f"--concurrency 4 --output-tokens 128 --duration {SMALL_S + 10}s")
        (began_ns, before), (ended_ns, after) = seen
        records = RunDirectory.open(bench.folder / "run").records()
        chunks = sum(began_ns < at_ns <= ended_ns for record in records for at_ns in record.chunk_ns)
        for part in before:
            parts.setdefault(part, []).append((after[part] - before[part]) / 1000 / chunks)
    whole = statistics.median(map(sum, zip(*parts.values(), strict=True)))
    say("CPU per token chunk, 4 streams, while it loads", f"{whole:.1f} us", "", True)
    for part, us in parts.items():
        say(f"  {part}", f"{statistics.median(us):.1f} us", "", True)
    say("CPU of a command of one token", f"{statistics.median(besides):.2f} s", "", True)


def threads_ns(pid: int) -> dict[str, int]:
    """The processor time so far of each part of a run: its loop, its receiver, its other threads, and its child
    processes."""
    spent = dict.fromkeys(("loop", "receiver", "other threads", "processes beside it"), 0)
    for process in (pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())):
        for task in Path(f"/proc/{process}/task").iterdir():
            name = (task / "comm").read_text().strip()
            own = "loop" if int(task.name) == pid else name if name == "receiver" else "other threads"
            spent[own if process == pid else "processes beside it"] += int((task / "schedstat").read_text().split()[0])
    return spent


PAGES = 1024
IDLE_S = 0.9


def memory(bench: Bench) -> None:
    """The cost of touching a page of memory again at once, and after a second without use: some virtual machines track
    which pages are in use, and the next touch of each page pays. Rare work, such as a live view's, costs more for this
    reason."""
    page = os.sysconf("SC_PAGE_SIZE")
    area = bytearray(PAGES * page)

    def touch_us() -> float:
        began = time.perf_counter()
        for at in range(0, len(area), page):
            area[at] = 1
        return (time.perf_counter() - began) / PAGES * 1e6

    def again_us(idle_s: float) -> float:
        touch_us()
        until = time.perf_counter() + idle_s
        while time.perf_counter() < until:
            pass
        return touch_us()

    soon, late = bench.median(lambda: again_us(0)), bench.median(lambda: again_us(IDLE_S))
    say("touching a page again at once / a second later", f"{soon:.2f} / {late:.2f} us", "", True)


def accuracy(bench: Bench) -> None:
    for streams, limit in ((500, 0.05), (1000, 0.05), (2000, 0.1)):
        errors: dict[str, list[float]] = {"p50": [], "p99": []}
        for _ in range(bench.runs):
            run = bench.run(f"--mode throughput --requests {streams} --output-tokens 128")
            for stat, seen in errors.items():
                seen.append(run.error_ms(stat))
        p50, p99 = (statistics.median(errors[stat]) for stat in ("p50", "p99"))
        figure = f"{p50:.4f} / {p99:.4f} ms"
        say(f"largest error p50 / p99, {streams} streams at once", figure, f"<= {limit} ms", max(p50, p99) <= limit)


def pinned(bench: Bench) -> None:
    """The benefit of pinning client and source to a processor each, in turns with leaving both to the scheduler."""
    first, *others = sorted(os.sched_getaffinity(0))
    ways = ("free", "pinned")
    costs: dict[str, list[float]] = {name: [] for name in ways}
    errors: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(bench.runs):
        for name in ways:
            bench.places = ({first}, set(others)) if name == "pinned" else None
            run = bench.run(STREAMS_500)
            costs[name].append(run.cpu_us_a_chunk)
            errors[name].append(run.error_ms("p99"))
    bench.places = None
    for name in ways:
        us, error = statistics.median(costs[name]), statistics.median(errors[name])
        say(f"500 streams, {name}: CPU a chunk / error p99", f"{us:.2f} us / {error:.4f} ms", "", True)


def thousand(bench: Bench) -> None:
    """1,000 streams against the mock, client and mock on the same processors."""
    verdicts = []
    reasons: set[str] = set()
    for _ in range(10):
        out = bench.folder / "calibrated"
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run(
            [sys.executable, "-m", "bench", "calibrate", "--concurrency", "1000", "--requests", "3000", "--no-store",
             "--output-tokens", "128", "--input-tokens", "32", "--quiet", "--out", out,
             "--mock", "--ttft 50ms --tpot 20ms"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        verdict = from_json((out / "summary.json").read_bytes()).verdict
        verdicts.append(verdict.status)
        reasons.update(verdict.reasons)
    valid = verdicts.count(Status.VALID)
    say("1,000 streams at 20 ms against the mock: VALID", f"{valid} of {len(verdicts)}", ">= 9 of 10", valid >= 9)
    for reason in sorted(reasons):
        print(f"    {reason}")


def against_httpx(bench: Bench) -> None:
    plain, ours = [], []
    for _ in range(bench.runs):
        wire = bench.run(STREAMS_500).cpu_us_a_chunk
        plain.append(bench.other_client_us(sys.executable, NATIVE / "plain_httpx.py") / wire)
        ours.append(bench.run(STREAMS_500, transport="httpx").cpu_us_a_chunk / wire)
    ratio = statistics.median(plain)
    say("CPU per chunk, httpx as it comes : wire, 500 streams", f"{ratio:.1f}", ">= 12", ratio >= 12)
    say("  --transport httpx : wire", f"{statistics.median(ours):.1f}", "", True)


def sustained(bench: Bench) -> None:
    rates, wide, verdicts = [], [], []
    reasons: set[str] = set()
    for _ in range(bench.runs):
        run = bench.run("--mode throughput --requests 2000 --output-tokens 400")
        rates.append(2000 * 1000 / (run.summary.latency["tpot_ms"].p50 or math.inf))
        wide.append(run.summary.instrument.stamp_bounds.wide_share or 0.0)
        verdict = run.summary.verdict
        verdicts.append(verdict.status)
        reasons.update(verdict.reasons)
    rate, share = statistics.median(rates), statistics.median(wide)
    # At 20 ms a token the source offers 100,000 a second; a thousandth may be its own lateness.
    good = rate >= 99_900 and statistics.mode(verdicts) != "INVALID"
    say("one worker, 2,000 streams at 20 ms", f"{rate:,.0f} chunks/s", "100,000, not INVALID", good)
    say("  verdicts", " ".join(verdicts), "", True)
    for reason in sorted(reasons):
        print(f"    {reason}")
    say("  token chunks with a wide bound", f"{share:.2%}", "<= 1%", share <= 0.01)


def streams(bench: Bench) -> None:
    run = bench.run("--mode throughput --requests 10000 --output-tokens 32", ttft_ms=2000, itl_ms=250)
    most = run.summary.load.concurrency_max
    say("most streams at once", f"{most:,.0f}", ">= 10,000", most >= 10_000)
    say("  memory of the client", f"{run.peak_mib:.0f} MiB", "<= 600 MB", run.peak_mib <= 572)


def short_requests(bench: Bench) -> None:
    def rate() -> float:
        run = bench.run("--concurrency 128 --duration 4s --output-tokens 1", ttft_ms=1, itl_ms=1)
        return float(run.summary.throughput.requests_per_s or 0.0)

    value = bench.median(rate)
    say("requests of 1 token, one worker", f"{value:,.0f} /s", ">= 6,000 /s", value >= 6_000)


def lag(bench: Bench) -> None:
    rows = [
        bench.run("--mode throughput --requests 1000 --output-tokens 128").ledger.observation_lag_ms
        for _ in range(bench.runs)
    ]
    p50, p99 = (statistics.median(row.of(stat) or 0.0 for row in rows) for stat in ("p50", "p99"))
    figure = f"{p50:.4f} / {p99:.4f} ms"
    say("observation lag p50 / p99, 1,000 streams", figure, "<= 0.01 / 0.1 ms", p50 <= 0.01 and p99 <= 0.1)


def lateness(bench: Bench) -> None:
    rows = [
        bench.run(
            "--rate 1000 --duration 5s --output-tokens 4", ttft_ms=20, itl_ms=5
        ).summary.instrument.send_lateness_ms
        for _ in range(bench.runs)
    ]
    p50, p99 = (statistics.median(row.of(stat) or 0.0 for row in rows) for stat in ("p50", "p99"))
    figure = f"{p50:.3f} / {p99:.3f} ms"
    say("send lateness p50 / p99, Poisson 1,000/s", figure, "<= 0.1 / 0.5 ms", p50 <= 0.1 and p99 <= 0.5)


def start_up(bench: Bench) -> None:
    def help_s() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bench", "--help"], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    def first_send_s() -> float:
        began = time.monotonic_ns()
        run = bench.run("--requests 1 --output-tokens 1", ttft_ms=1, itl_ms=1)
        del run
        record = next(RunDirectory.open(bench.folder / "run").records())
        assert record.sent_ns is not None
        return (record.sent_ns - began) / 1e9

    shown, sent = bench.median(help_s), bench.median(first_send_s)
    say("python -m bench --help", f"{shown:.3f} s", "<= 0.3 s", shown <= 0.3)
    say("from the start of `run` to its first request", f"{sent:.2f} s", "<= 0.75 s", sent <= 0.75)


LINES = {
    "memory": memory,
    "cost": cost,
    "small": small,
    "accuracy": accuracy,
    "pinned": pinned,
    "thousand": thousand,
    "httpx": against_httpx,
    "sustained": sustained,
    "streams": streams,
    "short": short_requests,
    "lag": lag,
    "lateness": lateness,
    "start": start_up,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", choices=[*LINES, []], help="which lines (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; medians are printed (default: 3)")
    parser.add_argument("--run-flags", default="", help="flags that every run of ours has in addition, as one word")
    given = parser.parse_args()
    if shutil.which("gcc") is None:
        print("error: gcc is needed for the source and the bare client (apt-get install gcc)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        bench = Bench(Path(folder), given.runs, given.run_flags)
        for name in given.lines or LINES:
            LINES[name](bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
