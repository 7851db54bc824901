"""`run --repeats N`: the same configuration several times, and how its numbers vary between runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.clock import utc_now
from bench.config import RunConfig
from bench.errors import PRECEDENCE, Exit
from bench.evaluate import Result
from bench.load_sweep.points import RunNumbers, numbers_of, together
from bench.loads import step_through
from bench.machine import identity
from bench.run_files.run_directory import RunDirectory
from bench.run_series import RunSeries
from bench.secrets import public_command

SCHEMA = "trueload/repeats/1"
REPEATS = "repeats.json"


@dataclass(frozen=True, slots=True)
class RepeatsResult:
    """The repeats as they stand in their file, where that is, and the exit status: of all runs' the first in PRECEDENCE."""

    path: Path
    content: Mapping[str, Any]
    exit: Exit


def repeat(
    config: RunConfig,
    repeats: int,
    series: RunSeries,
    *,
    command: Sequence[str],
    say: Callable[[str], None],
    progress_line: Callable[[str, Mapping[str, Any]], str],
) -> RepeatsResult:
    """Run N times, each with a seed of its own. After Ctrl-C, what is done."""
    runs: list[RunNumbers] = []
    statuses: list[Exit] = []

    def measure(number: int) -> Result:
        say(f"run {number} of {repeats}")
        name = f"run-{number}"
        path = series.path / name
        result = series.run(
            name, config.model_copy(update={"out": str(path)}) if number == 1 else _again(config, number)
        )
        statuses.append(result.exit)
        if not result.interrupted:
            numbers = numbers_of(result.summary)
            status = str(result.verdict.status)
            reasons = tuple(result.verdict.reasons)
            runs.append(RunNumbers(name=name, load=0.0, repeat=number, status=status, reasons=reasons, numbers=numbers))
            say(progress_line(status, numbers))
        return result

    ended: str | None = None
    try:
        _, ended = step_through(
            range(1, repeats + 1), measure, lambda results: "interrupted" if results[-1].interrupted else None
        )
    except KeyboardInterrupt:
        statuses.append(Exit.INTERRUPTED)
        ended = "interrupted"
    content = to_json(config, runs, repeats, public_command(command), ended)
    if runs:
        RunDirectory(series.path).write(
            REPEATS, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )
    return RepeatsResult(series.path, content, next(s for s in PRECEDENCE if s in {*statuses, Exit.GOOD}))


def _again(config: RunConfig, number: int) -> RunConfig:
    """The same load drawn anew: runs of one seed would share their arrivals, and hide that part of the spread."""
    again = config.model_copy(update={"seed": config.seed + number - 1})
    return again.model_copy(update={"load": type(config.load).of(again)})


def to_json(
    config: RunConfig, runs: Sequence[RunNumbers], repeats: int, command: Sequence[str], ended: str | None
) -> dict[str, Any]:
    """The content of repeats.json."""
    usable = [run for run in runs if run.usable]
    numbers = together(usable or runs) if runs else {}
    return {
        "schema": SCHEMA,
        "date": utc_now().isoformat(timespec="seconds"),
        "version": identity.versions().get("trueload", ""),
        "host": identity.host(),
        "command": list(command),
        "config": config.public(),
        "repeats": repeats,
        "ended": ended,
        "runs": [
            {
                "name": run.name,
                "status": run.status,
                "reasons": list(run.reasons),
                "usable": run.usable,
                "numbers": {name: asdict(number) for name, number in run.numbers.items()},
            }
            for run in runs
        ],
        "numbers": {name: asdict(number) for name, number in numbers.items()},
    }
