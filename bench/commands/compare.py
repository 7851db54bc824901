"""`bench compare`: shows what differs between two or more sides."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from bench.commands.options import resolve_flags
from bench.comparison.kinds import compare_directories
from bench.comparison.margin import share_of
from bench.comparison.pairs import MOST_PAIRS, run_pairs
from bench.comparison.sides import missing
from bench.config.flags import Parser, tried
from bench.documents.comparison_document import comparison_document
from bench.documents.document import Level
from bench.errors import Exit, UsageError
from bench.load_test import default_directory
from bench.report import html, markdown
from bench.results.base import to_bytes
from bench.results.comparison import ComparisonResult
from bench.run_files.writable import make_directory, refuse_directory, write_file
from bench.terminal import terminal

ABOUT = """\
Shows what differs between two or more sides, how certain that is, and how small a change these runs could have shown. A
side is a run directory, or a directory with several runs of one setup. Each side is compared with the first one.
"""

EXAMPLES = """\
examples:
  python -m bench compare runs/before runs/after
  python -m bench compare runs/a runs/b runs/c --margin 10% --format markdown
  python -m bench compare runs/bf16 runs/fp8 --allow model
  python -m bench compare --run before.yaml after.yaml --pairs 5 --out runs/compared
  python -m bench compare runs/compared      # compare the runs of --run again

exit status: 0 compared, even if sides differ; 2 wrong usage, or the sides cannot be compared; 3 a side is INVALID; 4 a side's
             target failed; 70 a defect of Trueload
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(prog="python -m bench compare", description=ABOUT, epilog=EXAMPLES)
    parser.add_argument(
        "sides", nargs="*", metavar="DIR", help="run directories, or directories of runs; the first is A"
    )
    parser.add_argument(
        "--run",
        nargs="+",
        metavar="FILE",
        help="make the runs, alternating between the sides; one configuration (YAML) per side",
    )
    parser.add_argument("--pairs", metavar="N", help="with --run: how often to run each side (default: 5)")
    parser.add_argument("--margin", default="5%", metavar="P", help="the smallest change that counts (default: 5%%)")
    parser.add_argument(
        "--allow",
        default="",
        metavar="NAME,...",
        help="settings that may differ, such as the one whose effect you measure",
    )
    forms = ("text", "json", "markdown")
    parser.add_argument("--format", choices=forms, default="text", help="what to print (default: text)")
    parser.add_argument(
        "--out", metavar="DIR", help="where to write compare.json and compare.html, and the runs of --run "
        "(default: nowhere; with --run runs/<time>-compare)",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    args = parser.parse_args(list(argv))
    margin, pairs, allow = _checked(args)

    out = None if args.out is None else Path(args.out)
    if out is not None:
        refuse_directory("--out", out)
    if args.run is not None:
        out, sides = _measured(args, pairs, allow, out, argv)
    else:
        sides = _sides([Path(side) for side in args.sides])
    result = compare_directories(sides, margin=margin, allow=allow)
    return finish(result, args.format, out)


def _checked(args: Namespace) -> tuple[float, int, list[str]]:
    """The margin, the number of pairs, and the settings that may differ. Raises UsageError with every problem of the
    flags."""
    problems: list[str] = []
    named = args.sides if args.run is None else args.run
    kind = "directories" if args.run is None else "configurations"
    if args.run is not None and args.sides:
        problems.append("--run makes new runs, and directories name existing ones: use only one of them")
    if args.run is None and args.pairs is not None:
        problems.append("--pairs is for runs that --run makes: name the configurations with --run A.yaml B.yaml")
    if len(named) > 26 or not (
        len(named) > 1 or (args.run is None and len(named) == 1 and _sides([Path(named[0])])[1:])
    ):
        problems.append(f"name 2 to 26 {kind} to compare: there {'is 1' if len(named) == 1 else f'are {len(named)}'}")
    pairs = 5 if args.pairs is None else int(args.pairs) if args.pairs.isdecimal() else 0
    if not 2 <= pairs <= MOST_PAIRS:
        problems.append(f"--pairs {args.pairs}: give a number from 2 to {MOST_PAIRS}; one pair has no spread")
    margin = tried(problems, lambda: share_of("--margin", args.margin))
    if problems or margin is None:
        raise UsageError([*problems, *missing(Path(side) for side in args.sides)])
    return margin, pairs, [name.strip().replace("-", "_") for name in args.allow.split(",") if name.strip()]


def _sides(paths: list[Path]) -> list[Path]:
    """The paths; for a single directory made by --run, its sides."""
    if len(paths) > 1:
        return paths
    made = [paths[0] / letter for letter in "abcdefghijklmnopqrstuvwxyz"]
    return [side for side in made if side.is_dir()] if made[1].is_dir() else paths


def _measured(
    args: Namespace, pairs: int, allow: list[str], out: Path | None, argv: Sequence[str]
) -> tuple[Path, list[Path]]:
    """Make the runs. Returns their directory and its sides."""
    configs, problems = [], []
    for name in args.run:
        try:
            configs.append(resolve_flags({"config": name, "quiet": args.quiet}, []))
        except UsageError as e:
            problems += [problem if name in problem else f"{name}: {problem}" for problem in e.problems]
    if problems:
        raise UsageError(problems)
    place = default_directory("compare") if out is None else out
    command = ["python", "-m", "bench", "compare", *argv]
    return place, run_pairs(configs, pairs, place, allow=allow, command=command, observer=terminal(args.quiet))


def finish(result: ComparisonResult, form: str, out: Path | None) -> int:
    """Write the files and print the comparison."""
    page = comparison_document(result)
    if out is not None:
        make_directory("--out", out)
        write_file("--out", out / "compare.json", to_bytes(result))
        write_file("--out", out / "compare.html", html.render(page).encode())
    if form == "json":
        sys.stdout.write(to_bytes(result).decode())
    elif form == "markdown":
        sys.stdout.write(markdown.render(page))
    else:
        from bench.report import text  # Imports rich, which only this format needs.

        text.show(page, Level.DETAILS, width=text.NARROW)
        if out is not None:
            print(f"\npage: {out / 'compare.html'}")
    return Exit.GOOD
