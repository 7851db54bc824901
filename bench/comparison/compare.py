"""Tests whether sides of runs differ, number by number, with the tests of `bench/statistics/between_runs.py`.

    runs of both sides, made in turn, at least three pairs    t over the pairs
    at least two runs a side                                  Welch's t over the runs
    one run against at least five                             the spread of the five
    one run each                                              Welch's t over ten batches of each run

The other sides are compared with the first. The p values of primary numbers are corrected by Holm over all sides, those
of explored numbers by Benjamini and Hochberg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from math import exp, fsum, log
from pathlib import Path

from bench.comparison import batches, numbers, settings
from bench.comparison.numbers import SHARE_MARGIN, Number, values_lacking
from bench.comparison.request_values import RequestValues, read_values
from bench.comparison.settings import Variation
from bench.comparison.sides import MeasuredRun, Side
from bench.errors import UsageError
from bench.metrics.catalog import METRICS
from bench.metrics.run_numbers import JOB, number_of
from bench.results.answers import ANSWER_SHARES, AnswerShare
from bench.statistics.between_runs import (
    MARGIN,
    Answer,
    Difference,
    RunInterval,
    RunShare,
    error_by_chance,
    error_of_the_same,
    error_within_runs,
    few_candidates,
    no_events,
    paired,
    two_shares,
    welch,
)
from bench.statistics.multiple import benjamini_hochberg, holm

NOT_INTERLEAVED = "the runs of the two sides were not made in turn: what drifts meanwhile looks like a difference"
LEAST_PAIRS = 3
"""Two pairs leave one degree of freedom; Welch's test on the same runs has two, so it sees more."""
LEAST_FOR_SPREAD = 5


class Method(StrEnum):
    """The test behind a comparison of two sides."""

    PAIRS = "pairs"
    RUNS = "runs"
    ONE_AGAINST_MANY = "one run against several"
    BATCHES = "one run each"


@dataclass(frozen=True, slots=True)
class Compared:
    """One number of two sides. `a` and `b` are means over the runs, or over the batches if each side has one run;
    geometric for ratios. `missing` gives the reason if there is no answer, or if a number within the margin is not shown to
    be the same."""

    number: Number
    primary: bool
    a: float
    b: float
    margin: float
    difference: Difference | None
    p: float | None
    """Corrected for the number of tests."""
    missing: str | None = None

    @property
    def answer(self) -> Answer | None:
        """None if there is no answer."""
        if self.difference is None:
            return None
        return Answer.NOT_SHOWN if self.missing else self.difference.answer(self.margin, self.p)

    @property
    def worse(self) -> bool | None:
        """Whether the number got worse; None if it does not differ."""
        if self.difference is None or self.answer is not Answer.DIFFERS:
            return None
        return (self.difference.change > 0) == self.number.higher_is_worse


@dataclass(frozen=True, slots=True)
class Versus:
    """One side compared with the first."""

    a: Side
    b: Side
    method: Method
    numbers: tuple[Compared, ...]
    warnings: tuple[str, ...]

    def of(self, name: str) -> Compared:
        """The number with this name, in the form used by objectives: `tpot:p50`."""
        return next(compared for compared in self.numbers if compared.number.name == name)

    @property
    def differing(self) -> tuple[Compared, ...]:
        """The primary numbers that differ."""
        return tuple(c for c in self.numbers if c.primary and c.answer is Answer.DIFFERS)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The sides, the variations between them, and each side compared with the first."""

    sides: tuple[Side, ...]
    variations: tuple[Variation, ...]
    versus: tuple[Versus, ...]
    margin: float


def compare(
    sides: Sequence[Side],
    *,
    margin: float = MARGIN,
    allow: Iterable[str] = (),
    values_of: Callable[[Path], RequestValues] = read_values,
) -> Comparison:
    """Compare every side with the first. Raises UsageError if they cannot be compared.

    `values_of` reads the values of single requests from a run directory, if a comparison needs them.
    """
    if len(sides) < 2:
        raise UsageError("a comparison needs two sides: name two or more directories")
    allow = tuple(allow)
    settings.refuse_unknown(allow, settings.workload_of(sides[0].runs[0]))
    variations = settings.variations(sides, allow)
    settings.refuse_other_loads(variations, sides)
    _refuse_few_runs(sides)

    def known(number: Number) -> bool:
        return all(number.of(run.summary) is not None for side in sides for run in side.runs)

    # If no request succeeded, only the error rate is known.
    decided = [number for number in numbers.primary(known) if known(number)]
    others = numbers.explored(known, decided)
    values = _Values(values_of)
    drafts = [(b, _compare_all(sides[0], b, decided, others, margin, values)) for b in sides[1:]]
    corrected = _corrected([compared for _, draft in drafts for compared in draft])
    versus = []
    for b, draft in drafts:
        final = tuple(corrected[id(compared)] for compared in draft)
        method = method_of(sides[0], b)
        warnings = (*_lost(sides[0], b, decided), *_warnings(sides[0], b, method, variations))
        versus.append(Versus(sides[0], b, method, final, warnings))
    return Comparison(tuple(sides), tuple(variations), tuple(versus), margin)


def method_of(a: Side, b: Side) -> Method:
    """The test for two sides."""
    few, many = sorted((len(a.runs), len(b.runs)))
    if few == 1:
        return Method.BATCHES if many == 1 else Method.ONE_AGAINST_MANY
    return Method.PAIRS if few == many >= LEAST_PAIRS and in_turn(a.runs, b.runs) else Method.RUNS


def in_turn(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun]) -> bool:
    """Whether the runs were made in turn (ABBA or ABAB): in order of time, runs 1 and 2, runs 3 and 4, and so on are
    one of each side."""
    order = sorted([(run.when, "a") for run in a] + [(run.when, "b") for run in b])
    sides = [side for _, side in order]
    return len(a) == len(b) and all(first != other for first, other in list(pairwise(sides))[::2])


def _refuse_few_runs(sides: Sequence[Side]) -> None:
    problems = []
    for side in sides[1:]:
        few, many = sorted((sides[0], side), key=lambda side: len(side.runs))
        if len(few.runs) == 1 and 1 < len(many.runs) < LEAST_FOR_SPREAD:
            problems.append(
                f"{few.name} has one run and {many.name} {len(many.runs)}: the spread between runs needs two runs a side, or "
                f"{LEAST_FOR_SPREAD} of one; make another run of {few.name}"
            )
    if problems:
        raise UsageError(problems)


class _Values:
    """The values of single requests, read once per run and only if needed."""

    def __init__(self, values_of: Callable[[Path], RequestValues]) -> None:
        self._values_of = values_of
        self._kept: dict[Path, RequestValues] = {}

    def of(self, run: MeasuredRun) -> RequestValues:
        if run.directory not in self._kept:
            self._kept[run.directory] = self._values_of(run.directory)
        return self._kept[run.directory]

    def independent(self, number: Number, side: Side) -> float:
        """How many independent values of a number the runs of a side hold together."""
        rows = ((run, number_of(run.summary, number.metric, number.stat).row) for run in side.runs)
        return fsum(min(self.of(run).independent(number.metric), row.n) for run, row in rows if row is not None)

    def independent_requests(self, side: Side) -> float:
        return fsum(self.of(run).independent_requests() for run in side.runs)


def _compare_all(
    a: Side, b: Side, decided: Sequence[Number], others: Sequence[Number], margin: float, values: _Values
) -> list[Compared]:
    method, otherwise = method_of(a, b), _counted_otherwise(a, b)
    rows = []
    for number in (*decided, *others):
        of_a, of_b = ([_known(number, run) for run in side.runs] for side in (a, b))
        difference, missing = None, otherwise if number.metric in numbers.OF_TOKENS else None
        if missing is None and method is Method.BATCHES:
            of_a, of_b, difference, missing = _of_one_run_each(number, (a, b), (of_a, of_b), values)
        elif missing is None:
            difference, missing = _difference(number, method, (a, b), (of_a, of_b), values)
        within = SHARE_MARGIN if number.is_share else max(margin, _certified(number, (*a.runs, *b.runs)))
        if difference is not None and difference.answer(within) is Answer.SAME:
            missing = values_lacking(number, [values.independent(number, side) for side in (a, b)])
        rows.append(
            Compared(
                number=number, primary=number in decided, a=_mean(of_a, number), b=_mean(of_b, number), margin=within,
                difference=difference, p=None if difference is None else difference.p, missing=missing,
            )
        )  # fmt: skip
    return rows


def _counted_otherwise(a: Side, b: Side) -> str | None:
    """Why numbers of tokens cannot be compared: the sides count tokens differently, which alone would make the numbers
    differ."""
    ways = [dict.fromkeys(run.tokens_by for run in side.runs if run.tokens_by is not None) for side in (a, b)]
    if len({*ways[0], *ways[1]}) < 2:
        return None
    of_a, of_b = (" and by ".join(way) or "nothing" for way in ways)
    return f"tokens were counted by {of_a} in {a.name}, and by {of_b} in {b.name}"


def _difference(
    number: Number,
    method: Method,
    sides: tuple[Side, Side],
    of_runs: tuple[list[float], list[float]],
    values: _Values,
) -> tuple[Difference | None, str | None]:
    of_a, of_b = of_runs
    if number is numbers.ERRORS and not any((*of_a, *of_b)):
        return no_events(*(values.independent_requests(side) for side in sides)), None
    ratio = not number.is_share
    if ratio and not all(value > 0 for value in (*of_a, *of_b)):
        return None, "a ratio of zero does not exist"
    least = _least_error(number, sides, of_runs, values)
    if method is Method.PAIRS:
        return paired(of_a, of_b, ratio=ratio, least_error=least), None
    if method is Method.RUNS:
        few = ratio and min(len(of_a), len(of_b)) < LEAST_PAIRS
        within = error_within_runs(*(_intervals(number, side) for side in sides)) if few else 0.0
        return welch(of_a, of_b, ratio=ratio, least_error=least, within=within), None
    if len(of_b) == 1:
        return few_candidates(of_a, of_b, ratio=ratio, least_error=least), None
    return few_candidates(of_b, of_a, ratio=ratio, least_error=least).reversed(), None


def _least_error(
    number: Number, sides: tuple[Side, Side], of_runs: tuple[list[float], list[float]], values: _Values
) -> float:
    """The least error of the difference of a share. The runs may agree by chance, because they have few requests, or
    because all ask the same few probes."""
    if number is numbers.ERRORS:
        return error_by_chance(*([values.of(run).failures() for run in side.runs] for side in sides))
    if number.metric == "goodput":
        tried = ([run.summary.counts.succeeded + run.summary.counts.failed for run in side.runs] for side in sides)
        return error_by_chance(
            *([RunShare(*of) for of in zip(shares, n, strict=True)] for shares, n in zip(of_runs, tried, strict=True))
        )
    if number.metric in ANSWER_SHARES:
        asked = [row.probes for side in sides for run in side.runs if (row := _answers(number, run)) is not None]
        return error_of_the_same(_mean(of_runs[1], number) - _mean(of_runs[0], number), max(asked))
    return 0.0


def _intervals(number: Number, side: Side) -> list[RunInterval]:
    """The number of each run with its interval, for runs that have one."""
    pairs = ((number.of(run.summary), number.ci95(run.summary)) for run in side.runs)
    return [
        RunInterval(value, *ends) for value, ends in pairs if value is not None and ends is not None and ends[0] > 0
    ]


def _of_one_run_each(
    number: Number, sides: tuple[Side, Side], of_runs: tuple[list[float], list[float]], values: _Values
) -> tuple[list[float], list[float], Difference | None, str | None]:
    """The values of both runs that are compared (batches if there are enough values), and the difference or the reason
    why there is none."""
    if number is numbers.ERRORS and not any((*of_runs[0], *of_runs[1])):
        nothing = no_events(*(values.independent_requests(side) for side in sides))
        return *of_runs, nothing.of_one_run_each(), None
    if not number.is_share and not all(value > 0 for of_side in of_runs for value in of_side):
        return *of_runs, None, "a ratio of zero does not exist"
    (run_a,), (run_b,) = sides[0].runs, sides[1].runs
    if number.metric in ANSWER_SHARES:
        asked = [0 if row is None else row.probes for row in (_answers(number, run_a), _answers(number, run_b))]
        (share_a,), (share_b,) = of_runs
        return *of_runs, two_shares(share_a, asked[0], share_b, asked[1]).of_one_run_each(), None
    result, missing = batches.compare(number, run_a, run_b, values.of(run_a), values.of(run_b))
    if result is None:
        return *of_runs, None, missing
    return result.a, result.b, result.difference, None


def _answers(number: Number, run: MeasuredRun) -> AnswerShare | None:
    return None if run.summary.answers is None else run.summary.answers.of(number.metric)


def _known(number: Number, run: MeasuredRun) -> float:
    value = number.of(run.summary)
    assert value is not None, "only numbers that every run has are compared"
    return value


def _mean(values: Sequence[float], number: Number) -> float:
    """The geometric mean for a ratio, because its logarithm is compared."""
    if number.is_share or not all(value > 0 for value in values):
        return fsum(values) / len(values)
    return exp(fsum(map(log, values)) / len(values))


def _certified(number: Number, runs: Iterable[MeasuredRun]) -> float:
    """The largest error of the number in the calibrations of the runs, as a share: a smaller change may come from the
    instrument."""
    if number.stat is None:
        return 0.0
    key = "job_ms" if number.metric == JOB else METRICS[number.metric].key
    return max(
        (
            abs(row.error_share)
            for run in runs
            if run.summary.calibration is not None
            for row in run.summary.calibration.metrics
            if row.metric == key and row.stat == number.stat and row.error_share is not None
        ),
        default=0.0,
    )


def _corrected(drafts: Sequence[Compared]) -> dict[int, Compared]:
    """The drafts with their corrected p, keyed by the identity of the draft."""
    result = {id(draft): draft for draft in drafts}
    for primary, correct in ((True, holm), (False, benjamini_hochberg)):
        tested = [(draft, draft.p) for draft in drafts if draft.primary is primary and draft.p is not None]
        for (draft, _), p in zip(tested, correct([p for _, p in tested]), strict=True):
            result[id(draft)] = replace(draft, p=p)
    return result


def _lost(a: Side, b: Side, decided: Sequence[Number]) -> list[str]:
    """A sentence for each primary number of one side that the other side lacks: a server that no longer streams, for
    example."""
    sentences: dict[str, str] = {}
    for side, other in ((a, b), (b, a)):

        def known(number: Number, runs: Sequence[MeasuredRun] = side.runs) -> bool:
            return all(number.of(run.summary) is not None for run in runs)

        for number in numbers.primary(known):
            without = sum(number.of(run.summary) is None for run in other.runs)
            if known(number) and without and number not in decided:
                of = f"{without} of {len(other.runs)} runs of {other.name}"
                sentences[number.name] = (
                    f"{number.title} is not compared: {of} {'has' if without == 1 else 'have'} none"
                )
    return [*sentences.values()]


def _warnings(a: Side, b: Side, method: Method, variations: Sequence[Variation]) -> tuple[str, ...]:
    warnings: list[str] = []
    if method is Method.BATCHES:
        warnings.append(batches.SPREAD_UNKNOWN)
    elif not in_turn(a.runs, b.runs):
        warnings.append(NOT_INTERLEAVED)
    if any(variation.group == "length" for variation in variations):
        warnings.append(settings.OTHER_LENGTH)
    for side in (a, b):
        warnings += [f"{side.name}: {path} is left out, {why}" for path, why in side.left_out]
        suspect = [run for run in side.runs if run.status == "SUSPECT"]
        if suspect:
            warnings.append(
                f"{side.name}: {len(suspect)} of {len(side.runs)} runs SUSPECT, such as {suspect[0].directory}: "
                f"{suspect[0].summary.verdict.reasons[0]}"
            )
        short = [run for run in side.runs if run.summary.run.stop_reason in ("interrupted", "killed")]
        if short:
            warnings.append(f"{side.name}: {short[0].directory} was {short[0].summary.run.stop_reason} before its end")
        warnings += [f"{side.name}: {note}" for run in side.runs for note in run.notes]
    return tuple(warnings)
