"""Prints the error rates of `compare` and `gate`, in virtual time: false alarms, detected changes, coverage of
intervals."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.comparison_reach import alarms, alarms_between_modes, changes_found, error_alarms, gate_alarms
from tests.support.statistics_claims import LOADS

CHOSEN = [
    load for load in LOADS if load.name in ("S1 Poisson 50%", "S1 Poisson 80%", "S2 Poisson 80%", "S2 closed 80%")
]


def main() -> None:
    each = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    chosen = [load for load in CHOSEN if load.name in sys.argv[2:]] or CHOSEN
    print(f"A against A: how many of {each} comparisons say that a primary number differs")
    print(f"{'load':<18}{'5 pairs':>12}{'3 + 2 runs':>12}{'one run each':>14}")
    totals = [0, 0, 0]
    for load in chosen:
        found = list(alarms(load, range(each)).values())
        totals = [total + n for total, n in zip(totals, found, strict=True)]
        print(f"{load.name:<18}{found[0]:>12}{found[1]:>12}{found[2]:>14}", flush=True)
    n = each * len(chosen)
    print(
        f"{f'all {n}':<18}"
        + "".join(f"{total / n:>{width}.1%}" for total, width in zip(totals, (12, 12, 14), strict=True))
    )
    print("\nTPOT +5%, 5 pairs, TPOT varies by 1% from run to run: found, and the interval holds it")
    for load in chosen:
        changes, held = changes_found(load, range(each), change=0.05, spread=0.01)
        print(f"{load.name:<18}{changes / each:>8.1%}{held / each:>8.1%}", flush=True)
    print("\nError rates, 100 requests a run: how many of 1,000 comparisons say that they differ")
    for rate, change in ((0.002, 0.0), (0.01, 0.0), (0.01, 0.05), (0.01, 0.1)):
        found = [
            error_alarms(range(1_000), runs, n=100, rate=rate, change=change)
            for runs in ((5, 5), (3, 3), (2, 2), (5, 1))
        ]
        print(f"{rate:.1%} {change:+.0%}" + "".join(f"{n / 1_000:>8.1%}" for n in found), flush=True)
    print(
        "\nA p50 between two modes, 400 requests a run: how many of 1,000 comparisons say that it differs from itself"
    )
    for runs in ((2, 2), (3, 2), (3, 3), (5, 5)):
        print(f"{runs[0]} + {runs[1]} runs {alarms_between_modes(range(1_000), runs) / 1_000:>8.1%}", flush=True)
    print("\nA gate with 5 + 5 runs: how many of 5,000 fail")
    for spread, change in ((0.05, 0.0), (0.02, 0.0), (0.05, 0.2), (0.02, 0.1)):
        failed = gate_alarms(range(5_000), spread=spread, change=change)
        print(f"runs vary by {spread:.0%}, TTFT p90 {change:+.0%}: {failed / 5_000:.1%}", flush=True)


if __name__ == "__main__":
    main()
