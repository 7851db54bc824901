"""The content of compare.json (`bench/report/compare.schema.json`), from which text, Markdown and page are rendered."""

from __future__ import annotations

from collections.abc import Sequence

from bench.comparison.compare import Compared, Comparison, Method, Versus
from bench.comparison.numbers import ERRORS, Number
from bench.comparison.settings import Variation
from bench.comparison.sides import Side
from bench.documents.comparison import at_the_margin, change_text, interval_text, one_each_shows_no_change, seen_text
from bench.documents.formatting import NOTHING
from bench.results.comparison import (
    SCHEMA,
    ComparedNumber,
    ComparedSide,
    ComparisonResult,
    Difference,
    LeftOut,
    SideAgainstSide,
    SideRun,
)
from bench.statistics.between_runs import Answer


def result_of(comparison: Comparison) -> ComparisonResult:
    """The content of compare.json."""
    return ComparisonResult(
        schema=SCHEMA,
        kind="runs",
        margin=comparison.margin,
        sides=[side_of(side) for side in comparison.sides],
        variations=differences_of(comparison.variations),
        versus=[_versus(versus, comparison.margin) for versus in comparison.versus],
    )


def differences_of(variations: Sequence[Variation]) -> list[Difference]:
    """The settings that are not equal on all sides."""
    return [Difference(group=v.group, name=v.name, values=list(v.values)) for v in variations]


def side_of(side: Side) -> ComparedSide:
    """A side with its runs."""
    return ComparedSide(
        name=side.name,
        path=str(side.path),
        model=side.runs[0].manifest.model,
        runs=[
            SideRun(
                directory=str(run.directory), id=run.manifest.run_id, started=run.manifest.started, verdict=run.status
            )
            for run in side.runs
        ],
        left_out=[LeftOut(directory=str(path), why=why) for path, why in side.left_out],
    )


def _versus(versus: Versus, margin: float) -> SideAgainstSide:
    rows = [row_of(compared, versus) for compared in versus.numbers]
    return SideAgainstSide(
        a=versus.a.name,
        b=versus.b.name,
        method=str(versus.method),
        headline=headline(versus.a.name, versus.b.name, versus.method, rows, margin),
        warnings=list(versus.warnings),
        numbers=rows,
    )


def row_of(compared: Compared, versus: Versus) -> ComparedNumber:
    """The entry of one number in compare.json."""
    number, difference = compared.number, compared.difference
    per_run = versus.method is not Method.BATCHES
    return ComparedNumber(
        name=number.name,
        title=number.title,
        unit=number.unit,
        primary=compared.primary,
        ratio=not number.is_share,
        a=compared.a,
        b=compared.b,
        runs_a=_of_runs(number, versus.a) if per_run else [],
        runs_b=_of_runs(number, versus.b) if per_run else [],
        change=None if difference is None else difference.change,
        low=None if difference is None else difference.low,
        high=None if difference is None else difference.high,
        p=compared.p,
        seen_from=None if difference is None else difference.seen_from,
        margin=compared.margin,
        answer=None if compared.answer is None else str(compared.answer),
        spread_known=None if difference is None else difference.spread_known,
        worse=compared.worse,
        missing=compared.missing,
    )


def _of_runs(number: Number, side: Side) -> list[float]:
    return [value for run in side.runs if (value := number.of(run.summary)) is not None]


def headline(a: str, b: str, method: Method, rows: Sequence[ComparedNumber], margin: float) -> str:
    """The answer in one sentence, from the primary numbers."""
    decided = [row for row in rows if row.primary]
    answered = [row for row in decided if row.answer is not None]
    if not answered:
        return f"{a} and {b} cannot be compared: too few independent values."
    left_out = [row.title for row in decided if row.answer is None]
    not_compared = f" Not compared: {', '.join(left_out)}." if left_out else ""
    if method is Method.BATCHES:
        return f"{_of_two_runs(a, b, answered)}{not_compared} {one_each_shows_no_change(a, b)}"
    differing = [row for row in decided if row.answer == Answer.DIFFERS]
    changes = "; ".join(f"{row.title} {change_of(row)}" for row in differing)
    if differing:
        worse = {row.worse for row in differing}
        how = "worse than" if worse == {True} else "better than" if worse == {False} else "better and worse than"
        return f"{b} is {how} {a}: {changes}.{not_compared}"
    changed = [row for row in decided if at_the_margin(row)]
    if changed:
        changes = "; ".join(f"{row.title} {change_of(row)}" for row in changed)
        return f"{b} changed against {a}, by about the margin of {_margin(changed, margin)}: {changes}.{not_compared}"
    unsure = [row for row in decided if row.answer != Answer.SAME and not _no_error(row)]
    if not unsure:
        errors = next((row for row in decided if _no_error(row) and row.answer != Answer.SAME), None)
        room = "" if errors is None else seen_text(errors).removeprefix(NOTHING)
        beside = f" No request failed, which leaves room for {room} of errors." if room else ""
        return f"{b} is the same as {a} within {_margin(decided, margin)}.{beside}"
    return f"No difference is shown between {a} and {b}.{_reach(answered)}{not_compared}"


def _margin(rows: Sequence[ComparedNumber], margin: float) -> str:
    """The largest margin of these numbers: an error that a calibration found widens it. Shares have one of a point."""
    of_ratios = [max(margin, row.margin) for row in rows if row.ratio]
    return f"{max(of_ratios) * 100:.3g}%" if of_ratios else "one point"


def _reach(rows: Sequence[ComparedNumber]) -> str:
    """A sentence, preceded by a space, on the changes that would have been found; empty if there are none."""
    reach = ", ".join(f"{row.title} {text}" for row in rows if (text := seen_text(row)) != NOTHING)
    return f" These changes would have been found: {reach}." if reach else ""


def _of_two_runs(a: str, b: str, answered: Sequence[ComparedNumber]) -> str:
    """The answer for one run per side, which holds for these two runs only."""
    differing = [row for row in answered if row.answer == Answer.THESE_DIFFER]
    if differing:
        changes = "; ".join(f"{row.title} {change_of(row)}" for row in differing)
        return f"The runs of {a} and {b} differ by more than chance within a run: {changes}."
    return f"No difference is shown between the runs of {a} and {b}.{_reach(answered)}"


def _no_error(row: ComparedNumber) -> bool:
    return row.name == ERRORS.name and row.a == row.b == 0


def change_of(row: ComparedNumber) -> str:
    """The change and its interval, as text."""
    return f"{change_text(row)} {interval_text(row)}"
