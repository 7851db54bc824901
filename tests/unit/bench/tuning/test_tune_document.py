"""tune.json and its page, made from turns: the answer, the front, 80 columns, and untrusted texts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from jsonschema import Draft202012Validator

import bench.report
from bench.config import resolve
from bench.documents.document import Level
from bench.documents.tune_document import tune_document
from bench.errors import Exit, UsageError
from bench.report import html, markdown, text
from bench.results.base import to_plain
from bench.results.tune import TuneContent, TuneLoad, TuneTurn
from bench.tuning.measure import exit_of
from bench.tuning.race import Step
from bench.tuning.spec import Spec, spec_of
from bench.tuning.tune_file import TUNE, content_of, race_of, read
from tests.unit.bench.tuning.test_race import wobble

SCHEMA = Path(bench.report.__file__).parent / "tune.schema.json"
SPEED = (100.0, 130.0, 129.0, 70.0, None)


def spec(**changes: Any) -> Spec:
    content = {
        "server": {"command": "serve --port {port} {flags}"},
        "flags": {"max-num-seqs": [64, 16, 256, 1, 9]},
        "loads": "concurrency=4,16",
        "visit": "10s",
        "budget": "600s",
    }
    return spec_of({**content, **changes}, lambda settings: resolve(dict(settings)))


def turn_of(race: Spec, step: Step, status: str = "VALID") -> TuneTurn:
    speed = SPEED[step.arm]
    if speed is None:
        return TuneTurn(
            arm=step.arm, round=step.round, value=None, seconds=1.0, start_s=None, loads=(),
            why="the server ended with status 2 before it was ready", last_words=("error: <b>no</b> [red]memory", "bye"),
            worse_answers=(),
        )  # fmt: skip
    speed *= math.exp(wobble(step.arm, step.round, 0.005))
    loads = [
        TuneLoad(
            name=f"r{step.round}-a{step.arm}-concurrency-{users}", load=users, status=status, held=True,
            tokens_per_s=speed * users / 16, latency=10.0 * users + step.arm, joules_per_token=None,
        )
        for users in (4, 16)
    ]  # fmt: skip
    shown = {"tokens_per_s": speed, "dollars_per_million_tokens": 2.0 / (speed * 3600) * 1e6}.get(race.goal)
    return TuneTurn(
        arm=step.arm, round=step.round, value=shown, seconds=20.0, start_s=2.0, loads=loads, why=None, last_words=(),
        worse_answers=(),
    )  # fmt: skip


def raced(race: Spec, most: int = 100) -> TuneContent:
    turns: list[TuneTurn] = []
    while isinstance(step := race_of(race, turns).next(), Step) and len(turns) < most:
        turns.append(turn_of(race, step))
    ended = None if isinstance(step, Step) else step.value
    return content_of(race, turns, ["python", "-m", "bench", "tune", "flags.yaml"], ended)


def test_the_file_fits_its_schema_and_is_read_as_it_was_written() -> None:
    content = raced(spec())
    Draft202012Validator(orjson.loads(SCHEMA.read_bytes())).validate(to_plain(content))
    assert msgspec.convert(to_plain(content), TuneContent) == content


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"best": 5}, "best is 5, and the arms are numbered from 0 to 4"),
        ({"not_told_apart": [1, -1]}, "not_told_apart is -1, and"),
        ({"turns": {"arm": 99}}, r"turns\[0\].arm is 99, and"),
        ({"turns": {"round": 0}}, r"turns\[0\].round must be at least 1"),
        ({"points": {"arm": 7}}, r"points\[0\].arm is 7, and"),
    ],
)
def test_a_file_that_was_changed_by_hand_is_refused_with_the_place(
    change: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    content = to_plain(raced(spec()))
    for key, value in change.items():
        content[key] = [{**content[key][0], **value}, *content[key][1:]] if isinstance(value, dict) else value
    (tmp_path / TUNE).write_bytes(orjson.dumps(content))
    with pytest.raises(UsageError, match=f"tune.json: {problem}"):
        read(tmp_path / TUNE)


def test_a_place_that_only_a_later_version_knows_is_shown_last() -> None:
    content = raced(spec())
    arms = [msgspec.structs.replace(content.arms[0], place="out of memory"), *content.arms[1:]]
    shown = text.render(tune_document(msgspec.structs.replace(content, arms=arms)), Level.USUAL).splitlines()
    (row,) = [line for line in shown if line.endswith("out of memory")]
    assert row.startswith("max-num-seqs=64")


def test_the_answer() -> None:
    content = raced(spec())
    assert [arm.place for arm in content.arms] == ["worse", "best", "same within the margin", "worse", "failed"]
    assert (content.best, content.start) == (1, "serve --port 8000 --max-num-seqs 16")
    assert content.gain is not None
    assert content.gain.low < 0.3 < content.gain.high
    printed = text.render(tune_document(content), Level.USUAL, width=80)
    assert "Best: max-num-seqs=16: " in printed
    assert "% more than the default (+" in " ".join(printed.split())
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert "the server ended with status 2" in printed


def test_the_noise_of_servers_that_run_together_has_no_restart_in_it() -> None:
    for server, says in (
        ({}, "with the restart"),
        ({"together": True, "ports": [0, 0]}, "each server was started once, and another start is not in it"),
    ):
        command = {"command": "serve --port {port} {flags}"}
        printed = text.render(tune_document(raced(spec(server=command | server))), Level.USUAL)
        assert says in " ".join(printed.split())


def test_costs_are_better_if_they_are_lower() -> None:
    content = raced(spec(goal="dollars_per_million_tokens", gpu_hour_cost=2.0))
    assert content.best == 1
    assert content.arms[1].value == pytest.approx(2.0 / (130 * 3600) * 1e6, rel=0.02)
    assert content.gain is not None
    assert content.gain.value == pytest.approx(0.3, rel=0.1)
    assert "more for the money than the default" in text.render(tune_document(content))


def test_the_front_has_what_no_other_point_beats() -> None:
    content = raced(spec())
    front = {(point.arm, point.load) for point in content.points if point.on_front}
    # At each load the default has the lowest latency, and 16 the highest throughput.
    assert {(0, 4), (1, 4), (1, 16)} <= front
    assert (3, 16) not in front


def test_an_arm_that_failed_once_has_that_reason_although_it_worked_later() -> None:
    race = spec(flags={"max-num-seqs": [64, 16]})
    turns = [
        msgspec.structs.replace(turn_of(race, Step(0, 1, False)), arm=1, value=None, why="port taken", last_words=("bye",)),
        turn_of(race, Step(0, 1, False)), turn_of(race, Step(0, 2, False)), turn_of(race, Step(1, 2, False)),
    ]  # fmt: skip
    first, second = content_of(race, turns, (), "budget").arms
    assert (first.why, second.why, second.last_words) == (None, "port taken", ["bye"])


def test_the_searches_of_an_arm_are_one_point_at_the_mean_of_what_they_found() -> None:
    content: dict[str, Any] = {
        "server": {"command": "serve --port {port} {flags}"}, "flags": {"max-num-seqs": [64, 16]},
        "goal": "held_load", "objectives": ["ttft:p99<1s"],
    }  # fmt: skip
    race = spec_of(content, lambda settings: resolve(dict(settings)))
    turns = [
        TuneTurn(
            arm=arm, round=round_, value=load, seconds=9.0, start_s=2.0, why=None, last_words=(), worse_answers=(),
            loads=[TuneLoad(name="s", load=load, status=status, held=load > 0, tokens_per_s=10 * load)],
        )
        for arm, round_, load, status in (
            (0, 1, 8.0, "at least"), (1, 1, 20.0, "up to"), (1, 2, 24.0, "up to"), (0, 2, 12.0, "up to"),
        )
    ]  # fmt: skip
    raced_so = content_of(race, turns, (), "budget")
    assert [(p.arm, p.load, p.tokens_per_s) for p in raced_so.points] == [(0, 10, 100), (1, 22, 220)]
    printed = " ".join(text.render(tune_document(raced_so), Level.USUAL).split())
    assert "at least 9.798" in printed, "one of the searches found no edge"
    assert "at least 2" not in printed
    assert "A search found no load that is too much for max-num-seqs=64" in printed


def test_an_arm_whose_searches_found_no_load_is_no_point() -> None:
    content: dict[str, Any] = {
        "server": {"command": "serve --port {port} {flags}"}, "flags": {"max-num-seqs": [64, 16]},
        "goal": "held_load", "objectives": ["ttft:p99<1s"],
    }  # fmt: skip
    turns = [
        TuneTurn(
            arm=arm, round=1, value=load or None, seconds=9.0, start_s=2.0, why=None, last_words=(), worse_answers=(),
            loads=[TuneLoad(name="s", load=load, status="up to" if load else "no load held", held=load > 0)],
        )
        for arm, load in enumerate((0.0, 22.0))
    ]  # fmt: skip
    points = content_of(spec_of(content, lambda settings: resolve(dict(settings))), turns, (), "budget").points
    assert [(point.arm, point.load) for point in points] == [(1, 22)]


def test_of_held_loads_the_front_has_what_no_arm_holds_with_as_few_gpus() -> None:
    content: dict[str, Any] = {
        "server": {"command": "serve --port {port} {flags}"}, "flags": {"tensor-parallel-size": [1, 2, 4]},
        "gpus": "tensor-parallel-size", "goal": "held_load", "objectives": ["ttft:p99<1s"],
    }  # fmt: skip
    turns = [
        TuneTurn(
            arm=arm, round=1, value=load, seconds=9.0, start_s=2.0, why=None, last_words=(), worse_answers=(),
            loads=[TuneLoad(name="s", load=load, status="up to", held=True, tokens_per_s=10 * load)],
        )
        for arm, load in enumerate((10.0, 22.0, 21.0))
    ]  # fmt: skip
    points = content_of(spec_of(content, lambda settings: resolve(dict(settings))), turns, (), "budget").points
    assert [(point.load, point.on_front) for point in points] == [(10, True), (22, True), (21, False)]


def test_what_servers_say_is_plain_text() -> None:
    document = tune_document(raced(spec()))
    page = html.render(document)
    assert "<b>no</b>" not in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "[red]memory" in text.render(document, Level.USUAL)
    assert "The race" in page
    assert "Best: max-num-seqs=16" in markdown.render(document)


def test_a_race_that_is_not_over_says_how_far_it_is() -> None:
    printed = text.render(tune_document(raced(spec(), most=1)))
    assert "Best so far: max-num-seqs=" in printed
    assert "No answer: 0 turns made" in text.render(tune_document(raced(spec(), most=0)))


@pytest.mark.parametrize(
    ("statuses", "held", "found"),
    [
        (("INVALID", "INVALID"), True, Exit.INVALID),
        (("FAILED", "FAILED"), True, Exit.TARGET),
        (("FAILED", "INVALID"), False, Exit.TARGET),
        (("FAILED", "VALID"), False, Exit.OBJECTIVE_FAILED),
        (("VALID", "VALID"), True, Exit.TARGET),  # The goal's number, such as joules, was not measured.
        (("none", "none"), False, Exit.TARGET),  # Searches without a usable run.
        (("no load held", "none"), False, Exit.OBJECTIVE_FAILED),
    ],
)
def test_the_exit_status_without_an_answer(statuses: tuple[str, str], held: bool, found: Exit) -> None:
    race = spec()
    turns: list[TuneTurn] = []
    while isinstance(step := race_of(race, turns).next(), Step):
        made = turn_of(race, Step(0, step.round, False))
        loads = [
            msgspec.structs.replace(row, status=status, held=held)
            for row, status in zip(made.loads, statuses, strict=True)
        ]
        turns.append(msgspec.structs.replace(made, arm=step.arm, value=None, loads=loads))
    content = content_of(race, turns, (), "nothing works")
    assert (content.best, exit_of(content)) == (None, found)


def test_the_exit_status_with_one() -> None:
    assert exit_of(raced(spec())) is Exit.GOOD
    assert exit_of(msgspec.structs.replace(raced(spec()), ended="interrupted")) is Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("points", "front"),
    [
        # Throughput and latency of each arm. More throughput at the same latency, lower latency, or both, is better.
        (((100, 10), (130, 10), (100, 9)), [False, True, True]),
        (((100, 10), (130, 10), (130, 10)), [False, True, True]),
        (((100, 10), (100, 10), (99, 10)), [True, True, False]),
        (((100, 10), (110, 11), (90, 9)), [True, True, True]),
        (((100, 10), (None, 5), (110, None)), [True, False, False]),
    ],
)
def test_the_front_has_the_points_that_none_beats_in_one_and_equals_in_the_other(
    points: tuple[tuple[float | None, float | None], ...], front: list[bool]
) -> None:
    turns = [
        TuneTurn(
            arm=arm, round=1, value=1.0, seconds=9.0, start_s=2.0, why=None, last_words=(), worse_answers=(),
            loads=[TuneLoad(name="s", load=4, status="VALID", held=True, tokens_per_s=tokens, latency=latency)],
        )
        for arm, (tokens, latency) in enumerate(points)
    ]  # fmt: skip
    found = content_of(spec(flags={"max-num-seqs": [64, 16, 8]}), turns, (), "budget").points
    assert [point.on_front for point in found] == front


def test_a_point_whose_answers_were_worse_in_one_turn_is_not_held() -> None:
    turns = [
        msgspec.structs.replace(turn_of(spec(), Step(arm, round_, False)), worse_answers=worse)
        for arm, round_, worse in ((0, 1, ()), (1, 1, ()), (1, 2, ("right answers",)), (0, 2, ()))
    ]
    points = content_of(spec(), turns, (), "budget").points
    assert {(point.arm, point.held) for point in points} == {(0, True), (1, False)}
    assert {point.arm for point in points if point.on_front} == {0}


def test_a_point_is_held_if_every_objective_held_in_all_its_turns() -> None:
    turns = [turn_of(spec(), Step(0, round_, False)) for round_ in (1, 2)]
    broken = msgspec.structs.replace(turns[1].loads[0], held=False)
    turns[1] = msgspec.structs.replace(turns[1], loads=[broken, turns[1].loads[1]])
    points = content_of(spec(), turns, (), "budget").points
    assert {point.load: point.held for point in points} == {4: False, 16: True}


def test_a_point_is_the_mean_of_its_turns_at_its_load_alone() -> None:
    def turn(round_: int, *rows: tuple[float, float | None, float]) -> TuneTurn:
        return TuneTurn(
            arm=0, round=round_, value=1.0, seconds=9.0, start_s=2.0, why=None, last_words=(), worse_answers=(),
            loads=[
                TuneLoad(name="s", load=load, status="VALID", held=True, tokens_per_s=tokens, latency=latency)
                for load, tokens, latency in rows
            ],
        )  # fmt: skip

    turns = [turn(1, (4, 500.0, 10.0), (16, 2_000.0, 40.0)), turn(2, (4, None, 20.0), (16, 1_000.0, 60.0))]
    # An INVALID run is left out of the mean.
    invalid = turn(3, (4, 1.0, 1.0), (16, 9_000.0, 1.0))
    rows = [
        msgspec.structs.replace(row, status=status)
        for row, status in zip(invalid.loads, ("INVALID", "FAILED"), strict=True)
    ]
    turns.append(msgspec.structs.replace(invalid, loads=rows))
    found = content_of(spec(gpu_hour_cost=1.8), turns, (), "budget").points
    assert [(point.load, point.tokens_per_s, point.latency) for point in found] == [(4, 500, 15), (16, 1_500, 50)]
    # $1.80 per hour, in which 500 tokens/s are 1.8 million tokens.
    assert [point.dollars for point in found] == pytest.approx([1, 1 / 3], rel=1e-3)
