"""Whether an arm's answers are worse than the default's, from the files of its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import orjson
import pytest

from bench.answers.probe_set import write_probes
from bench.results.tune import TuneLoad, TuneTurn
from bench.run_files.run_directory import RunDirectory
from bench.tuning.answers import RaceAnswers, RunAnswers, worse_than_default
from promptset.probes import Probe, make_probes, parse_probes

Answer = Callable[[Probe, int], str]


def probes_of(round_: int) -> list[Probe]:
    return make_probes(parse_probes("arithmetic=40"), seed=round_)


def right(probe: Probe, place: int) -> str:
    return probe.answer


def half_wrong(probe: Probe, place: int) -> str:
    return probe.answer if place % 2 else "12345678"


def verbose(probe: Probe, place: int) -> str:
    return f"The answer is {probe.answer}"


def write_run(path: Path, probes: Sequence[Probe], answer: Answer) -> None:
    """The files of a run that sent each probe once, and other requests with stored texts."""
    path.mkdir()
    write_probes(RunDirectory(path), probes)
    rows = [
        {
            "id": f"r-{place}",
            "phase": "run",
            "outcome": "ok",
            "probe": place,
            "answer": {"content": answer(probe, place)},
        }
        for place, probe in enumerate(probes)
    ]
    rows += [{"id": f"o-{n}", "phase": "run", "outcome": "ok", "answer": {"content": "nonsense"}} for n in range(40)]
    (path / "requests.jsonl").write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))


def turn(folder: Path, arm: int, round_: int, *runs: Answer, probes: Sequence[Probe] | None = None) -> TuneTurn:
    """A turn that sent the probes of its round, or the given probes."""
    loads = []
    for users, answer in enumerate(runs):
        name = f"r{round_}-a{arm}-{users}"
        write_run(folder / name, probes_of(round_) if probes is None else probes, answer)
        loads.append(TuneLoad(name=name, load=users, status="VALID", held=True))
    return TuneTurn(
        arm=arm,
        round=round_,
        value=1.0,
        seconds=1.0,
        start_s=1.0,
        loads=loads,
        why=None,
        last_words=(),
        worse_answers=(),
    )


@pytest.mark.parametrize(
    ("default", "other", "worse"),
    [
        ({1: [right]}, {1: [half_wrong]}, ("right answers",)),
        ({1: [right]}, {1: [right]}, ()),
        ({1: [half_wrong]}, {1: [right]}, ()),
        ({1: [right]}, {2: [half_wrong]}, ()),
        ({1: [right]}, {1: [right], 2: [half_wrong]}, ()),
        # With two rounds, each answer belongs to a probe of its round.
        ({1: [right], 2: [right]}, {1: [right], 2: [half_wrong]}, ("right answers",)),
        ({2: [right], 1: [right]}, {1: [half_wrong], 2: [right]}, ("right answers",)),
        # A different text is no error.
        ({1: [right, right]}, {1: [verbose, verbose]}, ()),
        ({1: [right, right]}, {1: [right, half_wrong]}, ("right answers",)),
        ({1: []}, {1: [half_wrong]}, ()),
        ({1: [right]}, {1: []}, ()),
    ],
)
def test_an_arm_is_worse_if_more_of_its_answers_are_wrong_over_the_rounds_that_both_have(
    default: dict[int, list[Answer]], other: dict[int, list[Answer]], worse: tuple[str, ...], tmp_path: Path
) -> None:
    turns = [
        turn(tmp_path, arm, round_, *runs) for arm, of in ((0, default), (2, other)) for round_, runs in of.items()
    ]
    # The third arm is in neither comparison.
    turns += [turn(tmp_path, 1, round_, half_wrong, half_wrong) for round_ in default]
    assert worse_than_default(RunAnswers(tmp_path), turns, 2, 3) == worse
    assert worse_than_default(RunAnswers(tmp_path), turns, 0, 3) == ()


def test_runs_without_probes_say_nothing_of_answers(tmp_path: Path) -> None:
    turns = [turn(tmp_path, arm, 1, right) for arm in (0, 1)]
    for path in tmp_path.glob("*/probes.jsonl"):
        path.unlink()
    (tmp_path / "r1-a1-0" / "requests.jsonl").write_bytes(b"")
    assert worse_than_default(RunAnswers(tmp_path), turns, 1, 2) == ()


def test_each_look_reads_only_the_files_of_new_runs(tmp_path: Path) -> None:
    race = RaceAnswers(tmp_path, 2)
    first = [turn(tmp_path, 0, 1, right), turn(tmp_path, 1, 1, half_wrong)]
    race.look(first)
    for file in tmp_path.glob("*/*"):
        file.unlink()
    race.look([*first, turn(tmp_path, 0, 2, right), turn(tmp_path, 1, 2, right)])
    assert race.fresh == {1: ("right answers",)}


@pytest.mark.parametrize(
    ("values", "fresh"),
    [
        ((1.0, 1.0), {1: ("right answers",)}),
        ((1.0, None), {}),  # The default's server broke down.
        ((None, 1.0), {}),
        ((None, None), {}),
    ],
)
def test_a_turn_without_a_value_is_in_no_comparison(
    values: tuple[float | None, float | None], fresh: dict[int, tuple[str, ...]], tmp_path: Path
) -> None:
    race = RaceAnswers(tmp_path, 2)
    turns: list[TuneTurn] = []
    # The default has its turn last, and decides on the arm before it.
    for arm, answer, value in ((1, half_wrong, values[0]), (0, right, values[1])):
        turns.append(msgspec.structs.replace(turn(tmp_path, arm, 1, answer), value=value))
        race.look(turns)
    assert race.fresh == fresh
    assert [made.worse_answers for made in race.judged(turns)] == [fresh.get(1, ()), ()]


def first_wrong(most: int) -> Answer:
    return lambda probe, place: "12345678" if place < most else probe.answer


@pytest.mark.parametrize(("wrong", "worse"), [(2, ()), (12, ("right answers",))])
def test_the_probes_of_a_file_are_the_same_in_each_round_and_count_once(
    wrong: int, worse: tuple[str, ...], tmp_path: Path
) -> None:
    turns = [
        turn(tmp_path, arm, round_, answer, probes=probes_of(0))
        for round_ in range(1, 9)
        for arm, answer in ((0, right), (1, first_wrong(wrong)))
    ]
    assert worse_than_default(RunAnswers(tmp_path), turns, 1, 2) == worse


@pytest.mark.parametrize(("arms", "worse"), [(2, ("right answers",)), (20, ())])
def test_the_more_arms_there_are_the_more_it_takes_to_call_one_worse(
    arms: int, worse: tuple[str, ...], tmp_path: Path
) -> None:
    turns = [turn(tmp_path, 0, 1, right), turn(tmp_path, 1, 1, first_wrong(10))]
    assert worse_than_default(RunAnswers(tmp_path), turns, 1, arms) == worse
