"""Prints how well races of `tune` do, in virtual time, with the targets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.tune_reach import (
    DRIFTS,
    RESTART,
    UNEVEN,
    Arms,
    Reached,
    Speeds,
    even,
    held_load,
    swings,
    throughput,
    try_races,
    unsteady,
)

_NUMBERS = (2, 3, 4, 8)


def races(runs: int, budget_min: float) -> None:
    """Different arms: the best or one within 3% of it in 95 of 100; at most half the time of an even split."""
    print(
        "| arms | races | best or within 3% | the best stayed | gain's interval holds | minutes | even split | least | time |"
    )
    print("|---" * 9 + "|")
    cases: list[tuple[str, Arms]] = [
        ("8 values of max-num-seqs, tokens/s", throughput("8 values of max-num-seqs")),
        ("12 of max-num-seqs and max-num-batched-tokens, tokens/s",
         throughput("12 of max-num-seqs and max-num-batched-tokens")),
        ("8 held loads, 6% apart", held_load(8, 0.06)),
        ("8 held loads, 15% apart", held_load(8, 0.15)),
    ]  # fmt: skip
    for name, arms in cases:
        seen = try_races(arms, range(runs), budget_s=budget_min * 60, default=2)
        print(
            f"| {name} | {runs} | {seen.right / runs:.0%} | {seen.kept / runs:.0%} | "
            f"{seen.gain_holds / max(seen.gains, 1):.0%} | {minutes(seen.seconds, seen)} | "
            f"{minutes(seen.even_seconds, seen)} | {seen.least_seconds / seen.even_seconds:.0%} | "
            f"{seen.seconds / seen.even_seconds:.0%} |",
            flush=True,
        )


def alike(runs: int, budget_min: float) -> None:
    """Equal arms: none is told apart in 95 of 100."""
    print("\n| equal arms | races | none told apart | minutes |")
    print("|---|---|---|---|")
    for kind, of in (("tokens/s", throughput("8 values of max-num-seqs")), ("held load", held_load(8, 0.06))):
        for number in (2, 4, 8):
            seen = try_races(of.alike(number), range(runs), budget_s=budget_min * 60)
            print(
                f"| {number}, {kind} | {runs} | {seen.alike / runs:.1%} | {minutes(seen.seconds, seen)} |", flush=True
            )


def drifts(runs: int) -> None:
    """Equal arms on a machine whose speed changes: one is told apart in at most 5 of 100 races of eight rounds."""
    print("\n| the machine's speed | " + " | ".join(f"{number} arms" for number in _NUMBERS) + " |")
    print("|---" * (1 + len(_NUMBERS)) + "|")
    of = throughput("8 values of max-num-seqs")
    for drift, speeds in (DRIFTS | UNEVEN).items():
        shares = []
        for number in _NUMBERS:
            shares.append(wrong(of.alike(number), runs, speeds))
        print(f"| {drift} | " + " | ".join(shares) + " |", flush=True)


def limits(runs: int) -> None:
    """Equal arms that a race of eight rounds tells apart too often: what it cannot detect in so few turns."""
    print("\n| the speed swings, two arms | 5% | 10% |\n|---|---|---|")
    for turns in (3, 4, 5, 5.33, 6, 7, 8, 9, 10, 12):
        shares = [wrong(even(2), runs, swings(turns, size), restart=0.015) for size in (0.05, 0.1)]
        print(f"| period of {turns:g} turns | " + " | ".join(shares) + " |", flush=True)
    print("\n| arms, of which one varies | ten times as much as the others | 2.5 times |\n|---|---|---|")
    for number in (3, 4, 8, 12):
        shares = [wrong(even(number), runs, unsteady(0.05), restart=0.05 / times) for times in (10, 2.5)]
        print(f"| {number} | " + " | ".join(shares) + " |", flush=True)


def wrong(arms: Arms, runs: int, speeds: Speeds, restart: float = RESTART) -> str:
    """The share of races of eight rounds that tell equal arms apart."""
    budget_s = 8 * len(arms.truth) * arms.turn_s
    return f"{1 - try_races(arms, range(runs), budget_s=budget_s, speeds=speeds, restart=restart).alike / runs:.1%}"


def minutes(seconds: float, seen: Reached) -> str:
    return f"{seconds / seen.races / 60:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100, help="races a row (default: 100)")
    parser.add_argument("--budget", type=float, default=240.0, metavar="MIN", help="budget of a race (default: 240)")
    parser.add_argument("--equal", action="store_true", help="only equal arms on machines whose speed changes")
    parser.add_argument("--limits", action="store_true", help="only equal arms that are told apart too often")
    given = parser.parse_args()
    if given.limits:
        limits(given.runs)
        return
    if not given.equal:
        races(given.runs, given.budget)
        alike(given.runs, given.budget)
    drifts(given.runs)
    limits(given.runs)


if __name__ == "__main__":
    main()
