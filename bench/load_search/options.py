"""The flags that a search has in addition to those of a run: their values, and all problems with them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from bench.config import values
from bench.config.flags import Option
from bench.errors import UsageError
from bench.load_search.decisions import Settings
from bench.load_search.goals import Goal
from bench.loads import KINDS

_T = TypeVar("_T")
DEFAULT_LOAD = "rate"
LEAST = {"rate": 0.1, "concurrency": 1.0, "sessions": 1.0}
MOST = {"rate": 100_000.0, "concurrency": 100_000.0, "sessions": 100_000.0}

SHORTEST_BUDGET_S, LONGEST_BUDGET_S = 10.0, 30 * 86_400.0
LEAST_PRECISION, MOST_PRECISION = 0.02, 2.0
"""An interval is at least a step of the capacities wide, about 1%."""


OPTIONS = (
    Option(
        "load",
        "rate|concurrency|sessions",
        "what to vary: requests per second, users of a closed loop, or sessions that are live at once (default: rate)",
    ),
    Option("start", "LOAD", "the first load; the search doubles or halves it (default: 1)"),
    Option("min", "LOAD", "never go below this load (default: 0.1/s, 1 user, 1 session)"),
    Option("max", "LOAD", "never go beyond this load (default: 100,000)"),
    Option(
        "precision",
        "P%",
        "stop when the upper end of the interval is at most this much above its lower end (default: 10%%)",
    ),
    Option(
        "budget", "S", "begin no visit after this time; less than 15m shortens every visit in proportion (default: 15m)"
    ),
    Option("require", "LOAD", "exit 1 unless it is 95%% sure that this load is held"),
)

LEFT_TO_THE_SEARCH = {
    "rate": "the search finds it: --start is the rate to begin with, --require one that must be held",
    "concurrency": "the search finds it: give --load concurrency or sessions, and --start for the number to begin with",
    "duration": "visits take as long as they need: --budget is the time for all of them",
    "requests": "visits take as long as they need: --budget is the time for all of them",
    "until": "visits take as long as they need: --precision is how well the capacity shall be known",
    "warmup": "every visit lets the server settle before it measures",
    "ramp_up": "the users of a visit come in while it lets the server settle",
    "ramp": "the search chooses the loads: give --start, --min and --max",
    "steps": "the search chooses the loads: give --start, --min and --max",
    "mode": "give --load rate, --load concurrency or --load sessions",
    "max_errors": "a failed request breaks every objective; to limit failures alone, give --slo error_rate<1%",
}
"""Settings of a run that a search chooses itself. If they come from a file, which may be for a run, they are ignored."""

Given = Mapping[str, str]


def settings_of(
    given: Given, goals: tuple[Goal, ...], kept: Settings | None = None, judged_after_s: float = 0.0
) -> tuple[Settings, float | None]:
    """The settings of a search, and the required load. `kept` are the settings of a search to resume, `judged_after_s`
    is how long ago a job must have been due to be judged.

    Raises UsageError with every problem.
    """
    problems: list[str] = []

    def read(name: str, reader: Callable[[str], _T], otherwise: _T) -> _T:
        if name not in given:
            return otherwise
        try:
            return reader(given[name])
        except ValueError as e:
            problems.append(f"--{name}: {e}")
            return otherwise

    kind = read("load", _load_kind, DEFAULT_LOAD if kept is None else kept.load_kind)
    if kept is not None and kind != kept.load_kind:
        problems.append(
            f"--load {kind}: the search to resume varies the {kept.load_kind}, and a search varies one load"
        )
        kind = kept.load_kind
    base = Settings(kind, goals, least=LEAST[kind], most=MOST[kind], judged_after_s=judged_after_s)
    base = base if kept is None else kept
    load = _reader_of_loads(kind)
    settings = replace(
        base,
        start=read("start", load, base.start),
        least=read("min", load, base.least),
        most=read("max", load, base.most),
        precision=read("precision", _precision, base.precision),
        budget_s=read("budget", _budget, base.budget_s),
    )
    if "start" not in given:
        settings = replace(settings, start=min(max(settings.start, settings.least), settings.most))
    require: float | None = read("require", load, 0.0) or None
    problems += _together(settings, require, complete=not problems)
    if problems:
        raise UsageError(problems)
    return settings, require


def _together(settings: Settings, require: float | None, *, complete: bool) -> list[str]:
    """Options that cannot be combined. `complete`: every value could be parsed, so each may be blamed."""
    problems = []
    if settings.least > settings.most:
        problems.append(f"--min {settings.least:g} is more than --max {settings.most:g}")
    elif complete and not settings.least <= settings.start <= settings.most:
        problems.append(
            f"--start {settings.start:g} is not between --min {settings.least:g} and --max {settings.most:g}"
        )
    if complete and require is not None and require > settings.most:
        problems.append(f"--require {require:g} is more than --max {settings.most:g}, so that it would never be tried")
    return problems


def _load_kind(text: str) -> str:
    if text not in KINDS:
        raise ValueError(f"{text!r} is not one of {', '.join(KINDS)}")
    return text


def _reader_of_loads(kind: str) -> Callable[[str], float]:
    of = KINDS[kind]

    def read(text: str) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(/s)?", text.replace(",", "").strip())
        if match is None or (match[2] and of.whole):
            raise ValueError(f"{text!r} is not a load: give a number of {of.unit}")
        value = float(match[1])
        if not value > 0:
            raise ValueError("must be more than 0")
        if value > MOST[kind]:
            raise ValueError(f"{value:,.0f} is more than the {MOST[kind]:,.0f} that one client can be asked for")
        if of.whole and not value.is_integer():
            raise ValueError(f"{value:g} {of.unit} do not exist: give a whole number")
        if kind == "rate":
            values.requests_per_s(value)
        return value

    return read


def _precision(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(%)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a width such as 10%")
    value = float(match[1]) / (100 if match[2] else 1)
    if not match[2] and value >= 1:
        raise ValueError(f"{text} without a unit is {value * 100:g}%: write {value:g}%")
    if not LEAST_PRECISION <= value <= MOST_PRECISION:
        raise ValueError(f"give between {LEAST_PRECISION:.0%} and {MOST_PRECISION:.0%}")
    return value


def _budget(text: str) -> float:
    value = values.seconds(text)
    if not SHORTEST_BUDGET_S <= value <= LONGEST_BUDGET_S:
        raise ValueError(f"give between {SHORTEST_BUDGET_S:g} s and 30 days (given: {text})")
    return value
