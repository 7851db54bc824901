"""A comparison as a page, compare.html: the answer, what differs, and every number with its interval drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.documents import comparison
from bench.documents.charts import Chart, Line, Panel, Tone
from bench.documents.comparison import Row
from bench.report.page import chart_view
from bench.report.page import page as document

_TONES: tuple[Tone, ...] = ("main", "second", "good", "quiet")
_WIDEST = 0.5
"""Intervals are drawn up to a change by half."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """An interval on an axis, in percent of its width; `dot` is the change. None: nothing to draw."""

    left: float
    width: float
    dot: float
    margin_left: float
    margin_width: float
    tone: str


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A number as text ready to show."""

    title: str
    a: str
    b: str
    change: str
    interval: str
    seen: str
    answer: str
    status: str
    missing: str
    drawn: Drawn | None


def render(content: Mapping[str, Any]) -> str:
    """The page of a comparison."""
    sides = {side["name"]: side for side in content["sides"]}
    return document(
        "compare.html.j2",
        sides=content["sides"],
        variations=content["variations"],
        margin=comparison.percent(content["margin"], sign=False),
        versus=[_versus(versus, sides) for versus in content["versus"]],
        meanings=_meanings(content["versus"]),
    )


def _meanings(versus: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """What the answers on the page mean."""
    known = {row["spread_known"] for one in versus for row in one["numbers"]} - {None}
    both = comparison.MEANINGS_OF_TWO | comparison.MEANINGS
    return comparison.MEANINGS_OF_TWO if known == {False} else both if False in known else comparison.MEANINGS


def _versus(versus: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rows = versus["numbers"]
    return {
        "a": versus["a"],
        "b": versus["b"],
        "headline": versus["headline"],
        "status": _status(rows),
        "method": comparison.method_text(versus, sides),
        "warnings": versus["warnings"],
        "primary": _rows([row for row in rows if row["primary"]]),
        "others": _rows([row for row in rows if not row["primary"] and row["change"] is not None]),
        "charts": [chart_view(chart) for chart in _charts(versus, sides)],
    }


def _charts(versus: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]]) -> list[Chart]:
    """Of runs every primary number by run, of sweeps by load."""
    rows = [row for row in versus["numbers"] if row["primary"] and not row["name"].startswith("error_rate")]
    if versus["method"] == "sweeps":
        names = dict.fromkeys(row["name"].partition(" at ")[0] for row in rows)
        return [_by_load(versus, [row for row in rows if row["name"].startswith(f"{name} at ")]) for name in names]
    return [_by_run(versus, row, sides) for row in rows if len(row["runs_a"]) > 1]


def _status(rows: Sequence[Row]) -> str:
    """The colour of the answer."""
    worse = [row["worse"] for row in rows if row["primary"]]
    if True in worse:
        return "invalid"
    same = all(
        row["answer"] == "same within the margin" for row in rows if row["primary"] and row["name"] != "error_rate"
    )
    return "valid" if False in worse or same else "suspect"


def _rows(rows: Sequence[Row]) -> list[ShownRow]:
    ends = [abs(row[end]) for row in rows for end in ("change", "low", "high") if row[end] is not None and row["ratio"]]
    reach = min(max([*ends, *(2 * row["margin"] for row in rows)], default=0.1) * 1.05, _WIDEST)
    return [_row(row, reach) for row in rows]


def _row(row: Row, reach: float) -> ShownRow:
    answer = comparison.answer_text(row)
    return ShownRow(
        comparison.title(row), comparison.value(row, "a"), comparison.value(row, "b"), comparison.change_text(row),
        comparison.interval_text(row), comparison.seen_text(row), answer, STATUS.get(answer, ""), row["missing"] or "",
        None if row["change"] is None else _drawn(row, reach),
    )  # fmt: skip


STATUS = {
    "worse": "invalid",
    "better": "valid",
    "same": "valid",
    "not shown": "suspect",
    "at margin": "suspect",
    "two differ": "suspect",
    "two agree": "suspect",
}
"""The class of an answer, by the word for it."""


def _drawn(row: Row, reach: float) -> Drawn:
    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / reach)), 2)

    left, right = place(row["low"]), place(row["high"])
    margin = place(row["margin"]) - 50
    return Drawn(
        left, round(max(right - left, 0.6), 2), place(row["change"]), round(50 - margin, 2), round(2 * margin, 2),
        STATUS.get(comparison.answer_text(row), ""),
    )  # fmt: skip


def _by_load(versus: Mapping[str, Any], rows: Sequence[Row]) -> Chart:
    """One number of both sides over the loads of their sweeps, which stand at equal distances."""
    loads = [row["title"].partition(":")[0] for row in rows]
    x = list(range(len(rows)))
    name = rows[0]["title"].partition(": ")[2]
    lines = tuple(
        Line(versus[side], [row[side] for row in rows], tone=tone) for side, tone in zip("ab", _TONES, strict=False)
    )
    return Chart(
        key=f"{versus['b']}-{rows[0]['name'].partition(' at ')[0].replace(':', '-')}",
        title=name,
        meaning="Both sides, over the loads that both visited.",
        x_title="load (users, or requests/s)",
        x=x,
        x_span=(-0.5, len(rows) - 0.5),
        x_names=loads,
        ticks=tuple((at, load.partition(" ")[0]) for at, load in zip(x, loads, strict=True)) if len(rows) <= 16 else (),
        step=0,
        panels=(Panel(str(comparison.UNITS.get(rows[0]["unit"], rows[0]["unit"])), lines),),
    )


def _by_run(versus: Mapping[str, Any], row: Row, sides: Mapping[str, Mapping[str, Any]]) -> Chart:
    """The number of every run, in the order in which the runs were made: a drift is seen here."""
    runs = sorted(
        (run["started"], at, side, value)
        for side, values in ((versus["a"], row["runs_a"]), (versus["b"], row["runs_b"]))
        for at, (run, value) in enumerate(zip(sides[side]["runs"], values, strict=True))
    )
    x = list(range(1, len(runs) + 1))
    names = (versus["a"], versus["b"])
    lines = tuple(
        Line(name, [value if side == name else None for _, _, side, value in runs], style="bars", tone=tone)
        for name, tone in zip(names, _TONES, strict=False)
    )
    return Chart(
        key=f"{versus['b']}-{row['name'].replace(':', '-')}",
        title=comparison.title(row),
        meaning="Every run, in the order in which they were made.",
        x_title="run",
        x=x,
        x_span=(0.4, len(runs) + 0.6),
        x_names=[f"{side}, run {at + 1}" for _, at, side, _ in runs],
        ticks=tuple((at, side) for at, (_, _, side, _) in zip(x, runs, strict=True)) if len(runs) <= 24 else (),
        step=0,
        panels=(Panel(str(comparison.UNITS.get(row["unit"], row["unit"])), lines),),
    )
