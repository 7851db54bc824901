"""What the console answers a request with that it cannot fulfil; each has an HTTP status."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import BenchError


class ConsoleError(BenchError):
    """One sentence for the user."""

    status = 400


class NotFound(ConsoleError):
    """No such task, file or target."""

    status = 404


class Conflict(ConsoleError):
    """It does not go with what the task is now."""

    status = 409


class TooLarge(ConsoleError):
    """More than may be sent or unpacked."""

    status = 413


class DiskProblem(ConsoleError):
    """The disk is full, or cannot be read."""

    status = 507


class Refused(ConsoleError):
    """What was given is wrong: every problem, and the field of each where it has one."""

    status = 422

    def __init__(self, problems: Sequence[tuple[str | None, str]]) -> None:
        super().__init__("; ".join(sentence for _, sentence in problems))
        self.problems = tuple(problems)
