"""Searches, sweeps, quality tasks and the like: directories of runs, with a file (search.json) of their progress."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import structs

from bench import loads
from bench.accuracy.sweep import UNITS, Sweep
from bench.answer_quality import stored as stored_quality
from bench.answer_quality.options import DEFAULT_SHARE
from bench.config.resolution import given_again
from bench.console.kinds import CALIBRATION_SWEEP, FROM_A_TERMINAL, SHOWN, unreadable
from bench.console.task import ENDED, FAILED, KILLED, STOPPED, Step, Task, place_of
from bench.documents import calibration_sweep_document
from bench.documents.document import Document
from bench.documents.plan_document import plan_document
from bench.documents.quality_document import answer_line
from bench.documents.sweep_words import delivered_by, inputs_of, progress_line, sentences, unit_of
from bench.documents.tune_document import tune_document
from bench.load_search import search_file, visit_numbers
from bench.load_search.answer import answer, load_text
from bench.load_search.decisions import Ending
from bench.load_search.evidence import counts
from bench.load_search.follower import came_of
from bench.load_sweep import measure, stored
from bench.results.plan import PlanContent
from bench.results.sweep import SweepContent
from bench.run_files.run_directory import SUMMARY, RunDirectory, is_locked
from bench.run_files.run_state import RunState
from bench.run_files.shape import read_object
from bench.series.drive import INTERRUPTED
from bench.tuning import tune_file
from promptset.whole_file import read_bytes

FILES = tuple(kind.sign for kind in SHOWN.values() if kind.sign)
RUNS = {"alone": "alone", "loaded": "under load", "back": "alone again"}
"""The runs of a quality task, in order."""
STAMPED = tuple((kind.numbers, kind.page) for kind in SHOWN.values() if kind.sign)
"""The files of each kind that change when it continues or is rendered again."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress in the file of a series. `over` is its state if no process holds it."""

    config: Mapping[str, Any]
    started: str | None
    over: str
    headline: str | None
    steps: tuple[Step, ...]
    share_done: float
    made_from: str | None = None


def read(task: Task, path: Path) -> Task | None:
    """The current state of a series. Returns None if it has written nothing yet."""
    kind = SHOWN[task.kind]
    is_held = is_locked(path)
    if not (path / str(kind.sign)).is_file():
        return replace(task, state=str(RunState.PREPARING)) if is_held else None
    try:
        stat = (path / kind.numbers).stat()
        progress = _progress(task.kind, path, is_held, (stat.st_mtime_ns, stat.st_size))
    except OSError:
        return replace(task, state=str(RunState.PREPARING) if is_held else FAILED)
    except Exception as e:  # A damaged file becomes a task that reports it. It must not break the list of the others.
        problem = unreadable(path / kind.numbers, task.kind, e)
        if is_held:
            return replace(task, state=str(RunState.RUNNING), headline=problem)
        return replace(task, state=ENDED, headline=problem, problem=problem, has_report=(path / kind.page).is_file())
    current = replace(
        task,
        target=task.target or place_of(progress.config),
        load=task.load if task.settings else load_of(progress.config, task.kind),
        settings=task.settings or given_again(progress.config),
        started=progress.started,
        headline=progress.headline,
        steps=progress.steps,
        made_from=progress.made_from,
    )
    if is_held:
        run = _going_on(path, {step.run for step in progress.steps})
        return replace(current, state=str(RunState.RUNNING), share_done=progress.share_done, run=run)
    return replace(current, state=progress.over, has_report=progress.over != FAILED and (path / kind.page).is_file())


@lru_cache(maxsize=40)
def _progress(kind: str, path: Path, is_held: bool, stamp: tuple[int, int]) -> Progress:
    """Reads each version of the file once. While a process holds the directory, how it ended is unknown."""
    del stamp
    return READERS[kind](path, is_held)


def left_since(path: Path, kind: str, begun: Path) -> bool:
    """Whether the series has written its progress since its process started, which wrote the file `begun`."""
    try:
        return (path / SHOWN[kind].numbers).stat().st_mtime_ns >= begun.stat().st_mtime_ns
    except OSError:
        return False


def _going_on(path: Path, ended: Collection[str]) -> str | None:
    """The inner run that is in progress."""
    for inner in path.iterdir():
        if inner.name not in ended and inner.is_dir() and not inner.is_symlink() and RunDirectory(inner).is_held:
            return inner.name
    return None


def load_of(config: Mapping[str, Any], kind: str) -> str:
    """A short text of the search's objectives or the loads of a sweep."""
    if kind in FROM_A_TERMINAL:
        return ", ".join([SHOWN[kind].title.lower(), *map(str, config.values())])
    if kind == "quality":
        share = config.get("share", DEFAULT_SHARE)  # The command line writes a number to its file.
        return f"quality, {share if isinstance(share, str) else f'{100 * share:g}%'} probes"
    if kind == "sweep":
        repeats = str(config.get("repeats") or "1")
        return f"sweep, {config.get('loads', '')}" + (f", {repeats} times" if repeats != "1" else "")
    slo = config.get("slo") or ()
    of = loads.KINDS.get(str(config.get("load")), loads.KINDS["rate"]).unit
    return f"search, {of}: {', '.join([slo] if isinstance(slo, str) else map(str, slo))}"


def _yaml(path: Path) -> Mapping[str, Any]:
    content = yaml.load(read_bytes(path), Loader=_LOADER)
    return content if isinstance(content, dict) else {}


def _search(path: Path, is_held: bool) -> Progress:
    del is_held
    settings = _yaml(path / "search.yaml")
    record = search_file.stored(read_object(path / "search.json", "search"))
    search, stopped_by = record.search, record.stopped_by
    kind = search.settings.load_kind
    steps = []
    for result in search.results:
        sentence = came_of(search, result) if counts(result) else f"{result.verdict}: it counts for nothing"
        steps.append(
            Step(
                run=result.run_dir,
                load=f"{load_text(result.load, kind)}{'' if result.phase == 'visit' else f', {result.phase}'}",
                verdict=result.verdict,
                said=sentence,
            )
        )
    over = KILLED if stopped_by is None else STOPPED if stopped_by is Ending.INTERRUPTED else ENDED
    if not steps and stopped_by in (None, Ending.TARGET):
        over = FAILED
    numbers = visit_numbers.read(path, search.results)
    conclusion = answer(search, stopped_by, numbers, require=record.require)
    lines = [line for line in conclusion.lines if line.startswith("required: ")]
    manifest = settings.get("manifest", {})
    return Progress(
        config={**settings.get("config", {}), "load": kind},
        started=manifest.get("started"),
        over=over,
        headline=" ".join([conclusion.headline, *(f"{line[0].upper()}{line[1:]}." for line in lines)])
        if steps
        else None,
        steps=tuple(steps),
        share_done=min(1.0, search.seconds / search.settings.budget_s),
    )


def _sweep(path: Path, is_held: bool) -> Progress:
    content = stored.read(path / measure.SWEEP)
    runs, planned = content.runs, len(content.loads) * content.repeats
    steps = tuple(
        Step(
            run=run.name,
            load=_load(run.load, content.unit),
            verdict=run.status,
            said=progress_line(run.status, run.numbers, run.inputs_are).partition(": ")[2],
        )
        for run in runs
    )
    over = ENDED
    if content.ended == INTERRUPTED:
        # Ctrl-C lets the running run finish; a kill does not.
        left = [inner for inner in path.iterdir() if (inner / "run.yaml").is_file() and "-cut-off-" not in inner.name]
        killed = not all((inner / SUMMARY).is_file() for inner in left)
        over = KILLED if killed else STOPPED if left else FAILED
    # The file says "interrupted" until the last run has ended.
    ending = None if is_held else content.ended
    lines = sentences(structs.replace(content, no_knee=None, ended=ending)) if over != FAILED else []
    kind_of_loads = f"{content.kind}={','.join(f'{load:g}' for load in content.loads)}"
    return Progress(
        config={**content.config, "loads": kind_of_loads, "repeats": content.repeats},
        started=content.date,
        over=over,
        headline=" ".join([*_most(content), *lines]) or None,
        steps=steps,
        share_done=len(runs) / planned,
    )


def _most(content: SweepContent) -> list[str]:
    """A sentence with the load of the greatest output."""
    name = delivered_by(content)
    values = [
        (value, point.load)
        for point in content.points
        if point.usable and (value := point.numbers[name].value) is not None
    ]
    if not values:
        return []
    most, load = max(values)
    return [f"Most output at {_load(load, content.unit)}: {most:,.0f} {unit_of(name, inputs_of(content))}."]


def _load(load: float, unit: str) -> str:
    return "1 user" if (load, unit) == (1, "users") else f"{load:,g} {unit}"


def _quality(path: Path, is_held: bool) -> Progress:
    del is_held
    content = stored_quality.read(path / stored_quality.QUALITY)
    steps = tuple(
        Step(run=run.name, load=RUNS[run.phase], verdict=run.status, said=f"{run.answers:,} answers")
        for run in content.runs
    )
    over = ENDED if content.measures else STOPPED if steps else FAILED
    if not content.measures and content.ended is None:
        over = KILLED
    share, config = content.config.get("check_answers"), dict(content.config)
    for name in ("check_answers", "store_texts", "until"):
        config.pop(name, None)
    head, rest, _ = answer_line(content)
    return Progress(
        config={**config, "share": str(share), "alone": str(content.asked_alone), "margin": str(content.margin)},
        started=content.date,
        over=over,
        headline=f"{head}{rest}." if steps else None,
        steps=steps,
        share_done=len(steps) / len(RUNS),
    )


def _tune(path: Path, is_held: bool) -> Progress:
    del is_held
    content = tune_file.read(path / tune_file.TUNE)
    return Progress(
        config={"goal": content.goal.replace("_", " ")},
        started=content.date,
        over={None: KILLED, INTERRUPTED: STOPPED}.get(content.ended, ENDED),
        headline=_answer(tune_document(content)),
        steps=(),
        share_done=min(1.0, content.seconds / content.budget_s),
    )


def _plan(path: Path, is_held: bool) -> Progress:
    del is_held
    content = msgspec.json.decode(read_bytes(path / SHOWN["plan"].numbers), type=PlanContent)
    search = content.settings.get("search")
    return Progress(
        config={"objectives": ", ".join(content.objectives)},
        started=content.date,
        over=ENDED,
        headline=_answer(plan_document(content)),
        steps=(),
        share_done=1.0,
        made_from=None if search is None else Path(str(search).removesuffix("/search.json")).name,
    )


def _calibration_sweep(path: Path, is_held: bool) -> Progress:
    del is_held
    sweep = Sweep.read(path / SHOWN[CALIBRATION_SWEEP].numbers)
    steps = tuple(
        Step(
            run=row.directory,
            load=f"{row.asked:,g} {UNITS[row.kind]}",
            verdict=row.status,
            said=calibration_sweep_document.progress_line(row).partition("; ")[2],
        )
        for row in sweep.rows
    )
    return Progress(
        config={kind: f"{kind}={','.join(f'{row.asked:g}' for row in sweep.of_kind(kind))}" for kind in sweep.trusted},
        started=sweep.date,
        over=ENDED,
        headline=calibration_sweep_document.sentence(sweep),
        steps=steps,
        share_done=1.0,
    )


def _answer(document: Document) -> str:
    banner = document.banners[0]
    return f"{banner.status}{banner.rest}."


READERS: Mapping[str, Callable[[Path, bool], Progress]] = {
    "search": _search,
    "sweep": _sweep,
    "quality": _quality,
    "tune": _tune,
    "plan": _plan,
    CALIBRATION_SWEEP: _calibration_sweep,
}
"""By kind of task."""
