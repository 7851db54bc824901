"""`bench gate`: decides whether a build may ship."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import orjson

from bench.comparison.margin import share_of
from bench.comparison.sides import MeasuredRun, copies, read_run, run_directories
from bench.config.flags import Parser, tried
from bench.documents.document import Level
from bench.documents.gate_document import gate_document
from bench.errors import UsageError
from bench.metrics.objectives import Objective, from_user
from bench.release_gate import baseline as baselines
from bench.release_gate.document import result_of
from bench.release_gate.gate import Gate, Rules, decide
from bench.release_gate.objectives import steady
from bench.report import junit, markdown, text
from bench.results.base import to_plain
from bench.results.baseline import Baseline
from bench.results.gate import GateResult
from bench.run_files.writable import refuse_file

ABOUT = """\
Checks runs against objectives (--slo) and earlier runs (--baseline). It fails only if the runs show it: the whole interval
of an objective is beyond its limit, or a number is worse than the baseline, significantly and by more than the margin.
"""

EXAMPLES = """\
examples:
  python -m bench gate runs/ci --slo "ttft:p90<500ms" --slo "error_rate<1%"
  python -m bench gate runs/ci --baseline baseline.json --junit gate.xml --summary "$GITHUB_STEP_SUMMARY"
  python -m bench gate runs/main --baseline baseline.json --update      # add these runs to the baseline

exit status: 0 held, or not shown; 1 failed (--strict: or not shown); 2 wrong usage, or the runs cannot be compared;
             3 INVALID; 4 the target failed; 70 a defect of Trueload
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(prog="python -m bench gate", description=ABOUT, epilog=EXAMPLES)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run directories, or directories of runs")
    parser.add_argument("--slo", action="append", default=[], metavar="SLO", help="an objective; may be repeated")
    parser.add_argument("--baseline", metavar="FILE", help="compare with the runs in this file")
    parser.add_argument(
        "--update",
        action="store_true",
        help="add the runs to the file of --baseline unless they fail or lack a number that it has; makes the file if "
        "there is none",
    )
    parser.add_argument("--margin", default="5%", metavar="P", help="the smallest change that counts (default: 5%%)")
    parser.add_argument(
        "--alpha", default="0.02", metavar="P", help="significance level, corrected over all numbers (default: 0.02)"
    )
    parser.add_argument(
        "--strict", action="store_true", help="also fail if something is not shown, or if a run is INVALID"
    )
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML")
    parser.add_argument("--summary", metavar="FILE", help="append a summary in Markdown, for the page of a CI job")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    args = parser.parse_args(list(argv))

    path = None if args.baseline is None else Path(args.baseline)
    rules, runs, baseline = _asked(args, path)
    gate = decide(runs, rules, path, baseline, updating=args.update)
    notes = [_update(path, baseline, gate)] if args.update and path is not None else []
    document = result_of(gate, baseline=path, command=["python", "-m", "bench", "gate", *argv], notes=notes)
    _write(document, args)
    return gate.exit


def _asked(args: Namespace, path: Path | None) -> tuple[Rules, list[MeasuredRun], Baseline | None]:
    """The rules, the runs and the baseline. Raises UsageError with every problem of the flags."""
    problems: list[str] = []
    places = {
        "--baseline": args.baseline if args.update else None,
        "--junit": args.junit,
        "--summary": args.summary,
    }
    for flag, name in places.items():
        if name is not None:
            tried(problems, partial(refuse_file, flag, Path(name), makes_directories=True))
    files: dict[str, str] = {}
    for flag, name in {"--baseline": args.baseline, "--junit": args.junit, "--summary": args.summary}.items():
        place = flag if name is None else os.path.realpath(name)
        if (other := files.setdefault(place, flag)) != flag and not place.startswith("/dev/"):
            problems.append(f"{other} and {flag} both name {name}: name two files")
    if not args.runs:
        problems.append("name the runs to judge")
    if not args.slo and args.baseline is None:
        problems.append("nothing to check the runs against: give --slo, --baseline, or both")
    if args.update and args.baseline is None:
        problems.append("--update adds the runs to a file: name it with --baseline FILE")
    objectives = [tried(problems, partial(_objective, slo)) for slo in args.slo]
    shares = {
        name: tried(problems, partial(share_of, f"--{name}", getattr(args, name))) or 0.0
        for name in ("margin", "alpha")
    }
    directories = [tried(problems, partial(run_directories, Path(run))) or [] for run in args.runs]
    baseline = None if path is None else tried(problems, lambda: _read_baseline(path, is_needed=not args.update))
    if problems:
        raise UsageError(problems)
    rules = Rules(tuple(objective for objective in objectives if objective is not None), strict=args.strict, **shares)
    runs = [read_run(directory) for directory in dict.fromkeys(chain.from_iterable(directories))]
    if problems := copies(runs):
        raise UsageError(problems)
    return rules, runs, baseline


def _objective(text: str) -> Objective:
    return steady(from_user(text))


def _read_baseline(path: Path, *, is_needed: bool) -> Baseline | None:
    """The baseline; None if there is none yet. Raises UsageError if it is damaged, or is needed and does not exist."""
    baseline = baselines.read(path)
    if baseline is None and is_needed:
        raise UsageError(f"--baseline {path} does not exist: begin it with --update")
    return baseline


def _update(path: Path, baseline: Baseline | None, gate: Gate) -> str:
    """Add the runs to the baseline. Returns a sentence about the result."""
    if not gate.runs:
        return f"{path} is unchanged: no run can be used"
    # If some runs in the baseline lack a number, no later run is checked for it.
    why = "something failed" if gate.exit else "a number of it cannot be compared" if gate.lost else None
    if why is not None:
        if baseline is None:
            return f"{path} was not written, because {why}"
        return f"{path} is unchanged, because {why}. To accept the change, begin another file"
    n = len(baselines.add(path, gate.runs[0], gate.entries).runs)
    return f"{path} now holds {n} run{'' if n == 1 else 's'}"


def _write(document: GateResult, args: Namespace) -> None:
    for flag, name, content, mode in (
        ("--junit", args.junit, junit.render(document), "wb"),
        ("--summary", args.summary, markdown.render(gate_document(document)).encode(), "ab"),
    ):
        if name is not None:
            try:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                with Path(name).open(mode) as file:
                    file.write(content)
            except OSError as e:
                raise UsageError(f"{flag} {name} cannot be written ({e.strerror}): name another file") from e
    if args.format == "json":
        print(orjson.dumps(to_plain(document), option=orjson.OPT_INDENT_2).decode())
    else:
        text.show(gate_document(document), Level.FIRST, width=text.NARROW)
