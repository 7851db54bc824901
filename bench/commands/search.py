"""`bench search`: the load up to which the objectives hold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands.options import parse_flags, resolve_flags, run_parser
from bench.commands.output import complain, print_search
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.config.flags import Parser
    from bench.load_search.decisions import Search
    from bench.load_search.files import SearchDirectory
    from bench.load_search.visit_result import Sought

SUMMARY = "find the load up to which the objectives hold"

ABOUT = """\
Finds the highest load at which every objective holds, and says how sure that is. It sends the load in visits: short ones
first (scouts), which double the load until the server fails, then longer ones just below and just above the load that
seems to be the edge. Each visit narrows the interval. Beside the objectives of --slo, the server must keep up with what is
sent (--load rate).
"""

EXAMPLES = """\
examples:
  how many requests a second does it hold?
    python -m bench search --url http://127.0.0.1:8000 --slo "ttft:p99<500ms" --slo "tpot:p99<50ms"
  how many users, in three minutes? the interval is wider for it
    python -m bench search --url http://127.0.0.1:8000 --load concurrency --slo "tpot:p90<40ms" --budget 3m
  does it hold 20 a second? exit 1 if that is not 95% sure
    python -m bench search --url http://127.0.0.1:8000 --slo "ttft:p99<500ms" --require 20
  go on where a search ended, with more time
    python -m bench search --resume runs/20260102T030405-search --budget 1h

objectives that can be searched for: METRIC:p50...p999<LIMIT, METRIC:mean<LIMIT, tps:p50>LIMIT, error_rate<1%
Ctrl-C ends a search with the answer so far; --resume goes on with it, also after a kill.
Write answers down with their interval: "34 to 39/s", not "36.4/s".

exit status: 0 an answer, 1 --require is not held, or no load holds, or the budget was too short for an answer,
             2 wrong usage, 3 the client is the limit, 4 the server cannot be measured, 70 a defect of Trueload,
             130 interrupted before there was an answer
"""


LEFT_TO_THE_SEARCH = {
    "rate": "the search finds it: --start is the rate to begin with, --require one that must be held",
    "concurrency": "the search finds it: give --load concurrency, and --start for the number to begin with",
    "duration": "visits take as long as they need: --budget is the time for all of them",
    "requests": "visits take as long as they need: --budget is the time for all of them",
    "until": "visits take as long as they need: --precision is how well the capacity shall be known",
    "warmup": "every visit lets the server settle before it measures",
    "ramp": "the users of a visit come in while it lets the server settle",
    "steps": "the search chooses the loads: give --start, --min and --max",
    "mode": "give --load rate or --load concurrency",
    "max_errors": "a failed request breaks every objective; to limit failures alone, give --slo error_rate<1%",
}
"""Settings of a run that a search has its own answer to."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do, complete."""

    base: RunConfig
    wanted: tuple[Sought, ...]
    search: Search
    directory: SearchDirectory
    require: float | None


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    command = ["python", "-m", "bench", "search", *argv]
    plan = _plan(argv, command)

    from bench.load_search.follower import SearchTerminal
    from bench.load_search.whole import carry_out
    from bench.run_series import RunSeries

    follower = SearchTerminal(sys.stderr, require=plan.require, quiet=plan.base.quiet)
    follower.say(f"searching in {plan.directory.path}")
    runs = RunSeries(plan.directory.path, command=command, observer=follower)
    ended, rendered = carry_out(
        plan.search, plan.wanted, plan.base, plan.directory, runs, follower, require=plan.require
    )
    status = print_search(rendered, plan.base.format, quiet=plan.base.quiet)
    if ended.error is not None:
        complain(ended.error.problems if isinstance(ended.error, UsageError) else [str(ended.error)])
    return status


def _parser() -> Parser:
    from bench.load_search.options import OPTIONS

    parser = run_parser("search", ABOUT, EXAMPLES, leave_out=tuple(LEFT_TO_THE_SEARCH))
    group = parser.add_argument_group("what to search for")
    for option in OPTIONS:
        group.add_argument(f"--{option.name}", metavar=option.metavar, help=option.help, default=argparse.SUPPRESS)
    group.add_argument("--resume", metavar="DIR", help="go on with the search in DIR", default=argparse.SUPPRESS)
    for name in LEFT_TO_THE_SEARCH:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help=argparse.SUPPRESS, default=argparse.SUPPRESS)
    return parser


def _plan(argv: Sequence[str], command: Sequence[str]) -> _Plan:
    """What these words ask for. Raises UsageError with every problem."""
    from bench.load_search import search_file
    from bench.load_search.decisions import Search
    from bench.load_search.files import LEFT_TO_VISITS, SearchDirectory, config_sha256
    from bench.load_search.options import OPTIONS, settings_of
    from bench.load_search.visit_result import sought
    from bench.load_search.whole import new_directory
    from bench.metrics import objectives

    flags, problems = parse_flags(_parser(), argv)
    for name in [name for name in LEFT_TO_THE_SEARCH if flags.pop(name, None) is not None]:
        problems.append(f"--{name.replace('_', '-')} does not go with a search: {LEFT_TO_THE_SEARCH[name]}")
    own = {option.name: flags.pop(option.name) for option in OPTIONS if option.name in flags}
    resume = flags.pop("resume", None)
    directory = None if resume is None else SearchDirectory.open(Path(resume))
    if directory is not None:
        problems += [
            f"--{name} does not go with --resume: it goes on in {resume}" for name in ("out",) if name in flags
        ]
        if flags.get("config") is not None:
            problems.append("--config does not go with --resume, which has the settings of its search")
        flags["config"] = str(directory.settings)
    flags.setdefault("name", "search")
    kept = None if directory is None else directory.kept()
    kind = own.get("load", "rate") if kept is None else kept.get("load_kind")
    load = {"concurrency": 1} if kind == "concurrency" else {"rate": 1.0}
    found: dict[str, Any] = {}
    try:
        found["base"] = resolve_flags({**flags, **load}, problems, leave_out=(*LEFT_TO_VISITS, "max_errors"))
    except UsageError as e:
        problems = e.problems
    texts = found["base"].slo if "base" in found else flags.get("slo", ())
    try:
        if texts or "base" in found:
            found["wanted"] = sought(objectives.parse(texts))
    except UsageError as e:
        # What the configuration has found wrong with an objective is not said twice.
        problems += [p for p in e.problems if not any(known.endswith(p.removeprefix("--slo ")) for known in problems)]
    goals = tuple(one.goal for one in found.get("wanted", ()))
    search = None
    try:
        if kept is not None and "base" in found and goals:
            sha256 = config_sha256(found["base"], str(kept.get("load_kind")))
            search = search_file.from_json(kept, sha256)
        settings, require = settings_of(own, goals, None if search is None else search.settings)
    except UsageError as e:
        problems += e.problems
    if problems:
        raise UsageError(problems)
    if directory is None:
        directory = new_directory(found["base"], command)
    return _Plan(
        base=found["base"],
        wanted=found["wanted"],
        search=Search(settings, [] if search is None else search.results),
        directory=directory,
        require=require,
    )
