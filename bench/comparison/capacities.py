"""Compares searches by their capacity.

A search gives its capacity with an interval of about 90%, which covers the chance in its visits. On the log scale

    d = ln(c_b / c_a)    error^2 = e_a^2 + e_b^2    e = ln(high / low) / (2 x 1.645)

and d / error is assumed to be normal. Two searches of one setup can differ by more: each side is one search, and the
spread between searches is unknown, so the answer holds for these two only. The visits' loads may differ only in size,
which is what the search varies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

from bench.comparison.document import change_of, differences_of, side_of
from bench.comparison.settings import Variation, refuse_other_loads, refuse_unknown, variations, workload_of
from bench.comparison.sides import Side, read_side, usable
from bench.documents.comparison import one_each_shows_no_change, seen_text
from bench.errors import UsageError
from bench.loads import KINDS
from bench.results.comparison import SCHEMA, ComparedNumber, ComparisonResult, SideAgainstSide
from bench.run_files.shape import read_object
from bench.statistics.between_runs import ALPHA, POWER, Answer, Difference

FILE = "search.json"
LOAD = ("rate", "concurrency", "ramp_up", "ramp", "requests", "duration", "warmup", "seed")
"""Settings that differ between the visits of one search."""
UNITS = {name: kind.unit for name, kind in KINDS.items()}
SPREAD_UNKNOWN = (
    "one search each: the spread between searches is not known, and two searches of the same setup may differ as much; "
    "compare runs at one load (compare --run A.yaml B.yaml --pairs 5)"
)
WIDTH_IN_ERRORS = 2 * NormalDist().inv_cdf(0.95)
"""The interval of a search holds 90%."""


def compare(sides: Sequence[tuple[str, Path]], margin: float, allow: Iterable[str]) -> ComparisonResult:
    """Compare directories of searches, given with their names. Raises UsageError if they searched for different things."""
    searches = [_read(path) for _, path in sides]
    _refuse_other_goals(sides, searches)
    visits = [usable(read_side(name, path)) for name, path in sides]
    allow = tuple(allow)
    refuse_unknown(allow, workload_of(visits[0].runs[0]))
    differing = variations([_of_any_load(side) for side in visits], allow)
    refuse_other_loads(differing, visits)
    return ComparisonResult(
        schema=SCHEMA,
        kind="searches",
        margin=margin,
        sides=[side_of(side) for side in visits],
        variations=differences_of(differing + _loads(searches)),
        versus=[
            _versus(visits[0], b, searches[0], of_b, margin) for b, of_b in zip(visits[1:], searches[1:], strict=True)
        ],
    )


def _read(path: Path) -> Mapping[str, object]:
    file = path / FILE
    content = read_object(file, "result of a search")
    if not content.keys() >= {"load_kind", "objectives", "capacity", "stopped_by"}:
        raise UsageError(f"{file} is not a result of a search")
    return content


def _refuse_other_goals(sides: Sequence[tuple[str, Path]], searches: Sequence[Mapping[str, object]]) -> None:
    for name, of in (
        ("load", lambda s: s["load_kind"]),
        ("objectives", lambda s: ", ".join(o["text"] for o in s["objectives"])),
    ):
        values = [of(search) for search in searches]
        if len({*values}) > 1:
            shown = " against ".join(values)
            who = " and ".join(name for name, _ in sides)
            raise UsageError(f"{who} cannot be compared: they searched for other {name} ({shown}): search for the same")


def _of_any_load(side: Side) -> Side:
    """The side as if all its visits had sent the same load."""
    runs = tuple(replace(run, settings={k: v for k, v in run.settings.items() if k not in LOAD}) for run in side.runs)
    return replace(side, runs=runs)


def _loads(searches: Sequence[Mapping[str, object]]) -> list[Variation]:
    """How the searches ended, if they ended differently."""
    rows = {
        "ended by": [str(search["stopped_by"]) for search in searches],
        "binding": [str(search.get("binding")) for search in searches],
    }
    return [
        Variation("search", name, tuple(values), refused=False) for name, values in rows.items() if len({*values}) > 1
    ]


def difference_of(a: Mapping[str, float], b: Mapping[str, float]) -> Difference:
    """The change from one capacity to another; each capacity has the ends of its interval."""
    d = math.log(b["estimate"] / a["estimate"])
    error = math.hypot(*(math.log(c["high"] / c["low"]) / WIDTH_IN_ERRORS for c in (a, b)))
    error = max(error, 1e-9)
    normal = NormalDist()
    reach = normal.inv_cdf(1 - ALPHA / 2) * error
    p = 2 * normal.cdf(-abs(d) / error)
    detectable = reach + normal.inv_cdf(POWER) * error
    return Difference(
        math.expm1(d), math.expm1(d - reach), math.expm1(d + reach), p, math.expm1(detectable), math.inf, ratio=True
    ).of_one_run_each()


def _versus(a: Side, b: Side, of_a: Mapping[str, object], of_b: Mapping[str, object], margin: float) -> SideAgainstSide:
    warnings = [
        f"{side.name}: the search found no capacity ({search['stopped_by']}): give it more time, or other loads"
        for side, search in ((a, of_a), (b, of_b))
        if search["capacity"] is None
    ]
    rows = [] if warnings else [_row(of_a, of_b, margin)]
    warnings += [SPREAD_UNKNOWN] if rows else []
    warnings += [f"{side.name}: {path} is left out, {why}" for side in (a, b) for path, why in side.left_out]
    return SideAgainstSide(
        a=a.name,
        b=b.name,
        method="searches",
        headline=_headline(a.name, b.name, rows, margin),
        warnings=warnings,
        numbers=rows,
    )


def _row(of_a: Mapping[str, Any], of_b: Mapping[str, Any], margin: float) -> ComparedNumber:
    difference = difference_of(of_a["capacity"], of_b["capacity"])
    return ComparedNumber(
        name="capacity",
        title="Capacity",
        unit=UNITS[of_a["load_kind"]],
        primary=True,
        ratio=True,
        a=of_a["capacity"]["estimate"],
        b=of_b["capacity"]["estimate"],
        runs_a=[],
        runs_b=[],
        change=difference.change,
        low=difference.low,
        high=difference.high,
        p=difference.p,
        seen_from=difference.seen_from,
        margin=margin,
        answer=str(difference.answer(margin)),
        spread_known=difference.spread_known,
        worse=None,
        missing=None,
    )


def _headline(a: str, b: str, rows: Sequence[ComparedNumber], margin: float) -> str:
    if not rows:
        return f"{a} and {b} cannot be compared: one of the searches has no answer."
    (row,) = rows
    change = change_of(row)
    unknown = one_each_shows_no_change(a, b, "searches")
    if row.answer == Answer.THESE_DIFFER:
        how = "less" if (row.change or 0.0) < 0 else "more"
        return f"These two searches differ: {b} found {how} load, {change}. {unknown}"
    if row.answer == Answer.THESE_AGREE:
        return f"These two searches agree within {margin * 100:g}%: {change}. {unknown}"
    return (
        f"No difference of capacity is shown between these two searches: {change}; {seen_text(row)} would have "
        f"been found. {unknown}"
    )
