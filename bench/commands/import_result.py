"""`bench import`: turns the result of another load tester into a run directory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.commands import COMMANDS
from bench.commands.output import print_result
from bench.config.flags import Parser
from bench.errors import PRECEDENCE, UsageError
from bench.evaluate import evaluate
from bench.imports import TOOLS
from bench.imports.foreign import ResultFile, Tool, read_file
from bench.imports.run import make_run
from bench.run_files.run_directory import RunDirectory

EXAMPLES = """\
Reads files that have every request:
  vllm bench serve        --save-result --save-detailed
  SGLang bench_serving    --output-file FILE --output-details
  aiperf profile          profile_export.jsonl
  guidellm                benchmarks.json
  genai-bench             the JSON file of a scenario and a concurrency

The verdict of an imported run is never VALID: the error of its numbers is unknown. compare, gate and report take it
like any other. A file with several runs makes a directory for each: DIR/1, DIR/2, ...

exit status: as for run
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(
        prog="python -m bench import", description=f"{COMMANDS['import'].summary.capitalize()}.", epilog=EXAMPLES
    )
    parser.add_argument("file", metavar="FILE", help="the result file of the other tool")
    parser.add_argument("--out", metavar="DIR", required=True, help="the run directory to make")
    parser.add_argument("--quiet", action="store_true", help="print only the verdict and the errors")
    args = parser.parse_args(list(argv))
    source, out = Path(args.file), Path(args.out)
    file = read_file(source)
    tool = _tool_of(file)
    runs = [*tool.read(file)]
    if not runs:
        raise UsageError(f"{source} has no runs")
    paths = [out] if len(runs) == 1 else [out / str(number) for number in range(1, len(runs) + 1)]
    for path in paths:
        RunDirectory.refuse_used(path)
    statuses = []
    for place, (run, path) in enumerate(zip(runs, paths, strict=True)):
        if not run.requests and any(other.requests for other in runs):
            print(f"{path} is left out: it has no requests", file=sys.stderr)
            continue
        command = ("python", "-m", "bench", "import", *argv)
        result = evaluate(make_run(run, path, source, tool.title, command, place))
        if len(runs) > 1:
            print(f"{path}", file=sys.stderr)
        statuses.append(print_result(result, "text", quiet=args.quiet))
    return next(status for status in PRECEDENCE if status in statuses)


def _tool_of(file: ResultFile) -> Tool:
    """The load tester that wrote the file. Raises UsageError."""
    for tool in TOOLS.values():
        if tool.recognizes(file):
            return tool
    titles = ", ".join(tool.title for tool in TOOLS.values())
    raise UsageError(f"{file.path} is not a result of {titles}: python -m bench import --help lists the files of each")
