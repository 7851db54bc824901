"""Makes the series of quality: each probe alone, then during a load, then alone again; and compares the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.answer_quality.options import Plan
from bench.answer_quality.stored import PAGE, QUALITY, read, write
from bench.answers.compared import Compared, Rules, ThreePhases, compare
from bench.answers.cross_talk import cross_talk
from bench.answers.examples import examples
from bench.answers.probe_set import KeptAnswers, read_answers, read_probes
from bench.errors import Exit, UsageError
from bench.evaluate import Result
from bench.results.base import rounded
from bench.results.quality import SCHEMA, QualityContent, QualityCrossTalk, QualityMeasure, QualityRun
from bench.run_files.run_directory import RunDirectory
from bench.secrets import public_command
from bench.series import files
from bench.series.drive import INTERRUPTED, End, drive, in_order
from bench.series.runs import RunSeries
from bench.statistics.paired_shares import ALPHA, Decision

_PASSES = {"alone": "each probe alone", "loaded": "the same probes under load", "back": "each probe alone again"}
_LONGEST_WHY = 200


@dataclass(frozen=True, slots=True)
class QualityResult:
    """The result of a quality test: its directory, the content of its file, and the exit status."""

    path: Path
    content: QualityContent
    exit: Exit

    @property
    def page(self) -> Path:
        """The page with the answers side by side."""
        return self.path / PAGE

    @property
    def changed(self) -> bool:
        """Whether load changes the answers for the worse, or mixes them up."""
        return self.exit is Exit.OBJECTIVE_FAILED


@dataclass(frozen=True, slots=True)
class _Made:
    """A run of the series, with its answers."""

    run: QualityRun
    kept: KeptAnswers


def measure(plan: Plan, series: RunSeries, *, resume: bool = False) -> QualityResult:
    """Make the three runs and compare their answers. Raises UsageError before anything is sent, and TargetError if the
    first run cannot be made."""
    _check(plan, series.path, resume=resume)
    runs = plan.runs(series.path)

    def make(name: str) -> _Made:
        requests = "" if name == "loaded" else f", {runs[name].requests:,} requests one after another"
        made = series.make(
            name, runs[name], before=f"{name}: {_PASSES[name]}{requests}", again=f"{name}: measured already"
        )
        return _made(name, made.result, plan.probes)

    def write_file(made: Sequence[_Made], end: End | None) -> None:
        write(series.path, _content(plan, made, series, None if end is None else end.why, over=end is not None))

    with series.held():
        drive(in_order(tuple(runs)), make, write=write_file, tell=lambda _, made: series.say(_progress(made.run)))
    content = read(series.path / QUALITY)
    return QualityResult(series.path, content, Exit(content.exit))


def _check(plan: Plan, folder: Path, *, resume: bool) -> None:
    path = folder / QUALITY
    if path.exists() and not resume:
        raise UsageError(f"{folder} already holds a result of quality: go on with --resume, or name another --out")
    if resume and not path.exists():
        raise UsageError(f"--resume {folder}: it holds no result of quality (no {QUALITY})")
    if not resume:
        return
    before = read(path)
    flags = files.other_settings(before.config, plan.loaded.public())
    if "--check-answers" in flags:
        flags[flags.index("--check-answers")] = "--share"
    flags += ["--alone"] * (before.asked_alone != plan.times)
    if flags:
        raise UsageError(
            f"--resume {folder}: its runs were made with other settings ({', '.join(flags)}): give the same flags"
        )
    asked = plan.loaded.make_probes()
    if any(read_probes(RunDirectory(folder / name)) not in ([], asked) for name in plan.runs(folder)):
        raise UsageError(
            f"--resume {folder}: the probes are not those of its runs: a file of --probes has changed since"
        )


def _made(name: str, result: Result, probes: int) -> _Made:
    answers, verdict = read_answers(result.directory, probes), result.summary.verdict
    run = QualityRun(
        name=name,
        phase=name,
        status=str(verdict.status),
        reasons=list(verdict.reasons),
        answers=answers.probes,
        failed=answers.failed,
    )
    return _Made(run, answers)


def _progress(run: QualityRun) -> str:
    failed = f", {run.failed} failed" if run.failed else ""
    return f"  {run.status}, {run.answers} answers{failed}"


def _content(plan: Plan, made: Sequence[_Made], series: RunSeries, end: str | None, *, over: bool) -> QualityContent:
    compared, talk, shown = None, None, []
    if len(made) == len(plan.runs(series.path)):
        alone, loaded, back = (row.kept for row in made)
        probes = read_probes(RunDirectory(series.path / "loaded"))
        answers = ThreePhases(probes, alone, loaded, back)
        compared = compare(answers, Rules(plan.margin))
        talk = cross_talk(probes, {"alone": alone, "loaded": loaded, "back": back})
        shown = examples(answers)
    runs = [row.run for row in made]
    status = Exit.INTERRUPTED if end == INTERRUPTED else exit_of(plan, runs, compared, talk) if over else Exit.GOOD
    return rounded(
        QualityContent(
            schema=SCHEMA,
            **files.stamp(),
            command=public_command(series.command),
            config=plan.loaded.public(),
            ended=end,
            exit=int(status),
            strict=plan.strict,
            margin=plan.margin,
            alpha=ALPHA,
            probes=plan.probes,
            asked_alone=plan.times,
            runs=runs,
            measures=() if compared is None else compared.measures,
            kinds=() if compared is None else compared.kinds,
            difference=None if compared is None else compared.difference,
            length=None if compared is None else compared.length,
            drift=None if compared is None else compared.drift,
            cross_talk=talk,
            examples=shown,
            notes=_notes(plan, made),
        )
    )


def exit_of(plan: Plan, runs: Sequence[QualityRun], compared: Compared | None, talk: QualityCrossTalk | None) -> Exit:
    """1 for cross-talk, or a fault that load makes more frequent; with --strict also for a changed text, or a fault
    that is not excluded. Cross-talk in any run is proof. Otherwise 4 or 3 if a run is unusable."""
    if talk is not None and (talk.found or talk.found_alone):
        return Exit.OBJECTIVE_FAILED
    if bad := [run for run in runs if run.unusable]:
        return Exit.TARGET if any(run.status == "FAILED" for run in bad) else Exit.INVALID
    measures = () if compared is None else compared.measures
    failed = any(_fails(measure, strict=plan.strict) for measure in measures) or (plan.strict and not measures)
    return Exit.OBJECTIVE_FAILED if failed else Exit.GOOD


def _fails(measure: QualityMeasure, *, strict: bool) -> bool:
    if measure.decision == Decision.CHANGED:
        return (measure.is_fault and measure.fall > 0) or strict
    return strict and measure.is_fault and measure.decision == Decision.NOT_SHOWN


def _notes(plan: Plan, made: Sequence[_Made]) -> list[str]:
    notes = []
    if len(made) > 1:
        asked = len(made[1].kept.by_probe())
        if asked < plan.probes:
            notes.append(
                f"under load {asked} of {plan.probes} probes were asked: a longer load or a greater --share asks all of them"
            )
    for row in made:
        if row.run.failed:
            failed = f"{row.run.failed} probe{'' if row.run.failed == 1 else 's'} failed"
            notes.append(f"{row.run.name}: {failed}, and are not counted: {(row.kept.why or '')[:_LONGEST_WHY]}")
        if row.run.unusable is not None:
            notes.append(row.run.unusable)
    return notes
