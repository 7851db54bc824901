"""The errors of promptset.

SpecError                 a wrong distribution, tokenizer, data set or length; holds all problems
└── ImpossibleLength      a prompt shorter than the tokenizer's or the chat template's own tokens
"""

from __future__ import annotations

from collections.abc import Sequence


class SpecError(ValueError):
    """A request that promptset cannot fulfil. Each of `problems` is one sentence: what is wrong, where, what to do."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    @classmethod
    def of_rows(cls, problems: Sequence[str], most: int, more: str, advice: str = "") -> SpecError:
        """The errors of a file with bad rows: at most `most` problems. The last one adds `more` if there are more, then
        `advice`."""
        shown = list(problems[:most])
        shown[-1] = "; ".join([shown[-1], *([more] if len(problems) > most else []), *([advice] if advice else [])])
        return cls(shown)


SKIP_ROWS = "correct the file, or skip such rows with --bad-rows skip"
"""Advice for bad rows of a file in which they can be skipped."""


class ImpossibleLength(SpecError):
    """No prompt can have so few tokens. `least_tokens` is the length of the shortest prompt."""

    def __init__(self, problem: str, least_tokens: int) -> None:
        self.least_tokens = least_tokens
        super().__init__(problem)
