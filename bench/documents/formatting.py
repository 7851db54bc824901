"""How reports write numbers: four significant digits everywhere. None is a dash: there is no value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from bench.metrics import bounds
from bench.results.numbers import Metric, TooFewValues
from bench.results.summary import ObjectiveResult

NOTHING = "–"


def number(value: float | None) -> str:
    """A number with four significant digits, without decimals from 1,000 on and for whole numbers."""
    if value is None:
        return NOTHING
    # Round first: 9.9996 is written as 10.00, not as 10.000 with the decimals of a number below ten.
    size = abs(float(f"{value:.4g}"))
    if size >= 1000 or _is_whole(value):
        return f"{value:,.0f}"
    decimals = 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:.{decimals}f}" if size >= 0.01 else plain(value, 2)


def _is_whole(value: float) -> bool:
    """Whether a number is whole but for rounding: 100 x 0.07 is not 7 to the last digit."""
    return math.isclose(value, round(value), rel_tol=1e-12)


def plain(value: float, digits: int) -> str:
    """A number with this many significant digits, never with an exponent."""
    return f"{Decimal(f'{value:.{digits}g}'):,f}"


def interval(ends: Sequence[float | None] | None) -> str:
    """An interval, `low–high`, or `over low` if it is unbounded above; empty if there is none."""
    if ends is None:
        return ""
    least, greatest = ends
    return f"over {number(least)}" if greatest is None else f"{number(least)}–{number(greatest)}"


def about(value_s: float) -> str:
    """A length of time in one unit, for how long a run would have to be."""
    for length_s, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if value_s >= 2 * length_s:
            return f"{math.ceil(value_s / length_s)} {unit}"
    return f"{math.ceil(value_s)} s"


def missing(too_few: TooFewValues) -> str:
    """Why a number has no interval, and how long a run would give it one."""
    have, needed, run_s = math.floor(too_few.independent), too_few.needed, too_few.run_s
    longer = "" if run_s is None else f"; a run of about {about(run_s)} would do"
    return f"too few independent values: {have:,} of {needed:,}{longer}"


def statistic(row: Metric, stat: str) -> str:
    """A statistic of a metric in a summary; if the stamps' bounds are wider than the value itself, its bounds."""
    return interval(row.bounds[stat]) if bounds.meaningless(row, stat) else number(row.of(stat))


def share(value: float | None) -> str:
    """A share in percent."""
    if value is None:
        return NOTHING
    percent = value * 100
    return f"{percent:.0f}%" if _is_whole(percent) else f"{percent:.2f}%" if percent < 10 else f"{percent:.1f}%"


def si(value: float | None, digits: int = 3) -> str:
    """A number with an SI prefix: 12.3 k, 4.56 M. For amounts such as bytes, and for tick marks."""
    if value is None:
        return NOTHING
    size = abs(float(f"{value:.{digits}g}"))  # Round first: 999,600 is 1 M, not 1,000 k.
    scales = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1e-3, ""), (1e-6, "µ"), (0.0, "n"))
    prefix, scale = next((prefix, limit or 1e-9) for limit, prefix in scales if size >= limit)
    if not prefix or not size:
        return plain(value, digits)
    return f"{plain(value / scale, digits)} {prefix}"


def mark(value: float, largest: float) -> str:
    """A tick mark of an axis with this largest value: there is room for 9 characters. Round values need no more digits."""
    return plain(value, 9) if 1e-3 <= largest < 1e6 else si(value, digits=9)


def seconds(value: float | None) -> str:
    """A time within the run."""
    return NOTHING if value is None else f"{value:,.1f} s"


_UNITS = {"1/s": "per s", "1/h": "per hour"}


def measured(value: float | None, unit: str) -> str:
    """A value of an objective, in the unit that summaries name."""
    if value is None:
        return NOTHING
    return share(value) if unit == "share" else in_unit(number(value), unit)


def in_unit(text: str, unit: str) -> str:
    """A number, or an interval, followed by its unit."""
    return f"{text} {_UNITS.get(unit, unit)}"


def objective_value(row: ObjectiveResult) -> str:
    """The value that an objective is compared with, or its bounds if the stamps show no more. The statistic is named if
    the objective does not name it."""
    value = measured(row.value, row.unit) if row.between is None else f"{interval(row.between)} {row.unit}"
    return value if row.stat is None or row.value is None or ":" in row.objective else f"{row.stat} {value}"


def duration(seconds: float) -> str:
    """A duration for readers: 45 s, 12.5 min, 2 h."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    amount, unit = (seconds / 60, "min") if seconds < 5400 else (seconds / 3600, "h")
    return f"{f'{amount:.1f}'.removesuffix('.0')} {unit}"


def age(value_s: float) -> str:
    """How long ago something was: whole minutes, hours or days."""
    for length_s, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if value_s >= length_s:
            n = int(value_s // length_s)
            return f"{n:,} {unit}{'s' if n > 1 else ''}"
    return "less than a minute"


def signed(value: float | None) -> str:
    """A difference with its sign. A value that rounds to zero is +0."""
    return NOTHING if value is None else f"{round(value, 3) + 0.0:+,.3f}"


def signed_share(value: float | None) -> str:
    """A difference as a share, in percent."""
    return NOTHING if value is None else f"{round(value * 100, 2) + 0.0:+,.2f}%"
