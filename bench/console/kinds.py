"""The kinds of task: the commands that a console can start. A new kind is an entry here.

What a kind has beside the settings of a run is declared by its command; the form, the API and the checks are made of that.
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
"""Of the settings of runs, and those of the kind. Raises UsageError with every problem."""


def _check_run(settings: Mapping[str, Any], own: Mapping[str, str]) -> None:
    del own
    resolve(settings)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of task: what people call it, and the files that it leaves."""

    title: str
    about: str
    options: Sequence[Option] = ()
    """The settings that it adds to those of its runs."""
    left_out: Collection[str] = ()
    """Settings of runs that it has its own answer to."""
    check: Check = _check_run
    numbers: str = SUMMARY
    page: str = REPORT
    sign: str | None = None
    """The file that tells its directory from that of a run."""


def _series(
    name: str, title: str, about: str, left_out: Collection[str] = (), options: Sequence[Option] = (),
    plan: Callable[..., object] | None = None, sign: str = "json",
) -> Kind:  # fmt: skip
    """A kind of several runs. Its `plan` has its own answer to the settings that are left out of theirs."""

    def check(settings: Mapping[str, Any], own: Mapping[str, str]) -> None:
        of_runs = {key: value for key, value in settings.items() if key not in left_out}
        assert plan is not None
        plan(settings, own, lambda chosen: resolve({**of_runs, **chosen}))

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
"""By the name of the command: what a console can start."""

CALIBRATION_SWEEP = "calibrate --sweep"
FROM_A_TERMINAL = {
    "tune": _series("tune", tr("Tune"), tr("Which flags make a server best.")),
    "plan": _series("plan", tr("Plan"), tr("How many replicas a day of traffic needs.")),
    CALIBRATION_SWEEP: _series(
        "sweep", tr("Calibration sweep"), tr("Up to which load the numbers are right on this machine.")
    ),
}
"""What a console only shows, by the words of its command."""

SHOWN = {**KINDS, **FROM_A_TERMINAL}


def kind_of(path: Path) -> str:
    """The kind of a directory that a terminal made."""
    name = next((name for name, kind in SHOWN.items() if kind.sign and (path / kind.sign).is_file()), "run")
    if name != "sweep":
        return name
    with suppress(OSError), (path / "sweep.json").open("rb") as file:  # Both sweeps have this file.
        if f'"{SCHEMA}"'.encode() in file.read(100):
            return CALIBRATION_SWEEP
    return name


def unreadable(path: Path, kind: str, error: Exception) -> str:
    """What is wrong with the numbers of a task, and the command that makes them again."""
    words = " ".join(str(error).replace(f"{path.parent}/", "").split())[:300]
    why = words if isinstance(error, BenchError) else f"{type(error).__name__}{f' ({words})' if words else ''}"
    # Only the numbers of a run are made of other files: what a series knows of its runs is in its own.
    again = f"python -m bench {kind}" if SHOWN[kind].sign else f"python -m bench report {path.parent}"
    why = tr("%(file)s cannot be read: %(why)s", file=path.name, why=why)
    return tr("%(why)s. To make it again: %(command)s", why=why, command=again)


def can_resume(path: Path, kind: str) -> bool:
    """Whether its command can go on with what is in this directory."""
    sign = SHOWN[kind].sign
    return sign is not None and (path / sign).is_file()


def parted(settings: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of runs, and the settings of the kind, whose values are text."""
    names = {option.name for option in KINDS[kind].options}
    own = {name: str(value) for name, value in settings.items() if name in names}
    return {name: value for name, value in settings.items() if name not in names}, own
