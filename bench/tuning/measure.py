"""A race as a series: turn after turn, tune.json after each, and an answer however it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from bench.documents.formatting import duration
from bench.documents.tune_document import value_of
from bench.errors import Exit, UsageError
from bench.observer import Observer
from bench.results.tune import TuneArm, TuneContent, TuneTurn
from bench.series.drive import INTERRUPTED, End, drive
from bench.series.runs import RunSeries
from bench.tuning.answers import RaceAnswers
from bench.tuning.race import Step
from bench.tuning.spec import Resolve, Spec
from bench.tuning.tune_file import PAGE, TUNE, content_of, race_of, read, settings_of, write
from bench.tuning.turns import START_S, Turns

_WIDTH = 78
_NOTHING_SEEN = ("INVALID", "FAILED", "none")
"""Verdicts of a run, and the conclusion of a search, that are no evidence about the objectives."""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The content of a race's file, the path of the file, and the exit status."""

    path: Path
    content: TuneContent
    exit: Exit

    @property
    def page(self) -> Path:
        return self.path / PAGE

    @property
    def best(self) -> TuneArm | None:
        """The winner: its `flags`, `command` and `value`. None if no arm has a value."""
        return None if self.content.best is None else self.content.arms[self.content.best]

    @property
    def not_told_apart(self) -> tuple[TuneArm, ...]:
        """Arms that cannot be distinguished from the best, or are the same within the margin."""
        return tuple(self.content.arms[arm] for arm in self.content.not_told_apart)


def tune(spec: Spec, series: RunSeries, resolved: Resolve, observer: Observer, *, resume: bool) -> TuneResult:
    """Race the arms. Raises UsageError if the directory does not fit, or if the port of a server is taken."""
    content = _race_before(spec, series.path, resume=resume)
    before: tuple[TuneTurn, ...] = ()
    if content is not None:
        # Within the interrupted round, turns of other lengths would not be comparable.
        spec, before = replace(spec, first_budget_s=content.first_budget_s), tuple(content.turns)
    turns = Turns(spec, series, resolved, observer)
    checks = "check_answers" in spec.load
    answers = RaceAnswers(series.path, len(spec.arms))
    made_so_far: list[TuneTurn] = list(before)

    def judged(made: Sequence[TuneTurn]) -> list[TuneTurn]:
        return answers.judged([*before, *made])

    def decide(made: Sequence[TuneTurn]) -> Step | End:
        step = race_of(spec, judged(made)).next()
        return step if isinstance(step, Step) else End(step.value)

    def make(step: Step) -> TuneTurn:
        series.say(_before(spec, answers.judged(made_so_far), step))
        turn = turns.make(step, hint(made_so_far, step.arm))
        made_so_far.append(turn)
        if checks:
            answers.look(made_so_far)
        return turn

    def write_file(made: Sequence[TuneTurn], end: End | None) -> None:
        write(series.path, content_of(spec, judged(made), series.command, None if end is None else end.why))

    def tell(step: Step, turn: TuneTurn) -> None:
        for line in _after(spec, answers.judged(made_so_far), turn, answers.fresh):
            series.say(line)

    settings = settings_of(spec)
    least_s = settings.block * len(spec.arms) * (settings.turn_s - START_S)
    if not before and least_s > spec.budget_s:
        many = "two" if settings.block == 2 else "four"
        series.say(
            f"the budget is short: {many} rounds of {len(spec.arms)} arms take {duration(least_s)}, without starts, and "
            f"every answer needs {many}"
        )
    with series.held():
        try:
            drive(decide, make, write=write_file, tell=tell)
        finally:
            turns.stop_all()
    content = read(series.path / TUNE)
    return TuneResult(series.path, content, exit_of(content))


def missing_race(folder: Path) -> list[str]:
    """What is wrong with a directory whose race is to be resumed."""
    return [] if (folder / TUNE).exists() else [f"--resume {folder}: there is no race (no {TUNE})"]


def _race_before(spec: Spec, folder: Path, *, resume: bool) -> TuneContent | None:
    path = folder / TUNE
    if path.exists() and not resume:
        raise UsageError(f"{folder} already holds a race: go on with --resume, or name another --out")
    if not resume:
        return None
    if problems := missing_race(folder):
        raise UsageError(problems)
    content = read(path)
    if content.spec_sha256 != spec.sha256:
        raise UsageError(
            f"--resume {folder}: that race has another file: give the same one (only the budget may change)"
        )
    return content


def hint(turns: Sequence[TuneTurn], arm: int) -> float | None:
    """A load for a search to start at: the arm's mean, else the mean over all arms."""
    mine = [turn.value for turn in turns if turn.arm == arm and turn.value]
    known = mine or [turn.value for turn in turns if turn.value]
    return fmean(known) if known else None


def _before(spec: Spec, turns: Sequence[TuneTurn], step: Step) -> str:
    race = race_of(spec, turns)
    done = sum(turn.round == step.round for turn in turns)
    where = f"{'finalists, ' if step.final else ''}round {step.round}, {done + 1} of {len(race.left)}"
    return _short(f"{where}; at most about {duration(race.time_left_s())} left: {spec.arms[step.arm].name}")


def _after(spec: Spec, turns: Sequence[TuneTurn], turn: TuneTurn, worse: Mapping[int, Sequence[str]]) -> list[str]:
    content = content_of(spec, turns, (), None)
    bound = "at least " if turn.is_lower_bound else ""
    lines = [f"  {bound}{value_of(content, turn.value)}" if turn.why is None else f"  no value: {turn.why}"]
    lines += [f"    {line}" for line in turn.last_words]
    for arm, measures in worse.items():
        whose = "" if arm == turn.arm else f": {spec.arms[arm].name}"
        lines.append(f"  worse answers than the default's{whose}: {', '.join(measures)}")
    gone = [arm for arm in content.arms if arm.left_after == turn.round]
    if gone and not any(later.round > turn.round for later in turns):
        lines += [f"  leaves, {arm.place}: {arm.name}" for arm in gone]
    return [_short(line) for line in lines]


def _short(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def exit_of(content: TuneContent) -> Exit:
    """The exit status: an answer is good. Without one, the cause is the server, this client or the objectives."""
    if content.ended == INTERRUPTED:
        return Exit.INTERRUPTED
    if content.best is not None:
        return Exit.GOOD
    rows = [row for turn in content.turns for row in turn.loads]
    if rows and all(row.status == "INVALID" for row in rows):
        return Exit.INVALID
    broken = any(not row.held and row.status not in _NOTHING_SEEN for row in rows)
    return Exit.OBJECTIVE_FAILED if broken else Exit.TARGET
