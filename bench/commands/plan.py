"""`bench plan`: computes how many replicas of a fitted server hold a day of traffic."""

from __future__ import annotations

import re
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.capacity_plan.fitted import drawn, lengths_of, read_profile
from bench.capacity_plan.plan import Asked, planned, stretches_left
from bench.capacity_plan.searched import planned_of_search, rate_of, read_search
from bench.capacity_plan.simulators import running
from bench.capacity_plan.stretches import Stretches, supported
from bench.capacity_plan.traffic import HOUR_S, Traffic, read_rates, read_schedule, read_trace
from bench.clock import NS_PER_S, now_ns, utc_now
from bench.commands.output import show
from bench.config.flags import Parser, tried
from bench.documents.document import Level
from bench.documents.formatting import duration
from bench.documents.plan_document import plan_document
from bench.errors import Exit, UsageError
from bench.machine.identity import processors
from bench.metrics.objectives import Objective, from_user, with_limits
from bench.report import html
from bench.results.base import to_bytes
from bench.results.plan import PlanContent
from bench.results.profile import Profile
from bench.run_files.writable import make_directory, refuse_directory, write_file
from bench.terminal import terminal

ABOUT = """\
Computes how many replicas of a server keep the objectives over a day of traffic. It simulates them with a profile of the
server (python -m bench fit), so it needs no server. Intervals include the uncertainty of the fit and, with --rates, of the
arrivals. With --search it uses the capacity that python -m bench search found, and says only how many replicas keep that
search's objectives.
"""

EXAMPLES = """\
examples:
  python -m bench plan --profile profile.json --rates day.csv --slo "ttft:p99<500ms" --slo "tpot:p99<50ms"
  python -m bench plan --profile profile.json --trace traffic.jsonl --slo "ttft:p99<1s" --router prefix --replicas 1..16
  python -m bench plan --profile profile.json --rates day.csv --slo "ttft:p99<500ms" --price 2.95 --cold-start 90s
  python -m bench plan --search runs/my-search --rates day.csv

day.csv has rows of time and requests per second: 06:00,12.5

exit status: 0 the answer is a number, 1 no number in the range is enough, 2 wrong usage, 3 the profile does not show
             enough of the server, 70 a defect of Trueload
"""
ROUTERS = ("round_robin", "least_in_flight", "prefix")
_RANGE = re.compile(r"(\d+)(?:\.\.(\d+))?")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_USUAL_DRAWS = "10"
_OF_A_PROFILE = {
    "--slo": "a search has its own objectives",
    "--trace": "a search knows only Poisson arrivals; give --rates",
    "--columns": "it is for the rows of --trace",
    "--bad-rows": "it is for the rows of --trace",
    "--router": "a search says nothing of a router",
    "--burstiness": "a search knows only Poisson arrivals",
    "--input-tokens": "a search holds for the lengths that it sent",
    "--output-tokens": "a search holds for the lengths that it sent",
    "--draws": "a search has its own interval",
    "--cold-start": "a search does not show what happens while replicas start",
}
_MOST_REPLICAS, _LEAST_DRAWS, _MOST_DRAWS = 256, 1, 200


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    args = _parser().parse_args(list(argv))
    problems: list[str] = []
    asked = _asked(args, argv, problems)
    out = None if args.out is None else Path(args.out)
    if out is not None:
        tried(problems, lambda: refuse_directory("--out", out))
    content = _of_search(args, asked, problems) if args.search else _of_profile(args, asked, problems)
    _show(content, out, args.format)
    if content.replicas is None:
        return Exit.OBJECTIVE_FAILED
    return Exit.GOOD if content.known else Exit.INVALID


def _of_profile(args: Namespace, asked: Asked, problems: list[str]) -> PlanContent:
    objectives = [tried(problems, partial(_supported, objective)) for objective in args.slo or ()]
    read = [objective for objective in objectives if objective is not None]
    wanted = tried(problems, lambda: with_limits(read)) if len(read) == len(objectives) else None
    if not args.slo:
        problems.append('--slo is missing: give objectives, for example --slo "ttft:p99<500ms"')
    profile = traffic = None
    if args.profile is None:
        problems.append("--profile is missing: give the file that python -m bench fit --out wrote, or --search DIR")
    else:
        profile = tried(problems, lambda: read_profile(Path(args.profile)))
    if args.rates is None and args.trace is None:
        problems.append("--rates is missing: give a file of times and requests per second, or --trace FILE")
    else:
        traffic = tried(problems, lambda: _traffic(args, profile))
    if problems or wanted is None or profile is None or traffic is None:
        raise UsageError(problems)
    observer = terminal(args.quiet)
    with tempfile.TemporaryDirectory(prefix="trueload-plan-") as folder, running(processors()) as simulators:
        server = drawn(profile, asked.draws, Path(folder))
        stretches = Stretches(simulators, server, traffic, wanted, args.router or ROUTERS[0])
        began_ns = now_ns()
        with observer.waiting(lambda: progress(stretches, asked, (now_ns() - began_ns) / NS_PER_S)):
            return planned(stretches, asked)


def progress(stretches: Stretches, asked: Asked, seconds: float) -> str:
    """The progress of a plan after this many seconds."""
    done = len(stretches.asked)
    left_s = stretches_left(stretches, asked) * seconds / done if done else None
    left = "" if left_s is None else f", about {duration(left_s)} left"
    return f"planning: {done} stretches simulated{left}"


def _of_search(args: Namespace, asked: Asked, problems: list[str]) -> PlanContent:
    path = Path(args.search)
    search = tried(problems, lambda: read_search(path))
    rate = None if search is None else tried(problems, lambda: rate_of(search, path))
    problems += [
        f"{flag} needs --profile: {why}" for flag, why in _OF_A_PROFILE.items()
        if getattr(args, flag[2:].replace("-", "_")) is not None
    ]  # fmt: skip
    hours = None
    if args.rates is not None:
        hours = tried(problems, lambda: read_rates(Path(args.rates)))
    elif args.trace is None:
        problems.append("--rates is missing: give a file of times and requests per second")
    if problems or search is None or rate is None or hours is None:
        raise UsageError(problems)
    return planned_of_search(search, rate, hours, asked)


def _supported(text: str) -> Objective:
    objective = from_user(text)
    supported([objective])
    return objective


def _asked(args: Namespace, argv: Sequence[str], problems: list[str]) -> Asked:
    least, most = _replicas(args.replicas, problems)
    draws = _number("--draws", args.draws or _USUAL_DRAWS, problems, least=_LEAST_DRAWS, most=_MOST_DRAWS)
    price = None if args.price is None else _number("--price", args.price, problems, least=0.0, most=1e9)
    cold = None if args.cold_start is None else _cold_start_s(args.cold_start, problems)
    return Asked(
        least, most, int(draws), price, cold, ["python", "-m", "bench", "plan", *argv],
        utc_now().isoformat(timespec="seconds"), _settings(args),
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser(prog="python -m bench plan", description=ABOUT, epilog=EXAMPLES)
    server = parser.add_mutually_exclusive_group()
    server.add_argument("--profile", metavar="FILE", help="what `python -m bench fit --out` wrote")
    server.add_argument(
        "--search",
        metavar="DIR",
        help="instead of a profile: the directory of a search for a server's rate (python -m bench search); needs "
        "--rates, and finds only how many replicas keep the search's objectives",
    )
    traffic = parser.add_mutually_exclusive_group()
    traffic.add_argument(
        "--rates", metavar="FILE", help="a day: CSV rows of a time and requests per second (06:00,12.5)"
    )
    traffic.add_argument("--trace", metavar="FILE", help="recorded requests with times and lengths (docs/datasets.md)")
    parser.add_argument("--columns", metavar="SPEC", help="columns of the trace to use, ours=theirs: output_tokens=len")
    parser.add_argument(
        "--bad-rows",
        choices=("fail", "skip"),
        help="stop at rows of the trace that are wrong, or skip them (default: fail)",
    )
    parser.add_argument(
        "--slo", metavar="OBJECTIVE", action="append", help='an objective, for example "ttft:p99<500ms"; of '
        "ttft, tpot, e2el and goodput; may be repeated",
    )  # fmt: skip
    parser.add_argument("--replicas", metavar="N..M", default="1..32", help="the range to look in (default: 1..32)")
    parser.add_argument(
        "--router", choices=ROUTERS, help="which replica gets a request: each in turn, the one with the "
        "fewest requests in flight, or the one that had its prefix (default: round_robin)",
    )  # fmt: skip
    parser.add_argument(
        "--input-tokens", metavar="DIST", help="with --rates: lengths of prompts (default: those of the fitted runs)"
    )
    parser.add_argument("--output-tokens", metavar="DIST", help="with --rates: lengths of answers (default: likewise)")
    parser.add_argument(
        "--burstiness", metavar="B", help="with --rates: shape of the gaps between arrivals: 1 is Poisson, below 1 is "
        "burstier, above 1 is more regular (default: 1)",
    )  # fmt: skip
    parser.add_argument("--price", metavar="P", help="dollars for an hour of a replica, all its GPUs together")
    parser.add_argument(
        "--cold-start", metavar="TIME", help="how long a replica takes to start (90s): adds scaling by the hour"
    )
    parser.add_argument("--draws", metavar="N", help="servers and arrivals to draw for the intervals (default: 10)")
    parser.add_argument("--out", metavar="DIR", help="where to write plan.json and plan.html (default: only print)")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    return parser


def _replicas(text: str, problems: list[str]) -> tuple[int, int]:
    match = _RANGE.fullmatch(text.strip())
    least, most = (1, 1) if match is None else (int(match[1]), int(match[2] or match[1]))
    if match is None or not 1 <= least <= most <= _MOST_REPLICAS:
        problems.append(f"--replicas {text}: write a range like 1..32, of 1 to {_MOST_REPLICAS} replicas")
    return least, most


def _number(flag: str, text: str, problems: list[str], *, least: float, most: float) -> float:
    whole = isinstance(least, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        problems.append(f"{flag} {text}: write a {'whole ' if whole else ''}number from {least:g} to {most:g}")
    return value


def _cold_start_s(text: str, problems: list[str]) -> float:
    match = _SECONDS.fullmatch(text.strip())
    seconds = 0.0 if match is None else float(match[1]) * _UNITS[match[2]]
    if match is None or seconds > HOUR_S:
        problems.append(f"--cold-start {text}: write a time like 90s or 2m, of at most an hour")
    return seconds


def _traffic(args: Namespace, profile: Profile | None) -> Traffic:
    """The traffic of the day. Raises UsageError with every problem. Without a profile, missing lengths are not a problem."""
    asked = {"input_tokens": args.input_tokens, "output_tokens": args.output_tokens}
    problems: list[str] = []
    traffic: Traffic | None
    if args.rates is not None:
        if args.bad_rows is not None or args.columns is not None:
            problems.append("--columns and --bad-rows go with --trace")
        burstiness = _number("--burstiness", args.burstiness or "1", problems, least=0.01, most=100.0)
        fitted = dict.fromkeys(asked, "1") if profile is None else lengths_of(profile)
        lengths = {name: fitted.get(name) if spec is None else spec for name, spec in asked.items()}
        traffic = tried(problems, lambda: read_schedule(Path(args.rates), lengths, burstiness))
    else:
        if args.burstiness is not None:
            problems.append("--burstiness goes with --rates: a trace has its own times")
        if any(spec is not None for spec in asked.values()):
            problems.append("--input-tokens and --output-tokens go with --rates: a trace has its own lengths")
        traffic = tried(problems, lambda: read_trace(Path(args.trace), args.columns, args.bad_rows or "fail"))
    if problems or traffic is None:
        raise UsageError(problems)
    return traffic


def _settings(args: Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(args).items() if value is not None and name not in ("quiet", "format")}


def _show(content: PlanContent, out: Path | None, form: str) -> None:
    """Write the files, and print the plan."""
    document = plan_document(content)
    if out is not None:
        make_directory("--out", out)
        write_file("--out", out / "plan.json", to_bytes(content))
        write_file("--out", out / "plan.html", html.render(document).encode())
    pages = "" if out is None else f"plan: {out / 'plan.json'}\npage: {out / 'plan.html'}"
    show(content, document, form, Level.USUAL, pages)
