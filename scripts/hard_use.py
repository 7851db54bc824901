"""Hard use of Trueload, and what was lost.

    scripts/hard-use                          every part
    scripts/hard-use kills disk               some
    scripts/hard-use kills --times 200 --seed 3
    scripts/hard-use streams --minutes 60
    scripts/hard-use streams --keep DIR --again     judge again what is in DIR
    scripts/hard-use --list                   the parts, and what they do

Each part prints a row: what was done, how often, what was lost. The exit status is 1 if anything was lost. Load goes
only to mocks on the loopback interface, and everything is in folders that are removed afterwards (--keep DIR keeps
them). The real clock, network and disks are left alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from hard_parts import PARTS  # noqa: E402
from hard_parts.place import Asked, Row  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--minutes", type=float, help="of the long loads (default: an hour, and five minutes)")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the part requests (default: 1000000)")
    parser.add_argument("--times", type=int, default=200, help="random moments of the part kills (default: 200)")
    parser.add_argument(
        "--at-once", type=int, default=1, help="kills at a time, each with a load of its own (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is random (default: 1)")
    parser.add_argument("--keep", type=Path, help="keep the folders in this directory")
    parser.add_argument(
        "--again",
        action="store_true",
        help="long and large loads: judge once more what --keep DIR kept of the last time",
    )
    given = parser.parse_args()
    if given.again and given.keep is None:
        parser.error("--again needs --keep DIR: the directory that an earlier time kept")
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part is called {', '.join(unknown)}: --list names them")
    if given.list:
        for name, part in PARTS.items():
            print(f"{name:14}{(part.__doc__ or '').splitlines()[0]}")
        return 0
    rows: list[Row] = []
    for name in given.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="trueload-hard-") as scratch:
            folder = Path(scratch) if given.keep is None else given.keep / name
            folder.mkdir(parents=True, exist_ok=True)
            asked = Asked(
                folder,
                minutes=given.minutes,
                requests=given.requests,
                times=given.times,
                seed=given.seed,
                at_once=given.at_once,
                again=given.again,
            )
            try:
                found = PARTS[name](asked)
            except Exception as e:  # A broken part must not end the others.
                found = [Row(name, "", f"the part broke: {type(e).__name__}: {e}", lost=True)]
        for row in found:
            print(f"| {row.what} | {row.often} | {row.lost_words} |", flush=True)
        rows += found
    return 1 if any(row.lost for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
