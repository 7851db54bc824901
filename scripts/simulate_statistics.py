"""The tables of docs/dev/simulations.md, computed in virtual time: one for each claim, with its target."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.load_search.conclusion import Kind, conclude
from bench.statistics.autocorrelation import dependence
from bench.statistics.capacity import Share, grid, of_shares
from bench.statistics.intervals import quantile_intervals
from tests.support import search_cells as cells
from tests.support import statistics_claims as claims
from tests.support.batching_model import S1, S2, S3
from tests.support.rare_requests import Rare
from tests.support.replicas_alike import FLEETS, one_run
from tests.support.search_shapes import SHAPES, searched
from tests.support.stopping_reach import stopping


def share(hits: int, given: int) -> str:
    return f"{100 * hits / given:.0f} ({given})" if given else "-"


def intervals(runs: int) -> None:
    """Coverage of the 95% intervals, as % (of how many runs with an interval). Must be at least 90%."""
    names = [f"{metric}:{stat}" for metric in claims.METRICS for stat in ("p50", "p90", "p99", "mean")]
    names += claims.RATES
    print("| load | seconds | D | " + " | ".join(names) + " |")
    for load in claims.LOADS:
        for seconds in (300, 1_200):
            found = claims.coverage(load, seconds, runs)
            d = claims.dependence_of(load, seconds)
            print(
                f"| {load.name} | {seconds} | {d:.0f} | " + " | ".join(share(*found[n]) for n in names) + " |",
                flush=True,
            )


def short_means(runs: int) -> None:
    """Coverage of the means and rates of short runs, as % (of how many % of the runs with an interval). At least 90%.

    Except S3: rare long queues decide its mean, and a run that meets none cannot know of them. S1 in a closed loop at
    95% is left out: its lengths are fixed, so that every run is the same.
    """
    names = [*(f"{metric}:mean" for metric in claims.METRICS), *claims.RATES]
    print("| load | seconds | " + " | ".join(names) + " |")
    for load in claims.SHORT_LOADS:
        for seconds in (5, 10, 20, 30, 60, 120, 300):
            found = claims.coverage(load, seconds, runs)
            cells = [f"{100 * hits / given:.0f} ({100 * given / runs:.0f})" if given else "-"
                     for hits, given in map(found.__getitem__, names)]  # fmt: skip
            print(f"| {load.name} | {seconds} | {' | '.join(cells)} |", flush=True)


def uncorrected(runs: int) -> None:
    """The same for TTFT over 300 s, with every request treated as independent."""
    print("| load | p50 | p90 | p99 |")
    for load in claims.LOADS[:3]:
        found = claims.uncorrected_coverage(load, 300, runs)
        print(f"| {load.name} | " + " | ".join(share(*entry) for entry in found.values()) + " |", flush=True)


def long_tails(runs: int) -> None:
    """p99 close to the capacity needs hours: coverage in runs of two hours."""
    print("| load | TTFT p99 |")
    for load in (claims.LOADS[2], claims.LOADS[5]):
        print(
            f"| {load.name} | {share(*claims.coverage(load, 7_200, max(10, runs // 3))['ttft_ms:p99'])} |", flush=True
        )


def tokens(runs: int) -> None:
    """Coverage of the gaps between tokens over 300 s."""
    print("| load | mean | p50 | p90 | p99 |")
    for load in (claims.LOADS[0], claims.LOADS[4], claims.LOADS[6]):
        found = claims.token_coverage(load, 300, max(20, runs // 2))
        print(
            f"| {load.name} | " + " | ".join(share(*found[n]) for n in ("mean", "p50", "p90", "p99")) + " |", flush=True
        )


def capacities(runs: int) -> None:
    """The true capacities that searches are graded against, by bisection over hours of load."""
    del runs
    for sought in (
        claims.seek_ttft(),
        claims.seek_tpot(),
        claims.seek_own(),
        claims.seek_goodput(),
        claims.seek_fast(),
    ):
        (limit,) = sought.limits
        assert limit.goal.allowed is not None
        true = claims.capacity_by_bisection(sought.server, limit.value, limit.limit_ms, limit.goal.allowed)
        print(f"{sought.name}: {true:.2f}/s (graded against {sought.capacity})", flush=True)

    for name, (server, limit, capacity) in cells.SERVERS.items():
        assert limit.goal.allowed is not None
        true = claims.capacity_by_bisection(server, limit.value, limit.limit_ms, limit.goal.allowed)
        print(f"{name}: {true:.2f}/s (graded against {capacity})", flush=True)


def search(runs: int) -> None:
    """Searches: rms error at most 4%, at most 5% hold over 2% too much, the interval covers at least 90%."""
    print("| server, objective | budget | intervals | rms error | too much | coverage | width | minutes | ended by |")
    sought = [claims.seek_ttft(), claims.seek_tpot(), claims.seek_own(), claims.seek_goodput(), claims.seek_both()]
    rows = [(entry, 900.0, 0.02) for entry in sought]
    rows += [(sought[0], 1_800.0, 0.02), (claims.seek_backlog(), 900.0, 0.02), (claims.seek_backlog(), 1_800.0, 0.02)]
    rows += [(claims.seek_mean(S1, 36.0, "ttft"), 900.0, 0.05), (claims.seek_mean(S2, 27.0, "tpot"), 900.0, 0.05)]
    rows += [(claims.seek_fast(), 60.0, 0.1), (claims.seek_fast(), 180.0, 0.1), (sought[0], 180.0, 0.1)]
    rows += [(claims.seek_users(claims.FAST, 40), budget, 0.1) for budget in (60.0, 180.0)]
    rows += [(claims.seek_users(S3, 24), 180.0, 0.1)]
    for entry, budget_s, precision in rows:
        graded, found = claims.searches(entry, budget_s, runs, precision)
        ended = ", ".join(f"{ending} {n}" for ending, n in Counter(str(one.ending) for one in found).most_common())
        row = [
            f"{entry.name} (true {entry.capacity:.1f})", f"{budget_s / 60:.0f} min", f"{graded.searches} of {runs}",
            f"{graded.rms:.1%}", f"{graded.too_much:.0%}", f"{graded.coverage:.0%}", f"{graded.width:.0%}",
            f"{graded.minutes:.1f}", ended,
        ]  # fmt: skip
        print(f"| {' | '.join(row)} |".replace("%", " %"), flush=True)


def starts(runs: int) -> None:
    """Searches from starts that are right and wrong by eight: at least 90% of the intervals must hold the truth, and at
    most 10% of the searches may end without one if the budget suffices."""
    print(
        "| search | searches | interval | it holds the truth | claims too much | rms error | width | minutes | without |"
    )
    for cell in cells.CELLS:
        print(KEPT.line(f"starts {cell} {runs}", lambda cell=cell: _start(cell, runs)), flush=True)  # type: ignore[misc]


def _start(cell: cells.Cell, runs: int) -> str:
    seen = cells.try_cell(cell, runs)
    rms = f"{float(np.mean(seen.squares)) ** 0.5:.0%}" if seen.squares else "-"
    width = f"{float(np.median(seen.widths)):.0%}" if seen.widths else "-"
    without = ", ".join(f"{kind} {n}" for kind, n in seen.kinds.most_common() if kind != Kind.UP_TO) or "-"
    row = [
        f"{cell.name} (true {cells.SERVERS[cell.server][-1]:.3g}/s)", str(seen.searches), str(seen.answers),
        share(seen.held, seen.answers), str(seen.too_much), rms, width, f"{seen.minutes:.1f}", without,
    ]  # fmt: skip
    return f"| {' | '.join(row)} |"


def troubles(runs: int) -> None:
    """Conclusions of searches (15 minutes, unless noted) about servers without a capacity, or that never break."""
    print("| server | searches | conclusions |")
    for name in (*cells.TROUBLES, *cells.SHORT_STALLS, *cells.HARD_EDGES):
        print(KEPT.line(f"troubles {name} {runs}", lambda name=name: _trouble(name, runs)), flush=True)  # type: ignore[misc]


def _trouble(name: str, runs: int) -> str:
    found = cells.try_trouble(name, runs)
    return f"| {name} | {runs} | {', '.join(f'{kind} {n}' for kind, n in found.most_common())} |"


class Kept:
    """Lines of tables made earlier, so that an interrupted section can resume."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._lines: dict[str, str] = {}

    def read(self, file: Path) -> None:
        """Use the lines of this file, and append new ones."""
        self._file = file
        if file.exists():
            self._lines = dict(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())

    def line(self, key: str, make: Callable[[], str]) -> str:
        """The line with this name."""
        if key not in self._lines:
            self._lines[key] = make()
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps([key, self._lines[key]]) + "\n")
        return self._lines[key]


KEPT = Kept()


def in_flight(runs: int) -> None:
    """Share of visits that flag requests in flight as growing, by load relative to what the server serves."""
    shares = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
    print("| server | visit | " + " | ".join(f"{s:.0%}".replace("%", " %") for s in shares) + " |")
    for name, server, settle in (("S1", S1, 25.0), ("S2", S2, 15.0), ("S3", S3, 10.0)):
        for measure in (60.0, 120.0):
            row = [claims.flags(server, s, settle, measure, runs) for s in shares]
            print(
                f"| {name} | {measure:.0f} s | " + " | ".join(f"{100 * flagged:.0f}" for flagged in row) + " |",
                flush=True,
            )


def backlogs(runs: int) -> None:
    """Share of runs flagged as piling up, by rate relative to what the server serves: at a fixed rate, and for
    recordings whose rate rises to it from a third."""
    shares = (0.5, 0.8, 0.9, 0.95, 1.0, 1.1, 1.2, 1.5, 2.0)
    print("| rate | server | seconds | " + " | ".join(f"{s:.0%}".replace("%", " %") for s in shares) + " |")
    for name, server in (("S1", S1), ("S2", S2), ("S3", S3)):
        for seconds in (30.0, 60.0, 180.0):
            for rate, rises in (("fixed", False), ("rising", True)):
                row = [f"{100 * claims.backlogs(server, s, seconds, runs, rises=rises):.0f}" for s in shares]
                print(f"| {rate} | {name} | {seconds:.0f} | " + " | ".join(row) + " |", flush=True)


def until(runs: int) -> None:
    """Runs that `--until` ended before a cap of ten minutes, how many intervals then held the truth, and after how
    long."""
    print("| load | goal | runs | ended early | held | after, of the cap |\n|---|---|---|---|---|---|")
    for load in claims.LOADS:
        for goal in ("ttft:p50=10%", "ttft:p90=10%"):
            found = stopping(load, goal, 600, runs)
            held = share(found.held, found.ended)
            print(f"| {load.name} | {goal} | {runs} | {found.ended} | {held} | {found.share_of_cap:.0%} |", flush=True)


def compare(runs: int) -> None:
    """A compared with itself (differs in at most 5%), and with a version 5% slower in five pairs (found in at least
    90%)."""
    n = max(50, 2 * runs)
    print("| load | 3 runs each, Welch | 3 pairs | one run each, batches |")
    for load in claims.LOADS[:3]:
        row = [claims.compared_with_itself(load, 300, 3, n, how) for how in ("welch", "paired", "batches")]
        print(f"| {load.name} | " + " | ".join(f"{alarms:.1%}".replace("%", " %") for alarms in row) + " |", flush=True)
    found, held = claims.found_changes(0.05, 0.01, 5, 2_000)
    print(f"\n+5%, run noise 1%, five pairs: found {found:.0%}, interval holds it {held:.0%}".replace("%", " %"))


def gate(runs: int) -> None:
    """Share of gates that fail, in %: at most 1% for unchanged code with 5 + 5 runs."""
    print("| runs | noise | unchanged | +10% | +20% |")
    for candidate in (5, 3, 1):
        for noise in (0.05, 0.02):
            row = [
                claims.gate_failures(change, noise, max(1_000, 20 * runs), 5, candidate) for change in (0.0, 0.1, 0.2)
            ]
            print(
                f"| 5 + {candidate} | {100 * noise:.0f}% | "
                + " | ".join(f"{100 * failed:.1f}" for failed in row)
                + " |"
            )


def gate_alarms(runs: int) -> None:
    """The same for everything a gate checks, with p99, whose spread is twice that of p50, by how runs of one build
    vary."""
    n = max(2_000, 20 * runs)
    print("| runs | spread | " + " | ".join(claims.SPREADS) + " | p99 +65% | p99 +100% |")
    for candidate in (5, 3, 1):
        for spread in (0.02, 0.05):
            row = [claims.gate_alarms(kind, spread, n, 5, candidate) for kind in claims.SPREADS]
            row += [claims.gate_alarms("alike", spread, n, 5, candidate, tail) for tail in (0.65, 1.0)]
            print(
                f"| 5 + {candidate} | {spread:.0%} | {' | '.join(f'{100 * failed:.1f}' for failed in row)} |",
                flush=True,
            )


def steady(runs: int) -> None:
    """The test of the halves on TPOT per second: how often it fires, in % of runs."""
    kinds = ("none", "drift 10%", "drift 25%", "step 15%")
    print("| load | seconds | " + " | ".join(kinds) + " |")
    for load in (*claims.LOADS[:5], claims.LOADS[7]):
        for seconds in (300, 1_200):
            row = [claims.drifts(kind, load, seconds, runs) for kind in kinds]
            print(f"| {load.name} | {seconds} | " + " | ".join(f"{100 * said:.0f}" for said in row) + " |", flush=True)


def knee(runs: int) -> None:
    """The knee of a sweep over S1 against the closed form: within 5%."""
    del runs
    for loads in ([1, 2, 4, 8, 16, 32, 64, 128, 256], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512], [16, 32, 64, 128]):
        found, true = claims.knee_of_model(loads)
        bounds = found.half_at_interval
        assert bounds is not None
        print(
            f"up to {loads[-1]}: N1/2 {found.half_at:.1f} [{bounds.low:.1f}, {bounds.high:.1f}], closed form {true:.1f}"
        )


def cost(runs: int) -> None:
    """Cost of the computations: a posterior of 60 visits at most 50 ms, the intervals of 100,000 requests."""
    del runs
    rng = np.random.default_rng(0)
    visits = [
        Share(float(load), 2_400, int(k))
        for load, k in zip(rng.uniform(30, 50, 60), rng.integers(0, 400, 60), strict=True)
    ]
    orders = {f"p{p}": p / 100 for p in (50, 75, 90, 95, 99)}
    values = np.repeat(rng.exponential(size=2_000), 50) + rng.normal(size=100_000)
    for what, work in (
        ("posterior of 60 visits", lambda: of_shares(visits, 0.01, 75, grid(20, 80))),
        ("D of 100,000 values", lambda: dependence(values)),
        ("five quantile intervals of 100,000 values", lambda: quantile_intervals(values, orders)),
    ):  # fmt: skip
        print(f"{what}: {milliseconds(work):.1f} ms")


def shapes(runs: int) -> None:
    """Searches of a quarter of an hour over shapes that the one-edge model lacks, from 1/s and from 60/s: their
    conclusions, how many intervals hold the capacity, and how many hold over 2% more than it (`held`)."""
    print("| server | conclusions | the interval holds the truth | `held` is too much |")
    for name, shape in SHAPES.items():
        found = [conclude(searched(shape, seed, (1.0, 60.0)[seed % 2])) for seed in range(runs)]
        kinds = Counter(str(one.kind) for one in found)
        known = [one.known for one in found if one.known is not None]
        told = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
        if shape.capacity is None:
            print(f"| {name} | {told} | - | - |", flush=True)
            continue
        true = shape.capacity
        holds = sum(one.low <= true <= one.high for one in known)
        held = [one.held[0] for one in known if one.held is not None]
        print(f"| {name} | {told} | {holds} of {len(known)} | {sum(load > 1.02 * true for load in held)} |", flush=True)


def rare(runs: int) -> None:
    """Means that rare long requests dominate: a run that met none of them cannot know of them."""
    print("\n| requests that take longer | after 100 | 300 | 1,000 | 3,000 | `--until` 10%, of 10 min: ended | holds |")
    print("|---" * 7 + "|")
    for of, times in ((0.05, 10), (0.01, 50), (0.003, 100)):
        load = Rare(of, times)
        after = " | ".join(f"{load.held(number, runs):.0%}" for number in (100, 300, 1_000, 3_000))
        ended, held = load.held_at_stop(0.1, 600.0, runs)
        holds = share(round(held * ended), ended)
        print(f"| {of:.1%} take {times} times as long | {after} | {ended / runs:.0%} | {holds} |", flush=True)


def milliseconds(work: Callable[[], object]) -> float:
    """The best of five."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best * 1e3


def replicas(runs: int) -> None:
    """Identical replicas: % of the runs in which one is called slower (of how many were compared), given more than its
    share, or failing; then how often a replica with latencies 1.3 times as long is found."""
    print("| replicas | slower | share | errors | 1.3 times as slow: found |")
    whole = Counter[str]()
    for fleet in FLEETS:
        called = [one_run(fleet, seed) for seed in range(runs)]
        counts = Counter(
            name for one in called for name in ("slower", "share", "errors", "found") if getattr(one, name)
        )
        judged = sum(one.judged for one in called)
        row = (f"{100 * counts[name] / runs:g}" for name in ("share", "errors"))
        slower = f"{100 * counts['slower'] / runs:g} ({judged})"
        print(f"| {fleet} | {slower} | {' | '.join(row)} | {100 * counts['found'] / runs:g} |", flush=True)
        whole["any"] += sum(one.slower or one.share or one.errors for one in called)
        whole["runs"] += runs
    print(f"\nFalse alarms of any kind: {whole['any']} of {whole['runs']} runs ({whole['any'] / whole['runs']:.2%})")


SECTIONS: dict[str, Callable[[int], None]] = {
    "intervals": intervals, "short-means": short_means, "uncorrected": uncorrected, "long-tails": long_tails,
    "tokens": tokens, "steady": steady,
    "capacities": capacities, "search": search, "starts": starts,
    "troubles": troubles, "shapes": shapes, "in-flight": in_flight, "backlogs": backlogs,
    "knee": knee, "compare": compare, "gate": gate,
    "gate-alarms": gate_alarms, "until": until, "rare": rare, "cost": cost, "replicas": replicas,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--runs", type=int, default=100, help="how often each is tried (default 100)")
    parser.add_argument("--kept", metavar="FILE", type=Path, help="lines of starts and troubles that were made before")
    given = parser.parse_args()
    if given.kept is not None:
        KEPT.read(given.kept)
    unknown = set(given.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section is called {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    for name in given.sections or SECTIONS:
        section = SECTIONS[name]
        began = time.perf_counter()
        print(f"\n## {name}\n\n{section.__doc__}\n", flush=True)
        section(given.runs)
        print(f"\n({time.perf_counter() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
