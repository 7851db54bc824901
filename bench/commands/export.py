"""`bench export`: writes a run in the format of another tool."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.commands import COMMANDS
from bench.comparison.sides import read_run
from bench.config.flags import Parser
from bench.errors import Exit, UsageError
from bench.exports import FORMATS
from bench.exports.interface import Export
from bench.run_files.writable import refuse_file


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    formats = "\n".join(f"  {name:<8}{form.about}" for name, form in FORMATS.items())
    parser = Parser(
        prog="python -m bench export",
        description=f"{COMMANDS['export'].summary.capitalize()}.",
        epilog="examples:\n  python -m bench export runs/ci --format llm-d --out report.yaml\n"
        "  python -m bench export runs/ci --format mlflow --project nightly\n\n"
        f"formats:\n{formats}\n\nmlflow and wandb need their packages: pip install mlflow-skinny, pip install wandb",
    )
    parser.add_argument("run", metavar="DIR", help="the run directory")
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="the form to write")
    parser.add_argument("--out", metavar="FILE", help="llm-d: the file to write (default: stdout)")
    parser.add_argument(
        "--project", metavar="NAME", help="mlflow, wandb: the experiment or project (default: trueload)"
    )
    args = parser.parse_args(list(argv))
    form = FORMATS[args.format]
    wrong = [name for name in ("out", "project") if getattr(args, name) is not None and name not in form.takes]
    if wrong:
        raise UsageError([f"--{name} does not go with --format {args.format}" for name in wrong])
    out = None if args.out is None else Path(args.out)
    if out is not None:
        refuse_file("--out", out)
    path = Path(args.run)
    sys.stdout.write(form.write(Export(path, read_run(path).summary, out, args.project)))
    return Exit.GOOD
