"""The errors that end the mock's command, with their exit statuses.

    MockError           70  (a bug of ours, unless the message says otherwise)
    └── UsageError       2  wrong usage or configuration, with all problems

A wrong request does not end the command: it is a `Refusal` (dialect/openai.py) and gets an HTTP error.
"""

from __future__ import annotations

from collections.abc import Sequence


class MockError(Exception):
    """Root of the tree."""

    exit_code = 70


class UsageError(MockError):
    """Wrong usage or configuration. `problems` has one sentence for each problem."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
