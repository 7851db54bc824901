"""Are an arm's answers worse than the default's? The probes of both are the same in each round, and so are the tests of
`python -m bench quality`: the default's answers take the place of those without load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.answers.compared import ThreePhases, compare
from bench.answers.probe_set import KeptAnswer, KeptAnswers, read_answers, read_probes
from bench.results.tune import TuneTurn
from bench.run_files.run_directory import RunDirectory
from bench.statistics.paired_shares import Decision
from promptset.probes import Probe


def worse_than_default(folder: Path, turns: Sequence[TuneTurn], arm: int) -> tuple[str, ...]:
    """The measures of right answers in which an arm is shown to be worse than arm 0, over the rounds that both have."""
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
