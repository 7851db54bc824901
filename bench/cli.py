"""The command line: `python -m bench COMMAND`. Each command imports what it needs when it is chosen.

Everything that ends a command passes through `main`: a BenchError with its sentence and exit status, Ctrl-C with 130, and
anything unexpected with 70 and a hint, never with the 1 that scripts take for a failed objective.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import PRECEDENCE, BenchError, Exit, UsageError

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.evaluate import Result
    from bench.flags import Parser


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: what it does, for `--help`, and its function, which returns the exit status."""

    summary: str
    main: Callable[[Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status; prints what went wrong to stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(words)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()  # The reader of a help text has gone (`| head`).
        return Exit.GOOD
    except UsageError as e:
        _complain(e.problems)
        return e.exit_code
    except BenchError as e:
        _complain([str(e)])
        return e.exit_code
    except KeyboardInterrupt:
        _complain(["interrupted before the load began: nothing was measured"])
        return Exit.INTERRUPTED
    except Exception:
        _report_defect()
        return Exit.DEFECT
    return status


def _complain(problems: Sequence[str]) -> None:
    if len(problems) == 1:
        print(f"error: {problems[0]}", file=sys.stderr)
        return
    print(f"error: {len(problems)} problems", file=sys.stderr)
    for problem in problems:
        print(f"  - {problem}", file=sys.stderr)


def _report_defect() -> None:
    import traceback

    traceback.print_exc()
    print(
        "error: this is a defect of Trueload, not of your server or your command. What was measured until now is in the "
        "run directory (`python -m bench report DIR` renders it). Please report the lines above.",
        file=sys.stderr,
    )


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return Exit.GOOD if words else Exit.USAGE
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"trueload {version('trueload')}")
        return Exit.GOOD
    command = COMMANDS.get(words[0])
    if command is None:
        import difflib

        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f": did you mean {near[0]}?" if near else f": it is one of {', '.join(COMMANDS)}"
        raise UsageError(f"{words[0]!r} is not a command{hint}")
    return command.main(words[1:])


def _help() -> str:
    lines = [f"  {name:<11} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m bench COMMAND [flags]",
            "",
            "Measures LLM inference servers, and says how wrong each of its numbers is.",
            "",
            "commands:",
            *lines,
            "",
            "python -m bench COMMAND --help explains a command. To try it without a server:",
            "  python -m bench calibrate --requests 100",
            "",
            "exit status: 0 good, 1 an objective failed, 2 wrong usage, 3 the measurement is INVALID,",
            "             4 the target could not be measured, 70 a defect of ours, 130 interrupted",
        ]
    )


RUN_EXAMPLES = """\
examples:
  python -m bench run --url http://127.0.0.1:8000 --concurrency 32 --requests 500
  python -m bench run --url http://127.0.0.1:8000 --rate 20 --duration 5m --slo "ttft:p99<500ms"
  python -m bench run --url http://127.0.0.1:8000 --mode throughput --requests 1000 --input-tokens uniform:100..500

distributions (DIST): 128   uniform:100..500   normal:mean=1024,std=200,min=1   lognormal:mean=200,cv=0.5
exit status: 0 good, 1 an objective failed, 2 wrong usage, 3 INVALID, 4 no answer, 70 our defect, 130 interrupted
"""

CALIBRATE_ABOUT = """\
How wrong are our numbers, at this load, on this machine? Starts a mock server whose every latency is written down, sends it
the load, and compares each number with what was done. What it finds is kept, and later runs of such a load show it.
"""

CALIBRATE_EXAMPLES = """\
examples:
  python -m bench calibrate --concurrency 32 --requests 500
  python -m bench calibrate --rate 100 --duration 30s --mock "--ttft 200ms --tpot lognormal:mean=20ms,cv=0.3"
  python -m bench calibrate --sweep       # up to which load this machine can be trusted
  python -m bench calibrate --full        # change the mock, and see whether each report changes as it must
  python -m bench calibrate --url http://other-host:8000     # a mock that runs there: python -m mockserver --host 0.0.0.0

exit status: 0 good, 2 wrong usage, 3 INVALID: numbers are wrong at this load, 4 no mock there, 70 our defect, 130 interrupted
"""


def _run(argv: Sequence[str]) -> int:
    from bench.run import run

    parser = _parser("run", "One load test: from a server's URL to a run directory with its report.", RUN_EXAMPLES)
    config = _config(parser, argv)
    result = run(config, command=["python", "-m", "bench", "run", *argv], say=_say(config.quiet))
    return _finish(config, result)


def _calibrate(argv: Sequence[str]) -> int:
    from bench.calibrate import measure

    parser = _parser("calibrate", CALIBRATE_ABOUT, CALIBRATE_EXAMPLES, ["url"])
    own = parser.add_argument_group("how to calibrate")
    own.add_argument(
        "--mock",
        default="",
        metavar='"FLAGS"',
        help="flags of the mock, as for python -m mockserver (default: TTFT 50 ms, TPOT 20 ms)",
    )
    own.add_argument("--url", metavar="URL", help="measure the mock that runs there, instead of starting one")
    own.add_argument(
        "--sweep",
        nargs="*",
        metavar="LOADS",
        help="many loads, one after the other: concurrency=1,10,100 rate=50,200 (default: 1 to 1000 streams, 20 to 400/s)",
    )
    own.add_argument(
        "--full",
        nargs="*",
        metavar="CHECKS",
        help="change the mock in one respect after the other: does each report change as it must? (default: all checks)",
    )
    own.add_argument("--no-store", action="store_true", help="keep the result nowhere: no later run shows it")
    flags, problems = _flags(parser, argv)
    mock_flags, url, store = flags.pop("mock"), flags.pop("url"), not flags.pop("no_store")
    loads, checks = flags.pop("sweep"), flags.pop("full")
    if checks is not None:
        return _calibrate_full(
            flags, checks, [("--mock", mock_flags), ("--url", url), ("--sweep", loads)], problems, argv
        )
    if loads is not None:
        return _calibrate_sweep(flags, loads, mock_flags, url, store, problems, argv)
    if url is not None and mock_flags:
        problems.append(
            "--mock is for the mock that calibrate starts, and --url names one that runs: leave one of the two out"
        )

    def config_at(address: str) -> RunConfig:
        return _resolve({"name": "calibration", "check_usage": True, **flags, "url": address}, problems)

    command = ["python", "-m", "bench", "calibrate", *argv]
    if url is not None:
        config = config_at(url)
        result = measure.calibrate_at(config, command=command, say=_say(config.quiet))
    else:
        config = config_at(measure.ANYWHERE)
        result = measure.calibrate(config_at, mock_flags=mock_flags, command=command, say=_say(config.quiet))
    if store and measure.keep(result):
        _say(config.quiet)(f"kept in {measure.default_path()}: later runs of such a load show these errors")
    return _finish(config, result)


def _calibrate_sweep(
    flags: dict[str, Any],
    loads: Sequence[str],
    mock_flags: str,
    url: str | None,
    store: bool,
    problems: list[str],
    argv: Sequence[str],
) -> int:
    from pathlib import Path

    from bench.calibrate import measure
    from bench.calibrate.sweep import Point, points_of
    from bench.report import sweep_page
    from bench.run import default_directory

    if url is not None:
        problems.append("--sweep starts a mock for each load, and --url names one that runs: leave one of the two out")
    for name in ("mode", "concurrency", "rate", "max_concurrency"):
        if name in flags:
            problems.append(f"--{name.replace('_', '-')} and --sweep exclude each other: give the loads to --sweep")
    try:
        points = points_of(loads)
    except UsageError as e:
        raise UsageError([*problems, *e.problems]) from e
    name, quiet = flags.get("name", "sweep"), bool(flags.get("quiet"))
    folder = Path(flags["out"]) if "out" in flags else default_directory(name)
    given = {"name": name, "check_usage": True, **flags}

    def config_at(address: str, point: Point) -> RunConfig:
        place = {"url": address, "out": str(folder / point.name)}
        return _resolve({**given, **point.flags(given), **place, "quiet": True}, problems)

    found = measure.sweep(
        config_at, points, folder, mock_flags=mock_flags, command=["python", "-m", "bench", "calibrate", *argv],
        store=store, say=_say(quiet),
    )  # fmt: skip
    if flags.get("format") == "json":
        import orjson

        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        print(sweep_page.text(found), end="")
        print(f"\nsweep: {folder / 'sweep.html'}")
    return Exit.INVALID if all(row is None for row in found["trusted"].values()) else Exit.GOOD


def _calibrate_full(
    flags: dict[str, Any],
    checks: Sequence[str],
    others: Sequence[tuple[str, object]],
    problems: list[str],
    argv: Sequence[str],
) -> int:
    from pathlib import Path

    from bench.calibrate import full, measure
    from bench.report import full_table
    from bench.run import default_directory

    needed = {key for check in full.CHECKS.values() for key in {**full.LOAD, **check.load}} | {"mode", "duration"}
    given = [f"--{key.replace('_', '-')}" for key in flags if key in needed]
    given += [flag for flag, value in others if value not in (None, "")]
    problems += [f"{flag} and --full exclude each other: each check has its own" for flag in given]
    name, quiet = flags.get("name", "full"), bool(flags.get("quiet"))
    folder = Path(flags["out"]) if "out" in flags else default_directory(name)
    fixed = {"name": name, "check_usage": True, **flags}

    def config_at(address: str, check: str, load: Mapping[str, Any]) -> RunConfig:
        return _resolve({**load, "url": address, "out": str(folder / check), "quiet": True}, problems)

    found = measure.check_all(
        config_at, fixed, checks, folder, command=["python", "-m", "bench", "calibrate", *argv], say=_say(quiet)
    )
    if flags.get("format") == "json":
        import orjson

        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        print(full_table.text(found), end="")
        print(f"\nchecks: {folder / 'full.json'}")
    return Exit.GOOD if found["held"] else Exit.INVALID


def _report(argv: Sequence[str]) -> int:
    from pathlib import Path

    from bench.evaluate import evaluate
    from bench.flags import Parser
    from bench.run_directory import RunDirectory

    parser = Parser(prog="python -m bench report", description="Render a run again, from its records and samples.")
    parser.add_argument("run", metavar="RUN", help="the run directory")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    parser.add_argument("--quiet", action="store_true", help="print the verdict and errors only")
    given = parser.parse_args(list(argv))
    result = evaluate(RunDirectory.open(Path(given.run)))
    return _print(result, given.format, quiet=given.quiet)


LIMITS_ABOUT = """\
What this machine can measure before it becomes the bottleneck itself: chunks/s, requests/s and streams of one worker, and
how late sends become. The load rises step by step, against a bare source and against our mock, until the verdict of a step
says that its numbers cannot be trusted; the last step before that is the ceiling. `run` warns where a load goes beyond it.
"""

LIMITS_EXAMPLES = """\
examples:
  python -m bench limits                  # a bit more than a minute; close what else keeps the machine busy
  python -m bench limits --quick          # some 20 s, with coarser steps
  python -m bench limits --format json --no-store

exit status: 0 measured, 2 wrong usage, 3 not even the first steps held, 70 our defect, 130 interrupted
"""


def _limits(argv: Sequence[str]) -> int:
    from pathlib import Path

    from bench.flags import Parser
    from bench.limits import ceiling

    parser = Parser(prog="python -m bench limits", description=LIMITS_ABOUT, epilog=LIMITS_EXAMPLES)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter steps")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    parser.add_argument("--out", metavar="FILE", help=f"keep the result here (default: {ceiling.default_path()})")
    parser.add_argument("--no-store", action="store_true", help="keep the result nowhere: no run warns because of it")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    given = parser.parse_args(list(argv))
    if given.no_store and given.out is not None:
        raise UsageError("--out says where to keep the result, and --no-store not to: leave one of the two out")

    from bench.limits import measure, table

    say = _say(given.quiet)
    result = measure.measure(quick=given.quick, say=say)
    if given.format == "json":
        import orjson

        print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        print(table.render(result), end="")
    if not given.no_store:
        path = ceiling.default_path() if given.out is None else Path(given.out)
        ceiling.store(path, result)
        say(f"kept in {path}")
    return Exit.INVALID if all(value is None for value in result["ceiling"].values()) else Exit.GOOD


def _dataset(argv: Sequence[str]) -> int:
    from promptset.cli import main as promptset_main

    return promptset_main(list(argv))


COMMANDS: dict[str, Command] = {
    "run": Command("one load test -> a run directory with its report", _run),
    "calibrate": Command("the same load against our own mock: the error of every number", _calibrate),
    "limits": Command("what this machine can measure before it becomes the bottleneck", _limits),
    "report": Command("render a run again from its records", _report),
    "dataset": Command("make a prompt data set (the same as python -m promptset)", _dataset),
}


def _parser(name: str, description: str, examples: str, leave_out: Sequence[str] = ()) -> Parser:
    from bench.config import RunConfig
    from bench.flags import Parser, add_fields

    parser = Parser(prog=f"python -m bench {name}", description=description, epilog=examples)
    add_fields(parser, RunConfig, leave_out)
    parser.add_argument("--config", metavar="FILE", help="settings in YAML, by the names of the flags; flags win")
    return parser


def _flags(parser: Parser, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    from bench.flags import parse

    return parse(parser, argv)


def _config(parser: Parser, argv: Sequence[str]) -> RunConfig:
    return _resolve(*_flags(parser, argv))


def _resolve(flags: dict[str, Any], problems: list[str]) -> RunConfig:
    """The configuration from flags, the file that they name, and the environment; every problem at once."""
    from pathlib import Path

    from bench.config import read_yaml, resolve

    flags = dict(flags)
    file_name = flags.pop("config", None)
    file: dict[str, Any] = {}
    found: list[str] = list(problems)
    if file_name is not None:
        try:
            file = read_yaml(Path(file_name))
        except UsageError as e:
            found += e.problems
    if "api_key" not in flags and "api_key" not in file and os.environ.get("OPENAI_API_KEY"):
        file["api_key"] = os.environ["OPENAI_API_KEY"]
    try:
        config = resolve(flags, file, file_name or "")
    except UsageError as e:
        found += e.problems
    if found:
        raise UsageError(found)
    return config


def _say(quiet: bool) -> Callable[[str], None]:
    return (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))


def _finish(config: RunConfig, result: Result) -> int:
    for problem in result.problems:
        print(f"warning: {problem}", file=sys.stderr)
    return _print(result, config.format, quiet=config.quiet)


def _forget_output() -> None:
    """What waits for stdout goes nowhere: the interpreter would fail on it as it ends, and change the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(result: Result, form: str, *, quiet: bool) -> int:
    """Print the result. Returns its exit status, which a reader that has gone (`| head`) leaves alone; 2 on a full disk."""
    try:
        _write(result, form, quiet=quiet)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
    except OSError as e:
        _forget_output()
        _complain([f"the result cannot be printed ({e.strerror}): it is in {result.directory.path}"])
        return min(Exit.USAGE, result.exit, key=PRECEDENCE.index)
    return result.exit


def _write(result: Result, form: str, *, quiet: bool) -> None:
    from bench.report import certificate, text

    if form == "json":
        import orjson

        print(orjson.dumps(result.summary, option=orjson.OPT_INDENT_2).decode())
    else:
        text.show(result.summary, brief=quiet)
        if not quiet:
            calibration = result.summary["calibration"]
            if calibration is not None and calibration["from"] == "ledger":
                certificate.show(result.summary["calibration"])
            print(f"\nreport: {result.directory.path / 'report.html'}")
            if calibration is not None and calibration["from"] == "ledger":
                print(f"certificate: {result.directory.path / 'certificate.html'}")
