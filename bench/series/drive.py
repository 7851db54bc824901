"""The way through a series: step after step, until its decision says that it ends, an error does, or Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.errors import Interrupted, TargetError, UsageError

S = TypeVar("S")
R = TypeVar("R")

INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class End:
    """Why a series ended, None after its last step. `error` is what ended it, if an error or Ctrl-C did."""

    why: str | None = None
    error: BaseException | None = None

    def refuse_interrupted(self, sentence: str) -> None:
        """Of a series that is worth nothing unless complete: raises Interrupted with this sentence if a run was ended, and a
        Ctrl-C between two runs as it came."""
        if isinstance(self.error, Interrupted):
            raise Interrupted(sentence) from self.error
        if isinstance(self.error, KeyboardInterrupt):
            raise self.error


def in_order(steps: Sequence[S]) -> Callable[[Sequence[object]], S | End]:
    """The decision of a series whose steps are listed."""
    return lambda results: End() if len(results) == len(steps) else steps[len(results)]


def drive(
    decide: Callable[[Sequence[R]], S | End],
    make: Callable[[S], R],
    *,
    write: Callable[[Sequence[R], End | None], None] = lambda results, end: None,
    tell: Callable[[S, R], None] = lambda step, result: None,
    why_error_ends: Callable[[S, TargetError | UsageError], str | None] = lambda step, error: None,
) -> tuple[Sequence[R], End]:
    """Make the steps that `decide` asks for, given the results so far. Returns the results, and how it ended.

    `write` puts the file of the series in place: before the first step, after each (the end is None), and at the end; so a
    series that is killed loses the step that was running. `tell` says what came of a step, once it is written.
    `why_error_ends` says why a step that cannot be made ends the series; None raises the error.
    """
    results: list[R] = []
    try:
        write(results, None)
        while not isinstance(step := decide(results), End):
            try:
                result = make(step)
            except (TargetError, UsageError) as e:
                if (why := why_error_ends(step, e)) is None:
                    raise
                step = End(why, e)
                break
            results.append(result)
            write(results, None)
            tell(step, result)
        end = step
    except (Interrupted, KeyboardInterrupt) as e:
        end = End(INTERRUPTED, e)
    write(results, end)
    return results, end
