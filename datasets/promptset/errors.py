"""What promptset refuses, and why.

SpecError                 a distribution, tokenizer, data set or length that cannot be had: all problems at once
└── ImpossibleLength      a prompt shorter than the tokenizer's or the chat template's own tokens
"""

from __future__ import annotations

from collections.abc import Sequence


class SpecError(ValueError):
    """Something was asked for that cannot be had. Each of `problems` is one sentence: what, where, what to do."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class ImpossibleLength(SpecError):
    """A prompt of so few tokens does not exist; `least_tokens` is the shortest that does."""

    def __init__(self, problem: str, least_tokens: int) -> None:
        self.least_tokens = least_tokens
        super().__init__(problem)
