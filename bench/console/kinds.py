"""The kinds of task: the commands that a console can start. To add a kind, add an entry here.

Each command declares the settings that its kind adds to those of a run; the form, the API and the checks derive from
that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.accuracy.sweep import SCHEMA
from bench.answer_quality import options as quality_options
from bench.answer_quality.options import ANSWERED
from bench.config import resolve
from bench.config.flags import Option
from bench.console.language import tr
from bench.errors import BenchError
from bench.load_search import options as search_options
from bench.load_search import whole as search
from bench.load_search.options import LEFT_TO_THE_SEARCH
from bench.load_sweep import options as sweep_options
from bench.load_sweep.options import SET_BY_LOADS
from bench.run_files.run_directory import REPORT, SUMMARY

Check = Callable[[Mapping[str, Any], Mapping[str, str]], None]
"""Checks the settings of the runs and those of the kind. Raises UsageError with every problem."""


def _check_run(settings: Mapping[str, Any], options: Mapping[str, str]) -> None:
    del options
    resolve(settings)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of task: its title and description, and the files it writes."""

    title: str
    about: str
    options: Sequence[Option] = ()
    """The settings that it adds to those of its runs."""
    left_out: Collection[str] = ()
    """Settings of runs that the kind determines itself."""
    check: Check = _check_run
    numbers: str = SUMMARY
    page: str = REPORT
    sign: str | None = None
    """The file that identifies a directory of this kind."""


def _series(
    name: str, title: str, about: str, left_out: Collection[str] = (), options: Sequence[Option] = (),
    plan: Callable[..., object] | None = None, sign: str = "json",
) -> Kind:  # fmt: skip
    """A kind of several runs. Its `plan` determines the settings in `left_out`."""

    def check(settings: Mapping[str, Any], options: Mapping[str, str]) -> None:
        of_runs = {key: value for key, value in settings.items() if key not in left_out}
        assert plan is not None
        plan(settings, options, lambda chosen: resolve({**of_runs, **chosen}))

    return Kind(title, about, options, left_out, check, f"{name}.json", f"{name}.html", f"{name}.{sign}")


KINDS = {
    "run": Kind(tr("Run"), tr("One load, for a time or a number of requests.")),
    "search": _series(
        "search", tr("Search"), tr("The highest load at which every objective holds."), LEFT_TO_THE_SEARCH,
        search_options.OPTIONS, search.plan, sign="yaml",
    ),
    "sweep": _series(
        "sweep", tr("Sweep"), tr("Several loads, one after the other, and curves over them."), SET_BY_LOADS,
        sweep_options.OPTIONS, sweep_options.plan,
    ),
    "quality": _series(
        "quality", tr("Quality"), tr("Whether load changes the answers."), ANSWERED, quality_options.OPTIONS,
        quality_options.plan,
    ),
    "calibrate": Kind(
        tr("Calibration"),
        tr("How wrong the numbers are on this machine."),
        left_out=("url", "model", "endpoint"),
    ),
}  # fmt: skip
"""The kinds that a console can start, by command."""

CALIBRATION_SWEEP = "calibrate --sweep"
FROM_A_TERMINAL = {
    "tune": _series("tune", tr("Tune"), tr("Which flags make a server best.")),
    "plan": _series("plan", tr("Plan"), tr("How many replicas a day of traffic needs.")),
    CALIBRATION_SWEEP: _series(
        "sweep", tr("Calibration sweep"), tr("Up to which load the numbers are right on this machine.")
    ),
}
"""The kinds that a console only shows, by command."""

SHOWN = {**KINDS, **FROM_A_TERMINAL}


def kind_of(path: Path) -> str:
    """The kind of a directory that was made from a terminal."""
    name = next((name for name, kind in SHOWN.items() if kind.sign and (path / kind.sign).is_file()), "run")
    if name != "sweep":
        return name
    with suppress(OSError), (path / "sweep.json").open("rb") as file:  # Both kinds of sweep have this file.
        if f'"{SCHEMA}"'.encode() in file.read(100):
            return CALIBRATION_SWEEP
    return name


def unreadable(path: Path, kind: str, error: Exception) -> str:
    """Why a task's results cannot be read, and the command that rebuilds them."""
    words = " ".join(str(error).replace(f"{path.parent}/", "").split())[:300]
    why = words if isinstance(error, BenchError) else f"{type(error).__name__}{f' ({words})' if words else ''}"
    # Only a run's results can be rebuilt from other files; a series keeps everything in its own file.
    again = f"python -m bench {kind}" if SHOWN[kind].sign else f"python -m bench report {path.parent}"
    why = tr("%(file)s cannot be read: %(why)s", file=path.name, why=why)
    return tr("%(why)s. To make it again: %(command)s", why=why, command=again)


def can_resume(path: Path, kind: str) -> bool:
    """Whether the command can resume from this directory."""
    sign = SHOWN[kind].sign
    return sign is not None and (path / sign).is_file()


def parted(settings: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Split settings into those of the runs and those of the kind (as text)."""
    names = {option.name for option in KINDS[kind].options}
    options = {name: str(value) for name, value in settings.items() if name in names}
    return {name: value for name, value in settings.items() if name not in names}, options
