"""`bench report`: render a run again."""

from __future__ import annotations

from collections.abc import Sequence

from bench.commands.output import print_result

SUMMARY = "make the report of a run again"


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    from pathlib import Path

    from bench.config.flags import Parser
    from bench.evaluate import evaluate
    from bench.run_directory import RunDirectory

    parser = Parser(
        prog="python -m bench report",
        description="Makes the summary and the page of a run again, and prints the result.",
    )
    parser.add_argument("run", metavar="RUN", help="the run directory")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    parser.add_argument("--quiet", action="store_true", help="print only the verdict and the errors")
    given = parser.parse_args(list(argv))
    result = evaluate(RunDirectory.open(Path(given.run)))
    return print_result(result, given.format, quiet=given.quiet)
