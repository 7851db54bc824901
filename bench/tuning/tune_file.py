"""tune.json: made from the turns, and read again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import msgspec

from bench.documents.tune_document import tune_document
from bench.loads import KINDS
from bench.report import html
from bench.results.base import rounded
from bench.results.tune import SCHEMA, TuneArm, TuneContent, TunePoint, TuneTurn
from bench.run_files.run_directory import RunDirectory
from bench.run_files.shape import read_result
from bench.secrets import public_command
from bench.series import files
from bench.tuning.race import Race, Settings, Standing, Turn
from bench.tuning.spec import Spec
from bench.tuning.turns import USABLE, dollars, latency_of, lengths_of

TUNE, PAGE = "tune.json", "tune.html"
_UNITS = {
    "tokens_per_s": "tokens/s",
    "dollars_per_million_tokens": "$ per million tokens",
    "joules_per_million_tokens": "J per million tokens",
}


def settings_of(spec: Spec) -> Settings:
    """The race of a file."""
    turn_s = lengths_of(spec).turn_s(spec)
    return Settings(len(spec.arms), budget_s=spec.budget_s, turn_s=turn_s, seed=spec.seed)


def race_of(spec: Spec, turns: Sequence[TuneTurn]) -> Race:
    """The race with these turns."""
    return Race(
        settings_of(spec),
        [Turn(turn.arm, turn.round, _larger_is_better(spec, turn.value), turn.seconds, bool(turn.worse_answers),
              turn.is_lower_bound) for turn in turns],
    )  # fmt: skip


def _larger_is_better(spec: Spec, value: float | None) -> float | None:
    """A value, or its inverse for costs. The function is its own inverse."""
    return value if value is None or not spec.goal.endswith("million_tokens") else 1e6 / value


def content_of(spec: Spec, turns: Sequence[TuneTurn], command: Sequence[str], ended: str | None) -> TuneContent:
    """The content of the file."""
    race = race_of(spec, turns)
    answer = race.answer()
    arms = [_arm(spec, standing, turns) for standing in answer.standings]
    kind = spec.search.get("load", "rate") if spec.goal == "held_load" else spec.loads.kind
    unit = KINDS[kind].unit if kind in KINDS else kind
    return rounded(
        TuneContent(
            schema=SCHEMA,
            **files.stamp(),
            command=public_command(command),
            spec=spec.written,
            spec_sha256=spec.sha256,
            goal=spec.goal,
            unit=_UNITS.get(spec.goal, unit),
            load_unit=unit,
            budget_s=spec.budget_s,
            first_budget_s=spec.first_budget_s or spec.budget_s,
            seconds=race.seconds,
            ended=ended,
            best=answer.best,
            not_told_apart=() if answer.best is None else answer.not_told_apart,
            gain=answer.gain,
            noise=answer.noise,
            margin=race.settings.margin,
            start=None if answer.best is None else arms[answer.best].command,
            arms=arms,
            turns=turns,
            latency=latency_of(spec.objectives),
            points=_points(spec, turns),
        )
    )


def _arm(spec: Spec, standing: Standing, turns: Sequence[TuneTurn]) -> TuneArm:
    arm = spec.arms[standing.arm]
    mine = [turn for turn in turns if turn.arm == standing.arm]
    failed = [turn for turn in mine if turn.value is None]
    return TuneArm(
        name=arm.name,
        flags=arm.flags,
        command=shlex.join(arm.words(spec.server.command, spec.server.usual_port)),
        gpus=arm.gpus,
        place=standing.place.value,
        turns=standing.turns,
        value=_larger_is_better(spec, standing.value),
        against_best=standing.against_best,
        left_after=standing.left_after,
        why=failed[-1].why if failed else None,
        last_words=failed[-1].last_words if failed else (),
        worse_answers=mine[-1].worse_answers if mine else (),
    )


def _points(spec: Spec, turns: Sequence[TuneTurn]) -> list[TunePoint]:
    """Every arm at every measured load, and which of them lie on the front."""
    places: dict[tuple[int, float], list[TuneTurn]] = {}
    for turn in turns:
        for row in turn.loads:
            places.setdefault((turn.arm, 0.0 if spec.goal == "held_load" else row.load), []).append(turn)
    points = [_point(spec, arm, load, its) for (arm, load), its in places.items()]
    return [point for point in _with_front(spec, points) if point.load > 0]


def _point(spec: Spec, arm: int, load: float, turns: Sequence[TuneTurn]) -> TunePoint:
    rows = [row for turn in turns for row in turn.loads if load in (0.0, row.load)]
    # Unusable runs have no numbers to show.
    usable = [row for row in rows if spec.goal == "held_load" or row.status in USABLE]
    tokens = _mean(row.tokens_per_s for row in usable)
    worse = any(turn.worse_answers for turn in turns)
    return TunePoint(
        arm=arm,
        load=load or _mean(row.load for row in rows if row.held) or 0.0,
        tokens_per_s=tokens,
        latency=_mean(row.latency for row in usable),
        dollars=dollars(spec, arm, tokens),
        held=all(row.held for row in rows) and not worse,
        on_front=False,
    )


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _with_front(spec: Spec, points: Sequence[TunePoint]) -> Iterator[TunePoint]:
    """Throughput against latency; for held loads, the load against the GPUs that it takes."""

    def place(point: TunePoint) -> tuple[float, float] | None:
        if spec.goal == "held_load":
            return float(point.load), float(spec.arms[point.arm].gpus)
        ends = (point.tokens_per_s, point.latency)
        return None if not point.held or None in ends else cast("tuple[float, float]", ends)

    placed = [(point, at) for point in points if (at := place(point)) is not None]
    front = {
        id(point)
        for point, (gain, cost) in placed
        if not any(other[0] >= gain and other[1] <= cost and other != (gain, cost) for _, other in placed)
    }
    for point in points:
        yield msgspec.structs.replace(point, on_front=id(point) in front)


def read(path: Path) -> TuneContent:
    """The content of a tune.json. Raises UsageError with what is wrong in a damaged file."""
    return read_result(path, TuneContent, SCHEMA, "result of tune", _unknown_arms)


def _unknown_arms(content: dict[str, Any]) -> Iterator[str]:
    arms = len(content["arms"])
    named = [("best", content["best"]), *(("not_told_apart", arm) for arm in content["not_told_apart"])]
    named += [(f"{key}[{at}].arm", row["arm"]) for key in ("turns", "points") for at, row in enumerate(content[key])]
    yield from (
        f"{where} is {arm}, and the arms are numbered from 0 to {arms - 1}"
        for where, arm in named
        if arm is not None and not 0 <= arm < arms
    )
    yield from (f"turns[{at}].round must be at least 1" for at, row in enumerate(content["turns"]) if row["round"] < 1)


def write(folder: Path, content: TuneContent) -> None:
    """Write tune.json and its page."""
    files.write(folder, TUNE, content)
    RunDirectory(folder).write(PAGE, html.render(tune_document(content)).encode())
