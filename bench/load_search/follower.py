"""Shows a search in the terminal, every second: the current visit, what is known so far, and the time left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TextIO

from bench.documents.formatting import duration
from bench.load.live import LiveNumbers
from bench.load_search.answer import hinted, known_text, load_text
from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Search
from bench.load_search.driver import Follower
from bench.load_search.evidence import counts, kept_objectives, unmeasured
from bench.load_search.visit_table import broke
from bench.load_search.visits import Result, Visit
from bench.observer import Cadence, Control
from bench.terminal import Terminal

DRAWN, LINES = Cadence(first_s=0.5, every_s=1.0), Cadence(first_s=30.0, every_s=30.0)
"""How often to report on a terminal, and on other outputs."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a search knows at the start of a visit: the lines shown until the visit ends."""

    trying: str
    known: str
    settle_s: float
    measure_s: float
    spent_s: float
    budget_s: float
    left_s: float


def situation(search: Search, visit: Visit, require: float | None) -> Situation:
    """The situation at the start of a visit."""
    kind = search.settings.load_kind
    return Situation(
        trying=f"visit {visit.n}, {_PHASES[visit.phase]} {load_text(visit.load, kind)}",
        known=_known(search, visit.load if require is None else require),
        settle_s=visit.settle_s,
        measure_s=visit.measure_s,
        spent_s=search.seconds,
        budget_s=search.settings.budget_s,
        left_s=search.time_left_s(),
    )


_PHASES = {"scout": "a short one at", "visit": "at", "again": "once more and longer at"}


def _known(search: Search, at: float) -> str:
    if search.visits:
        return f"known: {known_text(search, conclude(search), at)}"
    hint = hinted(search)
    return f"known: {hint} (short visits, a hint)" if hint else "known: nothing yet"


def progress_lines(now: Situation, numbers: LiveNumbers) -> list[str]:
    """The lines shown during a visit."""
    if numbers.warming_up:
        stage = f"settling, {duration(min(numbers.elapsed_s, now.settle_s))} of {duration(now.settle_s)}"
    elif not numbers.all_sent and numbers.run_s < now.measure_s:
        stage = f"measuring, {duration(numbers.run_s)} of {duration(now.measure_s)}"
    else:
        stage = f"waiting for {numbers.in_flight:,} in flight" if numbers.in_flight else "ending"
    facts = [f"in flight {numbers.in_flight:,}"]
    if numbers.failed:
        facts.append(f"failed {numbers.failed:,}")
    for entry in numbers.objectives[:2]:
        if entry.value is not None and not numbers.warming_up:
            facts.append(f"{entry.objective.text}: {'held' if entry.held else 'missed'} so far")
    left = max(0.0, now.left_s - numbers.elapsed_s)
    spent = now.spent_s + numbers.elapsed_s
    return [
        f"  {now.trying}: {stage}",
        f"  {', '.join(facts)}",
        f"  {now.known}",
        f"  {duration(spent)} of {duration(now.budget_s)}, about {duration(left)} left",
    ]


_LOST = {
    "INVALID": "INVALID, the client could not measure it",
    "FAILED": "FAILED, which says nothing about the load",
}


def outcome(search: Search, result: Result) -> str:
    """The outcome of a visit in a word or two. A scout never holds, because it is too short for that."""
    if result.phase == "visit" and result.kept_up is False and kept_objectives(search.settings.goals, result):
        return "is to be repeated"
    if search.broke(result):
        return "broke" if result.phase == "scout" else "did not hold"
    if result.phase != "scout" and (silent := unmeasured(search.settings.goals, result)):
        return f"does not show {silent[0].text}"
    return "did not clearly break" if result.phase == "scout" else "held"


def _seconds(seconds: float) -> str:
    """A time as text. A scout's times have fractions."""
    return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"


def came_of(search: Search, result: Result) -> str:
    """The outcome of a visit with its evidence: the share of the requests that broke each objective."""
    shares = [
        f"{goal.text}: {broke(result, goal)[0]}"
        if goal.allowed is None
        else f"{broke(result, goal)[0]} broke {goal.text}"
        for goal in search.settings.goals
    ]
    if result.kept_up is False:
        shares.append("requests pile up")
    judged = "1 request" if result.requests == 1 else f"{result.requests:,} requests"
    return f"{outcome(search, result)} ({', '.join(shares)}; {judged})"


def ended_lines(search: Search, result: Result, require: float | None) -> list[str]:
    """The lines that remain after a visit."""
    kind = search.settings.load_kind
    load = load_text(result.load, kind)
    if not counts(result):
        return [f"visit {result.n}: {load}: {_LOST[result.verdict]}"]
    return [
        f"visit {result.n}: {load} {came_of(search, result)}",
        f"  {_known(search, result.load if require is None else require)}",
    ]


class SearchTerminal(Terminal, Follower):
    """Follows a search and the load of its visits. Ctrl-C ends the visit and the search."""

    def __init__(self, stream: TextIO, *, require: float | None = None, quiet: bool = False) -> None:
        super().__init__(stream, quiet=quiet)
        self._require = require
        self._now: Situation | None = None
        self._wait = ExitStack()

    @property
    def cadence(self) -> Cadence | None:
        """Every second if lines are redrawn, rarely if each line stays."""
        if super().cadence is None:
            return None
        return DRAWN if self.is_terminal else LINES

    def progress(self, numbers: LiveNumbers) -> None:
        """Draw the load. After the load has been sent, only the outcome of the visit is reported."""
        if self.is_terminal or not numbers.all_sent:
            super().progress(numbers)

    def lines(self, numbers: LiveNumbers, *, unicode: bool) -> list[str]:
        """The lines of a search instead of those of a run."""
        del unicode
        assert self._now is not None
        return progress_lines(self._now, numbers)

    def visit_begins(self, search: Search, visit: Visit) -> None:
        self._now = situation(search, visit, self._require)
        if not self.is_terminal:
            took = f"{_seconds(visit.settle_s)} to settle, {_seconds(visit.measure_s)} to measure"
            left = f"about {duration(self._now.left_s)} of {duration(self._now.budget_s)} left"
            self.say(f"{self._now.trying} ({took}; {left})")
        self._wait.enter_context(self.waiting(f"preparing {self._now.trying}"))

    def waiting(self, what: str | Callable[[], str]) -> AbstractContextManager[None]:
        """Replaces the previous wait, because only one wait is shown at a time."""
        self._wait.close()
        return super().waiting(what)

    def load_begins(self, control: Control) -> None:
        """The load has its own lines."""
        self._wait.close()
        super().load_begins(control)

    def load_ended(self) -> None:
        """Remove the lines of the visit. Its results are read now."""
        self.wipe()
        super().load_ended()
        self._wait.enter_context(self.waiting("reading what it brought back"))

    def visit_ended(self, search: Search, result: Result) -> None:
        self._wait.close()
        for line in ended_lines(search, result, self._require):
            self.say(line)

    def search_ended(self) -> None:
        """Restore the terminal."""
        self._wait.close()
