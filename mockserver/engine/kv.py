"""KV blocks: a fixed number of them, counted references, and the prefix cache in the blocks that nobody holds.

Rules, as vLLM V1's block pool has them:
- A block that nobody refers to is free, though what is in it stays until it is taken: that is the cache. The block
  free for longest is taken first (LRU); of one request the last block first, since a prefix is of use to more requests
  than what follows it.
- Two requests that compute the same at once fill a block each, and both can be found: the one that was full first.
- A block is found by the hash of the chain that ends in it (`chain.py`), so that a hit means that all before it agree.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class BlockPool:
    """`blocks` blocks. With `caching` off no block is ever found again."""

    def __init__(self, blocks: int, caching: bool) -> None:
        self.blocks = blocks
        self._caching = caching
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))
        self._references = [0] * blocks
        self._hash_of: dict[int, int] = {}
        self._blocks_of: dict[int, list[int]] = {}

    @property
    def free(self) -> int:
        """Blocks that nobody refers to."""
        return len(self._free)

    def find(self, chain: Iterable[int]) -> list[int]:
        """The cached blocks of the leading hashes of a chain."""
        found: list[int] = []
        for link in chain:
            blocks = self._blocks_of.get(link)
            if blocks is None:
                break
            found.append(blocks[0])
        return found

    def free_beside(self, found: Sequence[int]) -> int:
        """Free blocks that are left once the found ones are held."""
        return len(self._free) - sum(self._references[block] == 0 for block in found)

    def hold(self, found: Sequence[int]) -> None:
        """Refer to blocks that were found."""
        for block in found:
            if self._references[block] == 0:
                del self._free[block]
            self._references[block] += 1

    def take(self, number: int) -> list[int]:
        """So many fresh blocks. Raises KeyError where fewer are free: whoever takes has looked."""
        taken = []
        for _ in range(number):
            block, _ = self._free.popitem(last=False)
            link = self._hash_of.pop(block, None)
            if link is not None:
                same = self._blocks_of[link]
                same.remove(block)
                if not same:
                    del self._blocks_of[link]
            self._references[block] = 1
            taken.append(block)
        return taken

    def remember(self, block: int, link: int) -> None:
        """The block is full, and ends the chain of this hash."""
        if self._caching:
            self._hash_of[block] = link
            self._blocks_of.setdefault(link, []).append(block)

    def give_back(self, blocks: Sequence[int]) -> None:
        """One reference less to each block of a request."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None
