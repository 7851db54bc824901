"""Large batches of texts that one tokenizer has counted are not counted again by another that counts identically.

Before its first prompt, a tokenizer is measured (`promptset.measured`) on thousands of texts, always the same, for half
a second. Tests load the same few tokenizers again and again, with other templates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import pytest

from promptset.library import Library

MANY = 100
"""Texts; smaller batches are counted each time."""


@contextmanager
def counted_once() -> Iterator[None]:
    """Active in this process until the block ends."""
    count, add = Library.count, Library.add_special_tokens
    known: dict[bytes, list[int]] = {}
    digests: WeakKeyDictionary[Library, bytes] = WeakKeyDictionary()

    def add_and_forget(self: Library, tokens: Sequence[str]) -> None:
        digests.pop(self, None)
        add(self, tokens)

    def count_or_recall(self: Library, texts: Sequence[str], added: bool) -> list[int]:
        if len(texts) < MANY:
            return count(self, texts, added)
        if self not in digests:
            digests[self] = hashlib.blake2b(self._backend.to_str().encode()).digest()
        asked = hashlib.blake2b(digests[self] + bytes([added]))
        for text in texts:
            asked.update(b"%d:" % len(text) + text.encode("utf-8", "surrogatepass"))
        key = asked.digest()
        if key not in known:
            known[key] = count(self, texts, added)
        return list(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Library, "count", count_or_recall)
        patch.setattr(Library, "add_special_tokens", add_and_forget)
        yield
