"""The cached token counts of the tests equal real counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from promptset.library import Library
from tests.support import tiny_tokenizers
from tests.support.counted_once import MANY, counted_once

TEXTS = ["the time the " + "house " * (number % 7) for number in range(MANY)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The batches that were not in the cache, and were counted."""
    batches: list[Sequence[str]] = []
    count = Library.count

    def noted(self: Library, texts: Sequence[str], added: bool) -> list[int]:
        batches.append(texts)
        return count(self, texts, added)

    monkeypatch.setattr(Library, "count", noted)
    return batches


def test_another_tokenizer_that_counts_alike_is_not_asked(asked: list[Sequence[str]]) -> None:
    texts = [f"{text} alike" for text in TEXTS]
    with counted_once():
        one, other = (Library(tiny_tokenizers.byte_level_bpe()) for _ in range(2))
        counts = one.count(texts, added=False)
        counts[0] = 0
        assert other.count(texts, added=False) == one.count(texts, added=False) != counts
        assert len(asked) == 1
        assert one.count(texts[:3], added=False) == one.count(texts[:3], added=False)
        assert len(asked) == 3


def test_one_that_counts_otherwise_is_asked() -> None:
    makes = (tiny_tokenizers.byte_level_bpe, tiny_tokenizers.sentencepiece_bpe, tiny_tokenizers.wordpiece)
    plain = [[Library(make()).count(TEXTS, added) for added in (False, True)] for make in makes]
    shifted = [TEXTS[0] + TEXTS[1], *TEXTS[2:], ""]
    special = Library(tiny_tokenizers.byte_level_bpe())
    special.add_special_tokens(["the time"])
    expected = special.count(TEXTS, added=False), Library(makes[0]()).count(shifted, added=False)
    with counted_once():
        assert [[Library(make()).count(TEXTS, added) for added in (False, True)] for make in makes] == plain
        later = Library(tiny_tokenizers.byte_level_bpe())
        assert later.count(TEXTS, added=False) == plain[0][0]
        later.add_special_tokens(["the time"])
        assert (later.count(TEXTS, added=False), Library(makes[0]()).count(shifted, added=False)) == expected
    assert plain[0][0] != expected[0]
    assert plain[0][0] != plain[0][1]
