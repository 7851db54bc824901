"""Whether the answers of an arm are worse than the default's, over the rounds of a race."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import orjson

from bench.answers.compared import Rules, ThreePhases, compare
from bench.answers.probe_set import KeptAnswer, KeptAnswers, read_answers, read_probes
from bench.results.tune import TuneTurn
from bench.run_files.run_directory import RunDirectory
from bench.statistics.paired_shares import ALPHA, Decision
from bench.statistics.racing import level
from promptset.probes import Probe


class RunAnswers:
    """The probes and the answers of the runs in `folder`, by name, each read once."""

    def __init__(self, folder: Path) -> None:
        self.probes = cache(lambda name: read_probes(RunDirectory(folder / name)))
        self.to_probes = cache(lambda name, probes: _to_probes(RunDirectory(folder / name), probes))


def _to_probes(directory: RunDirectory, probes: int) -> list[tuple[int, KeptAnswer]]:
    answers = read_answers(directory, probes).answers
    return [(answer.probe, answer) for answer in answers if answer.probe is not None]


class RaceAnswers:
    """What the turns of a race in `folder`, with this many `arms`, have shown of their answers so far."""

    def __init__(self, folder: Path, arms: int) -> None:
        self._runs = RunAnswers(folder)
        self._arms = arms
        self._worse: dict[tuple[int, int], tuple[str, ...]] = {}
        self.fresh: dict[int, tuple[str, ...]] = {}
        """The result of the last look: for each arm, the measures in which its answers are worse than the default's."""

    def look(self, turns: Sequence[TuneTurn]) -> None:
        """Compare the answers after the last turn. A turn of the default also decides on the arms before it."""
        last = turns[-1]
        valued = [turn.arm for turn in turns if turn.round == last.round and turn.value is not None]
        arms = [arm for arm in valued if last.value is not None and last.arm in (0, arm)]
        shown = {arm: worse_than_default(self._runs, turns, arm, self._arms) for arm in arms}
        self.fresh = {arm: worse for arm, worse in shown.items() if worse and (arm, last.round) not in self._worse}
        self._worse |= {(arm, last.round): worse for arm, worse in self.fresh.items()}

    def judged(self, turns: Sequence[TuneTurn]) -> list[TuneTurn]:
        """The turns, each with the result of its round."""
        return [
            msgspec.structs.replace(turn, worse_answers=self._worse.get((turn.arm, turn.round), turn.worse_answers))
            for turn in turns
        ]


def worse_than_default(runs: RunAnswers, turns: Sequence[TuneTurn], arm: int, arms: int) -> tuple[str, ...]:
    """The measures of right answers in which an arm is shown to be worse than arm 0, over their common rounds.

    Both have the same probes in each round, and the tests are those of `python -m bench quality`: the default's answers
    take the place of answers without load. The level is corrected for all `arms` and every look. A probe of several
    rounds is one probe: a server may repeat its answer each time. So the fall over the probes must also exceed 0 beyond
    chance.
    """
    rounds = sorted({turn.round for turn in turns if turn.arm == arm} & {turn.round for turn in turns if turn.arm == 0})
    probes: list[Probe] = []
    places: dict[bytes, int] = {}
    sides: dict[int, list[KeptAnswer]] = {0: [], arm: []}
    for number in rounds:
        mine = [turn for turn in turns if turn.round == number and turn.arm in sides]
        names = [row.name for turn in mine for row in turn.loads]
        of_round = next((stored for name in names if (stored := runs.probes(name))), [])
        keys = [orjson.dumps(probe) for probe in of_round]
        for key, probe in zip(keys, of_round, strict=True):
            if key not in places:
                places[key] = len(probes)
                probes.append(probe)
        for turn in mine:
            sides[turn.arm] += _answers(runs, turn, [places[key] for key in keys])
    if arm == 0 or not all(sides.values()):
        return ()
    phases = ThreePhases(probes, KeptAnswers(sides[0]), KeptAnswers(sides[arm]), KeptAnswers())
    compared = compare(phases, Rules(alpha=level(ALPHA, len(rounds), arms - 1)))
    return tuple(
        row.title
        for row in compared.measures
        if row.is_fault and row.decision == Decision.CHANGED and row.interval[0] > 0
    )


def _answers(runs: RunAnswers, turn: TuneTurn, places: Sequence[int]) -> Iterator[KeptAnswer]:
    """The answers of a turn. `places`: for each probe of its round, its position among the probes of the race."""
    for row in turn.loads if places else ():
        for probe, answer in runs.to_probes(row.name, len(places)):
            yield replace(answer, probe=places[probe])
