"""The answer of a search, in sentences and as an exit status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, Exit
from bench.load_search.decisions import SURE, UNSURE, Ending, Known, Search
from bench.load_search.goals import KEEPS_UP
from bench.load_search.visit_numbers import VisitNumbers
from bench.load_search.visits import Result
from bench.loads import KINDS
from bench.report.formatting import measured, share

Numbers = Mapping[int, VisitNumbers]


@dataclass(frozen=True, slots=True)
class Answer:
    """`headline` is the one sentence to read, `lines` what stands below it, `exit` the status of the command."""

    headline: str
    lines: tuple[str, ...]
    exit: Exit


def load_number(load: float, kind: str) -> str:
    """A load without its unit. Users are whole: a capacity of 24.6 users holds 24."""
    if KINDS[kind].whole:
        return f"{math.floor(load + 1e-9):,}"
    return f"{load:,.3g}" if load < 1000 else f"{load:,.0f}"


def load_text(load: float, kind: str) -> str:
    """A load with its unit: 36.4/s, 12 users, 12 sessions."""
    number, of = load_number(load, kind), KINDS[kind]
    if of.whole:
        return f"{number} {of.one if number == '1' else of.unit}"
    return f"{number}/s"


def known_text(search: Search, known: Known, at: float | None = None) -> str:
    """What is known so far: between 34.1 and 41.2/s, 71% sure of >= 36/s."""
    kind = search.settings.load_kind
    low, high = load_number(known.low, kind), load_text(known.high, kind)
    sure = None if at is None else search.sure_of(at)
    told = "" if sure is None or at is None else f", {percent(sure)} sure of >= {load_text(at, kind)}"
    return f"between {low} and {high}{told}"


def percent(probability: float) -> str:
    """A probability. Nothing is certain: at most 99%, at least 1%."""
    return f"{min(99, max(1, round(100 * probability)))}%"


def answer(
    search: Search,
    stopped_by: Ending | None,
    numbers: Numbers,
    *,
    require: float | None = None,
    error: BenchError | None = None,
    directory: Path | None = None,
) -> Answer:
    """The answer of a search that ended so; None: it was killed, and this is what it left."""
    known = search.known()
    lines = []
    if known is not None and stopped_by not in (Ending.NOTHING_HOLDS, Ending.NEVER_FAILS) and search_visited(search):
        lines += _known_lines(search, known)
    if require is not None:
        lines.append(_required(search, require))
    lines.append(_ended(search, stopped_by))
    if stopped_by in (None, Ending.BUDGET, Ending.INTERRUPTED, Ending.TARGET, Ending.MACHINE) and directory is not None:
        more = " --budget 1h" if stopped_by is Ending.BUDGET else ""
        lines.append(f"to go on: python -m bench search --resume {directory}{more}")
    return Answer(
        _headline(search, known, stopped_by, numbers),
        tuple(lines),
        _exit(search, known, stopped_by, require, error),
    )


def search_visited(search: Search) -> bool:
    """Whether anything but scouts was made, so that there is more than a guess."""
    return any(result.valid and result.phase != "scout" for result in search.results)


def _headline(search: Search, known: Known | None, stopped_by: Ending | None, numbers: Numbers) -> str:
    kind = search.settings.load_kind
    scouts = [result for result in search.results if result.valid]
    if stopped_by is Ending.NOTHING_HOLDS and scouts:
        lowest = min(scouts, key=lambda result: (result.load, -result.n))
        return f"Nothing holds: at {load_text(lowest.load, kind)} {_broken(search, lowest, numbers)}."
    if stopped_by is Ending.NEVER_FAILS and scouts:
        highest = max(scouts, key=lambda result: (result.load, result.n))
        return (
            f"It never fails: {load_text(highest.load, kind)} is held, and --max allows no more "
            f"({_values(search, highest, numbers)} there)."
        )
    if stopped_by is Ending.CLIENT:
        last = search.results[-1]
        reasons = numbers.get(last.n, VisitNumbers()).reasons
        why = f" ({reasons[0]})" if reasons else ""
        found = known is not None and search_visited(search)
        so_far = f" Until then: {known_text(search, known)}." if found and known else _scouted(search)
        return (
            f"The client is the limit: three visits in a row were INVALID, the last at {load_text(last.load, kind)}{why}."
            f"{so_far}"
        )
    if known is None or not search_visited(search):
        return f"No answer yet.{_scouted(search)}"
    low, high = load_number(known.low, kind), load_text(known.high, kind)
    return f"It holds up to {load_text(known.estimate, kind)}: between {low} and {high} (about 90% sure)."


def _scouted(search: Search) -> str:
    """What scouts alone say."""
    kind = search.settings.load_kind
    held = [result.load for result in search.results if result.valid and not search.broke(result)]
    failed = [result.load for result in search.results if result.valid and search.broke(result)]
    parts = []
    if held:
        parts.append(f"{load_text(max(held), kind)} was held")
    if failed:
        parts.append(f"{load_text(min(failed), kind)} was not")
    return f" In short visits {' and '.join(parts)}." if parts else " No visit has ended."


def _known_lines(search: Search, known: Known) -> list[str]:
    kind = search.settings.load_kind
    keeps_up = "the server keeps up, and beyond it requests pile up"
    lines = [f"what binds: {keeps_up if known.binding == KEEPS_UP else known.binding}"]
    if known.held is not None:
        load, sure = known.held
        lines.append(f"held: {load_text(load, kind)} ({percent(sure)} sure)")
    if known.failed is not None:
        load, sure = known.failed
        lines.append(f"not held: {load_text(load, kind)} ({percent(1 - sure)} sure)")
    return lines


def _required(search: Search, require: float) -> str:
    kind, sure = search.settings.load_kind, search.sure_of(require)
    load = load_text(require, kind)
    if sure is None:
        return f"required: {load}; whether it is held is not known"
    if sure >= SURE:
        return f"required: {load} is held ({percent(sure)} sure)"
    if sure <= UNSURE:
        return f"required: {load} is not held ({percent(1 - sure)} sure)"
    return f"required: {load} is not shown to be held: {percent(sure)} sure, and {percent(SURE)} is asked for"


_WHY: dict[Ending | None, str] = {
    None: "it was killed, or still runs",
    Ending.PRECISION: "the interval is as narrow as asked for",
    Ending.BUDGET: "the budget was spent",
    Ending.CLIENT: "this client cannot measure more",
    Ending.NOTHING_HOLDS: "the lowest load breaks an objective",
    Ending.NEVER_FAILS: "the highest load holds every objective",
    Ending.INTERRUPTED: "interrupted",
    Ending.TARGET: "the server could no longer be measured",
    Ending.MACHINE: "this machine refused to go on",
}


def _ended(search: Search, stopped_by: Ending | None) -> str:
    n = len(search.results)
    visits = "1 visit" if n == 1 else f"{n} visits"
    return f"ended: {_WHY[stopped_by]}, after {visits} and {duration(search.seconds)}"


def duration(seconds: float) -> str:
    """A time for people: 45 s, 12.5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _broken(search: Search, result: Result, numbers: Numbers) -> str:
    """What a visit broke: ttft:p99 is 640 ms."""
    rows = numbers.get(result.n, VisitNumbers()).objectives
    for goal in search.settings.goals:
        row = rows.get(goal.text)
        if row is not None and not row["held"]:
            return _value(row)
    for goal in search.settings.goals:
        broken = result.share(goal.text)
        if goal.allowed is not None and broken is not None and broken > goal.allowed:
            what = "jobs" if goal.text in result.jobs else "requests"
            return f"{share(broken)} of the {what} break {goal.text}"
    return "requests pile up: the server does not keep up"


def _values(search: Search, result: Result, numbers: Numbers) -> str:
    rows = numbers.get(result.n, VisitNumbers()).objectives
    told = [_value(rows[goal.text]) for goal in search.settings.goals if goal.text in rows]
    return ", ".join(told) or "no value"


def _value(row: Mapping[str, object]) -> str:
    """What was measured of an objective."""
    name = f"{row['metric']}" if row["stat"] is None else f"{row['metric']}:{row['stat']}"
    value = row["value"]
    if not isinstance(value, int | float):
        return f"{name} has no value, since every request failed"
    return f"{name} is {measured(float(value), str(row['unit']))}"


def _exit(
    search: Search, known: Known | None, stopped_by: Ending | None, require: float | None, error: BenchError | None
) -> Exit:
    if error is not None:
        return error.exit_code
    if stopped_by is Ending.CLIENT:
        return Exit.INVALID
    if stopped_by is Ending.NOTHING_HOLDS:
        counted = [result for result in search.results if result.valid]
        return Exit.TARGET if all(result.verdict == "FAILED" for result in counted) else Exit.OBJECTIVE_FAILED
    if require is not None:
        sure = search.sure_of(require)
        if sure is not None and sure >= SURE:
            return Exit.GOOD
        return Exit.INTERRUPTED if sure is None and stopped_by is Ending.INTERRUPTED else Exit.OBJECTIVE_FAILED
    if known is None or not search_visited(search):
        return Exit.INTERRUPTED if stopped_by is Ending.INTERRUPTED else Exit.OBJECTIVE_FAILED
    return Exit.GOOD
