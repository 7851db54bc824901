"""`bench tune`: finds the flags that make a server best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.commands.options import resolve_flags
from bench.commands.output import show
from bench.config import RunConfig
from bench.config.flags import Parser
from bench.documents.document import Level
from bench.documents.tune_document import tune_document
from bench.errors import UsageError
from bench.load_test import default_directory
from bench.series.runs import RunSeries
from bench.terminal import terminal
from bench.tuning.measure import missing_race, tune
from bench.tuning.spec import read, spec_of
from bench.tuning.tune_file import PAGE

ABOUT = """\
Finds the flags that make a server best. It starts the server with one combination of flags (arm) after another, measures
each in short turns, and drops arms that are shown to be worse. It names the best, its gain over the default, and the arms
that these turns cannot tell from it.

A file describes the race. For example:

  server:
    command: vllm serve ./my-model --port {port} {flags}
  flags:                          # the first value of each is the default
    max-num-seqs: [256, 64, 128, 512]
    max-num-batched-tokens: [2048, 8192]
  goal: tokens_per_s              # or held_load, or the cost or energy
  objectives: [ttft:p99<1s]       # a load that breaks one does not count
  loads: concurrency=16,64
  load: {input_tokens: 512, output_tokens: 128, ignore_eos: true}
  budget: 60m
"""

EXAMPLES = """\
examples:
  python -m bench tune flags.yaml
  python -m bench tune flags.yaml --budget 2h --out runs/my-flags
  python -m bench tune flags.yaml --resume runs/my-flags --budget 3h

docs/compare.md describes every key. Servers run one at a time. None outlives this command, even if it is killed.

exit status: 0 there is an answer, 1 no arm keeps the objectives, 2 wrong usage, 3 every run is INVALID, 4 no server could be
             measured, 70 a defect of Trueload, 130 interrupted (--resume continues)
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    args = _parser().parse_args(list(argv))

    def resolved(settings: Mapping[str, object]) -> RunConfig:
        return resolve_flags(dict(settings), [])

    named = args.out if args.resume is None else args.resume
    folder = default_directory("tune") if named is None else Path(named)
    problems = [] if args.resume is None else missing_race(folder)
    try:
        spec = spec_of(read(Path(args.spec)), resolved, budget=args.budget)
    except UsageError as e:
        raise UsageError([*e.problems, *problems]) from e
    observer = terminal(args.quiet)
    series = RunSeries(folder, command=["python", "-m", "bench", "tune", *argv], observer=observer)
    result = tune(spec, series, resolved, observer, resume=args.resume is not None)
    below = f"the race: {folder / PAGE}"
    if result.content.ended in ("budget", "interrupted"):
        below += f"\nto go on: python -m bench tune {args.spec} --resume {folder} --budget 2h"
    level = Level.BRIEF if args.quiet else Level.USUAL
    show(result.content, tune_document(result.content), args.format, level, below)
    return result.exit


def _parser() -> Parser:
    parser = Parser(prog="python -m bench tune", description=ABOUT, epilog=EXAMPLES)
    parser.add_argument("spec", metavar="SPEC.yaml", help="the file of the race")
    parser.add_argument("--budget", metavar="S", help="stop after this time (default: the file's; 60m)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--out", metavar="DIR", help="where to write (default: runs/<time>-tune)")
    group.add_argument("--resume", metavar="DIR", help="continue the race in this directory, with the same file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    parser.add_argument("--quiet", action="store_true", help="print only the answer and the errors")
    return parser
