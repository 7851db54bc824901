"""Prints what races of `tune` reach, in virtual time, with the targets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.tune_reach import DRIFTS, UNEVEN, Arms, Reached, held_load, throughput, try_races

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
    """Equal arms on a machine whose speed changes: none is told apart in 95 of 100 races of eight rounds."""
    print("\n| the machine's speed | " + " | ".join(f"{number} arms" for number in _NUMBERS) + " |")
    print("|---" * (1 + len(_NUMBERS)) + "|")
    of = throughput("8 values of max-num-seqs")
    for drift in DRIFTS | UNEVEN:
        shares = []
        for number in _NUMBERS:
            seen = try_races(of.alike(number), range(runs), budget_s=8 * number * of.turn_s, drift=drift)
            shares.append(f"{seen.alike / runs:.1%}")
        print(f"| {drift} | " + " | ".join(shares) + " |", flush=True)


def minutes(seconds: float, seen: Reached) -> str:
    return f"{seconds / seen.races / 60:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100, help="races a row (default: 100)")
    parser.add_argument("--budget", type=float, default=240.0, metavar="MIN", help="budget of a race (default: 240)")
    parser.add_argument("--equal", action="store_true", help="only equal arms on machines whose speed changes")
    given = parser.parse_args()
    if not given.equal:
        races(given.runs, given.budget)
        alike(given.runs, given.budget)
    drifts(given.runs)


if __name__ == "__main__":
    main()
