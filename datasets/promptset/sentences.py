"""Texts of exactly n tokens, made of whole sentences whose counts add up: fast, also for long texts.

A sentence begins with an *opener* and ends with an *ender*: the full stop, or one of a few words if no full stop is one
token. Each sentence is counted once, between an ender and an opener, and so is each pair of ender and opener. The
inside of a sentence touches no other sentence, so the tokens of any sequence of sentences are the sum of theirs and
need not be counted again. A text of 150,000 tokens takes a few milliseconds. If plain words add up regardless of their
neighbours (`promptset.sums`), no sentence is counted: it has one token per piece.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from promptset.errors import SpecError
from promptset.rng import Random, stream
from promptset.sums import adds_up
from promptset.text import word_bank
from promptset.tokenizer import Tokenizer

LEAST_TOKENS = 2
"""The minimum tokens of a text: an opener and an ender."""

_SHORT = range(LEAST_TOKENS, 8)
_LONG = range(8, 17)
"""Tokens of sentences. A text ends with one or two that fill it exactly: two long ones make 16 to 32."""
_SHORT_EACH, _LONG_EACH = 64, 1024
_SHORT_ASKED, _LONG_ASKED = 4, 16
"""Sentences of each length, if each count is a request to a server."""
_ENDERS, _OPENERS, _OPENERS_ASKED = 8, 256, 12


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SentenceBank:
    """The sentences of one tokenizer."""

    by_length: tuple[tuple[str, ...], ...]
    """Sentences by their number of tokens; 0 and 1 are empty. Each begins with the space before its first word, if the
    script has spaces."""
    long: tuple[tuple[int, str], ...]
    """The long sentences, with their tokens."""
    first: tuple[tuple[str, ...], ...]
    """Sentences that may begin a text, by their tokens, without the leading space."""
    openers: tuple[str, ...]
    enders: tuple[str, ...]
    """The first and last pieces of sentences, one token each."""

    def block(self, tokens: int, rng: Random) -> str:
        """A text of exactly `tokens` tokens, at least 2, that follows another text (it begins with a space).

        The tokens of joined blocks are the sum of theirs, and so are those of a text followed by blocks.
        """
        if tokens < LEAST_TOKENS:
            raise ValueError(f"a text has at least {LEAST_TOKENS} tokens, not {tokens}")
        random, long, n = rng.random, self.long, len(self.long)
        sentences: list[str] = []
        left, most = tokens, 2 * _LONG[-1]
        while left > most:
            length, sentence = long[int(random() * n)]
            left -= length
            sentences.append(sentence)
        for length in (left,) if left <= _LONG[-1] else (left // 2, left - left // 2):
            same = self.by_length[length]
            sentences.append(same[int(random() * len(same))])
        return "".join(sentences)

    def text(self, tokens: int, rng: Random) -> str:
        """A text of exactly `tokens` tokens, at least 2, that begins a message: without a leading space."""
        if tokens < LEAST_TOKENS:
            raise ValueError(f"a text has at least {LEAST_TOKENS} tokens, not {tokens}")
        length = tokens
        if tokens > _LONG[-1]:
            length = min(_LONG[int(rng.random() * len(_LONG))], tokens - LEAST_TOKENS)
        same = self.first[length]
        begin = same[int(rng.random() * len(same))]
        return begin if length == tokens else begin + self.block(tokens - length, rng)

    def beginning_with(self, tokenizer: Tokenizer, openers: Sequence[str]) -> SentenceBank:
        """The same sentences, but texts begin only with these openers. Raises SpecError if too few of them add up.

        Only every eighth of the long sentences is counted and may begin a text: some 1,000 first sentences remain.
        Lengths do not depend on it, and two texts with the same beginning differ after at most 16 tokens.
        """
        chance = stream(0, "first sentences")
        first: list[tuple[str, ...]] = [(), ()]
        for tokens in (*_SHORT, *_LONG):
            drawn = []
            for sentence in self.by_length[tokens][:: 1 if tokens in _SHORT else 8]:
                opener = next(candidate for candidate in self.openers if sentence.startswith(candidate))
                drawn.append(openers[int(chance.random() * len(openers))] + sentence[len(opener) :])
            exact = _exact(tokenizer, drawn, tokens, self.openers[0], self.enders[0])
            first.append(tuple(sentence.removeprefix(" ") for sentence in _enough(tokenizer, exact, tokens)))
        return dataclasses.replace(self, first=tuple(first))


@functools.lru_cache(maxsize=8)
def sentence_bank(tokenizer: Tokenizer) -> SentenceBank:
    """The bank of a tokenizer, measured once. Raises SpecError if its sentences do not add up."""
    words = word_bank(tokenizer)
    known = adds_up(tokenizer, words)
    remote = tokenizer.is_remote
    chance = stream(0, "sentences")
    enders = (words.stop,) if words.stop is not None else _spread(words.words, _ENDERS)
    openers = _spread(words.openers, _OPENERS_ASKED if remote else _OPENERS)
    openers, enders = _joinable(tokenizer, openers, enders)
    by_length: list[tuple[str, ...]] = [(), ()]
    first: list[tuple[str, ...]] = [(), ()]
    for tokens in (*_SHORT, *_LONG):
        short, long = (_SHORT_ASKED, _LONG_ASKED) if remote else (_SHORT_EACH, _LONG_EACH)
        wanted = short if tokens in _SHORT else long
        drawn = [_drawn(tokens, openers, words.words, enders, chance) for _ in range(wanted)]
        exact = drawn if known else _exact(tokenizer, drawn, tokens, openers[0], enders[0])
        by_length.append(_enough(tokenizer, exact, tokens))
        begin = [sentence.removeprefix(" ") for sentence in by_length[-1]]
        if not known:
            alone = tokenizer.count_plain(begin)
            begin = [sentence for sentence, count in zip(begin, alone, strict=True) if count == tokens]
        first.append(_enough(tokenizer, begin, tokens))
    long_ones = tuple((tokens, sentence) for tokens in _LONG for sentence in by_length[tokens])
    return SentenceBank(tuple(by_length), long_ones, tuple(first), openers, enders)


def _enough(tokenizer: Tokenizer, sentences: Sequence[str], tokens: int) -> tuple[str, ...]:
    if not sentences:
        raise SpecError(f"{tokenizer.name}: sentences of {tokens} words of one token each do not have {tokens} tokens")
    return tuple(dict.fromkeys(sentences))


def _spread(pieces: Sequence[str], most: int) -> tuple[str, ...]:
    """About `most` pieces, evenly spaced."""
    return tuple(pieces[:: max(1, -(-len(pieces) // most))])


def _joinable(
    tokenizer: Tokenizer, openers: Sequence[str], enders: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The openers that add one token after every ender that is kept, and these enders."""
    first = openers[0].removeprefix(" ")
    kept_enders, remaining = [], list(openers)
    for ender in enders:
        counts = tokenizer.count_plain([f"{first}{ender}{opener}{ender}" for opener in remaining])
        behind = [opener for opener, count in zip(remaining, counts, strict=True) if count == 4]
        if 2 * len(behind) > len(remaining):
            kept_enders.append(ender)
            remaining = behind
    if not kept_enders:
        raise SpecError(f"{tokenizer.name}: words of one token each do not add up between sentences")
    return tuple(remaining), tuple(kept_enders)


def _drawn(tokens: int, openers: Sequence[str], words: Sequence[str], enders: Sequence[str], rng: Random) -> str:
    middle = [words[int(rng.random() * len(words))] for _ in range(tokens - 2)]
    return "".join([openers[int(rng.random() * len(openers))], *middle, enders[int(rng.random() * len(enders))]])


def _exact(tokenizer: Tokenizer, sentences: Sequence[str], tokens: int, opener: str, ender: str) -> list[str]:
    """The sentences that add exactly `tokens` tokens between two others."""
    start = opener.removeprefix(" ") + ender
    counts = tokenizer.count_plain([f"{start}{sentence}{opener}{ender}" for sentence in sentences])
    return [sentence for sentence, count in zip(sentences, counts, strict=True) if count == tokens + 4]
