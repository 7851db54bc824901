"""A bank of sentences whose tokens are known by sums is the bank that counting makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from promptset import sentences
from promptset.text import word_bank
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers


def test_no_sentence_is_counted_where_words_add_up_and_the_bank_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.sentencepiece_bpe(), tmp_path)))
    word_bank(tokenizer)
    counted: list[str] = []
    count = tokenizer.count_plain

    def count_plain(texts: Sequence[str]) -> list[int]:
        counted.extend(texts)
        return count(texts)

    monkeypatch.setattr(tokenizer, "count_plain", count_plain)
    banks = []
    for at_most in (3_000, 50_000):
        banks.append(sentences.sentence_bank.__wrapped__(tokenizer))
        assert 0 < len(counted) <= at_most
        monkeypatch.setattr(sentences, "adds_up", lambda *_: False)
    assert len(counted) > 10_000
    known, asked = banks
    for name in ("by_length", "long", "first", "openers", "enders"):
        assert getattr(known, name) == getattr(asked, name)
