"""Observers follow a run and may end it: the terminal, a search, a web page, a test."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from bench.load.live import LiveNumbers
    from bench.run_files.load_change import LoadChange


class Cadence(NamedTuple):
    """When an observer receives live numbers: after `first_s` seconds, then every `every_s`."""

    first_s: float
    every_s: float


class Control(Protocol):
    """How an observer ends or changes a load. What has been measured is evaluated all the same."""

    def interrupt(self) -> None:
        """On the first call, stop sending and let requests in flight finish; on the second, cut them off."""

    def terminate(self) -> None:
        """Cut off requests in flight at once."""

    def set_load(self, load: float) -> LoadChange:
        """Set the users, or the requests per second, from now on. The report then has numbers for each part.

        Works in the modes concurrency, rate and sessions, if no change of the load is planned. Otherwise raises
        UsageError with the reason.
        """


class Observer:
    """Follows a run. This one does nothing: override what you need.

    During the load every method is called in the measuring loop, so each must return within a fraction of a millisecond:
    hand anything longer to a thread.
    """

    def say(self, line: str) -> None:
        """A sentence for people: a stage begins, a note, a warning."""

    def waiting(self, what: str | Callable[[], str]) -> AbstractContextManager[None]:
        """A context around each wait before and after the load; `what` names it."""
        return nullcontext()

    @property
    def cadence(self) -> Cadence | None:
        """When `progress` is called; None: never."""
        return None

    def load_begins(self, control: Control) -> None:
        """The load begins, and can be ended from now on."""

    def progress(self, numbers: LiveNumbers) -> None:
        """The current numbers of the load."""

    def load_ended(self) -> None:
        """The load has ended. The report follows."""

    def run_ended(self) -> None:
        """The run is over, with or without a report. Also called if no load began."""


SILENT = Observer()
"""Prints nothing, and does not handle signals."""


class PassingOn(Observer):
    """Passes everything on to another observer. Override what should differ."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def say(self, line: str) -> None:
        """Passed on, like everything else."""
        self._observer.say(line)

    def waiting(self, what: str | Callable[[], str]) -> AbstractContextManager[None]:
        return self._observer.waiting(what)

    @property
    def cadence(self) -> Cadence | None:
        return self._observer.cadence

    def load_begins(self, control: Control) -> None:
        self._observer.load_begins(control)

    def progress(self, numbers: LiveNumbers) -> None:
        self._observer.progress(numbers)

    def load_ended(self) -> None:
        self._observer.load_ended()

    def run_ended(self) -> None:
        self._observer.run_ended()


class LoadOnly(PassingOn):
    """For one run of many: passes on only the load to another observer, without the messages around it. Without
    `progress`, passes on only the control of the load."""

    def __init__(self, observer: Observer, *, progress: bool = True) -> None:
        super().__init__(observer)
        self._progress = progress
        self._loading = False
        self._over = False

    def say(self, line: str) -> None:
        """Passes on only messages during the load, such as the one on Ctrl-C."""
        if self._loading:
            super().say(line)

    def waiting(self, what: str | Callable[[], str]) -> AbstractContextManager[None]:
        """Shows nothing: the series names its own waits."""
        return nullcontext()

    @property
    def cadence(self) -> Cadence | None:
        return super().cadence if self._progress else None

    def load_begins(self, control: Control) -> None:
        self._loading, self._over = True, False
        super().load_begins(control)

    def load_ended(self) -> None:
        """Passed on, and the run is over for the other observer too: a Ctrl-C from here on is for the series, and ends
        it. The report of the run is made again when the series continues."""
        self._loading = False
        super().load_ended()
        self.run_ended()

    def run_ended(self) -> None:
        """Passed on once per run."""
        if not self._over:
            self._over = True
            super().run_ended()
