"""What a prefix cache could serve of prompts that come one after another: the plan that a server's own numbers can be
held against.

The cache is taken to be without limit and to know a prompt as soon as the next one comes. It serves whole blocks from
the first token on, and never the last token of a prompt, which must be computed. (Prompts that come at the same time, and
a cache that is full, make a server's own number smaller.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from promptset.sharing.scheme import BLOCK, Path


@dataclass(slots=True)
class SharingTally:
    """Counts prompts in the order in which they are sent. `head` tokens at the beginning are the same in all of them."""

    head: int
    prompts: int = 0
    tokens: int = 0
    cached: int = 0
    """Tokens in whole blocks that an earlier prompt had brought."""
    _seen: dict[tuple[int, str | int], int] = field(default_factory=dict)
    """(node, name of a segment) -> the most tokens of it that were seen there."""
    _behind: dict[tuple[int, str | int, int], int] = field(default_factory=dict)
    """(node, name, tokens of it) -> the node behind it: what follows a shorter beginning stands at another place."""

    def add(self, tokens: int, path: Path) -> None:
        """One prompt of so many tokens, and what it begins with."""
        node, common = 0, self.head if self.prompts else 0
        for name, length in path:
            seen = self._seen.get((node, name), 0)
            # Where less of it was seen, no prompt has been behind it: nothing of what follows was seen either.
            common += min(length, seen)
            self._seen[node, name] = max(seen, length)
            node = self._behind.setdefault((node, name, length), len(self._behind) + 1)
        self.prompts += 1
        self.tokens += tokens
        self.cached += min(common, tokens - 1) // BLOCK * BLOCK

    @property
    def share(self) -> float | None:
        """The share of the prompt tokens that a cache could serve; None of no prompts."""
        return self.cached / self.tokens if self.tokens else None
