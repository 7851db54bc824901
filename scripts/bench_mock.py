"""What the mock costs and how well it keeps its plans, each number beside its target.

The load is scripts/native/client.c, a bare epoll client, so that the client does not disturb what is measured. The
yardstick of cost is scripts/native/source.c, a bare C server with one write per chunk, in turns with the mock. Both are
compiled with gcc into a temporary folder. The lateness of a chunk is its stamp in the ledger minus its planned instant;
its lag is the kernel's receive stamp at the client minus that stamp. Every figure is the median of several runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

NATIVE = Path(__file__).parent / "native"
READY = "ready at "

THROUGH_ASGI = """
import sys, uvicorn
from mockserver.http.app import create_app
from mockserver.cli import read_arguments
print("ready at http://127.0.0.1:" + sys.argv[1], flush=True)
uvicorn.run(create_app(read_arguments(sys.argv[2:])), port=int(sys.argv[1]), log_level="critical", access_log=False)
"""


@dataclass
class Load:
    """The client's output for one run, and what the server used."""

    told: dict[str, Any]
    cpu_s: float
    lines: list[dict[str, Any]]
    stamps: Path

    @property
    def cpu_us_a_chunk(self) -> float:
        return self.cpu_s / int(self.told["chunks"]) * 1e6

    def late_ms(self, share: slice = slice(None)) -> list[float]:
        """Done - planned of each token; `share` cuts each stream."""
        late = []
        for line in self.lines:
            planned = line["planned"]
            due = accumulate(planned["gaps_ns"], initial=line["received_ns"] + planned["ttft_ns"])
            done = [at for at, kind in zip(line["write_ns"], line["chunk_kind"], strict=True) if kind == "c"]
            late += [(at - want) / 1e6 for at, want in zip(done, due, strict=True)][share]
        return late

    def ttft_ms(self) -> list[float]:
        """The true time from arrival to first token of each request."""
        firsts = [line["write_ns"][line["chunk_kind"].index("c")] - line["received_ns"] for line in self.lines]
        return [ns / 1e6 for ns in firsts]

    def lag_ms(self) -> list[float]:
        """Kernel receive stamp - write stamp of each read that brought one chunk."""
        offset = wall_offset_ns()
        written = {line["id"]: line["write_ns"] for line in self.lines}
        rows = (map(int, row.split()) for row in self.stamps.read_text().splitlines())
        return [(at - offset - written[f"c-{request}"][chunk]) / 1e6 for request, chunk, at in rows]


def wall_offset_ns() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the narrowest of many brackets."""
    brackets = []
    for _ in range(300):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        brackets.append((after - before, wall - (before + after) // 2))
    return min(brackets)[1]


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, in seconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


class Bench:
    def __init__(self, folder: Path, runs: int, hold_s: float) -> None:
        self.folder, self.runs, self.hold_s = folder, runs, hold_s
        self.ledger = folder / "ledger.jsonl"
        for name in ("source", "client"):
            subprocess.run(["gcc", "-O2", "-o", folder / name, NATIVE / f"{name}.c"], check=True)

    @contextlib.contextmanager
    def server(self, *command: object) -> Iterator[tuple[int, str]]:
        """(pid, port) of a server that prints when it is ready."""
        self.ledger.unlink(missing_ok=True)
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield process.pid, process.stdout.readline().rpartition(":")[2].strip().strip("/")
            finally:
                process.terminate()

    def mock(self, ttft: str, tpot: str, *more: str) -> contextlib.AbstractContextManager[tuple[int, str]]:
        flags = ("--ttft", ttft, "--tpot", tpot, "--ledger", self.ledger, *more)
        return self.server(sys.executable, "-m", "mockserver", "--port", "0", *flags)

    def client(self, port: str, streams: int, tokens: int, *flags: object) -> dict[str, Any]:
        words = [self.folder / "client", *flags, port, streams, tokens]
        told: dict[str, Any] = json.loads(
            subprocess.run([*map(str, words)], check=True, capture_output=True, text=True).stdout
        )
        return told

    def load(
        self, ttft: str, tpot: str, streams: int, tokens: int, *flags: object, mock_flags: Sequence[str] = ()
    ) -> Load:
        """A new mock under one load; the first requests of a process are not measured."""
        with self.mock(ttft, tpot, *mock_flags) as (pid, port):
            self.client(port, 20, 10)
            before = cpu_s(pid)
            told = self.client(port, streams, tokens, *flags)
            time.sleep(0.15)  # Writing the ledger is part of the cost.
            used = cpu_s(pid) - before
        lines = [json.loads(line) for line in self.ledger.read_bytes().splitlines()][20:]
        if len(lines) != told["requests"]:
            raise SystemExit(f"the ledger has {len(lines)} lines for {told['requests']} requests")
        return Load(told, used, lines, self.folder / "stamps")

    def cost_us(self, *command: object) -> float:
        with self.server(*command) as (pid, port):
            deadline = time.monotonic() + 20
            while True:
                with contextlib.suppress(subprocess.CalledProcessError):
                    self.client(port, 20, 10)
                    break
                if time.monotonic() > deadline:
                    raise SystemExit(f"{command[0]} does not serve")
            before = cpu_s(pid)
            told = self.client(port, 500, 256)
            return (cpu_s(pid) - before) / int(told["chunks"]) * 1e6


def say(what: str, figure: str, target: str = "", good: bool = True) -> None:
    end = "" if not target else "reached" if good else "MISSED"
    print(f"{what:<62} {figure:>22}   {target:<20} {end}".rstrip(), flush=True)


def cost(bench: Bench) -> None:
    ours, bare = [], []
    source = (bench.folder / "source", "--ttft-us", 50_000, "--itl-us", 20_000, "--ledger", bench.ledger)
    for _ in range(bench.runs):
        ours.append(bench.load("50ms", "20ms", 500, 256).cpu_us_a_chunk)
        bare.append(bench.cost_us(*source))
    us, floor = statistics.median(ours), statistics.median(bare)
    asgi = bench.cost_us(sys.executable, "-c", THROUGH_ASGI, 18123, "--ledger", bench.ledger)
    say("CPU per token chunk, 500 streams at 20 ms, ledger on", f"{us:.2f} us", "<= 6 us", us <= 6)
    ratio = us / floor
    say("  of a bare C server, in turns with it", f"{floor:.2f} us, ratio {ratio:.2f}", "<= 1.2", ratio <= 1.2)
    say("  sse-starlette's way, under uvicorn", f"{asgi:.2f} us")


def request(bench: Bench) -> None:
    beyond = []
    for _ in range(bench.runs):
        one, many = (bench.load("50ms", "2ms", 64, tokens, "-r", 4) for tokens in (1, 65))
        requests = [load.told["requests"] for load in (one, many)]
        cost_us = [load.cpu_s / n * 1e6 for load, n in zip((one, many), requests, strict=True)]
        chunks = [load.told["chunks"] / n for load, n in zip((one, many), requests, strict=True)]
        chunk_us = (cost_us[1] - cost_us[0]) / (chunks[1] - chunks[0])
        beyond.append((cost_us[0] - chunks[0] * chunk_us) / 1000)
    ms = statistics.median(beyond)
    say("CPU of a streamed request beyond its chunks", f"{ms:.3f} ms", "<= 0.1 ms", ms <= 0.1)


def burst(bench: Bench) -> None:
    lates, firsts = [], []
    for _ in range(bench.runs):
        lates.append(quantile(bench.load("50ms", "10ms", 256, 128, "-s", 4).late_ms(), 0.99))
        firsts.append(quantile(bench.load("50ms", "20ms", 500, 16, "-s", 0).ttft_ms(), 0.5))
    late, first = statistics.median(lates), statistics.median(firsts)
    say("256 requests in 1 ms, TTFT 50 ms, ITL 10 ms: done - planned p99", f"{late:+.3f} ms", "<= 1 ms", late <= 1)
    say("500 at once, TTFT 50 ms: true TTFT p50", f"{first:.1f} ms", "<= 51 ms", first <= 51)
    for requests in (256, 1024):
        # A TTFT long enough to handle all requests, as in `paced`.
        lates = [
            quantile(bench.load("1500ms", "20ms", requests, 16, "-s", 0).late_ms(slice(1)), 0.99)
            for _ in range(bench.runs)
        ]
        late = statistics.median(lates)
        say(f"{requests:,} at once, TTFT 1.5 s: first tokens late by p99", f"{late:+.3f} ms", "<= 0.5 ms", late <= 0.5)


def rate(bench: Bench) -> None:
    for workers, streams, wanted in ((1, 2500, 100_000), (2, 4000, 0)):
        rates = []
        for _ in range(bench.runs):
            told = bench.load("2s", "20ms", streams, 400, "-s", 8, mock_flags=("--workers", str(workers))).told
            # All streams are active from the last first token to the first last token; the time around it is known.
            rates.append(told["chunks"] / (told["wall_s"] - 2.0))
        value = statistics.median(rates)
        what = "one process" if workers == 1 else f"--workers {workers}, the client on the same processors"
        say(
            f"{what}, {streams:,} streams at 20 ms",
            f"{value:,.0f} chunks/s",
            f"{wanted:,}" if wanted else "",
            value >= wanted,
        )


def paced(bench: Bench) -> None:
    # A client's sends are spread over a gap, as users arrive; 15 us apart is a burst.
    for streams, tpot, spread_us, limits in ((256, "10ms", 39, (0.1, 0.5)), (1000, "20ms", 20, (0.3, 2))):
        for what, spacing in (("spread", spread_us), ("15 us apart", 15), ("in lockstep", 0)):
            rows = []
            for _ in range(bench.runs):
                # A TTFT long enough to handle all requests: the cost of a burst for the first tokens is another matter.
                load = bench.load("1500ms", tpot, streams, 256, "-s", spacing)
                inner = load.late_ms(slice(1, -1))
                rows.append([quantile(late, q) for late in (load.late_ms(), inner) for q in (0.5, 0.99)])
            p50, p99, inner_p50, inner_p99 = (statistics.median(column) for column in zip(*rows, strict=True))
            spread = spacing == spread_us
            target = f"<= {limits[0]} / {limits[1]} ms" if spread else ""
            good = abs(p50) <= limits[0] and p99 <= limits[1]
            say(
                f"done - planned p50 / p99, {streams} streams at {tpot}, {what}",
                f"{p50:+.3f} / {p99:+.3f} ms",
                target,
                good,
            )
            say("  but for first and last tokens", f"{inner_p50:+.3f} / {inner_p99:+.3f} ms")


def drift(bench: Bench) -> None:
    load = bench.load("50ms", "2ms", 32, 10_000, "-s", 60)
    first, last = (statistics.median(load.late_ms(part)) for part in (slice(1000), slice(-1000, None)))
    moved = last - first
    say(
        "done - planned, last 1,000 of 10,000 tokens against the first", f"{moved:+.4f} ms", "<= 0.05 ms", moved <= 0.05
    )


def lag(bench: Bench) -> None:
    p50s, p99s, least = [], [], []
    for _ in range(bench.runs):
        late = bench.load("50ms", "20ms", 256, 128, "-s", 39, "-o", bench.folder / "stamps").lag_ms()
        p50s.append(quantile(late, 0.5))
        p99s.append(quantile(late, 0.99))
        least.append(min(late))
    p50, p99 = statistics.median(p50s), statistics.median(p99s)
    good = p99 < 0.05 and min(least) > -0.001  # The two clocks are aligned to within some 0.1 us.
    say("write stamp to kernel receive stamp p50 / p99, 256 streams", f"{p50:.4f} / {p99:.4f} ms", "< 0.05 ms", good)


def short_requests(bench: Bench) -> None:
    rates = []
    for _ in range(bench.runs):
        told = bench.load("1ms", "1ms", 64, 1, "-r", 4).told
        rates.append(told["requests"] / told["wall_s"])
    value = statistics.median(rates)
    say("requests of 1 token, one process", f"{value:,.0f} /s", ">= 2,000 /s", value >= 2000)


def hold(bench: Bench) -> None:
    streams, tpot_s = 5000, 0.2
    tokens = int(bench.hold_s / tpot_s)
    seen: list[float] = []
    with bench.mock("2s", f"{tpot_s * 1000:g}ms") as (pid, port):
        over = threading.Event()

        def watch() -> None:
            while not over.wait(bench.hold_s / 50):
                seen.append(resident_mib(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        told = bench.client(port, streams, tokens, "-s", 200)
        over.set()
        watcher.join()
        time.sleep(0.5)
    under_way = seen[10:-5]  # After all have begun and before any has ended.
    grown = under_way[-1] - under_way[0]
    whole = 0
    with bench.ledger.open() as lines:
        for text in lines:
            line = json.loads(text)
            whole += line["chunk_kind"] == "r" + "c" * tokens + "uo" and not line["blocked"]
    complete = whole == streams and told["chunks"] == streams * (tokens + 3)
    say(f"5,000 streams held for {bench.hold_s:g} s: not whole", f"{streams - whole}", "0", complete)
    say("  memory, and its growth meanwhile", f"{under_way[-1]:.0f} / {grown:+.1f} MiB", "<= 5 MiB", grown <= 5)


LINES = {
    "cost": cost,
    "request": request,
    "burst": burst,
    "rate": rate,
    "paced": paced,
    "drift": drift,
    "lag": lag,
    "short": short_requests,
    "hold": hold,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", choices=[*LINES, []], help="which lines (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; medians are printed (default: 3)")
    parser.add_argument(
        "--hold", type=float, default=300, help="seconds for which 5,000 streams are held (default: 300)"
    )
    given = parser.parse_args()
    if shutil.which("gcc") is None:
        print("error: gcc is needed for the client and the bare server (apt-get install gcc)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        bench = Bench(Path(folder), given.runs, given.hold)
        for name in given.lines or LINES:
            LINES[name](bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
