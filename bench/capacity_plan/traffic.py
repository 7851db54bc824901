"""The traffic of a plan's day: hours with their rates, and the requests of a stretch of each.

A schedule of rates is a CSV file with a row for each part of the day, `time,rate`: its start (06:00, or hours as a
number), and requests per second. A part lasts until the next part, and the last until the day is over, 24 hours
after the first began (of a longer schedule, as long as the one before). Its requests are drawn: Poisson or bursty arrivals,
and lengths from distributions. A trace has its own requests: a part is an hour of it, and the stretch of a part is its
busiest one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal, Protocol, cast
from zlib import crc32

from bench.errors import UsageError
from bench.rng import stream
from bench.schedule import gamma, poisson
from promptset.distributions import Distribution, parse
from promptset.errors import SpecError
from promptset.loaders import DataSet, parse_columns
from promptset.samples import Sample
from promptset.whole_file import read_text

HOUR_S, DAY_S = 3600.0, 86_400.0
_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d)")
_MOST_PARTS = 24
_PREFIX_PARTS = 1 << 30


@dataclass(frozen=True, slots=True)
class Hour:
    """A part of the day with one rate, in requests per second."""

    start_s: float
    duration_s: float
    rate: float


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of a stretch, in order of time. `prefix`: group and shared tokens of each, or empty."""

    at_us: Sequence[float]
    input_tokens: Sequence[int]
    output_tokens: Sequence[int]
    prefix: Sequence[tuple[int, int]] = ()


class Traffic(Protocol):
    """A day."""

    @property
    def hours(self) -> Sequence[Hour]:
        """The parts of the day, in order of time."""

    def requests(self, hour: Hour, seconds: float, draw: int, times: float = 1.0) -> Requests:
        """The requests of a stretch of an hour, with its rate multiplied by `times`."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rates, with randomly drawn lengths."""

    hours: Sequence[Hour]
    input_tokens: Distribution
    output_tokens: Distribution
    burstiness: float = 1.0
    """Shape of the gaps between arrivals: 1 is Poisson, less is burstier."""

    def requests(self, hour: Hour, seconds: float, draw: int, times: float = 1.0) -> Requests:
        """At every rate the arrivals are the same except for their speed, so that rates can be compared."""
        process = poisson if self.burstiness == 1 else gamma
        gaps = process.offsets(1.0, self.burstiness, stream(draw, "plan-arrivals"))
        rate = hour.rate * times
        many = max(1, round(rate * seconds))
        at_us = [offset / rate / 1e3 for offset in islice(gaps, many)]
        lengths = stream(draw, "plan-lengths")
        inputs = [max(1, int(self.input_tokens.sample(lengths))) for _ in range(many)]
        outputs = [max(1, int(self.output_tokens.sample(lengths))) for _ in range(many)]
        return Requests(at_us, inputs, outputs)


@dataclass(frozen=True, slots=True)
class Trace:
    """Recorded requests, each with a time and lengths. `left_out`: rows that are bad, or have no time or lengths."""

    hours: Sequence[Hour]
    rows: Sequence[Sample]
    left_out: int = 0

    def requests(self, hour: Hour, seconds: float, draw: int, times: float = 1.0) -> Requests:
        """The busiest stretch of the hour. `times` compresses it in time."""
        del draw
        rows = [row for row in self.rows if hour.start_s <= _at(row) < hour.start_s + hour.duration_s]
        starts = _busiest([_at(row) for row in rows], seconds * times)
        chosen = [row for row in rows if starts <= _at(row) < starts + seconds * times]
        return Requests(
            [(_at(row) - starts) * 1e6 / times for row in chosen],
            [cast("int", row.input_tokens) for row in chosen],
            [cast("int", row.output_tokens) for row in chosen],
            [_shared(place, row) for place, row in enumerate(chosen)],
        )


def _at(row: Sample) -> float:
    assert row.at_s is not None
    return row.at_s


def _shared(place: int, row: Sample) -> tuple[int, int]:
    """The group of the first shared segment, and its number of tokens; a separate group if there is none."""
    if not row.path:
        return place, 0
    name, tokens = row.path[0]
    return _PREFIX_PARTS + crc32(repr(name).encode()) % _PREFIX_PARTS, tokens


def _busiest(at_s: Sequence[float], seconds: float) -> float:
    """The start of the stretch with the most requests."""
    best = first = 0
    most = 0
    for last, at in enumerate(at_s):
        while at_s[first] <= at - seconds:
            first += 1
        if last - first + 1 > most:
            most, best = last - first + 1, first
    return at_s[best]


def read_schedule(path: Path, lengths: Mapping[str, str | None], burstiness: float = 1.0) -> Schedule:
    """A schedule whose requests have lengths from these distributions (input_tokens, output_tokens). Raises UsageError
    with every problem."""
    problems: list[str] = []
    hours: tuple[Hour, ...] = ()
    distributions: dict[str, Distribution] = {}
    try:
        hours = read_rates(path)
    except UsageError as e:
        problems = [*e.problems]
    for name, spec in lengths.items():
        flag = f"--{name.replace('_', '-')}"
        if spec is None:
            problems.append(
                f"{flag} is missing, and the profile does not say what its runs sent: give {flag} 512, for example"
            )
            continue
        try:
            distributions[name] = parse(spec, "tokens")
        except SpecError as e:
            problems += [f"{flag}: {problem}" for problem in e.problems]
    if problems:
        raise UsageError(problems)
    return Schedule(hours, distributions["input_tokens"], distributions["output_tokens"], burstiness)


def read_rates(path: Path) -> tuple[Hour, ...]:
    """The parts of a schedule. Raises UsageError with every problem."""
    try:
        lines = csv.reader(read_text(path).splitlines())
        rows = [(lines.line_num, row) for row in lines if row and not row[0].lstrip().startswith("#")]
    except (OSError, ValueError) as e:
        raise UsageError(f"--rates {path}: cannot be read: {e.strerror if isinstance(e, OSError) else e}") from e
    if rows and not any(map(str.isdigit, rows[0][1][0])) and _rate_of(rows[0][1][-1]) is None:
        rows = rows[1:]  # A header.
    problems: list[str] = []
    points: list[tuple[float, float]] = []
    for number, row in rows:
        start_s, rate = _time_of(row[0]), _rate_of(row[1] if len(row) == 2 else "")
        line = f"--rates {path}: line {number} is {','.join(row)!r}"
        if start_s is None or rate is None:
            problems.append(f"{line}: write time and requests/s, as 06:00,12.5")
        elif points and start_s <= points[-1][0]:
            problems.append(f"{line}: its time must be after that of the line before")
        else:
            points.append((start_s, rate))
    if not problems and (not points or max(rate for _, rate in points) <= 0):
        problems.append(f"--rates {path}: it has no rate above 0: write rows like 06:00,12.5")
    if problems:
        raise UsageError(problems)
    lasts = [later - earlier for (earlier, _), (later, _) in pairwise(points)]
    left_s = points[0][0] + DAY_S - points[-1][0]
    lasts.append(left_s if left_s > 0 else lasts[-1])
    return tuple(Hour(start_s, last, rate) for (start_s, rate), last in zip(points, lasts, strict=True))


def _time_of(text: str) -> float | None:
    """Seconds from `06:30`, or from hours as a number."""
    if match := _CLOCK.fullmatch(text.strip()):
        return int(match[1]) * HOUR_S + int(match[2]) * 60
    hours = _rate_of(text)
    return None if hours is None else hours * HOUR_S


def _rate_of(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def read_trace(path: Path, columns: str | None = None, bad_rows: Literal["fail", "skip"] = "fail") -> Trace:
    """A trace whose rows have times and the lengths of prompts and answers. Raises UsageError."""
    flag = "--columns"
    try:
        names = None if columns is None else parse_columns(columns)
        flag = "--trace"
        data = DataSet(path, columns=names, bad_rows=bad_rows)
        rows = [row for row in data if row.at_s is not None and row.input_tokens and row.output_tokens]
    except SpecError as e:
        raise UsageError([f"{flag}: {problem}" for problem in e.problems]) from e
    if len(rows) < 2:
        raise UsageError(f"--trace {path}: its rows need a time and the tokens of prompt and answer (docs/datasets.md)")
    rows.sort(key=_at)
    first, last = _at(rows[0]), _at(rows[-1])
    length = HOUR_S if last - first > HOUR_S else max(1.0, (last - first) / _MOST_PARTS)
    hours = []
    for part in range(int((last - first) // length) + 1):
        begin = first + part * length
        many = sum(begin <= _at(row) < begin + length for row in rows)
        hours.append(Hour(begin, length, many / length))
    return Trace(tuple(hours), rows, len(data) + data.skipped_rows - len(rows))
