"""`bench report`: render a run or a search again."""

from __future__ import annotations

from collections.abc import Sequence

from bench.commands.output import print_result, print_search

SUMMARY = "make the report of a run or a search again"


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    from pathlib import Path

    from bench.config.flags import Parser
    from bench.evaluate import evaluate
    from bench.load_search.files import SETTINGS
    from bench.load_search.render import render_again
    from bench.run_directory import RunDirectory

    parser = Parser(
        prog="python -m bench report",
        description="Makes the summary and the page of a run, or of a search, again, and prints the result.",
    )
    parser.add_argument("run", metavar="RUN", help="the directory of the run or of the search")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    parser.add_argument("--quiet", action="store_true", help="print only the verdict and the errors")
    given = parser.parse_args(list(argv))
    if (Path(given.run) / SETTINGS).is_file():
        found = render_again(Path(given.run))
        return print_search(found, given.format, quiet=given.quiet)
    result = evaluate(RunDirectory.open(Path(given.run)))
    return print_result(result, given.format, quiet=given.quiet)
