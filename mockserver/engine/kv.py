"""KV blocks: a fixed number of them, reference counts, and the prefix cache in unreferenced blocks.

Rules, as in vLLM V1's block pool:
- A block without references is free, but its content stays until it is reused: that is the cache. The block that has been
  free longest is reused first (LRU); among the blocks of one request the last first, since a prefix is useful to more
  requests than what follows it.
- Two requests that compute the same tokens at once fill a block each. Both stay in the cache; lookups return the one that
  was full first.
- A block is looked up by the hash of the chain that ends in it (`chain.py`), so a hit means that all earlier tokens agree.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class BlockPool:
    """A pool of `blocks` blocks. Without `caching`, lookups never hit."""

    def __init__(self, blocks: int, caching: bool) -> None:
        self.blocks = blocks
        self._caching = caching
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))
        self._references = [0] * blocks
        self._hash_of: dict[int, int] = {}
        self._blocks_of: dict[int, list[int]] = {}

    @property
    def free(self) -> int:
        """The number of blocks without references."""
        return len(self._free)

    def find(self, chain: Iterable[int]) -> list[int]:
        """The cached blocks of the leading hashes of a chain."""
        hits: list[int] = []
        for link in chain:
            blocks = self._blocks_of.get(link)
            if blocks is None:
                break
            hits.append(blocks[0])
        return hits

    def free_beside(self, blocks: Sequence[int]) -> int:
        """The number of blocks that stay free once the found ones are held."""
        return len(self._free) - sum(self._references[block] == 0 for block in blocks)

    def hold(self, blocks: Sequence[int]) -> None:
        """Add a reference to each block found."""
        for block in blocks:
            if self._references[block] == 0:
                del self._free[block]
            self._references[block] += 1

    def take(self, number: int) -> list[int]:
        """Take this many fresh blocks. Raises KeyError if fewer are free; the caller must check first."""
        fresh = []
        for _ in range(number):
            block, _ = self._free.popitem(last=False)
            link = self._hash_of.pop(block, None)
            if link is not None:
                same = self._blocks_of[link]
                same.remove(block)
                if not same:
                    del self._blocks_of[link]
            self._references[block] = 1
            fresh.append(block)
        return fresh

    def remember(self, block: int, link: int) -> None:
        """Enter a full block into the cache, under the hash of the chain that it ends."""
        if self._caching:
            self._hash_of[block] = link
            self._blocks_of.setdefault(link, []).append(block)

    def give_back(self, blocks: Sequence[int]) -> None:
        """Remove one reference from each block of a request."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None
