"""A race as a series: turn after turn, tune.json after each, and an answer however it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import msgspec

from bench.answers.compared import ThreePhases, compare
from bench.answers.probe_set import KeptAnswer, KeptAnswers, read_answers, read_probes
from bench.documents.formatting import duration
from bench.documents.tune_document import value_of
from bench.errors import Exit, UsageError
from bench.observer import Observer
from bench.results.tune import TuneArm, TuneContent, TuneTurn
from bench.run_files.run_directory import RunDirectory
from bench.series.drive import INTERRUPTED, End, drive
from bench.series.runs import RunSeries
from bench.statistics.paired_shares import Decision
from bench.tuning.race import Step
from bench.tuning.spec import Resolve, Spec
from bench.tuning.tune_file import PAGE, TUNE, content_of, race_of, read, settings_of, write
from bench.tuning.turns import START_S, Turns
from promptset.probes import Probe

_WIDTH = 78


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
        """Arms that cannot be told from the best, or are the same within the margin."""
        return tuple(self.content.arms[arm] for arm in self.content.not_told_apart)


def tune(spec: Spec, series: RunSeries, resolved: Resolve, observer: Observer, *, resume: bool) -> TuneResult:
    """Race the arms. Raises UsageError if the directory does not fit, or if the port of a server is taken."""
    before = _turns_before(spec, series.path, resume=resume)
    turns = Turns(spec, series, resolved, observer)
    checks = "check_answers" in spec.load

    def decide(made: Sequence[TuneTurn]) -> Step | End:
        step = race_of(spec, [*before, *made]).next()
        return step if isinstance(step, Step) else End(step.value)

    made_so_far: list[TuneTurn] = list(before)

    def make(step: Step) -> TuneTurn:
        series.say(_before(spec, made_so_far, step))
        turn = turns.make(step, hint(made_so_far, step.arm))
        if checks and turn.value is not None:
            worse = worse_than_default(series.path, [*made_so_far, turn], step.arm)
            turn = msgspec.structs.replace(turn, worse_answers=worse)
        made_so_far.append(turn)
        return turn

    def write_file(made: Sequence[TuneTurn], end: End | None) -> None:
        write(series.path, content_of(spec, [*before, *made], series.command, None if end is None else end.why))

    def tell(step: Step, turn: TuneTurn) -> None:
        for line in _after(spec, made_so_far, turn):
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
    """What is wrong with a directory whose race shall go on."""
    return [] if (folder / TUNE).exists() else [f"--resume {folder}: there is no race (no {TUNE})"]


def _turns_before(spec: Spec, folder: Path, *, resume: bool) -> tuple[TuneTurn, ...]:
    path = folder / TUNE
    if path.exists() and not resume:
        raise UsageError(f"{folder} already holds a race: go on with --resume, or name another --out")
    if not resume:
        return ()
    if problems := missing_race(folder):
        raise UsageError(problems)
    content = read(path)
    if content.spec_sha256 != spec.sha256:
        raise UsageError(
            f"--resume {folder}: that race has another file: give the same one (only the budget may change)"
        )
    return tuple(content.turns)


def hint(turns: Sequence[TuneTurn], arm: int) -> float | None:
    """A load for a search to begin with: what was found for the arm, else for any."""
    mine = [turn.value for turn in turns if turn.arm == arm and turn.value]
    known = mine or [turn.value for turn in turns if turn.value]
    return fmean(known) if known else None


def _before(spec: Spec, turns: Sequence[TuneTurn], step: Step) -> str:
    race = race_of(spec, turns)
    done = sum(turn.round == step.round for turn in turns)
    where = f"{'finalists, ' if step.final else ''}round {step.round}, {done + 1} of {len(race.left)}"
    return _short(f"{where}; at most about {duration(race.time_left_s())} left: {spec.arms[step.arm].name}")


def _after(spec: Spec, turns: Sequence[TuneTurn], turn: TuneTurn) -> list[str]:
    content = content_of(spec, turns, (), None)
    bound = "at least " if turn.is_lower_bound else ""
    lines = [f"  {bound}{value_of(content, turn.value)}" if turn.why is None else f"  no value: {turn.why}"]
    lines += [f"    {line}" for line in turn.last_words]
    if turn.worse_answers:
        lines.append(f"  worse answers than the default's: {', '.join(turn.worse_answers)}")
    gone = [arm for arm in content.arms if arm.left_after == turn.round]
    if gone and not any(later.round > turn.round for later in turns):
        lines += [f"  leaves, {arm.place}: {arm.name}" for arm in gone]
    return [_short(line) for line in lines]


def _short(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def exit_of(content: TuneContent) -> Exit:
    """The exit status: an answer is good. Without one, the server, this client or the objectives are the reason."""
    if content.ended == INTERRUPTED:
        return Exit.INTERRUPTED
    if content.best is not None:
        return Exit.GOOD
    statuses = {row.status for turn in content.turns for row in turn.loads}
    if statuses and statuses <= {"INVALID"}:
        return Exit.INVALID
    return Exit.OBJECTIVE_FAILED if statuses - {"FAILED"} else Exit.TARGET


def worse_than_default(folder: Path, turns: Sequence[TuneTurn], arm: int) -> tuple[str, ...]:
    """The measures of right answers in which an arm is shown to be worse than arm 0, over the rounds that both have.

    The probes of both are the same in each round, and so are the tests of `python -m bench quality`: the default's answers
    take the place of those without load.
    """
    rounds = sorted({turn.round for turn in turns if turn.arm == arm} & {turn.round for turn in turns if turn.arm == 0})
    probes: list[Probe] = []
    sides: dict[int, list[KeptAnswer]] = {0: [], arm: []}
    for number in rounds:
        mine = [turn for turn in turns if turn.round == number and turn.arm in sides]
        directories = [RunDirectory(folder / row.name) for turn in mine for row in turn.loads]
        of_round = next((found for directory in directories if (found := read_probes(directory))), [])
        for turn in mine:
            sides[turn.arm] += _answers(folder, turn, of_round, len(probes))
        probes += of_round
    if arm == 0 or not all(sides.values()):
        return ()
    compared = compare(ThreePhases(probes, KeptAnswers(sides[0]), KeptAnswers(sides[arm]), KeptAnswers()))
    return tuple(
        row.title for row in compared.measures if row.is_fault and row.decision == Decision.CHANGED and row.fall > 0
    )


def _answers(folder: Path, turn: TuneTurn, probes: Sequence[Probe], offset: int) -> Iterator[KeptAnswer]:
    for row in turn.loads:
        for kept in read_answers(RunDirectory(folder / row.name), max(len(probes), 1)).answers:
            if kept.probe is not None:
                yield replace(kept, probe=kept.probe + offset)
