"""The texts of a seed stay what they were: a result states its seed, which must give the same texts on every machine and
in every version. Everything is made anew here, whatever other tests have made before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from random import Random

import pytest

from promptset import drafts, sentences, text
from promptset.chat_sum import chat_sum
from promptset.kinds import KINDS, Style, kind_of
from promptset.rng import stream
from promptset.tokenizer import Tokenizer


def digest(texts: Iterable[object]) -> str:
    return hashlib.sha256("\0".join(map(str, texts)).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("name", "first", "of_all"),
    [
        ("english", "The committee copied the heavy library after a long discussion.", "8f45f480603b751d"),
        ("code", "def filter_node(node: int, events: list[int]) -> str:", "eb71c3d87137a9b2"),
        (
            "json",
            '{"id": 157021, "name": "Igor", "city": "Perth", "tags": ["trial", "beta"], "verified": true}',
            "8f3fba9c18600194",
        ),
        ("chinese", "上个月医生在城市北部忘记了安静的笔记本，所以大家都很高兴。", "34ae37b82904a19e"),
        ("mixed", "def write_total(total: list[str], tokens: list[int]) -> list[str]:", "67c496649cc736fb"),
    ],
)
def test_units(name: str, first: str, of_all: str) -> None:
    units = drafts._unit_texts.__wrapped__(name, 600)
    assert units[0].splitlines()[0] == first
    assert digest(units) == of_all
    assert len(set(units)) == len(units)


def test_each_kind_is_laid_out_in_its_own_way() -> None:
    assert {
        name: (kind.open, kind.heading_close, kind.glue, kind.fill_open, kind.fill_close, kind.close, kind.own_words)
        for name, kind in KINDS.items()
    } == {
        "english": ("", "\n\n", " ", " ", "", "", False),
        "code": ("# ", "\n\n", "\n", "\n#", "", "", False),
        "json": ('[{"title": "', '"},\n', ",\n", ',\n{"note": "', '"}', "]", False),
        "chinese": ("", "。", "", "", "", "", True),
        "mixed": ("", "\n", "\n", "\n", "", "", False),
    }
    for name in KINDS:
        kind = kind_of(name)
        assert kind is not None
        assert kind.unit(stream(0, "units", name)) == drafts._unit_texts.__wrapped__(name, 1)[0]


def test_banks_of_words(default_tokenizer: Tokenizer) -> None:
    bank = text.word_bank.__wrapped__(default_tokenizer)
    assert (len(bank.words), len(bank.openers), bank.stop) == (1166, 823, ".")
    assert digest([*bank.words, *bank.openers]) == "3185441ad41221f7"
    vocabulary = text.vocabulary_bank.__wrapped__(default_tokenizer)
    assert (len(vocabulary.words), len(vocabulary.openers), vocabulary.stop) == (8791, 3431, None)
    assert digest([*vocabulary.words, *vocabulary.openers]) == "bb142a1aff1870e5"
    script = text.script_bank(default_tokenizer, drafts._unit_texts.__wrapped__("chinese", 300))
    assert script is not None
    assert (len(script.words), len(script.openers), script.stop) == (222, 222, None)
    assert digest([*script.words, *script.openers]) == "b015e8b6036876f0"
    assert all(word.isalpha() for word in script.words)


def test_words_of_a_script_are_whole_words_of_letters(default_tokenizer: Tokenizer) -> None:
    words = text.word_bank(default_tokenizer).words[:80]
    bank = text.script_bank(default_tokenizer, ["".join(words) + ", and 7 more.", "1.5", "water,"])
    assert bank is not None
    assert {*bank.words} <= {*words, " and", " more", " water"}
    assert len(bank.words) > 50


def test_the_ring_of_sentences(default_tokenizer: Tokenizer) -> None:
    ring, starts = text._ring.__wrapped__(default_tokenizer)
    assert (len(starts), starts[:4], len(ring)) == (800, [0, 13, 21, 35], 9259)
    assert digest([*ring, *starts]) == "d8834fea345b3b0e"


def test_sentences(default_tokenizer: Tokenizer) -> None:
    bank = sentences.sentence_bank.__wrapped__(default_tokenizer)
    assert [len(same) for same in bank.by_length] == [
        0,
        0,
        57,
        64,
        64,
        64,
        64,
        64,
        1024,
        1024,
        1024,
        1024,
        1024,
        1024,
        1024,
        1024,
        1024,
    ]
    assert (len(bank.long), len(bank.openers), len(bank.enders)) == (9216, 206, 1)
    assert digest([*bank.long, *bank.openers, *bank.enders, *bank.by_length, *bank.first]) == "610d64012b2625d1"
    made = [bank.text(tokens, stream(5, tokens)) for tokens in (2, 3, 7, 8, 16, 17, 18, 31, 32, 33, 34, 50, 500)]
    made += [bank.block(tokens, stream(6, tokens)) for tokens in (2, 15, 16, 17, 32, 33, 34, 48, 49, 500)]
    assert digest(made) == "10aa1f5e43565535"
    fewer = bank.beginning_with(default_tokenizer, bank.openers[:5])
    assert digest(fewer.first) == "ab183d90da80072d"


@pytest.mark.parametrize(
    ("pieces", "most", "kept"),
    [(8, 8, [0, 1, 2, 3, 4, 5, 6, 7]), (9, 8, [0, 2, 4, 6, 8]), (7, 8, [0, 1, 2, 3, 4, 5, 6]), (16, 8, [*range(0, 16, 2)]),
     (17, 8, [0, 3, 6, 9, 12, 15]), (0, 8, [])],
)  # fmt: skip
def test_some_pieces_are_evenly_spread_and_at_most_as_many_as_asked_for(
    pieces: int, most: int, kept: list[int]
) -> None:
    assert [*map(int, sentences._spread([*map(str, range(pieces))], most))] == kept


def test_the_tokens_of_a_template(default_tokenizer: Tokenizer) -> None:
    measured = chat_sum.__wrapped__(default_tokenizer)
    assert (measured.opening, measured.turn, measured.system, measured.head, measured.lost) == (3, 3, 0, 2, 0)


@pytest.mark.parametrize(
    ("kind", "of_all"),
    [
        ("words", "56eddb2a7827dda9"),
        ("english", "992383e40f7967f8"),
        ("code", "82a0ac10e878d256"),
        ("json", "9ee6cb187feb44e5"),
        ("chinese", "b2958592f63279a0"),
        ("mixed", "bb4df21b23bcbe34"),
        ("random", "7d365b01bce633e0"),
    ],
)
def test_drafts(kind: str, of_all: str, default_tokenizer: Tokenizer) -> None:
    bank = text.word_bank(default_tokenizer)
    made = (
        drafts.draft(default_tokenizer, n, stream(11, n), style=Style(kind, repeat), bank=bank, number=n).text()
        for n in (1, 2, 5, 40, 300)
        for repeat in (0.0, 0.3)
    )
    assert digest(made) == of_all


def units_for_border(tokenizer: Tokenizer, kind: str) -> drafts.Units:
    units = drafts.units_of(tokenizer, kind)
    assert units is not None
    return units


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_units_from_the_length_on_at_which_the_shortest_fits(
    kind: str, default_tokenizer: Tokenizer
) -> None:
    units = units_for_border(default_tokenizer, kind)
    # The layout, the shortest unit, and a word behind it.
    least = units.layout_tokens + units.costs[0] + 1
    bank = text.word_bank(default_tokenizer)
    for tokens, has_units in ((least - 1, False), (least, True)):
        made = drafts.draft(default_tokenizer, tokens, Random(3), style=Style(kind), bank=bank, number=0)
        assert any(unit in made.text() for unit in units.texts) is has_units
        # Characters of Chinese may merge at the borders of units.
        assert abs(default_tokenizer.count_plain([made.text()])[0] - tokens) <= 2
