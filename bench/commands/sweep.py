"""`bench sweep`: one workload at several loads, and curves over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.commands.options import parse_flags, resolve_flags, run_parser
from bench.commands.output import terminal
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.config import RunConfig

SUMMARY = "measure several loads, and draw curves over them"

ABOUT = """\
Sends the same workload at several loads, one after the other, each as a run of its own. Draws throughput and latencies over
the load, and says where more load stops giving more throughput.
"""

EXAMPLES = """\
examples:
  python -m bench sweep --url http://127.0.0.1:8000 --loads concurrency=1..256x2
  python -m bench sweep --url http://127.0.0.1:8000 --loads rate=5,10,20 --repeats 3 --slo "ttft:p99<500ms"
  python -m bench sweep --url http://127.0.0.1:8000 --loads concurrency=1..64x2 --gpus 2 --duration 2m --warmup 20s
  python -m bench sweep --url http://127.0.0.1:8000 --loads concurrency=1..256x2 --resume runs/my-sweep

exit status: 0 measured, 2 wrong usage, 3 every load is INVALID, 4 the server could not be measured, 70 a defect of Trueload,
             130 interrupted (what was measured is kept, and --resume goes on)
"""
_SET_BY_LOADS = ("concurrency", "rate", "steps")


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    from pathlib import Path

    from bench.load_sweep import measure, visits
    from bench.load_test import default_directory
    from bench.report import load_sweep_text
    from bench.run_series import RunSeries

    parser = run_parser("sweep", ABOUT, EXAMPLES, (*_SET_BY_LOADS, "until"))
    own = parser.add_argument_group("which loads")
    own.add_argument(
        "--loads",
        metavar="KIND=LOADS",
        help="concurrency=1..256x2 (users; from 1 to 256, by the factor 2) or rate=5,10,20 (requests per second)",
    )
    own.add_argument(
        "--repeats", metavar="N", default="1", help="visit every load N times, up and down in turn (default: 1)"
    )
    own.add_argument(
        "--gpus", metavar="G", help="GPUs of the server: adds throughput of a GPU against speed for a user"
    )
    own.add_argument("--resume", metavar="DIR", help="go on with the sweep in this directory, with the same flags")
    flags, problems = parse_flags(parser, argv)
    wanted, repeats, gpus, resume = (flags.pop(key) for key in ("loads", "repeats", "gpus", "resume"))
    if resume is not None and "out" in flags:
        problems.append("--resume and --out both name the directory: leave one of the two out")
    loads = None
    try:
        if wanted is None:
            raise UsageError("--loads is missing: give for example --loads concurrency=1..256x2")
        loads = visits.parse(wanted, _whole("--repeats", repeats))
    except UsageError as e:
        problems += e.problems
    try:
        of_gpus = None if gpus is None else _whole("--gpus", gpus)
    except UsageError as e:
        problems += e.problems
    if loads is None or problems:
        resolve_flags({**flags, **({} if loads is None else loads.settings(loads.values[0]))}, problems)
        raise UsageError(problems)
    if resume is not None:
        flags.pop("out", None)
    given = {"name": "sweep", **flags}

    def config_at(of_visit: Mapping[str, Any]) -> RunConfig:
        return resolve_flags({**given, **of_visit}, [])

    base = config_at(loads.settings(loads.values[0]))
    named = base.out if resume is None else resume
    folder = default_directory(base.name) if named is None else Path(named)
    observer = terminal(base.quiet)
    command = ["python", "-m", "bench", "sweep", *argv]
    found = measure.sweep(
        config_at,
        loads,
        RunSeries(folder, command=command, observer=observer),
        given=given,
        gpus=of_gpus,
        command=command,
        resume=resume is not None,
        say=observer.say,
    )
    if base.format == "json":
        import orjson

        print(orjson.dumps(found.content, option=orjson.OPT_INDENT_2).decode())
    else:
        load_sweep_text.show(found.content)
        print(f"\nsweep: {folder / measure.PAGE}")
        if found.content["ended"] is not None:
            print(f"to go on: the same command with --resume {folder}")
    return found.exit


def _whole(flag: str, text: str) -> int:
    if not str(text).strip().isdecimal() or int(text) < 1:
        raise UsageError(f"{flag} {text}: give a whole number of at least 1")
    return int(text)
