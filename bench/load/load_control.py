"""Sets the load of a running run: which loads it accepts, when a change begins, and what the crew is told.

Everything here is called in the measuring loop and does no I/O. Other processes go through `bench/control.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.clock import NS_PER_S, Clock
from bench.config.values import MOST_RATE, MOST_USERS
from bench.errors import UsageError
from bench.machine import preflight
from bench.run_files.load_change import LoadChange

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.load.crew import Crew
    from bench.load.live import LiveNumbers
    from bench.load.supervision import Interrupts

MOST_CHANGES = 1_000
"""Each adds a segment to the report."""
NO_CHANGES = "the load of this run stays: it is one of a search, a sweep, repeats or a calibration"
TOO_LATE_S = 1.0
"""A change this close to the planned end would not affect any number."""


@dataclass(frozen=True, slots=True)
class BegunLoad:
    """A load as it began. `changeable`: others may set it, if its mode and settings allow that."""

    config: RunConfig
    start_ns: int
    workers: int
    changeable: bool


class LoadControl:
    """Sets the load of a run that allows changes, and ends the load: a `Control` of bench/observer.py."""

    def __init__(
        self,
        load: BegunLoad,
        crew: Crew,
        clock: Clock,
        interrupts: Interrupts,
        *,
        numbers: Callable[[int], LiveNumbers],
        note: Callable[[LoadChange], None],
    ) -> None:
        """`numbers` gives the load at an instant. `note` records a change, without waiting for the disk."""
        self._load = load
        self._config = load.config
        self._crew = crew
        self._clock = clock
        self._interrupts = interrupts
        self._numbers = numbers
        self._note = note
        self._changes: list[LoadChange] = []

    def interrupt(self) -> None:
        self._interrupts.interrupt()

    def terminate(self) -> None:
        """Cut the requests in flight without waiting."""
        self._interrupts.terminate()

    def load_at(self, now_ns: int) -> float | None:
        """The load as currently planned; None in a mode that plans no number."""
        made = [change.after for change in self._changes if change.t_ns <= now_ns]
        return made[-1] if made else self._config.load.load_at(now_ns - self._load.start_ns)

    @property
    def unit(self) -> str:
        return self._config.load.load_unit or ""

    def set_load(self, load: float, by: str = "python") -> LoadChange:
        """Set users or requests per second. Returns the change. Raises UsageError with one sentence if it is refused."""
        now_ns = self._clock.now_ns()
        before = self._changes[-1].after if self._changes else self._config.load.load_at(now_ns - self._load.start_ns)
        lead_ns = self._crew.lead_ns(load)
        problem = self._problem(load, before, now_ns, lead_ns)
        if problem is not None or before is None:
            raise UsageError(problem or NO_CHANGES)
        at_ns = now_ns + lead_ns
        if self._changes:  # An earlier change may have had to wait longer: changes take effect in order.
            at_ns = max(at_ns, self._changes[-1].t_ns + 1)
        change = LoadChange(t_ns=at_ns, before=before, after=float(load), by=by)
        self._note(change)
        self._changes.append(change)
        self._crew.change(at_ns, change.after)
        return change

    def since_start_s(self, change: LoadChange) -> float:
        """When a change takes effect, in seconds from the start of the load."""
        return (change.t_ns - self._load.start_ns) / NS_PER_S

    def _problem(self, load: float, before: float | None, now_ns: int, lead_ns: int) -> str | None:
        if (why := self._config.fixed_load) is not None:
            return why
        if not self._load.changeable:
            return NO_CHANGES
        if (wrong := self._out_of_range(load)) is not None:
            return wrong
        if load == before:
            return f"the load is {load:g} {self.unit} already"
        numbers = self._numbers(now_ns)
        if numbers.run_s <= 0:
            doing = "the run is warming up" if numbers.warming_up else "the load has not begun yet"
            return f"{doing}: set its load a little later"
        if self._interrupts.seen or numbers.all_sent or self._ends_within(TOO_LATE_S, numbers):
            return "the run sends no more requests, or ends within a second: its load cannot be changed any more"
        if self._ends_within(TOO_LATE_S + lead_ns / NS_PER_S, numbers):
            return (
                f"this change could begin in {lead_ns / NS_PER_S:g} s, and the run ends less than a second after that"
            )
        if len(self._changes) >= MOST_CHANGES:
            return f"the load of this run was changed {MOST_CHANGES:,} times, which is the most"
        return None

    def _ends_within(self, seconds: float, numbers: LiveNumbers) -> bool:
        lasts_s = self._config.lasts_s
        return lasts_s is not None and numbers.run_s > lasts_s - seconds

    def _out_of_range(self, load: float) -> str | None:
        whole = self.unit in ("users", "sessions")
        most = MOST_USERS if whole else MOST_RATE
        if not math.isfinite(load) or not 0 < load <= most:
            return f"{load:g} {self.unit} is not a load: give more than 0 and at most {most:,.0f}"
        if not whole:
            return None
        if not float(load).is_integer():
            return f"{load:g} {self.unit} do not exist: give a whole number"
        if load < self._load.workers:
            return f"this run has {self._load.workers} workers: give at least {self._load.workers} {self.unit}"
        try:
            preflight.check(-(-round(load) // self._load.workers))
        except UsageError as e:
            return " ".join(e.problems)
        return None
