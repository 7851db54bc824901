"""Texts and chats of whole sentences have as many tokens as their parts. Texts that do not add up are refused."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promptset import sentences
from promptset.chat_sum import ChatSum, NotASum, chat_sum
from promptset.errors import SpecError
from promptset.rng import stream
from promptset.sentences import SentenceBank, sentence_bank
from promptset.text import _joinable
from promptset.tokenizer import LocalTokenizer, Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers

WHOLE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>\n{{ m.content }}{{ eos_token }}\n{% endfor %}<assistant>\n"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}<assistant>"
)
LATE_SYSTEM = (
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}"
    "{% set ns.system = m.content ~ '\n\n' %}{% else %}<{{ m.role }}>"
    "{{ ns.system if loop.last else '' }}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}<assistant>"
)
THINKS = WHOLE + "<think>\n"
FORGETS = (
    "{% for m in messages %}{% if loop.last or m.role != 'assistant' or loop.revindex < 4 %}"
    "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}<assistant>"
)


def with_template(tmp_path: Path, template: str) -> LocalTokenizer:
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path)
    (folder / "chat_template.jinja").write_text(template)
    made = load_tokenizer(str(folder))
    assert isinstance(made, LocalTokenizer)
    return made


def test_a_text_of_every_length_has_exactly_its_tokens(tokenizer: Tokenizer) -> None:
    bank, chance = sentence_bank(tokenizer), stream(1, "texts")
    lengths = [*range(2, 120), 1000, 4097, 20_000]
    assert tokenizer.count_plain([bank.text(n, chance) for n in lengths]) == lengths


def test_blocks_add_up_wherever_they_are_joined(tokenizer: Tokenizer) -> None:
    bank, chance = sentence_bank(tokenizer), stream(2, "blocks")
    blocks = {n: bank.block(n, chance) for n in (2, 3, 7, 16, 17, 33, 64, 500)}
    order = [list(blocks)[int(chance.random() * len(blocks))] for _ in range(60)]
    assert tokenizer.count_plain([bank.text(5, chance) + "".join(blocks[n] for n in order)]) == [5 + sum(order)]


def test_texts_differ_and_come_again_from_the_same_stream(default_tokenizer: Tokenizer) -> None:
    bank = sentence_bank(default_tokenizer)
    texts = [bank.text(64, stream(seed, "text")) for seed in range(200)]
    assert len({text[:60] for text in texts}) > 195
    assert texts == [bank.text(64, stream(seed, "text")) for seed in range(200)]


def test_a_text_of_less_than_two_tokens_is_refused(default_tokenizer: Tokenizer) -> None:
    for make in (sentence_bank(default_tokenizer).text, sentence_bank(default_tokenizer).block):
        with pytest.raises(ValueError, match="at least 2 tokens, not 1"):
            make(1, stream(0, "x"))


def test_a_tokenizer_that_joins_words_over_a_space_keeps_the_sentences_that_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = sentences._drawn

    def often_joined(tokens: int, openers: Sequence[str], words: Sequence[str], *others: Any) -> str:
        return drawn(tokens, openers, (*words[:20], *(4 * (" time", " the"))), *others)

    monkeypatch.setattr(sentences, "_drawn", often_joined)
    tokenizer = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.joins_two_words(), tmp_path)))
    bank, chance = sentence_bank(tokenizer), stream(3, "texts")
    lengths = list(range(2, 300))
    assert tokenizer.count_plain([bank.text(n, chance) for n in lengths]) == lengths
    assert not any(re.search(r" time the\b", sentence) for _, sentence in bank.long)


def chat(
    bank: SentenceBank, users: list[int], answers: list[int], system: int | None, chance: random.Random
) -> list[dict[str, str]]:
    said = [] if system is None else [{"role": "system", "content": bank.text(system, chance)}]
    for user, answer in zip(users, [*answers, None], strict=True):
        said.append({"role": "user", "content": bank.text(user, chance)})
        if answer is not None:
            said.append({"role": "assistant", "content": bank.text(answer, chance)})
    return said


def drawn_chats(known: ChatSum, number: int) -> Iterator[tuple[list[int], list[int], int | None, list[dict[str, str]]]]:
    """Chats whose lengths differ from those used to measure the constants."""
    chance = stream(number, "chats of the test")
    for turns in (1, 2, 3, 7, 15):
        users = [2 + int(chance.random() * 150) for _ in range(turns)]
        answers = [2 + int(chance.random() * 90) for _ in range(turns - 1)]
        system = 2 + int(chance.random() * 200) if known.system is not None and turns % 2 else None
        yield users, answers, system, chat(known.bank, users, answers, system, chance)


def test_the_tokens_of_a_chat_are_the_sum_of_its_messages_and_constants(tokenizer: Tokenizer) -> None:
    known = chat_sum(tokenizer)
    assert known.system is not None
    for users, answers, system, messages in drawn_chats(known, 1):
        assert tokenizer.count_chat(messages) == known.tokens(users, answers, system)


@pytest.mark.parametrize("template", [WHOLE, NO_SYSTEM, LATE_SYSTEM, THINKS], ids=["plain", "strict", "late", "thinks"])
def test_so_they_are_with_templates_of_several_habits(tmp_path: Path, template: str) -> None:
    tokenizer = with_template(tmp_path, template)
    known = chat_sum(tokenizer)
    assert (known.system is None) == (template in (NO_SYSTEM, LATE_SYSTEM))
    for users, answers, system, messages in drawn_chats(known, 2):
        assert tokenizer.count_chat(messages) == known.tokens(users, answers, system)


@pytest.mark.parametrize(("template", "starts_answer"), [(WHOLE, ""), (THINKS, "<think>\n")], ids=["plain", "thinks"])
def test_what_the_next_prompt_does_not_go_on_with_is_measured(
    tmp_path: Path, template: str, starts_answer: str
) -> None:
    tokenizer = with_template(tmp_path, template)
    known = chat_sum(tokenizer)
    users, answers = [40, 30], [20]
    messages = chat(known.bank, users, answers, None, stream(4, "lost"))
    before, after = tokenizer.encode_chat(messages[:1]), tokenizer.encode_chat(messages)
    kept = (
        next(i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b) if starts_answer else len(before)
    )
    assert after[: len(before) - known.lost] == before[: len(before) - known.lost]
    assert len(before) - known.lost == kept


def test_a_template_that_forgets_earlier_answers_is_no_sum(tmp_path: Path) -> None:
    with pytest.raises(NotASum, match="the template changes messages by their position"):
        chat_sum(with_template(tmp_path, FORGETS))


def test_a_template_that_adds_something_to_long_chats_with_a_system_prompt_has_a_sum_without_one(
    tmp_path: Path,
) -> None:
    more = "{% if messages[0].role == 'system' and messages | length > 4 %} the people water{% endif %}"
    known = chat_sum(with_template(tmp_path, WHOLE + more))
    assert known.system is None
    for users, answers, system, messages in drawn_chats(known, 2):
        assert system is None
        assert with_template(tmp_path, WHOLE + more).count_chat(messages) == known.tokens(users, answers, None)
    assert chat_sum(with_template(tmp_path / "usual", WHOLE)).system is not None


def test_a_sentence_that_is_counted_one_short_is_found(default_tokenizer: Tokenizer) -> None:
    """A planted defect: there are sentences of 9 tokens among those of 8."""
    bank = sentence_bank(default_tokenizer)
    short = (*bank.by_length[:8], bank.by_length[9], *bank.by_length[9:])
    long = tuple((tokens, sentence) for tokens in range(8, 17) for sentence in short[tokens])
    planted = dataclasses.replace(bank, by_length=short, long=long)
    chance = stream(1, "texts")
    lengths = list(range(100, 140))
    counts = default_tokenizer.count_plain([planted.text(n, chance) for n in lengths])
    assert counts != lengths
    assert min(count - n for count, n in zip(counts, lengths, strict=True)) >= 0


def test_without_a_template_the_reason_is_said(tmp_path: Path) -> None:
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    for file in folder.glob("tokenizer_config.json"):
        file.unlink()
    with pytest.raises(SpecError, match="has no chat template"):
        chat_sum(load_tokenizer(str(folder)))


def test_a_sentence_whose_words_merge_is_left_out_and_so_is_one_that_merges_with_the_one_before() -> None:
    counts = {"it is": 1, "we go": 2, "you run": 2, "we go you run": 3}
    tokenizer: Any = SimpleNamespace(count_plain=lambda texts: [counts.get(text, len(text.split())) for text in texts])
    made = [["it", " is"], ["we", " go"], [" you", " run"], [" he", " sat"]]
    assert _joinable(tokenizer, made) == [["we", " go"], [" he", " sat"]]
