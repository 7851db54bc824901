"""Runs of several configurations made in turn, so that what drifts meanwhile meets all of them alike: A B, B A, A B, ...

    OUT/a/1, OUT/b/1, OUT/b/2, OUT/a/2, ...

The runs of a pair have one seed, and so the same arrivals and lengths; each pair has its own, so that the answer does not
hang on one draw. Each is an ordinary run directory, and each side is what `compare` takes. A comparison that was ended
goes on where it stopped: runs that are finished are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.comparison.settings import must_be_equal, text_of
from bench.comparison.sides import LETTERS
from bench.config import RunConfig
from bench.errors import Interrupted, UsageError
from bench.evaluate import Result
from bench.observer import SILENT, Observer
from bench.series.runs import RunSeries

MOST_PAIRS = 100


def run_pairs(
    configs: Sequence[RunConfig],
    pairs: int,
    out: Path,
    *,
    allow: Sequence[str] = (),
    command: Sequence[str] = (),
    observer: Observer = SILENT,
) -> list[Path]:
    """Measure every configuration `pairs` times, in turn. Returns the sides.

    Raises UsageError before any load where the configurations cannot be compared, and Interrupted on Ctrl-C.
    """
    refuse_other_loads([config.public() for config in configs], allow)
    sides = [out / letter.lower() for letter in LETTERS[: len(configs)]]
    series = [RunSeries(side, command=command, observer=observer) for side in sides]
    try:
        make_missing(configs, pairs, series, observer)
    except Interrupted as e:
        raise Interrupted(f"{e}: the same command with --out {out} goes on from there") from e
    return sides


class Series(Protocol):
    """The runs of a side, as `RunSeries` keeps them."""

    def finished(self, name: str) -> Result | None:
        """A run that ended by itself; None where there is none."""

    def run(self, name: str, config: RunConfig) -> Result:
        """Make a run."""


def make_missing(configs: Sequence[RunConfig], pairs: int, series: Sequence[Series], observer: Observer) -> None:
    """Make the runs of all pairs that are not finished, in turn. Raises Interrupted where one was, with its name."""
    for number, side in order(len(configs), pairs):
        name = f"pair {number} of {pairs}, {LETTERS[side]}"
        result = series[side].finished(str(number))
        if result is None:
            observer.say(name)
            result = series[side].run(str(number), configs[side].with_values(seed=configs[side].seed + number - 1))
            if result.interrupted:
                raise Interrupted(f"interrupted in {name}")
        observer.say(f"{name}: {_said(result)}")


def order(sides: int, pairs: int) -> Iterator[tuple[int, int]]:
    """(number of the pair from 1 on, side) in the order of running: ABBA, so that a steady drift cancels."""
    for number in range(1, pairs + 1):
        forwards = range(sides)
        yield from ((number, side) for side in (forwards if number % 2 else reversed(forwards)))


def refuse_other_loads(settings: Sequence[dict[str, Any]], allow: Sequence[str]) -> None:
    """Raises UsageError where settings that must be equal are not; the models are known once the runs are made."""
    equal = [must_be_equal(one) for one in settings]
    problems = []
    for name in dict.fromkeys(name for one in equal for name in one):
        values = [one.get(name) for one in equal]
        if name not in allow and any(value != values[0] for value in values):
            shown = " against ".join(text_of(value) for value in values)
            problems.append(
                f"{name} differs ({shown}), so that the runs could not be compared: make it equal, or say --allow {name}"
            )
    if problems:
        raise UsageError(problems)


def _said(result: Result) -> str:
    latency: Mapping[str, Mapping[str, Any]] = result.summary["latency"]
    throughput = result.summary["throughput"]
    tokens = throughput["output_tokens_per_s"] is not None
    shown = (
        [("TTFT p90", "ttft_ms", "p90"), ("TPOT p50", "tpot_ms", "p50")] if tokens else [("E2EL p90", "e2el_ms", "p90")]
    )
    numbers = [f"{title} {latency[key][stat]:.4g} ms" for title, key, stat in shown if latency[key][stat] is not None]
    rate, unit = (
        (throughput["output_tokens_per_s"], "tokens/s") if tokens else (throughput.get("inputs_per_s"), "inputs/s")
    )
    return ", ".join([str(result.verdict.status), *numbers, *([] if rate is None else [f"{rate:.4g} {unit}"])])
