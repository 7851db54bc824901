"""The errors of requests to the console, each with its HTTP status."""

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
    """The request does not fit the current state of the task."""

    status = 409


class TooLarge(ConsoleError):
    """More than the limit on sent or unpacked data."""

    status = 413


class DiskProblem(ConsoleError):
    """The disk is full or cannot be read."""

    status = 507


class Refused(ConsoleError):
    """Invalid input: every problem, with its field if it has one."""

    status = 422

    def __init__(self, problems: Sequence[tuple[str | None, str]]) -> None:
        super().__init__("; ".join(sentence for _, sentence in problems))
        self.problems = tuple(problems)
