"""`bench limits`: measures what this machine can measure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench import ceiling
from bench.commands.output import show
from bench.config.flags import Parser
from bench.errors import Exit, UsageError
from bench.limits import measure
from bench.limits.limits_document import limits_document
from bench.run_files.writable import refuse_file
from bench.terminal import terminal

ABOUT = """\
Measures how much load this machine can send before it becomes the bottleneck: chunks/s, requests/s and streams of one worker,
and how late sends become. The load rises step by step, against a bare source and against the mock, until the verdict says
that the numbers cannot be trusted. The last step before that is the ceiling. `run` warns when a load is beyond it.
"""


EXAMPLES = """\
examples:
  python -m bench limits                  # a little over a minute; close other programs first
  python -m bench limits --quick          # about 20 s, with coarser steps
  python -m bench limits --format json --no-store

exit status: 0 measured, 2 wrong usage, 3 even the first steps failed, 70 a defect of Trueload, 130 interrupted
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(prog="python -m bench limits", description=ABOUT, epilog=EXAMPLES)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter steps")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    parser.add_argument("--out", metavar="FILE", help=f"where to keep the result (default: {ceiling.default_path()})")
    parser.add_argument("--no-store", action="store_true", help="do not keep the result for later runs")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    args = parser.parse_args(list(argv))
    if sys.platform != "linux":
        raise UsageError(
            "limits needs Linux: its bare source is made of epoll; calibrate shows how exact this machine is"
        )
    if args.no_store and args.out is not None:
        raise UsageError("--out names a file for the result, and --no-store keeps none: use only one of them")

    if args.out is not None:
        refuse_file("--out", Path(args.out), makes_directories=True)
    observer = terminal(args.quiet)
    result = measure.measure(quick=args.quick, observer=observer)
    show(result.to_json(), limits_document(result), args.format)
    if not args.no_store:
        path = ceiling.default_path() if args.out is None else Path(args.out)
        ceiling.write(path, result.to_json())
        observer.say(f"kept in {path}")
    return Exit.INVALID if all(value is None for value in result.ceiling.values()) else Exit.GOOD
