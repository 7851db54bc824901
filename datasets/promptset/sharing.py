"""Prefixes that prompts share on purpose, so that a server's prefix cache can be measured.

`tokens=512,groups=4`: the prompts fall into 4 groups, in turn; those of a group begin with the same 512 tokens of text
(behind what the tokenizer or the chat template puts first, which is the same for all).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from promptset.distributions.kind import split_pairs
from promptset.errors import SpecError
from promptset.rng import stream
from promptset.text import WordBank


@dataclass(frozen=True, slots=True)
class PrefixSpec:
    """How much of a prompt is shared, and by how many groups."""

    tokens: int
    """Tokens of text that the prompts of a group share."""
    groups: int = 1

    def __str__(self) -> str:
        return f"tokens={self.tokens},groups={self.groups}"

    def pieces(self, bank: WordBank, seed: int, group: int) -> list[str]:
        """The prefix of this group."""
        return bank.fresh(self.tokens, stream(seed, "prefix", group))


def parse_prefix(text: str) -> PrefixSpec:
    """The prefixes that `tokens=512,groups=4` describes (one group where none is said). Raises SpecError."""
    problems = []
    values: dict[str, int] = {}
    try:
        pairs = split_pairs(text)
    except SpecError as e:
        raise _refused(text, e.problems) from e
    for key, value in pairs.items():
        if key not in ("tokens", "groups"):
            close = get_close_matches(key, ("tokens", "groups"), n=1, cutoff=0.5)
            problems.append(f"a prefix has no {key!r}" + (f": did you mean {close[0]!r}?" if close else ""))
        elif not (value.isascii() and value.isdigit() and int(value) > 0):
            problems.append(f"{key}={value}: write a whole number above 0")
        else:
            values[key] = int(value)
    if "tokens" not in pairs:
        problems.append("tokens= is missing")
    if problems:
        raise _refused(text, problems)
    return PrefixSpec(**values)


def _refused(text: str, problems: list[str]) -> SpecError:
    return SpecError([f"{text!r}: {problem} (example: tokens=512,groups=4)" for problem in problems])
