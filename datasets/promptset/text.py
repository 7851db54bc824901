"""Text that costs exactly as many tokens as it has pieces.

A *piece* is a word with its leading space, or a mark, that adds one token wherever it stands. That a tokenizer has such
pieces is measured, never assumed: of common English words, those are kept that add one token behind a word and one
between two. With a tokenizer that splits at spaces, as nearly all do, each then adds one in any company; whoever needs
a certain count verifies it besides (promptset.exact).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

from promptset.errors import SpecError
from promptset.rng import Random, stream
from promptset.tokens import Tokenizer

_ANCHOR = "the"
_STOP = "."
_RING_SENTENCES = 800
_SENTENCE_WORDS = (5, 14)
_LEAST_WORDS = 50


@dataclass(frozen=True, slots=True)
class WordBank:
    """The pieces of one tokenizer."""

    words: tuple[str, ...]
    """Lower-case words, each with a leading space."""
    openers: tuple[str, ...]
    """Words that may begin a sentence: capitalized where the tokenizer allows it; each with a leading space, and one
    token without it too."""
    stop: str | None
    """The mark that ends a sentence, where it adds one token."""

    def sentence(self, rng: Random) -> list[str]:
        """The pieces of one fresh sentence."""
        random, words = rng.random, self.words
        length = _SENTENCE_WORDS[0] + int(random() * (_SENTENCE_WORDS[1] - _SENTENCE_WORDS[0] + 1))
        pieces = [self.openers[int(random() * len(self.openers))]]
        pieces += [words[int(random() * len(words))] for _ in range(length)]
        if self.stop is not None:
            pieces.append(self.stop)
        return pieces

    def fresh(self, n: int, rng: Random) -> list[str]:
        """n pieces of text that was never written before; the last sentence is cut where the n are reached."""
        pieces: list[str] = []
        while len(pieces) < n:
            pieces += self.sentence(rng)
        return pieces[:n]


def opened(pieces: list[str]) -> list[str]:
    """The pieces as the beginning of a text: the first without its leading space."""
    return [pieces[0].removeprefix(" "), *pieces[1:]] if pieces else pieces


@functools.lru_cache(maxsize=8)
def word_bank(tokenizer: Tokenizer) -> WordBank:
    """The bank of a tokenizer, measured once. Raises SpecError where it has too few pieces."""
    words = resources.files("promptset").joinpath("words.txt").read_text(encoding="utf-8").split()
    plain = _additive(tokenizer, [f" {word}" for word in words])
    # Bare as well, since a text begins without a space: a capital or, where those cost two tokens, a small letter.
    capitals = _bare(tokenizer, _additive(tokenizer, [f" {word.capitalize()}" for word in words]))
    openers = capitals if len(capitals) >= _LEAST_WORDS else _bare(tokenizer, plain)
    if len(plain) < _LEAST_WORDS or not openers:
        raise SpecError(
            f"{tokenizer.name}: only {len(plain)} of {len(words)} English words cost one token in any position; "
            "exact lengths need a tokenizer that knows English words"
        )
    return WordBank(tuple(plain), tuple(openers), _stop(tokenizer, plain, openers))


def _additive(tokenizer: Tokenizer, pieces: list[str]) -> list[str]:
    """The pieces that add one token behind a word, and one between two words."""
    one, pair = tokenizer.count_plain([_ANCHOR, f"{_ANCHOR} {_ANCHOR}"])
    behind = tokenizer.count_plain([_ANCHOR + piece for piece in pieces])
    between = tokenizer.count_plain([f"{_ANCHOR}{piece} {_ANCHOR}" for piece in pieces])
    return [p for p, b, m in zip(pieces, behind, between, strict=True) if b == one + 1 and m == pair + 1]


def _bare(tokenizer: Tokenizer, pieces: list[str]) -> list[str]:
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
    if tokenizer.count_plain(["".join(opened(ring))]) != [len(ring)]:
        raise SpecError(f"{tokenizer.name}: words that cost one token each do not add up in a text; name another one")
    return ring, starts
