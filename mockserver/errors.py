"""Every error that ends the mock's command, with its exit status.

    MockError           70  (a defect of ours, if nothing more precise was said)
    └── UsageError       2  wrong usage or configuration: all problems at once

What a request does wrong ends no command: it is a `Refusal` of openai.py and becomes an HTTP response.
"""

from __future__ import annotations

from collections.abc import Sequence


class MockError(Exception):
    """Root of the tree."""

    exit_code = 70


class UsageError(MockError):
    """Wrong usage or configuration. `problems` has one sentence each, all found at once."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
