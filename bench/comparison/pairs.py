"""Runs several configurations in turn, so that drift affects all of them alike: A B, B A, A B, ...

    OUT/a/1, OUT/b/1, OUT/b/2, OUT/a/2, ...

The runs of a pair share a seed, and so have the same arrivals and lengths. Each pair has its own seed, so that the
answer does not depend on one draw. Each run has an ordinary run directory, and each side is a directory that `compare`
takes. An interrupted comparison resumes where it stopped: finished runs are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.comparison.settings import by_content, data_names, must_be_equal, refuse_unknown, texts_of
from bench.comparison.sides import LETTERS
from bench.config import RunConfig
from bench.errors import UsageError
from bench.evaluate import Result
from bench.manifest import data_digests
from bench.observer import SILENT, Observer
from bench.results.tokens import input_rate
from bench.series.drive import drive, in_order
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
    """Measure every configuration `pairs` times, in turn. Returns the directories of the sides.

    Raises UsageError before any load if the configurations cannot be compared, and Interrupted on Ctrl-C.
    """
    files = [data_digests(config) for config in configs]
    names = data_names(files)
    settings = [by_content(config.public(), each, names) for config, each in zip(configs, files, strict=True)]
    refuse_other_loads(settings, allow)
    sides = [out / letter.lower() for letter in LETTERS[: len(configs)]]
    make_pairs(configs, pairs, [RunSeries(side, command=command, observer=observer) for side in sides], out)
    return sides


def make_pairs(configs: Sequence[RunConfig], pairs: int, series: Sequence[RunSeries], out: Path) -> None:
    """Make the unfinished runs of all pairs, in turn. `out` is the path that the message about resuming names. Raises
    UsageError if existing runs have other settings or data, and Interrupted with the name of the interrupted run."""
    steps = list(order(len(configs), pairs))

    def name(step: tuple[int, int]) -> str:
        return f"pair {step[0]} of {pairs}, {LETTERS[step[1]]}"

    def config_of(step: tuple[int, int]) -> RunConfig:
        number, side = step
        return configs[side].with_values(seed=configs[side].seed + number - 1)

    if problems := [line for step in steps for line in series[step[1]].other_run(str(step[0]), config_of(step))]:
        raise UsageError(problems)

    def measure(step: tuple[int, int]) -> Result:
        number, side = step
        return series[side].make(str(number), config_of(step), before=name(step)).result

    def tell(step: tuple[int, int], result: Result) -> None:
        series[step[1]].say(f"{name(step)}: {_numbers(result)}")

    results, end = drive(in_order(steps), measure, tell=tell)
    if end.why is not None:
        interrupted = name(steps[len(results)])
        end.refuse_interrupted(f"interrupted in {interrupted}: the same command with --out {out} goes on from there")


def order(sides: int, pairs: int) -> Iterator[tuple[int, int]]:
    """(number of the pair, from 1; side) in the order of running: ABBA, so that a steady drift cancels."""
    for number in range(1, pairs + 1):
        forwards = range(sides)
        yield from ((number, side) for side in (forwards if number % 2 else reversed(forwards)))


def refuse_other_loads(settings: Sequence[dict[str, object]], allow: Sequence[str]) -> None:
    """Raises UsageError if settings differ that must be equal. The models are known only after the runs."""
    equal = [must_be_equal(config) for config in settings]
    refuse_unknown(allow, ["model", *dict.fromkeys(name for config in equal for name in config), "set_load"])
    problems = []
    for name in dict.fromkeys(name for config in equal for name in config):
        values = [config.get(name) for config in equal]
        if name not in allow and any(value != values[0] for value in values):
            shown = " against ".join(texts_of(name, values))
            problems.append(
                f"{name} differs ({shown}), so that the runs could not be compared: make it equal, or add --allow {name}"
            )
    if problems:
        raise UsageError(problems)


def _numbers(result: Result) -> str:
    latency, throughput, inputs = result.summary.latency, result.summary.throughput, result.summary.inputs
    tokens = throughput.output_tokens_per_s is not None
    shown = (
        [("TTFT p90", "ttft_ms", "p90"), ("TPOT p50", "tpot_ms", "p50")] if tokens else [("E2EL p90", "e2el_ms", "p90")]
    )
    numbers = [f"{title} {value:.4g} ms" for title, key, stat in shown if (value := latency[key].of(stat)) is not None]
    rate, unit = (
        (throughput.output_tokens_per_s, "tokens/s")
        if tokens
        else (throughput.inputs_per_s or None, input_rate(None if inputs is None else inputs.are))
    )
    return ", ".join([str(result.verdict.status), *numbers, *([] if rate is None else [f"{rate:.4g} {unit}"])])
