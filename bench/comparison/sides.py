"""The sides of a comparison: runs on disk, read and never written.

A side is a run directory, or a directory whose folders are run directories (repeats). Numbers come from summary.json.
They are recomputed from the run's other files if summary.json is missing or has another format, or if the run has lost
files since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import MsgspecError

from bench import manifest
from bench.errors import BenchError, Exit, UsageError
from bench.evaluate import evaluate, summary_of
from bench.manifest import Manifest
from bench.results.summary import RunSummary, from_json
from bench.run_files.run_directory import MANIFEST, REQUESTS, SUMMARY, RunDirectory

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The names of sides, in the order given."""


class UnusableRuns(BenchError):
    """Every run of a side is INVALID, or its target failed; `exit_code` tells which."""

    def __init__(self, sentence: str, status: str) -> None:
        super().__init__(sentence)
        self.exit_code = Exit.TARGET if status == "FAILED" else Exit.INVALID


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One run: its directory, its settings (complete, without secrets), its manifest and its summary."""

    directory: Path
    settings: Mapping[str, Any]
    manifest: Manifest
    summary: RunSummary
    damage: str | None = None
    """Why summary.json could not be read and was recomputed; None if it was read or did not exist."""

    @property
    def notes(self) -> list[str]:
        """What a reader must know about the source of the numbers."""
        if self.damage is None:
            return []
        return [
            f"{self.directory / SUMMARY} could not be read ({self.damage}): it was made again from the records of the run"
        ]

    @property
    def status(self) -> str:
        return str(self.summary.verdict.status)

    @property
    def tokens_by(self) -> str | None:
        """How most replies' tokens were counted; None if there are no tokens."""
        counted = msgspec.structs.asdict(self.summary.tokens.counted_by)
        by = max(counted, key=lambda name: counted[name])
        if not counted[by]:
            return None
        tokenizer = self.manifest.tokenizer
        return f"the tokenizer {tokenizer.name}" if by == "tokenizer" and tokenizer is not None else by

    @property
    def when(self) -> tuple[str, int]:
        """Sort key by start; the monotonic clock decides between runs that started in the same second."""
        return self.manifest.started, self.manifest.start_ns

    @property
    def identity(self) -> tuple[str, str, int]:
        """Equal for two directories if one is a copy of the other."""
        return self.manifest.run_id, *self.when


@dataclass(frozen=True, slots=True)
class Side:
    """The runs of one side. `left_out`: runs that must not be used, with the reason."""

    name: str
    path: Path
    runs: tuple[MeasuredRun, ...]
    left_out: tuple[tuple[Path, str], ...] = ()


def read_sides(paths: Sequence[Path]) -> list[Side]:
    """Read the sides, A first. Raises UsageError with a sentence for each path without a run, and UnusableRuns."""
    sides, problems = [], []
    for name, path in zip(LETTERS, paths, strict=False):
        try:
            sides.append(read_side(name, path))
        except UsageError as e:
            problems += e.problems
    of: dict[Path, Side] = {}
    runs: list[MeasuredRun] = []
    for side in sides:
        for run in side.runs:
            other = of.setdefault(run.directory.resolve(), side)
            if other is not side:
                problems.append(f"{run.directory} is a run of both {other.name} and {side.name}: name it on one side")
            else:
                runs.append(run)
    problems += copies(runs)
    if problems:
        raise UsageError(problems)
    return [usable(side) for side in sides]


def copies(runs: Iterable[MeasuredRun]) -> list[str]:
    """A sentence for each directory that is a copy of an earlier one: no run counts twice or is compared with itself."""
    first: dict[tuple[str, str, int], Path] = {}
    problems = []
    for run in runs:
        original = first.setdefault(run.identity, run.directory)
        if original != run.directory:
            problems.append(f"{run.directory} is a copy of {original}, the same run: use only one of them")
    return problems


def read_side(name: str, path: Path) -> Side:
    """Read every run of a directory, earliest first. Raises UsageError if there is none."""
    runs = sorted((read_run(directory) for directory in run_directories(path)), key=lambda run: run.when)
    return Side(name, path, tuple(runs))


def missing(paths: Iterable[Path]) -> list[str]:
    """A sentence for each path that does not exist."""
    advice = "name a run directory, or a directory of run directories"
    return [f"{path} does not exist: {advice}" for path in paths if not path.exists()]


def run_directories(path: Path) -> list[Path]:
    """The path itself if it is a run, else the runs in it. Raises UsageError if there is none."""
    if problems := missing([path]):
        raise UsageError(problems)
    if _is_run(path):
        return [path]
    directories = sorted(_runs_inside(path)) if path.is_dir() else []
    if not directories:
        raise UsageError(
            f"{path} holds no run: a run directory has {MANIFEST} and {REQUESTS}; name one, or their parent"
        )
    return directories


def _runs_inside(path: Path) -> Iterator[Path]:
    for entry in path.iterdir():
        # A series that moved a directory aside had its run cut off; a run of the same name exists.
        if entry.is_dir() and not entry.name.startswith(".") and "-cut-off-" not in entry.name and _is_run(entry):
            yield entry


def _is_run(path: Path) -> bool:
    return (path / MANIFEST).is_file() and (path / REQUESTS).is_file()


def read_run(path: Path) -> MeasuredRun:
    """Read one run directory. Raises UsageError if it is damaged."""
    directory = RunDirectory.open(path)
    stored = manifest.read(directory)
    damage: str | None = None
    try:
        summary = from_json((path / SUMMARY).read_bytes())
    except FileNotFoundError:
        summary = evaluate(directory).summary
    except MsgspecError as e:
        summary, damage = evaluate(directory).summary, str(e)
    if directory.lost(stored.manifest.files) and "files" not in (summary.verdict.signs or ()):
        # The file stays: it may hold the only numbers of a lost file.
        summary = summary_of(directory)
    return MeasuredRun(path, stored.config.public(), stored.manifest, summary, damage)


def usable(side: Side) -> Side:
    """The side without unusable runs. Raises UnusableRuns if none is left."""
    good = tuple(run for run in side.runs if run.status not in ("INVALID", "FAILED"))
    bad = [run for run in side.runs if run not in good]
    if good:
        left_out = tuple((run.directory, f"{run.status}: {_reason(run)}") for run in bad)
        return Side(side.name, side.path, good, left_out)
    first = bad[0]
    every = (
        f"its run {first.directory}" if len(bad) == 1 else f"each of its {len(bad)} runs, such as {first.directory},"
    )
    raise UnusableRuns(
        f"{side.name} ({side.path}) cannot be compared: {every} is {first.status} ({_reason(first)})", first.status
    )


def _reason(run: MeasuredRun) -> str:
    reasons = run.summary.verdict.reasons
    return str(reasons[0]) if reasons else "no reason was recorded"
