"""Whole races over processes that only wait: the report of each turn, how a race ends, and how it resumes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig, resolve
from bench.errors import Exit, TargetError, UsageError
from bench.observer import Observer
from bench.results.tune import TuneTurn
from bench.series.runs import Made
from bench.tuning.measure import TuneResult, hint, missing_race, tune
from tests.sockets.test_tune_turns import Happens, Played, alive, said, spec
from tests.support.held_port import held_port
from tests.support.made_runs import made_run
from tests.unit.bench.tuning.test_answers import half_wrong, probes_of, right, write_run

SEED = 14
"""Its orders of two arms are there and back."""
TWO: dict[str, Any] = {"flags": {"seqs": [64, 16]}, "gpus": "seqs", "loads": "concurrency=8", "budget": "30m"}


class Heard(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def raced(
    folder: Path,
    changes: dict[str, Any],
    happens: Happens,
    *,
    resume: bool = False,
    played: type[Played] = Played,
    **server: Any,
) -> tuple[TuneResult, list[str]]:
    """A race of two or more arms, which `happens` distinguishes by their GPUs. Returns the output, line by line."""
    heard = Heard()
    series = played(folder, happens)
    series.say = heard.say
    race = spec({**TWO, **changes, "load": {"seed": SEED, **changes.get("load", {})}}, **server)
    return tune(race, series, lambda settings: resolve(dict(settings)), heard, resume=resume), heard.lines


def without_time(line: str) -> str:
    """A line without the remaining time, which depends on this machine."""
    return re.sub("at most .* left: ", "", line)


def speed(**tokens: float) -> Happens:
    """Tokens per second by the value of seqs."""
    return lambda config: said(tokens[f"seqs{config.gpus}"])


def test_each_turn_is_announced_and_what_came_of_it_is_said(tmp_path: Path) -> None:
    found, lines = raced(tmp_path, {}, speed(seqs64=100, seqs16=40))
    assert lines[0] == "round 1, 1 of 2; at most about 30 min left: seqs=64"
    assert [*map(without_time, lines)] == [
        "round 1, 1 of 2; seqs=64",
        "  100 tokens/s",
        "round 1, 2 of 2; seqs=16",
        "  40 tokens/s",
        "  leaves, far behind: seqs=16",
        "finalists, round 2, 1 of 1; seqs=64",
        "  100 tokens/s",
    ]
    assert (found.exit, found.content.ended, found.page) == (Exit.GOOD, "decided", tmp_path / "tune.html")
    assert found.best is not None
    assert (found.best.name, found.not_told_apart) == ("seqs=64", ())


def test_arms_of_one_speed_are_not_told_apart_from_the_best(tmp_path: Path) -> None:
    found, lines = raced(tmp_path, {"flags": {"seqs": [64, 16, 8, 4]}, "budget": "119s"},
                         speed(seqs64=100, seqs16=100, seqs8=100, seqs4=100))  # fmt: skip
    assert [*map(without_time, lines[:2])] == ["round 1, 1 of 4; seqs=4", "  100 tokens/s"]
    assert "round 2, 1 of 4; seqs=8" in map(without_time, lines)
    assert sorted(arm.name for arm in found.not_told_apart) == ["seqs=16", "seqs=4", "seqs=8"]


@pytest.mark.parametrize(
    ("budget", "first"),
    [
        # Four rounds of two arms are eight visits of 10 s, and eight warm-ups of 3 s.
        (
            "103s",
            "the budget is short: four rounds of 2 arms take 1.7 min, without starts, and every answer needs four",
        ),
        # A start is estimated as 15 s at first.
        ("104s", "round 1, 1 of 2; at most about 3.7 min left: seqs=64"),
        ("240s", "round 1, 1 of 2; at most about 4 min left: seqs=64"),
    ],
)
def test_a_budget_without_room_for_the_first_rounds_is_called_short(budget: str, first: str, tmp_path: Path) -> None:
    _, lines = raced(tmp_path, {"budget": budget}, speed(seqs64=100, seqs16=40))
    assert lines[0] == first
    # Not repeated when the race resumes.
    _, lines = raced(tmp_path, {"budget": budget}, speed(seqs64=100, seqs16=40), resume=True)
    assert lines == []


def test_why_a_turn_has_no_value_is_said_with_the_last_lines_of_its_server(tmp_path: Path) -> None:
    for width, shown in ((74, "x" * 74), (75, "x" * 73 + "…")):
        command = f"sh -c 'echo {'x' * width}; exit {{seqs}}' {{port}}"
        found, lines = raced(tmp_path / str(width), {}, speed(), command=command)
        assert lines[1:3] == ["  no value: the server ended with status 64 before it was ready", f"    {shown}"]
        assert (found.exit, found.best, found.content.ended) == (Exit.TARGET, None, "nothing works")
        assert [line for line in lines if "leaves" in line] == [
            "  leaves, failed: seqs=64",
            "  leaves, failed: seqs=16",
        ]


@pytest.mark.parametrize(
    ("statuses", "exit_"),
    [
        (("INVALID", "INVALID"), Exit.INVALID),
        (("FAILED", "FAILED"), Exit.TARGET),
        (("FAILED", "INVALID"), Exit.TARGET),
        (("VALID", "INVALID"), Exit.OBJECTIVE_FAILED),
    ],
)
def test_the_exit_status_names_what_left_the_race_without_an_answer(
    statuses: tuple[str, str], exit_: Exit, tmp_path: Path
) -> None:
    status = dict(zip((64, 16), statuses, strict=True))
    found, _ = raced(tmp_path, {}, lambda config: said(100, status[config.gpus or 0], held=False))
    assert (found.best, found.exit) == (None, exit_)


def test_servers_that_run_together_end_with_the_race_however_it_ends(tmp_path: Path) -> None:
    def breaks(config: RunConfig) -> dict[str, Any]:
        if config.gpus == 16:
            raise KeyboardInterrupt
        return said(100)

    with held_port() as first, held_port() as second:
        found, _ = raced(tmp_path, {}, breaks, ports=[first, second], together=True)
    assert (found.exit, found.content.ended, len(found.content.turns)) == (Exit.INTERRUPTED, "interrupted", 1)
    assert not alive(tmp_path / "r1-a0.log")
    assert not alive(tmp_path / "r1-a1.log")


def test_a_race_goes_on_from_its_file_with_another_budget_and_nothing_else_changed(tmp_path: Path) -> None:
    def breaks(config: RunConfig) -> dict[str, Any]:
        if config.gpus == 16:
            raise KeyboardInterrupt
        return said(100)

    assert missing_race(tmp_path) == [f"--resume {tmp_path}: there is no race (no tune.json)"]
    with pytest.raises(UsageError, match="there is no race"):
        raced(tmp_path, {}, breaks, resume=True)
    before, _ = raced(tmp_path, {}, breaks)
    assert missing_race(tmp_path) == []
    with pytest.raises(UsageError, match="already holds a race: go on with --resume"):
        raced(tmp_path, {}, breaks)
    with pytest.raises(UsageError, match="that race has another file"):
        raced(tmp_path, {"visit": "11s"}, breaks, resume=True)
    (tmp_path / "rows.jsonl").write_text("{}")
    other_data = made_run(tmp_path / "r1-a0-concurrency-8", data_sha256={str(tmp_path / "rows.jsonl"): "0" * 64})
    with pytest.raises(UsageError, match=r"another content of .*rows\.jsonl: give the same data"):
        raced(tmp_path, {}, breaks, resume=True)
    shutil.rmtree(other_data)
    after, lines = raced(tmp_path, {"budget": "10m"}, speed(seqs64=90, seqs16=40), resume=True)
    assert without_time(lines[0]) == "round 1, 2 of 2; seqs=16"
    assert [(turn.arm, turn.value) for turn in after.content.turns] == [(0, 100), (1, 40), (0, 90)]
    assert after.content.turns[0] == before.content.turns[0]


def test_visits_are_as_long_as_the_first_budget_made_them(tmp_path: Path) -> None:
    lengths: list[float | None] = []

    def breaks(config: RunConfig) -> dict[str, Any]:
        lengths.append(config.duration)
        if len(lengths) == 2:
            raise KeyboardInterrupt
        return said(100)

    for budget in ("10m", "5h"):
        raced(tmp_path, {"visit": None, "budget": budget}, breaks, resume=budget == "5h")
    assert len(lengths) > 2
    assert {*lengths} == {51.4}


class Answering(Played):
    """A series whose runs have answers to probes: wrong answers from the arm with 16."""

    def make(self, name: str, config: RunConfig, *, before: str | None = None, again: str | None = None) -> Made:
        round_ = int(re.match(r"r(\d+)", name)[1])  # type: ignore[index]
        write_run(self.path / name, probes_of(round_), half_wrong if config.gpus == 16 else right)
        return super().make(name, config)


def test_answers_of_an_arm_that_had_its_turn_first_are_compared_once_the_default_had_its_own(tmp_path: Path) -> None:
    load = {"check_answers": "50%", "probes": "arithmetic=40", "seed": 0}
    found, lines = raced(tmp_path, {"load": load}, speed(seqs64=100, seqs16=190), played=Answering)
    assert [turn.arm for turn in found.content.turns][:2] == [1, 0]
    assert lines[3:6] == [
        "  100 tokens/s",
        "  worse answers than the default's: seqs=16: right answers",
        "  leaves, worse answers: seqs=16",
    ]
    assert [turn.worse_answers for turn in found.content.turns] == [["right answers"], [], []]


@pytest.mark.parametrize("checked", [True, False])
def test_an_arm_with_worse_answers_leaves_if_answers_are_checked(checked: bool, tmp_path: Path) -> None:
    load = {"check_answers": "50%", "probes": "arithmetic=40"} if checked else {}
    found, lines = raced(tmp_path, {"load": load}, speed(seqs64=100, seqs16=190), played=Answering)
    assert found.best is not None
    assert found.best.name == ("seqs=64" if checked else "seqs=16")
    if checked:
        assert lines[3:5] == [
            "  190 tokens/s",
            "  worse answers than the default's: right answers",
        ]
        assert [turn.worse_answers for turn in found.content.turns] == [[], ["right answers"], []]


def test_a_turn_without_a_value_has_no_answers_to_compare(tmp_path: Path) -> None:
    def gone(config: RunConfig) -> dict[str, Any]:
        raise TargetError("connection refused")

    found, _ = raced(tmp_path, {"load": {"check_answers": "50%", "probes": "arithmetic=40"}}, gone, played=Answering)
    assert {turn.why for turn in found.content.turns} == {"connection refused"}
    assert {tuple(turn.worse_answers) for turn in found.content.turns} == {()}


def test_a_search_begins_at_what_was_found_for_the_arm_else_for_any() -> None:
    def turn(arm: int, value: float | None) -> TuneTurn:
        return TuneTurn(
            arm=arm, round=1, value=value, seconds=1.0, start_s=1.0, loads=(), why=None, last_words=(), worse_answers=()
        )

    turns = [turn(0, 8.0), turn(1, 20.0), turn(1, 30.0), turn(2, None), turn(2, 0.0)]
    assert [hint(turns, arm) for arm in range(3)] == [8, 25, pytest.approx(58 / 3)]
    assert hint([turn(0, None)], 0) is None
    assert hint([], 0) is None
