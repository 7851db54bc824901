"""How the numbers of a comparison are written in text, Markdown and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from bench.documents.formatting import NOTHING, number, share
from bench.results.comparison import ComparedNumber, ComparedSide, SideAgainstSide
from bench.results.gate import GateMetric

Row = ComparedNumber | GateMetric
SHORT = {
    "differs": "differs",
    "same within the margin": "same",
    "not shown": "not shown",
    "these two differ": "two differ",
    "these two agree": "two agree",
}
SURE = 0.05
"""Significance level of the tests, corrected over all numbers."""
UNITS = {"1/s": "/s", "share": ""}
MEANINGS = {
    "worse, better, differs": "the interval excludes no change, and the change is at least the margin",
    "same": "the whole interval lies inside the margin",
    "at margin": "the interval excludes no change, but the change may be below the margin",
    "not shown": "none of these: make more runs to know",
}
MORE_RUNS = {
    "runs": "make several runs of each: run --repeats, or compare --run A.yaml B.yaml --pairs 5",
    "sweeps": "make several runs of each load: sweep --repeats 3",
    "searches": "compare runs at one load: compare --run A.yaml B.yaml --pairs 5",
}
"""How to learn the spread between them."""
MEANINGS_OF_TWO = {
    "two differ": "they differ by more than chance within a run, but the setup need not be the cause",
    "two agree": "they are the same within the margin, but other runs of these setups need not be",
    "not shown": "neither",
}
"""With one run, or search, on each side."""
METHODS = {
    "pairs": "{a} runs each, made in turn: t over the pairs",
    "runs": "{a} and {b} runs: Welch's t over the runs",
    "one run against several": "{a} and {b} runs: the spread comes from the side with several",
    "searches": "one search each: the intervals of both capacities",
    "sweeps": "load by load; corrected over all of them",
    "one run each": "one run each: Welch's t over ten batches of each run; the values are the means of the batches",
}


def title(row: Row) -> str:
    """The number's name, with its unit unless the name contains it."""
    unit = UNITS.get(row.unit, row.unit)
    return f"{row.title} ({unit})" if unit and not row.title.endswith("/s") else row.title


def value(row: Row, side: Literal["a", "b"]) -> str:
    """A side's value."""
    amount = row.a if side == "a" else row.b
    return share(amount) if row.unit == "share" else number(amount)


def percent(value: float, *, sign: bool = True) -> str:
    """A share as a change in percent: one decimal, none from 100% on. A value that rounds to zero is 0.0%."""
    shown = round(value * 100, 1) + 0.0
    digits = 0 if abs(shown) >= 100 else 1
    return f"{shown:+.{digits}f}%" if sign and shown else f"{shown:.{digits}f}%"


def change_text(row: Row) -> str:
    """The change: in percent for a ratio, in percentage points for a share."""
    return _change(row, row.change)


def _change(row: Row, change: float | None, *, sign: bool = True) -> str:
    if change is None:
        return NOTHING
    written = percent(change, sign=sign)
    return written if row.ratio else f"{written.removesuffix('%')} pts"


def interval_text(row: Row) -> str:
    """The 95% interval of the change, in its unit; empty if there is none."""
    if row.low is None or row.high is None:
        return ""
    ends = (row.low, row.high) if row.ratio else (max(-1.0, row.low), min(1.0, row.high))
    low, high = (percent(end).removesuffix("%") for end in ends)
    return f"[{low}, {high}]"


def seen_text(row: Row) -> str:
    """The smallest change that four of five comparisons would detect; a dash if that is a whole share or more."""
    if not row.ratio and row.seen_from is not None and row.seen_from >= 1:
        return NOTHING
    return _change(row, row.seen_from, sign=False)


def at_the_margin(row: ComparedNumber) -> bool:
    """Whether it certainly changed, but perhaps by less than the margin."""
    sure = row.p is not None and row.p < SURE and row.missing is None
    return row.answer == "not shown" and bool(row.spread_known) and sure


def answer_text(row: ComparedNumber) -> str:
    """The answer in a word or two."""
    if row.answer is None:
        return "too few" if "too few" in (row.missing or "") else NOTHING
    if at_the_margin(row):
        return "at margin"
    if row.worse is None:
        return SHORT[row.answer]
    return "worse" if row.worse else "better"


def one_each_shows_no_change(a: str, b: str, kind: str = "runs") -> str:
    """The warning that a comparison of one each cannot show a change of the setup."""
    return f"A change of the setup from {a} to {b} is not shown: the spread between {kind} is not known ({MORE_RUNS[kind]})."


def method_text(versus: SideAgainstSide, sides: Mapping[str, ComparedSide]) -> str:
    """The basis of a comparison of two sides."""
    a, b = (len(sides[name].runs) for name in (versus.a, versus.b))
    return METHODS[versus.method].format(a=a, b=b)
