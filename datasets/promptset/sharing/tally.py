"""The planned hit rate of a prefix cache, for comparison with a server's own numbers.

The cache is unlimited and stores each prompt before the next one arrives. It serves whole blocks from the first token
on, and never the last token of a prompt, which must be computed. (A server's hit rate is lower if prompts arrive
together or its cache is full.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from promptset.sharing.scheme import BLOCK, Path


@dataclass(slots=True)
class SharingTally:
    """Counts prompts in send order. Their first `head` tokens are all the same."""

    head: int
    prompts: int = 0
    tokens: int = 0
    cached: int = 0
    """Tokens in whole blocks that an earlier prompt has cached."""
    _seen: dict[tuple[int, str | int], int] = field(default_factory=dict)
    """(node, segment name) -> the maximum tokens of it so far."""
    _behind: dict[tuple[int, str | int, int], int] = field(default_factory=dict)
    """(node, name, tokens of it) -> the next node. The same text after a shorter segment is another node."""

    def add(self, tokens: int, path: Path) -> None:
        """Add a prompt of this many tokens with this path."""
        node, common = 0, self.head if self.prompts else 0
        for name, length in path:
            longest = self._seen.get((node, name), 0)
            # If less of it was seen, no earlier prompt continued after it, so nothing that follows was seen either.
            common += min(length, longest)
            self._seen[node, name] = max(longest, length)
            node = self._behind.setdefault((node, name, length), len(self._behind) + 1)
        self.prompts += 1
        self.tokens += tokens
        self.cached += min(common, tokens - 1) // BLOCK * BLOCK

    @property
    def share(self) -> float | None:
        """The share of the prompt tokens that a cache could serve. None without prompts."""
        return self.cached / self.tokens if self.tokens else None
