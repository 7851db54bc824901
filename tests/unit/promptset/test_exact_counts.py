"""How often a text is counted until it is exact; and the error for an impossible length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from promptset.errors import ImpossibleLength
from promptset.exact import chat_bank, exact_messages, exact_prompt, least_messages
from promptset.rng import stream
from promptset.text import word_bank
from promptset.tokenizer import LocalTokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers


class Counting:
    """A tokenizer that records how many chats and prompts it counts."""

    def __init__(self, inner: LocalTokenizer, is_remote: bool = False) -> None:
        self._inner, self.is_remote, self.counted = inner, is_remote, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        self.counted += len(texts)
        return self._inner.count_batch(texts)

    def count(self, text: str) -> int:
        self.counted += 1
        return self._inner.count(text)

    def count_chats(self, chats: Sequence[Sequence[dict[str, str]]], tools: object = None) -> list[int]:
        self.counted += len(chats)
        return self._inner.count_chats(chats, tools)  # type: ignore[arg-type]

    def count_chat(self, messages: Sequence[dict[str, str]], tools: object = None) -> int:
        self.counted += 1
        return self._inner.count_chat(messages, tools)  # type: ignore[arg-type]


def local() -> LocalTokenizer:
    made = load_tokenizer()
    assert isinstance(made, LocalTokenizer)
    return made


def test_a_chat_behind_a_long_system_prompt_is_right_at_the_first_count_or_the_second() -> None:
    counting = Counting(local())
    system = "You answer in one sentence. " * 30
    least = least_messages(counting, system)  # type: ignore[arg-type]
    counting.counted = 0
    for index in range(20):
        exact_messages(counting, least + 40, stream(1, index), system, number=index)  # type: ignore[arg-type]
    # The template and the system prompt are known, so nothing about them is found by trial.
    assert 20 <= counting.counted <= 26
    shared = word_bank(counting).fresh(30, stream(2))
    counting.counted = 0
    for index in range(20):
        exact_prompt(counting, 100, stream(1, index), prefix=shared, number=index)  # type: ignore[arg-type]
    assert 20 <= counting.counted <= 26


def test_what_a_prompt_that_is_too_short_would_need_is_named_part_by_part(tmp_path: Path) -> None:
    with pytest.raises(ImpossibleLength, match=r"the shortest prompt has (\d+) \(.*1 of text\)") as caught:
        exact_prompt(local(), 0, stream(1))
    own = local().special_tokens_added
    assert ("of its own" in str(caught.value)) == (own > 0)
    with pytest.raises(
        ImpossibleLength, match=r"\(7 of the prefix, 1 of text\)|\(\d+ of its own, 7 of the prefix, 1 of text\)"
    ):
        exact_prompt(local(), 3, stream(1), prefix=[" a"] * 7)
    for kind in tiny_tokenizers.KINDS:
        made = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.KINDS[kind](), tmp_path / kind)))
        with pytest.raises(ImpossibleLength) as said:
            exact_prompt(made, 0, stream(1))
        parts = [f"{made.special_tokens_added} of its own"] if made.special_tokens_added else []
        assert f"({', '.join([*parts, '1 of text'])})" in str(said.value)


@pytest.mark.parametrize(("is_remote", "most"), [(True, 30), (False, 200)])
def test_a_server_that_counts_is_asked_of_few_openers(is_remote: bool, most: int) -> None:
    counting = Counting(local(), is_remote)
    bank = chat_bank(counting)  # type: ignore[arg-type]
    assert 0 < counting.counted <= most
    assert counting.counted > 30 or is_remote
    assert 0 < len(bank.openers) <= counting.counted
