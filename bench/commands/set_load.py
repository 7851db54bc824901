"""`bench set-load`: sets the load of a running run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.commands import COMMANDS
from bench.config.flags import Parser
from bench.control import ask
from bench.errors import Exit, UsageError

EXAMPLES = """\
examples:
  python -m bench run --url http://127.0.0.1:8000 --concurrency 10 --duration 10m --out runs/mine
  python -m bench set-load runs/mine          (in another terminal) what its load is now
  python -m bench set-load runs/mine 20       20 users from now on
  python -m bench set-load runs/mine 2.5      with --mode rate: 2.5 requests per second from now on

It is for runs in the modes concurrency and rate whose load is not planned to change (--steps, --ramp, --ramp-up).
New users start at once; users who leave finish their current request first. Each change is recorded: the report has
numbers for each part, and its charts mark the changes.

exit status: 0 the load is set, 2 it is refused, and one sentence says why
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(
        prog="python -m bench set-load", description=f"{COMMANDS['set-load'].summary.capitalize()}.", epilog=EXAMPLES
    )
    parser.add_argument(
        "run", metavar="RUN_DIR", help="the directory of the run (--out); the run prints it when it begins"
    )
    parser.add_argument(
        "load",
        nargs="?",
        metavar="LOAD",
        help="users, or requests per second of a run with --mode rate; without LOAD, print the load",
    )
    for word in argv:
        if word.partition("=")[0] in ("--rate", "--concurrency", "--users", "--load"):
            raise UsageError(f"{word} is not a flag here: write the load after the directory: set-load runs/mine 20")
    args = parser.parse_args(list(argv))
    wanted = None if args.load is None else _number(args.load)
    present = ask(Path(args.run), wanted, by="terminal")
    if present.at_s is None:
        print(present)
    else:
        print(f"{present} from {present.at_s:.1f} s after the start on")
    return Exit.GOOD


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a load: give a number of users, or of requests per second") from None
