"""`bench sweep`: measures one workload at several loads, and draws curves over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.commands.options import note_idle_users, own_settings, parse_flags, read_file, resolve_flags, run_parser
from bench.commands.output import show
from bench.config import RunConfig
from bench.config.flags import Option, add_options
from bench.documents.document import Level
from bench.documents.sweep_document import sweep_document
from bench.load_sweep import measure
from bench.load_sweep.options import OPTIONS, SET_BY_LOADS, plan
from bench.load_test import default_directory
from bench.series.runs import RunSeries
from bench.terminal import terminal

ABOUT = """\
Sends the same workload at several loads, one after the other, each as a separate run. Draws throughput and latencies over
the load, and finds where more load gives no more throughput.
"""

EXAMPLES = """\
examples:
  python -m bench sweep --url http://127.0.0.1:8000 --loads concurrency=1..256x2
  python -m bench sweep --url http://127.0.0.1:8000 --loads rate=5,10,20 --repeats 3 --slo "ttft:p99<500ms"
  python -m bench sweep --url http://127.0.0.1:8000 --loads concurrency=1..64x2 --gpus 2 --duration 2m --warmup 20s
  python -m bench sweep --url http://127.0.0.1:8000 --loads concurrency=1..256x2 --resume runs/my-sweep

exit status: 0 measured, 2 wrong usage, 3 every load is INVALID, 4 the server could not be measured, 70 a defect of Trueload,
             130 interrupted (what was measured is kept, and --resume continues)
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = run_parser("sweep", ABOUT, EXAMPLES, ("gpus", "details"), tuple(SET_BY_LOADS))
    resuming = Option("resume", "DIR", "continue the sweep in this directory, with the same flags")
    add_options(parser, "which loads", (*OPTIONS, resuming))
    flags, problems = parse_flags(parser, argv)
    resume = flags.pop("resume", None)
    if resume is not None and flags.pop("out", None) is not None:
        problems.append("--resume and --out both name the directory: use only one of them")
    file = read_file(flags, problems)
    options = own_settings(OPTIONS, flags, file)
    file = replace(file, settings={name: value for name, value in file.settings.items() if name not in SET_BY_LOADS})
    of_runs = {name: value for name, value in flags.items() if name not in SET_BY_LOADS}
    settings = {**({} if "name" in file.settings else {"name": "sweep"}), **of_runs}

    def config_at(of_visit: Mapping[str, Any]) -> RunConfig:
        return resolve_flags({**settings, **of_visit}, [], file)

    made = plan(flags, options, config_at, problems)
    note_idle_users(config_at(made.loads.settings(made.loads.values[-1])))
    named = made.base.out if resume is None else resume
    folder = default_directory(made.base.name) if named is None else Path(named)
    observer = terminal(made.base.quiet)
    result = measure.sweep(
        config_at,
        made.loads,
        RunSeries(folder, command=["python", "-m", "bench", "sweep", *argv], observer=observer),
        given={**file.settings, **settings},
        gpus=made.gpus,
        resume=resume is not None,
    )
    below = f"sweep: {folder / measure.PAGE}"
    if result.content.ended is not None:
        below += f"\nto continue, run the same command with --resume {folder}"
    show(result.content, sweep_document([result.content]), made.base.format, Level.USUAL, below)
    return result.exit
