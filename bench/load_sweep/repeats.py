"""`run --repeats N`: the same configuration several times, and how its numbers vary between runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config import RunConfig
from bench.config.values import MOST_SEED
from bench.documents import sweep_words
from bench.errors import PRECEDENCE, Exit
from bench.load_sweep.points import repeated_run, together
from bench.results.sweep import REPEATS_SCHEMA, RepeatedRun, RepeatsContent
from bench.secrets import public_command
from bench.series import files
from bench.series.drive import INTERRUPTED, End, drive, in_order
from bench.series.runs import RunSeries, unless_interrupted

REPEATS = "repeats.json"


@dataclass(frozen=True, slots=True)
class RepeatsResult:
    """The repeats as stored in their file, their directory, and the exit status: of all runs' statuses, the first in
    PRECEDENCE."""

    path: Path
    content: RepeatsContent
    exit: Exit


def repeat(config: RunConfig, repeats: int, series: RunSeries) -> RepeatsResult:
    """Run N times, each with its own seed. After Ctrl-C, returns the runs that are done."""
    statuses = {Exit.GOOD}

    def measure(number: int) -> RepeatedRun:
        series.say(f"run {number} of {repeats}")
        result = unless_interrupted(series.run(f"run-{number}", config if number == 1 else _again(config, number)))
        statuses.add(result.exit)
        return repeated_run(f"run-{number}", result.summary)

    def content(runs: Sequence[RepeatedRun], end: End | None) -> RepeatsContent:
        return content_of(
            config, runs, repeats, public_command(series.command), INTERRUPTED if end is None else end.why
        )

    def write(runs: Sequence[RepeatedRun], end: End | None) -> None:
        if runs:
            files.write(series.path, REPEATS, content(runs, end))

    runs, end = drive(
        in_order(range(1, repeats + 1)),
        measure,
        write=write,
        tell=lambda _, run: series.say(sweep_words.progress_line(run.status, run.numbers, run.inputs_are)),
    )
    if end.why is not None:
        statuses.add(Exit.INTERRUPTED)
    return RepeatsResult(series.path, content(runs, end), next(s for s in PRECEDENCE if s in statuses))


def _again(config: RunConfig, number: int) -> RunConfig:
    """The same load with another seed: runs of one seed would share their arrivals and hide that part of the spread."""
    again = config.model_copy(update={"seed": (config.seed + number - 1) % (MOST_SEED + 1)})
    return again.model_copy(update={"load": type(config.load).of(again)})


def content_of(
    config: RunConfig, runs: Sequence[RepeatedRun], repeats: int, command: Sequence[str], ended: str | None
) -> RepeatsContent:
    """The content of repeats.json."""
    usable = [run for run in runs if run.usable]
    return RepeatsContent(
        schema=REPEATS_SCHEMA,
        **files.stamp(),
        command=list(command),
        config=config.public(),
        repeats=repeats,
        ended=ended,
        runs=runs,
        numbers=together(usable or runs) if runs else {},
    )
