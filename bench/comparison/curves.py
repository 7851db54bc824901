"""Compares sweeps load by load, to show at which loads the curves of two sides differ.

At each load that every side visited, the runs are compared like any other runs. The primary numbers are corrected by
Holm over all loads: of twenty points, one would differ by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from bench.comparison.compare import Versus
from bench.comparison.compare import compare as compare_runs
from bench.comparison.document import change_of, differences_of, row_of, side_of
from bench.comparison.settings import Variation
from bench.comparison.sides import MeasuredRun, Side, read_side, usable
from bench.documents.comparison import one_each_shows_no_change
from bench.errors import UsageError
from bench.loads import KINDS
from bench.results.comparison import SCHEMA, ComparedNumber, ComparisonResult, SideAgainstSide
from bench.statistics.between_runs import Answer
from bench.statistics.multiple import holm

FILE = "sweep.json"
LENGTH = ("requests", "duration", "warmup", "seed")
UNITS = {name: kind.unit for name, kind in KINDS.items()}


def compare(sides: Sequence[tuple[str, Path]], margin: float, allow: Iterable[str]) -> ComparisonResult:
    """Compare directories of sweeps, given with their names. Raises UsageError if they have no load in common."""
    read = [usable(read_side(name, path)) for name, path in sides]
    kind = _kind(read)
    by_load = [_by_load(side, kind) for side in read]
    loads = [load for load in by_load[0] if all(load in other for other in by_load)]
    if not loads:
        shown = "; ".join(
            f"{side.name} has {', '.join(f'{load:g}' for load in of)}" for side, of in zip(read, by_load, strict=True)
        )
        raise UsageError(f"the sweeps have no load in common ({shown} {UNITS[kind]}): sweep over the same loads")
    allow = tuple(allow)
    comparisons = {load: compare_runs([of[load] for of in by_load], margin=margin, allow=allow) for load in loads}
    unique: dict[tuple[str, str], Variation] = {}
    for comparison in comparisons.values():
        unique |= {(v.group, v.name): v for v in comparison.variations if v.name not in LENGTH}
    return ComparisonResult(
        schema=SCHEMA,
        kind="sweeps",
        margin=margin,
        sides=[side_of(side) for side in read],
        variations=differences_of(list(unique.values())),
        versus=[
            _versus({load: comparison.versus[at] for load, comparison in comparisons.items()}, kind)
            for at in range(len(read) - 1)
        ],
    )


def _kind(sides: Sequence[Side]) -> str:
    """What the sweeps vary. Raises UsageError if they vary different things."""
    kinds = [str(side.runs[0].settings["mode"]) for side in sides]
    if len({*kinds}) > 1:
        shown = " against ".join(kinds)
        raise UsageError(f"the sweeps cannot be compared: they vary different things ({shown})")
    return kinds[0]


def _by_load(side: Side, kind: str) -> dict[float, Side]:
    """The runs of each load, as a separate side."""
    runs: dict[float, list[MeasuredRun]] = {}
    for run in side.runs:
        runs.setdefault(float(run.settings["concurrency" if KINDS[kind].whole else kind]), []).append(run)
    return {load: Side(side.name, side.path, tuple(of), side.left_out) for load, of in sorted(runs.items())}


def _versus(by_load: dict[float, Versus], kind: str) -> SideAgainstSide:
    first = next(iter(by_load.values()))
    decided = [
        (load, versus, compared) for load, versus in by_load.items() for compared in versus.numbers if compared.primary
    ]
    tested = [compared.difference.p for _, _, compared in decided if compared.difference is not None]
    corrected = iter(holm(tested))
    rows = []
    for load, versus, compared in decided:
        p = None if compared.difference is None else next(corrected)
        row = row_of(replace(compared, p=p), versus)
        rows.append(structs.replace(row, name=f"{row.name} at {load:g}", title=f"{load:g}: {row.title}"))
    warnings = dict.fromkeys(warning for versus in by_load.values() for warning in versus.warnings)
    return SideAgainstSide(
        a=first.a.name,
        b=first.b.name,
        method="sweeps",
        headline=_headline(first.a.name, first.b.name, rows, len(by_load), UNITS[kind]),
        warnings=list(warnings),
        numbers=rows,
    )


def _headline(a: str, b: str, rows: Sequence[ComparedNumber], loads: int, unit: str) -> str:
    over = f"{loads} load{'s' if loads > 1 else ''}"
    unknown = one_each_shows_no_change(a, b, "sweeps")
    one_each = any(row.spread_known is False for row in rows)
    differing = [row for row in rows if row.answer == Answer.DIFFERS]
    if differing:
        worse = {row.worse for row in differing}
        how = "worse than" if worse == {True} else "better than" if worse == {False} else "better and worse than"
        return f"{b} is {how} {a} in {len(differing)} of {len(rows)} numbers over {over}; {_most(differing, unit)}."
    of_two = [row for row in rows if row.answer == Answer.THESE_DIFFER]
    if of_two:
        return (
            f"These two sweeps differ in {len(of_two)} of {len(rows)} numbers over {over}, by more than chance within a run; "
            f"{_most(of_two, unit)}. {unknown}"
        )
    sentence = f"No difference is shown between {a} and {b} at any of {over}."
    return f"{sentence} {unknown}" if one_each else sentence


def _most(differing: Sequence[ComparedNumber], unit: str) -> str:
    """The largest change, as text."""
    largest = max(differing, key=lambda row: abs(row.change or 0.0))
    load, _, title = largest.title.partition(": ")
    return f"most at {load} {unit}: {title} {change_of(largest)}"
