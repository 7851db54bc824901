"""Text that costs exactly as many tokens as it has pieces.

A *piece* is a word with its leading space, or a mark, that adds one token wherever it stands. That a tokenizer has such
pieces is measured, never assumed: of common English words, those are kept that add one token behind a word and one
between two. With a tokenizer that splits at spaces, as nearly all do, each then adds one in any company; whoever needs
a certain count verifies it besides (promptset.exact).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from promptset.errors import SpecError
from promptset.rng import Random, stream
from promptset.tokenizer import Tokenizer

_ANCHOR = "the"
_STOP = "."
_RING_SENTENCES = 800
_SENTENCE_WORDS = (5, 14)
_LEAST_WORDS = 50
_LEAST_TOKENS = 10
_ASKED_WORDS = 250
"""Words that are tried where each count is a request to a server."""
_VOCABULARY_TRIED = 16_384
_ANCHORS_TRIED = 5


class Opening:
    """Makes the first choices of a text by its number and not by chance, so that texts of different numbers differ.

    The number is spelled in the digits of a mixed radix: the first choice is its lowest digit, with as many values as
    there are options, the next one the next, and so on. Texts of as many numbers in a row as there are combinations
    have no two beginnings in common. So that neighbours do not go on alike, each digit is turned by a hash of the lower
    ones, which changes nothing in that.
    """

    __slots__ = ("_choices", "_lower", "_number")

    _CHOICES = 3
    _TURN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: Fibonacci hashing

    def __init__(self, number: int | None) -> None:
        """None: all is chance."""
        self._number = 0 if number is None else number
        self._choices = 0 if number is None else self._CHOICES
        self._lower = 0

    @property
    def spent(self) -> bool:
        """Whether what follows is chance."""
        return self._choices == 0

    def choose(self, options: int, rng: Random) -> int:
        """One of 0 to `options` - 1."""
        if self.spent:
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
    """Lower-case words, each with a leading space; in a script without spaces, characters."""
    openers: tuple[str, ...]
    """Words that may begin a sentence: capitalized where the tokenizer allows it; each with a leading space, and one
    token without it too."""
    stop: str | None
    """The mark that ends a sentence, where it adds one token."""

    def sentence(self, rng: Random, opening: Opening | None = None) -> list[str]:
        """The pieces of one fresh sentence."""
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
        """n pieces of text that was never written before; the last sentence is cut where the n are reached.

        `repeat` is the share of them in sentences that stand earlier in the same text.
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
    """The pieces as the beginning of a text: the first without its leading space."""
    return [pieces[0].removeprefix(" "), *pieces[1:]] if pieces else pieces


@functools.lru_cache(maxsize=8)
def word_bank(tokenizer: Tokenizer) -> WordBank:
    """The bank of a tokenizer, measured once: of English words, or where it does not know them of its own tokens.

    Raises SpecError where it has too few pieces.
    """
    words = resources.files("promptset").joinpath("words.txt").read_text(encoding="utf-8").split()
    if tokenizer.is_remote:
        words = words[:_ASKED_WORDS]
    plain = additive(tokenizer, [f" {word}" for word in words])
    # Bare as well, since a text begins without a space: a capital or, where those cost two tokens, a small letter.
    capitals = bare(tokenizer, additive(tokenizer, [f" {word.capitalize()}" for word in words]))
    openers = capitals if len(capitals) >= _LEAST_WORDS else bare(tokenizer, plain)
    if len(plain) < _LEAST_WORDS or not openers:
        try:
            return vocabulary_bank(tokenizer)
        except SpecError as e:
            raise SpecError(
                f"{tokenizer.name}: only {len(plain)} of {len(words)} English words cost one token in any position, and "
                f"{e}"
            ) from e
    return WordBank(tuple(plain), tuple(openers), _stop(tokenizer, plain, openers))


@functools.lru_cache(maxsize=8)
def vocabulary_bank(tokenizer: Tokenizer) -> WordBank:
    """A bank of the tokenizer's own tokens, whatever the language: those that add one token to a text.

    Raises SpecError where it has too few of them, or does not tell its vocabulary.
    """
    # Letters only: punctuation and digits are joined or split by rules of their own, and control characters by servers.
    texts = [text for text in tokenizer.vocabulary() if text.strip().isalpha()]
    if len(texts) > _VOCABULARY_TRIED:
        chance = stream(0, "vocabulary")
        texts = [text for text in texts if chance.random() * len(texts) < _VOCABULARY_TRIED]
    spaced = additive(tokenizer, list(dict.fromkeys(f" {text.strip()}" for text in texts)))
    pieces = spaced if len(spaced) >= _LEAST_WORDS else additive(tokenizer, list(dict.fromkeys(texts)))
    openers = bare(tokenizer, pieces)
    if len(pieces) < _LEAST_TOKENS or not openers:
        raise SpecError(f"only {len(pieces)} of the {len(texts)} tokens tried add one token to a text")
    return WordBank(tuple(pieces), tuple(openers), None)


def script_bank(tokenizer: Tokenizer, texts: Sequence[str]) -> WordBank | None:
    """A bank of the words of `texts`, or of their characters where the words of the script cost more than a token or it
    has none. None where that is too few."""
    words = sorted({word for text in texts for word in text.split() if word.isalpha()})
    characters = sorted({character for text in texts for character in text if character.isalpha()})
    for pieces in ([f" {word}" for word in words], characters):
        # A character may join many others to words: of some, the one that joins fewest stands for the text around.
        tried = pieces[:: max(1, len(pieces) // _ANCHORS_TRIED)]
        kept = max((additive(tokenizer, pieces, anchor) for anchor in tried), key=len, default=[])
        openers = bare(tokenizer, kept)
        if len(kept) >= _LEAST_WORDS and openers:
            return WordBank(tuple(kept), tuple(openers), None)
    return None


def additive(tokenizer: Tokenizer, pieces: list[str], anchor: str = f" {_ANCHOR}") -> list[str]:
    """The pieces that add one token behind a word (the anchor), and one between two."""
    first = anchor.removeprefix(" ")
    one, pair = tokenizer.count_plain([first, first + anchor])
    behind = tokenizer.count_plain([first + piece for piece in pieces])
    likely = [piece for piece, count in zip(pieces, behind, strict=True) if count == one + 1]
    between = tokenizer.count_plain([first + piece + anchor for piece in likely])
    return [piece for piece, count in zip(likely, between, strict=True) if count == pair + 1]


def bare(tokenizer: Tokenizer, pieces: list[str]) -> list[str]:
    """The pieces that are one token at the beginning of a text, without their space."""
    counts = tokenizer.count_plain([piece.removeprefix(" ") for piece in pieces])
    return [piece for piece, count in zip(pieces, counts, strict=True) if count == 1]


def _stop(tokenizer: Tokenizer, words: list[str], openers: list[str]) -> str | None:
    """The full stop, where it adds one token behind each word and before some opener."""
    counts = tokenizer.count_plain([_ANCHOR + word + _STOP + openers[0] for word in words])
    one = tokenizer.count_plain([_ANCHOR])[0]
    return _STOP if all(count == one + 3 for count in counts) else None


class TokenText:
    """Text for whoever needs much of it quickly, such as a server that must answer with n tokens.

    Texts are cut from one long ring of sentences, made and checked at construction: two of them may share sentences.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises SpecError where the tokenizer has no such text."""
        self._ring, self._starts = _ring(tokenizer)

    def pieces(self, n: int, rng: Random) -> list[str]:
        """n strings that, joined in order, are n tokens, each adding one; the first has no leading space."""
        if n <= 0:
            return []
        ring = self._ring
        start = self._starts[int(rng.random() * len(self._starts))]
        taken = ring[start : start + n]
        while len(taken) < n:
            taken += ring[: n - len(taken)]
        taken[0] = taken[0].removeprefix(" ")
        return taken


@functools.lru_cache(maxsize=8)
def _ring(tokenizer: Tokenizer) -> tuple[list[str], list[int]]:
    """Whole sentences, and where they begin."""
    bank = word_bank(tokenizer)
    rng = stream(0, "text ring")
    ring: list[str] = []
    starts = []
    for _ in range(_RING_SENTENCES):
        starts.append(len(ring))
        ring += bank.sentence(rng)
    if tokenizer.count_plain(["".join(without_leading_space(ring))]) != [len(ring)]:
        raise SpecError(f"{tokenizer.name}: words that cost one token each do not add up in a text; name another one")
    return ring, starts
