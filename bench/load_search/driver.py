"""Drives a search: visit after visit, search.json after each, and an answer however it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.errors import BenchError, TargetError, UsageError
from bench.load_search.decisions import Ending, Search
from bench.load_search.files import SearchDirectory
from bench.load_search.visits import Result, Visit
from bench.series.drive import End
from bench.series.drive import drive as go_through

MakeVisit = Callable[[Search, Visit], Result]
"""Makes a visit to a server, or a simulated one in a test. Raises Interrupted on Ctrl-C, and TargetError or UsageError
if the visit cannot be made."""


class Follower:
    """Follows a search in the terminal, a notebook or a test. The base class does nothing."""

    def visit_begins(self, search: Search, visit: Visit) -> None:
        """Called before a visit."""

    def visit_ended(self, search: Search, result: Result) -> None:
        """Called after a visit."""

    def search_ended(self) -> None:
        """Called after the last visit."""


@dataclass(frozen=True, slots=True)
class SearchEnd:
    """How a search ended. `error` is the error that ended it, if any."""

    stopped_by: Ending
    error: BenchError | None = None


def drive(
    search: Search,
    directory: SearchDirectory,
    make_visit: MakeVisit,
    follower: Follower,
    *,
    config_sha256: str,
    require: float | None = None,
) -> SearchEnd:
    """Search until there is an answer, Ctrl-C, or an error. `search` and search.json then hold what is known.

    Raises UsageError if not even the first visit can be made.
    """

    def next_visit(_: Sequence[Result]) -> Visit | End:
        step = search.next()
        return End(step) if isinstance(step, Ending) else step

    def make(visit: Visit) -> Result:
        follower.visit_begins(search, visit)
        result = make_visit(search, visit)
        search.add(result)
        return result

    def write(_: Sequence[Result], end: End | None) -> None:
        directory.write(search, config_sha256, None if end is None else Ending(str(end.why)), require)

    def why_error_ends(_: Visit, error: TargetError | UsageError) -> Ending | None:
        return Ending.TARGET if isinstance(error, TargetError) else Ending.MACHINE if search.results else None

    try:
        _, end = go_through(
            next_visit,
            make,
            write=write,
            tell=lambda _, result: follower.visit_ended(search, result),
            why_error_ends=why_error_ends,
        )
    finally:
        follower.search_ended()
    error = end.error if isinstance(end.error, (TargetError, UsageError)) else None
    return SearchEnd(Ending(str(end.why)), error)
