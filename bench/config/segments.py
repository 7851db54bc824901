"""Parses a load that changes over time: `5,10,20:60s` (--steps) and `1..50:10m` (--ramp)."""

from __future__ import annotations

import re

from bench import loads
from bench.clock import NS_PER_S
from bench.config import values
from bench.schedule.segments import Segment

_LINE = re.compile(r"([0-9]*\.?[0-9]+)\.\.([0-9]*\.?[0-9]+)")


def steps_of(text: str) -> tuple[Segment, ...]:
    """Loads one after the other, each for the time after the colon. Raises ValueError."""
    listed, colon, time = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} lacks a time: write loads and the time of each, 5,10,20:60s")
    lasts_ns = _time_ns(time)
    return tuple(Segment(load, load, lasts_ns) for load in loads.parse(listed))


def line_of(text: str) -> tuple[Segment, ...]:
    """A load that changes from one value to another within the time after the colon. Raises ValueError."""
    listed, _, time = text.rpartition(":")
    match = _LINE.fullmatch(listed.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not a load that rises or falls within a time (1..50:10m); --ramp-up 30s starts users one by one"
        )
    first, last = float(match[1]), float(match[2])
    if max(first, last) > loads.MOST_LOAD:
        raise ValueError(f"{max(first, last):g} is not a load: give at most {loads.MOST_LOAD:,.0f}")
    if first == last:
        raise ValueError(f"{text!r} does not change: for a constant load, write --steps {first:g}:{time.strip()}")
    return (Segment(first, last, _time_ns(time)),)


def checked_steps(value: object) -> str:
    """Returns --steps as written. Raises ValueError."""
    if isinstance(value, (list, tuple)) or value is None:
        raise ValueError(f"{value!r} is not text: write loads and the time of each, '5,10,20:60s'")
    steps_of(str(value))
    return str(value).strip()


def checked_ramp(value: object) -> str:
    """Returns --ramp as written. Raises ValueError."""
    text = str(value).strip()
    line_of(text)
    return text


def _time_ns(text: str) -> int:
    lasts_s = values.seconds(text)
    if lasts_s <= 0:
        raise ValueError(f"{text!r} is not a time: give more than 0 s after the colon")
    return round(lasts_s * NS_PER_S)
