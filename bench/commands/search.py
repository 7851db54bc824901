"""`bench search`: finds the load up to which the objectives hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.commands.options import own_settings, parse_flags, read_file, resolve_flags, run_parser
from bench.commands.output import complain, print_search
from bench.config.flags import Option, Parser, add_options
from bench.errors import UsageError
from bench.load_search.files import SearchDirectory
from bench.load_search.follower import SearchTerminal
from bench.load_search.options import LEFT_TO_THE_SEARCH, OPTIONS
from bench.load_search.whole import Plan, carry_out, new_directory, plan
from bench.series.runs import RunSeries

ABOUT = """\
Finds the highest load at which every objective holds, and says how sure that is. Each measurement at one load is a visit.
Short visits (scouts) double the load until an objective breaks; longer ones then measure just below and just above the
likely edge. Each visit narrows the interval. With --load rate, the server must also keep up with the load.
"""

EXAMPLES = """\
examples:
  how many requests a second does it hold?
    python -m bench search --url http://127.0.0.1:8000 --slo "ttft:p99<500ms" --slo "tpot:p99<50ms"
  how many users? three minutes give a wider interval
    python -m bench search --url http://127.0.0.1:8000 --load concurrency --slo "tpot:p90<40ms" --budget 3m
  does it hold 20 requests a second? exit 1 unless that is 95% sure
    python -m bench search --url http://127.0.0.1:8000 --slo "ttft:p99<500ms" --require 20
  continue a search, with more time
    python -m bench search --resume runs/20260102T030405-search --budget 1h

Objectives: METRIC:p50...p999<LIMIT, METRIC:mean<LIMIT, tps:p50>LIMIT, error_rate<1%

Ctrl-C prints the answer so far; --resume continues the search, also after a kill.
Report an answer with its interval: "34 to 39/s", not "36.4/s".

exit status: 0 an answer, 1 --require is not held, or no load holds, or the budget was too short for an answer,
             2 wrong usage, 3 the client is the limit, 4 the server cannot be measured, 70 a defect of Trueload,
             130 interrupted before there was an answer
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    command = ["python", "-m", "bench", "search", *argv]
    plan, directory = _plan(argv, command)

    follower = SearchTerminal(sys.stderr, require=plan.require, quiet=plan.base.quiet)
    follower.say(f"searching in {directory.path}")
    runs = RunSeries(directory.path, command=command, observer=follower)
    end, rendered = carry_out(plan.search, plan.wanted, plan.base, directory, runs, follower, require=plan.require)
    status = print_search(rendered, plan.base.format, quiet=plan.base.quiet)
    if end.error is not None:
        complain(end.error.problems if isinstance(end.error, UsageError) else [str(end.error)])
    return status


def _parser() -> Parser:
    parser = run_parser("search", ABOUT, EXAMPLES, ("details",), tuple(LEFT_TO_THE_SEARCH))
    resume = Option("resume", "DIR", "continue the search in DIR")
    add_options(parser, "what to search for", (*OPTIONS, resume))
    return parser


def _plan(argv: Sequence[str], command: Sequence[str]) -> tuple[Plan, SearchDirectory]:
    """The search that these arguments define, and its directory. Raises UsageError with every problem."""
    flags, problems = parse_flags(_parser(), argv)
    resume = flags.pop("resume", None)
    directory = None if resume is None else SearchDirectory.open(Path(resume))
    if directory is not None:
        if "out" in flags:
            problems.append(f"--out cannot be combined with --resume: the search continues in {resume}")
        if flags.get("config") not in (None, "-"):
            problems.append("--config cannot be combined with --resume, which has the settings of its search; only "
            "--config - may repeat them, with their secrets")  # fmt: skip
        if flags.get("config") != "-":
            flags["config"] = str(directory.settings)
    file = read_file(flags, problems)
    options = own_settings(OPTIONS, flags, file)
    settings = {name: value for name, value in flags.items() if name not in LEFT_TO_THE_SEARCH}
    if "name" not in file.settings:
        settings.setdefault("name", "search")
    of_file = replace(file, settings={k: v for k, v in file.settings.items() if k not in LEFT_TO_THE_SEARCH})
    made = plan(
        {**{name: of_file.settings.get(name) for name in ("slo", "sessions_begin")}, **flags},
        options,
        lambda load: resolve_flags({**settings, **load}, [], of_file),
        resume=directory,
        problems=problems,
    )
    return made, new_directory(made.base, command) if directory is None else directory
