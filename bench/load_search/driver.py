"""Carries out what a search decides: visit after visit, search.json after each, and an answer however it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.errors import BenchError, TargetError, UsageError
from bench.load_search.decisions import Ending, Search
from bench.load_search.files import SearchDirectory
from bench.load_search.visits import Result, Visit


class Visits(Protocol):
    """Who makes the visits: runs against a server, or a test."""

    def make(self, search: Search, visit: Visit) -> Result | None:
        """Make a visit. None where Ctrl-C ended it; raises TargetError or UsageError where it cannot be made."""


class Follower(Protocol):
    """Whoever follows the search: the terminal, a notebook, a test."""

    def visit_begins(self, search: Search, visit: Visit) -> None:
        """This is tried now."""

    def visit_ended(self, search: Search, result: Result) -> None:
        """It has been tried."""

    def search_ended(self) -> None:
        """Nothing more will be tried."""


class _Nobody:
    """Follows nothing."""

    def visit_begins(self, search: Search, visit: Visit) -> None:
        pass

    def visit_ended(self, search: Search, result: Result) -> None:
        pass

    def search_ended(self) -> None:
        pass


NOBODY: Follower = _Nobody()
"""For a search that nobody follows."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a search ended. `error` is what ended it, where something did."""

    stopped_by: Ending
    error: BenchError | None = None


def drive(
    search: Search,
    directory: SearchDirectory,
    visits: Visits,
    follower: Follower,
    *,
    config_sha256: str,
    require: float | None = None,
) -> Ended:
    """Search until there is an answer, Ctrl-C, or an error; what is known by then is in `search` and in search.json.

    Raises UsageError where not even the first visit can be made.
    """
    try:
        directory.write(search, config_sha256, None, require)
        while not isinstance(step := search.next(), Ending):
            follower.visit_begins(search, step)
            result = visits.make(search, step)
            if result is None:
                step = Ending.INTERRUPTED
                break
            search.add(result)
            directory.write(search, config_sha256, None, require)
            follower.visit_ended(search, result)
        ended = Ended(step)
    except KeyboardInterrupt:
        ended = Ended(Ending.INTERRUPTED)
    except TargetError as e:
        ended = Ended(Ending.TARGET, e)
    except UsageError as e:
        if not search.results:
            raise
        ended = Ended(Ending.MACHINE, e)
    finally:
        follower.search_ended()
    directory.write(search, config_sha256, ended.stopped_by, require)
    return ended
