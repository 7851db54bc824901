"""Every error that ends a command, with its exit status.

    BenchError                70  (a defect of ours, unless a subclass is more precise)
    ├── UsageError             2  wrong usage or configuration: all problems at once
    │   └── RecordError        2  a line of a run directory that cannot be read
    ├── TargetError            4  the target could not be measured
    └── Interrupted          130  stopped by the user; what was measured is saved

A failed request is no exception: it is a record with an Outcome. Whether objectives held (1) or the measurement is
INVALID (3) is a result, not an error: `exit_status` in evaluate.py decides between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """The exit statuses that scripts rely on."""

    GOOD = 0
    OBJECTIVE_FAILED = 1
    USAGE = 2
    INVALID = 3
    TARGET = 4
    DEFECT = 70
    INTERRUPTED = 130


PRECEDENCE = (Exit.INTERRUPTED, Exit.USAGE, Exit.DEFECT, Exit.TARGET, Exit.INVALID, Exit.OBJECTIVE_FAILED, Exit.GOOD)
"""If several apply, the first in this order is the exit status."""


class BenchError(Exception):
    """Base class: carries one clear sentence and an exit status."""

    exit_code: Exit = Exit.DEFECT


class UsageError(BenchError):
    """Wrong usage or configuration. `problems` has one sentence for each problem found."""

    exit_code = Exit.USAGE

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class RecordError(UsageError):
    """A record that cannot be read."""


class TargetError(BenchError):
    """The target could not be measured: it is unreachable, or refuses the requests of the load."""

    exit_code = Exit.TARGET


class Interrupted(BenchError):
    """Stopped by the user."""

    exit_code = Exit.INTERRUPTED
