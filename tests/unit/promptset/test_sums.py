"""Texts of plain words need no counting, but only with tokenizers that split texts at words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken, Regex, pre_tokenizers

from promptset import sentences
from promptset.chat import Message, Tool
from promptset.errors import SpecError
from promptset.exact import _trial_texts, exact_messages, exact_prompt, least_messages
from promptset.kinds import Style
from promptset.library import Library
from promptset.rng import stream
from promptset.sentences import SentenceBank, sentence_bank
from promptset.sums import adds_up
from promptset.text import word_bank
from promptset.tokenizer import LocalTokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers

TEMPLATE = "{% for m in messages %}[{{ m.role }}]\n{{ m.content }}\n{% endfor %}[assistant]\n"


class Counted(LocalTokenizer):
    """A tokenizer that records how many texts it has counted."""

    counted = 0

    def count_plain(self, texts: Sequence[str]) -> list[int]:
        self.counted += len(texts)
        return super().count_plain(texts)

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        self.counted += len(texts)
        return super().count_batch(texts)

    def count_chats(self, chats: Sequence[Sequence[Message]], tools: Sequence[Tool] | None = None) -> list[int]:
        return super().count_chats(chats, tools)


def counted(backend: tokenizers.Tokenizer, template: str = TEMPLATE) -> Counted:
    return Counted("tiny", Library(backend), fingerprint="0", config={}, chat_template=template)


def joins_at_words() -> tokenizers.Tokenizer:
    """A tokenizer that splits texts only before full stops, so two words may be one token."""
    tokenizer = tiny_tokenizers.joins_two_words()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\."), "isolated")
    return tokenizer


def knows_two_words() -> tokenizers.Tokenizer:
    """A tokenizer that splits at words, but first looks for " time the" in a text."""
    tokenizer = tiny_tokenizers.byte_level_bpe()
    tokenizer.add_tokens([AddedToken(" time the", normalized=False)])
    return tokenizer


@pytest.mark.parametrize("make", [tiny_tokenizers.byte_level_bpe, tiny_tokenizers.sentencepiece_bpe])
def test_nobody_counts_plain_words_again(make: Callable[[], tokenizers.Tokenizer]) -> None:
    tokenizer = counted(make())
    made = []
    for n in (2, 20, 21, 300):
        exact_prompt(tokenizer, n, stream(0, n))
        exact_messages(tokenizer, n + 30, stream(0, n))
        before = tokenizer.counted
        made += [(n, exact_prompt(tokenizer, n, stream(1, n, i), number=i)) for i in range(40)]
        chats = [exact_messages(tokenizer, n + 30, stream(2, n, i), number=i) for i in range(40)]
        assert tokenizer.counted == before
        assert tokenizer.count_chats(chats) == [n + 30] * 40
    assert [tokenizer.count(text) for _, text in made] == [n for n, _ in made]


@pytest.mark.parametrize("make", [tiny_tokenizers.byte_level_bpe, tiny_tokenizers.sentencepiece_bpe])
def test_nobody_counts_sentences_of_plain_words(
    make: Callable[[], tokenizers.Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentences, "_LONG_EACH", 32)
    tokenizer = counted(make())
    assert adds_up(tokenizer, word_bank(tokenizer))

    def bank() -> tuple[SentenceBank, int]:
        before = tokenizer.counted
        return sentence_bank.__wrapped__(tokenizer), tokenizer.counted - before

    made, texts = bank()
    monkeypatch.setattr(sentences, "adds_up", lambda *_: False)
    again, counted_texts = bank()
    assert (made.by_length, made.long, made.first) == (again.by_length, again.long, again.first)
    # For each length between 2 and 16 tokens: the drawn texts, and those kept for the beginning of a text.
    assert counted_texts - texts == 6 * 64 + 9 * 32 + sum(map(len, made.by_length))


def test_other_kinds_of_text_and_chats_with_a_history_are_counted() -> None:
    tokenizer = counted(tiny_tokenizers.byte_level_bpe())
    history = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]
    least = least_messages(tokenizer, history=history)
    exact_messages(tokenizer, least + 9, stream(0), history=history)
    exact_prompt(tokenizer, 200, stream(0), style=Style("english"))
    before = tokenizer.counted
    exact_messages(tokenizer, least + 9, stream(1), history=history)
    assert tokenizer.counted == before + 1
    exact_prompt(tokenizer, 200, stream(1), style=Style("english"))
    assert tokenizer.counted > before + 1
    exact_messages(tokenizer, 200, stream(0), style=Style("english"))
    before = tokenizer.counted
    chat = exact_messages(tokenizer, 200, stream(1), style=Style("english"))
    assert tokenizer.counted > before
    assert tokenizer.count_chats([chat]) == [200]


@pytest.mark.parametrize("make", [tiny_tokenizers.joins_two_words, joins_at_words, knows_two_words])
def test_where_two_words_may_be_one_token_each_text_is_counted(make: Callable[[], tokenizers.Tokenizer]) -> None:
    tokenizer = counted(make())
    assert not adds_up(tokenizer, word_bank(tokenizer))
    exact_prompt(tokenizer, 400, stream(0))
    before = tokenizer.counted
    for i in range(20):
        assert tokenizer.count(exact_prompt(tokenizer, 400, stream(1, i))) == 400
    assert tokenizer.counted >= before + 40
    exact_messages(tokenizer, 400, stream(0))
    before = tokenizer.counted
    chats = [exact_messages(tokenizer, 400, stream(1, i)) for i in range(20)]
    assert tokenizer.counted >= before + 20
    assert tokenizer.count_chats(chats) == [400] * 20


def test_the_texts_that_are_tried_have_each_length_and_two_of_them_end_with_a_full_stop() -> None:
    tokenizer = counted(tiny_tokenizers.byte_level_bpe())
    bank = word_bank(tokenizer)
    texts = _trial_texts(bank)
    assert tokenizer.count_plain(texts) == [*range(1, 25)]
    # A template may join the end of a message with the following text, and treat a full stop differently from a word.
    assert [len(text) - len(text.rstrip(".")) for text in (texts[7], texts[15])] == [1, 1]
    assert not any(text.endswith(".") for text in (texts[0], texts[6], texts[8], texts[14], texts[16]))
    # Without a token for the full stop there are only words.
    assert not any("." in text for text in _trial_texts(replace(bank, stop=None)))


@pytest.mark.parametrize("joined", [".", " answer"])
def test_a_template_that_joins_the_end_of_a_message_has_its_chats_counted(joined: str) -> None:
    # Here this piece and the text after it are one token; with any other piece there are two.
    backend = tiny_tokenizers.byte_level_bpe()
    backend.add_tokens([AddedToken(f"{joined}<end>", normalized=False), AddedToken("<end>", normalized=False)])
    tokenizer = counted(backend, "{% for m in messages %}{{ m.content }}<end>{% endfor %}")
    exact_messages(tokenizer, 30, stream(0))
    before = tokenizer.counted
    chats = [exact_messages(tokenizer, n, stream(1, n)) for n in range(20, 60)]
    assert tokenizer.counted >= before + 40
    assert tokenizer.count_chats(chats) == list(range(20, 60))


def test_a_tokenizer_that_changes_texts_has_them_counted(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.wordpiece(), tmp_path / "wordpiece")))
    assert tokenizer.parts("The Word") is None  # It lowercases capitals.
    assert tokenizer.parts("the word") == ["the", "word"]
    assert not adds_up(tokenizer, word_bank(tokenizer))


@pytest.mark.parametrize(
    "does",
    ["m.content | replace(' time', ' a long time')", "'so ' * (m.content | wordcount // 30) ~ m.content"],
    ids=["writes one word otherwise", "says more of a long text"],
)
def test_a_template_that_does_more_with_some_texts_has_these_counted(does: str) -> None:
    # The tried texts are short, with few words.
    tokenizer = counted(tiny_tokenizers.byte_level_bpe(), "{% for m in messages %}{{ " + does + " }}{% endfor %}[end]")
    lengths = [20, 28, 60, 300, 1000]
    chats = [exact_messages(tokenizer, n, stream(3, n), number=n) for n in lengths]
    assert tokenizer.count_chats(chats) == lengths


def test_a_template_that_cuts_long_texts_is_said_where_it_cuts() -> None:
    tokenizer = counted(
        tiny_tokenizers.byte_level_bpe(), "{% for m in messages %}{{ m.content[:900] }}{% endfor %}[end]"
    )
    assert tokenizer.count_chats([exact_messages(tokenizer, 40, stream(4))]) == [40]
    with pytest.raises(SpecError, match="leaves out, cuts or changes the user's text"):
        exact_messages(tokenizer, 1000, stream(4))
