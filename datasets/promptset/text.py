"""Text with exactly one token per piece.

A *piece* is a word with its leading space, or a full stop, that adds one token anywhere in a text. Pieces are measured:
common English words are kept if they add one token after a word and between two words. With a tokenizer that splits at
spaces, as nearly all do, they then add one token next to any word. promptset.exact counts the finished text in any
case.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from promptset.errors import SpecError
from promptset.rng import Random, stream
from promptset.tokenizer import Tokenizer

_ANCHOR = "the"
_ANCHORS = (f" {_ANCHOR}", " people", " water")
"""Words after which pieces are tried: a tokenizer that merges tokens across spaces may merge many with the first one."""
_STOP = "."
_RING_SENTENCES = 800
_SENTENCE_WORDS = (5, 14)
_LEAST_WORDS = 50
_LEAST_TOKENS = 10
_ASKED_WORDS = 250
"""Words to try if each count is a request to a server."""
_VOCABULARY_TRIED = 16_384
_ANCHORS_TRIED = 5


class Opening:
    """Determines the first choices of a text by its number instead of at random, so that texts with different numbers
    differ.

    The number is written in a mixed radix: the first choice is its lowest digit, with as many values as there are
    options, the next choice is the next digit, and so on. Consecutive numbers give different beginnings, up to the
    number of combinations. To keep neighbours from continuing alike, each digit is rotated by a hash of the lower ones,
    which preserves this.
    """

    __slots__ = ("_choices", "_lower", "_number")

    _CHOICES = 3
    _TURN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: Fibonacci hashing

    def __init__(self, number: int | None) -> None:
        """None: all choices are random."""
        self._number = 0 if number is None else number
        self._choices = 0 if number is None else self._CHOICES
        self._lower = 0

    def choose(self, options: int, rng: Random) -> int:
        """One of 0 to `options` - 1."""
        if self._choices == 0:
            return int(rng.random() * options)
        self._choices -= 1
        self._number, digit = divmod(self._number, options)
        choice = (digit + (self._lower * self._TURN % 2**64 >> 32)) % options
        self._lower = self._lower * options + digit
        return choice


@dataclass(frozen=True, slots=True)
class WordBank:
    """The pieces of one tokenizer."""

    words: tuple[str, ...]
    """Lower-case words, each with a leading space; characters in scripts without spaces."""
    openers: tuple[str, ...]
    """Words that can start a sentence, capitalized if the tokenizer allows it. Each has a leading space, and is one token
    with and without it."""
    stop: str | None
    """The full stop, if it adds one token."""

    def sentence(self, rng: Random, opening: Opening | None = None) -> list[str]:
        random, words = rng.random, self.words
        length = _SENTENCE_WORDS[0] + int(random() * (_SENTENCE_WORDS[1] - _SENTENCE_WORDS[0] + 1))
        if opening is None:
            pieces = [self.openers[int(random() * len(self.openers))]]
        else:
            pieces = [self.openers[opening.choose(len(self.openers), rng)]]
            pieces += [words[opening.choose(len(words), rng)] for _ in range(2)]
            length -= 2
        pieces += [words[int(random() * len(words))] for _ in range(length)]
        if self.stop is not None:
            pieces.append(self.stop)
        return pieces

    def fresh(self, n: int, rng: Random, opening: Opening | None = None, repeat: float = 0.0) -> list[str]:
        """n pieces of new text. The last sentence may be cut short.

        `repeat` is the share of pieces in sentences that repeat an earlier one of the same text.
        """
        pieces: list[str] = []
        sentences: list[list[str]] = []
        repeated = 0
        while len(pieces) < n:
            if sentences and repeated < repeat * len(pieces):
                sentence = sentences[int(rng.random() * len(sentences))]
                repeated += len(sentence)
            else:
                sentence = self.sentence(rng, None if sentences else opening)
                sentences.append(sentence)
            pieces += sentence
        return pieces[:n]


def without_leading_space(pieces: list[str]) -> list[str]:
    """The pieces as the start of a text: the first one without its leading space."""
    return [pieces[0].removeprefix(" "), *pieces[1:]] if pieces else pieces


@functools.lru_cache(maxsize=8)
def word_bank(tokenizer: Tokenizer) -> WordBank:
    """The bank of a tokenizer, measured once: English words, or its own tokens if it does not know English words.

    Raises SpecError if it has too few pieces.
    """
    words = Path(__file__).with_name("words.txt").read_text(encoding="utf-8").split()
    if tokenizer.is_remote:
        words = words[:_ASKED_WORDS]
    plain = additive_behind(tokenizer, [f" {word}" for word in words], _ANCHORS)
    # Also without a space, at the start of a text: capitalized or, if that costs two tokens, in lower case.
    capitals = bare(tokenizer, additive_behind(tokenizer, [f" {word.capitalize()}" for word in words], _ANCHORS))
    openers = capitals if len(capitals) >= _LEAST_WORDS else bare(tokenizer, plain)
    if len(plain) < _LEAST_WORDS or not openers:
        try:
            return vocabulary_bank(tokenizer)
        except SpecError as e:
            raise SpecError(
                f"{e}; only {len(plain)} of {len(words)} English words are a token of their own in any position"
            ) from e
    return WordBank(tuple(plain), tuple(openers), _stop(tokenizer, plain, openers))


@functools.lru_cache(maxsize=8)
def vocabulary_bank(tokenizer: Tokenizer) -> WordBank:
    """A bank of the tokenizer's own tokens, in any language: those that add one token to a text.

    Raises SpecError if it has too few of them, or does not return its vocabulary.
    """
    # Letters only: punctuation, digits and control characters are tokenized by other rules.
    texts = [text for text in tokenizer.vocabulary() if text.strip().isalpha()]
    if len(texts) > _VOCABULARY_TRIED:
        chance = stream(0, "vocabulary")
        texts = [text for text in texts if chance.random() * len(texts) < _VOCABULARY_TRIED]
    spaced = list(dict.fromkeys(f" {text.strip()}" for text in texts))
    pieces = additive_behind(tokenizer, spaced, (_ANCHORS[0], *_some(spaced)))
    if len(pieces) < _LEAST_WORDS:
        # Without spaces, tokens may merge within a word. So use this form only if it has more pieces.
        joined = list(dict.fromkeys(texts))
        pieces = max(pieces, additive_behind(tokenizer, joined, (_ANCHORS[0], *_some(joined))), key=len)
    openers = bare(tokenizer, pieces)
    if len(pieces) >= _LEAST_TOKENS and not openers:
        raise SpecError(
            f"{tokenizer.name}: {len(pieces)} tokens add exactly one token to a text, but none of them is one token at its "
            "beginning, so no prompt of an exact length can be made: is it the tokenizer of the model?"
        )
    if len(pieces) < _LEAST_TOKENS:
        raise SpecError(
            f"{tokenizer.name}: {len(pieces)} of the {len(texts)} tokens tried add exactly one token to a text, and "
            f"prompts of an exact length need {_LEAST_TOKENS}: is it the tokenizer of the model?"
        )
    return WordBank(tuple(pieces), tuple(openers), None)


def script_bank(tokenizer: Tokenizer, texts: Sequence[str]) -> WordBank | None:
    """A bank of the words of `texts`, or of their characters if words cost more than one token or the script has no
    spaces. None if there are too few."""
    words = sorted({word for text in texts for word in text.split() if word.isalpha()})
    characters = sorted({character for text in texts for character in text if character.isalpha()})
    for pieces in ([f" {word}" for word in words], characters):
        # A character may merge with many others: try several anchors, and keep the one that merges with the fewest.
        fitting = max((additive(tokenizer, pieces, anchor) for anchor in _some(pieces)), key=len, default=[])
        openers = bare(tokenizer, fitting)
        if len(fitting) >= _LEAST_WORDS and openers:
            return WordBank(tuple(fitting), tuple(openers), None)
    return None


def _some(pieces: Sequence[str]) -> Sequence[str]:
    """A few pieces, evenly spaced."""
    return pieces[:: max(1, len(pieces) // _ANCHORS_TRIED)]


def additive_behind(tokenizer: Tokenizer, pieces: list[str], anchors: Sequence[str]) -> list[str]:
    """The additive pieces for the first anchor that gives enough of them, else for the anchor that gives the most."""
    most: list[str] = []
    for anchor in anchors:
        most = max(most, additive(tokenizer, pieces, anchor), key=len)
        if len(most) >= _LEAST_WORDS:
            break
    return most


def additive(tokenizer: Tokenizer, pieces: list[str], anchor: str) -> list[str]:
    """The pieces that add one token after a word (the anchor), and one between two. No two of them add the same token,
    as all words unknown to the tokenizer would."""
    first = anchor.removeprefix(" ")
    single, pair = tokenizer.count_plain([first, first + anchor])
    behind = tokenizer.count_plain([first + piece for piece in pieces])
    likely = [piece for piece, count in zip(pieces, behind, strict=True) if count == single + 1]
    between = tokenizer.count_plain([first + piece + anchor for piece in likely])
    fitting = [piece for piece, count in zip(likely, between, strict=True) if count == pair + 1]
    # Encode all of them between anchors in one text, so that a server is asked once.
    ids: Sequence[object] = tokenizer.encode("".join([first, *(piece + anchor for piece in fitting)]))[
        single :: pair - single + 1
    ]
    if len(ids) != len(fitting):  # A token may span several pieces.
        if tokenizer.is_remote:
            return fitting
        ids = [tuple(tokenizer.encode(first + piece)) for piece in fitting]
    different: dict[object, str] = {}
    for token, piece in zip(ids, fitting, strict=True):
        different.setdefault(token, piece)
    return list(different.values())


def bare(tokenizer: Tokenizer, pieces: list[str]) -> list[str]:
    """The pieces that, without their space, are one token at the beginning of a text."""
    counts = tokenizer.count_plain([piece.removeprefix(" ") for piece in pieces])
    return [piece for piece, count in zip(pieces, counts, strict=True) if count == 1]


def _stop(tokenizer: Tokenizer, words: list[str], openers: list[str]) -> str | None:
    """The full stop, if it adds one token after each word and before some opener."""
    counts = tokenizer.count_plain([_ANCHOR + word + _STOP + openers[0] for word in words])
    base = tokenizer.count_plain([_ANCHOR])[0]
    return _STOP if all(count == base + 3 for count in counts) else None


class TokenText:
    """A fast source of text, for example for a server that must answer with n tokens.

    Texts are cut from one long ring of sentences, which is generated and checked once. Two texts may share sentences.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises SpecError if the tokenizer has too few pieces."""
        self._ring, self._starts = _ring(tokenizer)

    def pieces(self, n: int, rng: Random) -> list[str]:
        """n strings that add one token each; the first has no leading space."""
        if n <= 0:
            return []
        ring = self._ring
        start = self._starts[int(rng.random() * len(self._starts))]
        words = ring[start : start + n]
        while len(words) < n:
            words += ring[: n - len(words)]
        words[0] = words[0].removeprefix(" ")
        return words


@functools.lru_cache(maxsize=8)
def _ring(tokenizer: Tokenizer) -> tuple[list[str], list[int]]:
    """Whole sentences as pieces, and the index at which each starts."""
    bank = word_bank(tokenizer)
    rng = stream(0, "text ring")
    sentences = [bank.sentence(rng) for _ in range(_RING_SENTENCES)]
    if not _adds_up(tokenizer, sentences):
        sentences = _joinable(tokenizer, sentences)
        if len(sentences) < _LEAST_WORDS or not _adds_up(tokenizer, sentences):
            raise SpecError(
                f"{tokenizer.name}: words of one token each do not add up in a text: name another tokenizer"
            )
    starts = list(accumulate(map(len, sentences[:-1]), initial=0))
    return [piece for sentence in sentences for piece in sentence], starts


def _adds_up(tokenizer: Tokenizer, sentences: Sequence[list[str]]) -> bool:
    pieces = [piece for sentence in sentences for piece in sentence]
    return tokenizer.count_plain(["".join(without_leading_space(pieces))]) == [len(pieces)]


def _joinable(tokenizer: Tokenizer, sentences: list[list[str]]) -> list[list[str]]:
    """The sentences with exactly one token per piece, both alone and after the previous one: a tokenizer with a small
    vocabulary may merge two pieces."""
    alone = tokenizer.count_plain(["".join(without_leading_space(sentence)) for sentence in sentences])
    remaining = [sentence for sentence, count in zip(sentences, alone, strict=True) if count == len(sentence)]
    while True:
        pairs = list(pairwise(remaining))
        counts = tokenizer.count_plain(["".join(without_leading_space([*first, *other])) for first, other in pairs])
        fitting = [
            other for (first, other), count in zip(pairs, counts, strict=True) if count == len(first) + len(other)
        ]
        if len(fitting) == len(pairs):
            return remaining
        remaining = [*remaining[:1], *fitting]
