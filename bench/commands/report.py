"""`bench report`: renders a run or a search again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from bench import manifest
from bench.accuracy import sweep as calibration
from bench.answer_quality import stored as stored_quality
from bench.answer_quality.stored import PAGE, QUALITY
from bench.commands import request_table
from bench.commands.output import print_result, print_search, show, show_calibration_sweep
from bench.config.flags import Parser
from bench.documents import load_curves
from bench.documents.document import Level
from bench.documents.quality_document import quality_document
from bench.documents.sweep_document import sweep_document
from bench.documents.tune_document import tune_document
from bench.errors import Exit, UsageError
from bench.evaluate import evaluate
from bench.load_search.files import SETTINGS
from bench.load_search.render import render_again
from bench.load_sweep import measure, stored
from bench.load_sweep.measure import SWEEP
from bench.report import html, text
from bench.results.base import to_plain
from bench.run_files.run_directory import RunDirectory
from bench.run_files.shape import read_object
from bench.run_files.writable import refuse_file, write_file
from bench.scale.cluster.collect import collect
from bench.tuning import measure as tune_measure
from bench.tuning import tune_file

EXAMPLES = """\
examples:
  python -m bench report runs/ci --details
  python -m bench report runs/ci --format csv > numbers.csv
  python -m bench report runs/ci --requests csv        # one row per request, in runs/ci/requests.csv
  python -m bench report runs/old runs/new --out both.html          # two sweeps
"""

_OF_SERIES = (SWEEP, SETTINGS, QUALITY, tune_file.TUNE)
"""Files that a run does not have."""


def _parser() -> Parser:
    parser = Parser(
        prog="python -m bench report",
        description="Rebuilds the summary and the page of a run, search, sweep, race or quality test, and prints the result. "
        "Puts several sweeps on one page.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="+",
        help="the directory of a run, search, sweep, race or quality test; several sweeps share a page",
    )
    parser.add_argument("--out", metavar="FILE", help="the page of several sweeps (default: sweeps.html)")
    parser.add_argument(
        "--format",
        choices=("text", "json", "csv", "markdown"),
        default="text",
        help="what to print (default: text); csv and markdown have one row per metric of a run",
    )
    parser.add_argument(
        "--requests",
        choices=tuple(request_table.FORMATS),
        help="write every request of the run, one per row, to requests.csv or requests.parquet in its directory",
    )
    parser.add_argument(
        "--server-chart",
        metavar="NAME",
        action="append",
        default=[],
        help="also draw this sample of the server's metrics (docs/server-metrics.md) on the page of the run; may be repeated",
    )
    parser.add_argument(
        "--shards",
        metavar="DIR",
        action="append",
        default=[],
        help="for a run with --cluster whose driver died: first add the shards of this directory, copied from a "
        "node (docs/cluster.md); may be repeated",
    )
    parser.add_argument("--quiet", action="store_true", help="print only the verdict and the errors")
    parser.add_argument("--details", action="store_true", help="print every number of a run, not only the first screen")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    args = _parser().parse_args(list(argv))
    paths = [Path(run) for run in args.run]
    of_a_run = args.requests is not None or args.server_chart or args.shards or args.format in ("csv", "markdown")
    if of_a_run and (len(paths) > 1 or any((path / name).is_file() for path in paths for name in _OF_SERIES)):
        raise UsageError(
            "--format csv, --format markdown, --requests, --shards and --server-chart work with one run: name its directory"
        )
    if args.out is not None and len(paths) == 1:
        raise UsageError("--out is for the page of several sweeps: the page of one result is in its directory")
    if len(paths) == 1 and (paths[0] / QUALITY).is_file():
        return _quality(paths[0], args.format)
    if len(paths) == 1 and (paths[0] / tune_file.TUNE).is_file():
        return _tune(paths[0], args.format)
    others = [str(path) for path in paths if not (path / SWEEP).is_file()]
    if not others:
        of_calibrate = [str(path) for path in paths if _is_of_calibrate(path)]
        if of_calibrate and len(paths) == 1:
            return _calibration_sweep(paths[0], args.format)
        if of_calibrate:
            raise UsageError(
                f"a sweep of calibrate shares no page with others: name it alone ({', '.join(of_calibrate)})"
            )
        return _sweeps(paths, Path(args.out or "sweeps.html"), args.format)
    if len(paths) > 1:
        raise UsageError(_why_not_one_page(paths, others))
    if (paths[0] / SETTINGS).is_file():
        return print_search(render_again(paths[0]), args.format, quiet=args.quiet)
    if args.shards:
        _collect(paths[0], [Path(folder) for folder in args.shards])
    result = evaluate(RunDirectory.open(paths[0]), server_charts=args.server_chart)
    if args.requests is not None:
        written = request_table.write(result.directory, args.requests)
        print(f"requests: {written}", file=sys.stderr)
    return print_result(result, args.format, quiet=args.quiet, details=args.details)


def _why_not_one_page(paths: Sequence[Path], others: Sequence[str]) -> list[str]:
    if gone := [f"{path} does not exist: name the directory of a result" for path in paths if not path.exists()]:
        return gone
    return [
        "only sweeps can share a page: name one run or search, or the directories of sweeps "
        f"(without {SWEEP}: {', '.join(others)})"
    ]


def _quality(path: Path, form: str) -> int:
    content = stored_quality.read(path / QUALITY)
    stored_quality.write(path, content)
    show(content, quality_document(content), form, Level.USUAL, f"page: {path / PAGE}")
    return content.exit


def _tune(path: Path, form: str) -> int:
    content = tune_file.read(path / tune_file.TUNE)
    tune_file.write(path, content)
    show(content, tune_document(content), form, Level.USUAL, f"page: {path / tune_file.PAGE}")
    return tune_measure.exit_of(content)


def _is_of_calibrate(path: Path) -> bool:
    return read_object(path / SWEEP, "sweep").get("schema") == calibration.SCHEMA


def _calibration_sweep(path: Path, form: str) -> int:
    from bench.calibrate.measure import write  # The module can start a mock, which no other report needs.

    try:
        content = calibration.Sweep.read(path / SWEEP)
    except ValueError as e:
        raise UsageError(f"{path / SWEEP} is damaged: {e}") from e
    write(path, content)
    return show_calibration_sweep(content, path, form)


def _collect(path: Path, folders: Sequence[Path]) -> None:
    directory = RunDirectory.open(path)
    facts = manifest.read(directory).manifest
    count = collect(directory, folders, facts.run_id, facts.workers)
    print(f"shards: of {count} of {facts.workers} workers", file=sys.stderr)


def _sweeps(paths: Sequence[Path], page: Path, form: str) -> int:
    if len(paths) > load_curves.MOST_SWEEPS:
        raise UsageError(f"{len(paths)} sweeps are too many for one page: name at most {load_curves.MOST_SWEEPS}")
    contents = [stored.read(path / measure.SWEEP) for path in paths]
    if len({content.kind for content in contents}) > 1:
        raise UsageError("a page has sweeps of one kind: these are over users and over requests per second")
    if len(paths) == 1:
        page = paths[0] / measure.PAGE
        measure.write(paths[0], contents[0])
    else:
        refuse_file("--out", page)
        places = [os.path.relpath(path, page.parent) for path in paths]
        write_file("--out", page, html.render(sweep_document(contents, places)).encode())
    if form == "json":
        plain = [to_plain(content) for content in contents]
        document = plain[0] if len(plain) == 1 else plain
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return Exit.GOOD
    for path, content in zip(paths, contents, strict=True):
        if len(paths) > 1:
            print(f"{path}")
        text.show(sweep_document([content]), Level.USUAL)
        print()
    print(f"page: {page}")
    return Exit.GOOD
