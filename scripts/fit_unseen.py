"""Prints how far a fitted mock is from servers at unseen loads, in virtual time.

Each server has coefficients of its own, and steps that vary in one of the ways of tests/support/step_families.py. It is
fitted from loads of 1, 4 and 16 users and one rate. Then the mock's engine and the server get the same two other loads.
For half of the servers a prompt costs something besides its tokens.

The last lines count the numbers that miss, and those that miss when the server is compared with itself under other
random draws: the noise floor. `--intervals N` instead counts how many intervals of the coefficients of N more servers
hold the truth. `--worlds [NAME ...]` prints a plan for servers whose steps have costs that the model lacks, and whether
they then hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.step_families import FAMILIES
from tests.support.unseen_loads import WITHIN, by_chance, cases, compared, intervals_held
from tests.support.unseen_worlds import WORLDS, judged


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", type=int, default=50)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load that is fitted")
    parser.add_argument("--intervals", type=int, default=0, metavar="N")
    parser.add_argument(
        "--worlds", nargs="*", choices=WORLDS, metavar="NAME", help=f"{', '.join(WORLDS)}; default: all"
    )
    given = parser.parse_args()
    if given.worlds is not None:
        print("| server | held-out load | warnings | replicas | the plan is | the server holds |\n" + "|---" * 6 + "|")
        for name in given.worlds or WORLDS:
            with tempfile.TemporaryDirectory(prefix="fit-unseen-") as folder:
                print(judged(name, Path(folder)), flush=True)
        return 0
    if given.intervals:
        held = intervals_held(given.intervals)
        print(f"of {given.intervals} 95% intervals hold the truth: " + ", ".join(f"{k} {n}" for k, n in held.items()))
        return 0
    with tempfile.TemporaryDirectory(prefix="fit-unseen-") as folder:
        return shown(given, Path(folder))


def shown(given: argparse.Namespace, folder: Path) -> int:
    """Print a line for each server and load. Returns 1 if a number misses."""
    missed = total = chance = 0
    print(f"{'server':<24}{'load':<10}" + "".join(f"{name:>10}" for name in WITHIN))
    for case in cases(given.servers, given.seconds):
        if given.family and case.family not in given.family:
            continue
        for load, off in compared(case, folder).items():
            cells = [f"{off[name]:+.1%}{'*' if abs(off[name]) > within else ' '}" for name, within in WITHIN.items()]
            missed += sum("*" in cell for cell in cells)
            total += len(cells)
            print(f"{case.seed:>3} {case.family:<20}{load:<10}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
        chance += sum(abs(off[name]) > within for off in by_chance(case).values() for name, within in WITHIN.items())
    wanted = ", ".join(f"{name} {within:.0%}" for name, within in WITHIN.items())
    print(f"{missed} of {total} numbers miss what is wanted (*): {wanted}")
    print(f"{chance} of {total} miss it where the server is compared with itself, with other random draws")
    return min(1, missed)


if __name__ == "__main__":
    sys.exit(main())
