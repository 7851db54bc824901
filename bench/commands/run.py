"""`bench run`: runs one load test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.commands.options import note_idle_users, parse_flags, resolve_flags, run_parser
from bench.commands.output import finish, show
from bench.config import RunConfig
from bench.load_test import default_directory, run
from bench.terminal import terminal

EXAMPLES = """\
examples:
  python -m bench run --url http://127.0.0.1:8000 --concurrency 32 --requests 500
  python -m bench run --url http://127.0.0.1:8000 --rate 20 --duration 5m --slo "ttft:p99<500ms"
  python -m bench run --url http://127.0.0.1:8000 --mode throughput --requests 1000 --input-tokens uniform:100..500

distributions (DIST): 128, uniform:100..500, lognormal:mean=200,cv=0.5; docs/datasets.md has all

exit status: 0 good, 1 an objective failed, 2 wrong usage, 3 INVALID, 4 the server failed, 70 a defect of Trueload,
             130 interrupted
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = run_parser(
        "run", "Runs one load test against a server, and writes a run directory with its report.", EXAMPLES
    )
    parser.add_argument("--repeats", metavar="N", help="run N times, and show how the numbers vary from run to run")
    flags, problems = parse_flags(parser, argv)
    repeats, wrong = _repeats(flags.pop("repeats"))
    config = resolve_flags(flags, [*problems, *wrong])
    if repeats is not None:
        note_idle_users(config)  # The report of a single run says it.
        return _repeat(config, repeats, argv)
    result = run(
        config, command=["python", "-m", "bench", "run", *argv], observer=terminal(config.quiet), changeable=True
    )
    return finish(config, result)


def _repeats(text: str | None) -> tuple[int | None, list[str]]:
    from bench.load_sweep.visits import MOST_REPEATS

    if text is None:
        return None, []
    if not text.strip().isdecimal() or not 2 <= int(text) <= MOST_REPEATS:
        return None, [f"--repeats {text}: give a whole number of runs, from 2 to {MOST_REPEATS}"]
    return int(text), []


def _repeat(config: RunConfig, repeats: int, argv: Sequence[str]) -> int:
    from bench.documents.sweep_document import repeats_document
    from bench.load_sweep.repeats import REPEATS, repeat
    from bench.series.runs import RunSeries

    folder = default_directory(config.name) if config.out is None else Path(config.out)
    command = ["python", "-m", "bench", "run", *argv]
    result = repeat(config, repeats, RunSeries(folder, command=command, observer=terminal(config.quiet)))
    if result.content.runs or config.format == "json":
        show(result.content, repeats_document(result.content), config.format, below=f"repeats: {folder / REPEATS}")
    return result.exit
