"""The loop of a series: step after step, until its decision ends it, an error occurs, or Ctrl-C."""

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
    """Why a series ended; `why` is None after its last step. `error`: the error or KeyboardInterrupt that ended it, if
    any."""

    why: str | None = None
    error: BaseException | None = None

    def refuse_interrupted(self, sentence: str) -> None:
        """For a series that is worthless unless complete: raises Interrupted with this sentence if a run was
        interrupted, and re-raises a Ctrl-C that came between two runs."""
        if isinstance(self.error, Interrupted):
            raise Interrupted(sentence) from self.error
        if isinstance(self.error, KeyboardInterrupt):
            raise self.error


def in_order(steps: Sequence[S]) -> Callable[[Sequence[object]], S | End]:
    """A decision that takes the steps in order."""
    return lambda results: End() if len(results) == len(steps) else steps[len(results)]


def drive(
    decide: Callable[[Sequence[R]], S | End],
    make: Callable[[S], R],
    *,
    write: Callable[[Sequence[R], End | None], None] = lambda results, end: None,
    tell: Callable[[S, R], None] = lambda step, result: None,
    why_error_ends: Callable[[S, TargetError | UsageError], str | None] = lambda step, error: None,
) -> tuple[Sequence[R], End]:
    """Run the steps that `decide` asks for, given the results so far. Returns the results, and how the series ended.

    `write` writes the file of the series: before the first step, after each (the end is None), and at the end. A series
    that is killed therefore loses only the running step. `tell` reports a step, once it is written. `why_error_ends`
    returns why a step that fails ends the series, or None to raise the error.
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
