"""`bench quality`: tests whether the answers hold under load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.answer_quality import measure
from bench.answer_quality.options import ANSWERED, OPTIONS, plan
from bench.answer_quality.stored import PAGE
from bench.commands.options import own_settings, parse_flags, read_file, resolve_flags, run_parser
from bench.commands.output import show
from bench.config import RunConfig
from bench.config.flags import Option, add_options
from bench.documents.document import Level
from bench.documents.quality_document import quality_document
from bench.load_test import default_directory
from bench.series.runs import RunSeries
from bench.terminal import terminal

ABOUT = """\
Finds out whether load changes the answers. It asks probes (questions with known answers) one by one, then among the
requests of a load, then one by one again. For each kind of fault it says whether load changes its share by more than the
margin, by less, or whether these probes cannot tell.
"""

EXAMPLES = """\
examples:
  python -m bench quality --url http://127.0.0.1:8000 --concurrency 16 --duration 2m
  python -m bench quality --url http://127.0.0.1:8000 --rate 20 --duration 5m --probes canary=400,schema=100 --share 10%
  python -m bench quality --url http://127.0.0.1:8000 --concurrency 64 --requests 4000 --probes gsm8k.jsonl=200

exit status: 0 no fault is shown to be more frequent under load, 1 one is, or there is cross-talk (--strict: or a text
             changes, or a fault is not excluded), 2 wrong usage, 3 a run is INVALID, 4 the server could not be measured,
             70 a defect of Trueload, 130 interrupted (--resume continues)
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = run_parser("quality", ABOUT, EXAMPLES, ("details",), tuple(ANSWERED))
    resuming = Option("resume", "DIR", "continue the series in this directory, with the same flags")
    add_options(parser, "which answers", (*OPTIONS, resuming))
    parser.add_argument(
        "--strict", action="store_true", help="also fail if something is not shown, or if a text changes"
    )
    flags, problems = parse_flags(parser, argv)
    strict = bool(flags.pop("strict", False))
    resume = flags.pop("resume", None)
    if resume is not None and flags.pop("out", None) is not None:
        problems.append("--resume and --out both name the directory: use only one of them")
    file = read_file(flags, problems)
    options = own_settings(OPTIONS, flags, file)
    answered = {name: flags.pop(name) for name in ANSWERED if name in flags}
    file = replace(file, settings={name: value for name, value in file.settings.items() if name not in ANSWERED})
    settings = {**({} if "name" in file.settings else {"name": "quality"}), **flags}

    def resolved(of_quality: dict[str, Any]) -> RunConfig:
        return resolve_flags({**settings, **of_quality}, [], file)

    made = plan(answered, options, resolved, problems, strict=strict)
    named = made.loaded.out if resume is None else resume
    folder = default_directory(made.loaded.name) if named is None else Path(named)
    series = RunSeries(
        folder, command=["python", "-m", "bench", "quality", *argv], observer=terminal(made.loaded.quiet)
    )
    result = measure.measure(made, series, resume=resume is not None)
    quiet = made.loaded.quiet
    below = "" if quiet else f"answers side by side: {folder / PAGE}"
    show(
        result.content,
        quality_document(result.content),
        made.loaded.format,
        Level.BRIEF if quiet else Level.FIRST,
        below,
    )
    if result.content.ended is not None and made.loaded.format != "json":
        print(f"to continue, run the same command with --resume {folder}")
    return result.exit
