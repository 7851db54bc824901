"""Texts of about n tokens, which can be made a few tokens longer or shorter.

A draft consists of units of the chosen kind (sentences, functions, records), whose token counts were measured once, and
a tail of pieces that add one token each. promptset.exact counts the draft and adjusts its tail by the difference. This
corrects for tokens that a tokenizer merges across the borders of units, in any language.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from promptset.kinds import RANDOM, Style, kind_of
from promptset.kinds.text_kind import TextKind
from promptset.rng import Random, stream
from promptset.text import Opening, WordBank, script_bank, vocabulary_bank, without_leading_space, word_bank
from promptset.tokenizer import Tokenizer

_UNITS = 2048
_ASKED_UNITS = 64
"""Number of units to measure if each count is a request to a server."""
_LEAST_TAIL = 1
_HEADING_WORDS = 5
_TRIES_FOR_ANOTHER = 8


class Draft:
    """A text that can still be adjusted."""

    def __init__(self, prefix: Sequence[str], bank: WordBank, rng: Random) -> None:
        """The text starts with the pieces of `prefix`. `bank` supplies the pieces of its tail."""
        self._prefix = list(prefix)
        self._bank = bank
        self._rng = rng
        self._layout: TextKind | None = None
        self._heading: list[str] = []
        self._units: list[tuple[str, int]] = []
        self._tail: list[str] = []

    def write_tail(self, tokens: int, opening: Opening, repeat: float) -> None:
        self._tail = self._bank.fresh(tokens, self._rng, opening, repeat)

    def write_units(self, units: Units, tokens: int, opening: Opening, repeat: float) -> None:
        """Write a heading, units while one fits, then words.

        Units repeat from text to text. The heading makes the texts differ from their first tokens on.
        """
        self._layout = units.kind
        self._heading = self._bank.fresh(_HEADING_WORDS, self._rng, opening)
        left = tokens - units.layout_tokens - _LEAST_TAIL
        written = repeated = 0
        rng, costs, chosen = self._rng, units.costs, self._units
        used: set[int] = set()
        while fitting := bisect_right(costs, left):
            text, cost = "", left + 1
            if chosen and repeated < repeat * written:
                text, cost = chosen[int(rng.random() * len(chosen))]
            if cost <= left:
                repeated += cost
            else:
                index = int(rng.random() * fitting)
                # Prefer units that the text does not contain yet.
                for _ in range(_TRIES_FOR_ANOTHER):
                    if index not in used:
                        break
                    index = int(rng.random() * fitting)
                used.add(index)
                text, cost = units.texts[index], costs[index]
            chosen.append((text, cost))
            written += cost
            left -= cost
        self._tail = self._bank.fresh(left + _LEAST_TAIL, rng)

    def adjust(self, missing: int) -> None:
        """Make the draft `missing` tokens longer or, if negative, shorter."""
        if missing < 0:
            dropped = min(-missing, len(self._tail) - _LEAST_TAIL)
            if dropped:
                del self._tail[-dropped:]
            missing += dropped
            while missing < 0 and len(self._units) > 1:
                missing += self._units.pop()[1]
        if missing > 0:
            self._tail += self._bank.fresh(missing, self._rng)

    def shake(self, pieces: int) -> None:
        """Replace the last pieces of the tail; other pieces may add up to the right count."""
        pieces = min(pieces, len(self._tail))
        self._tail[-pieces:] = self._bank.fresh(pieces, self._rng)

    def text(self) -> str:
        if self._layout is None:
            return "".join(without_leading_space([*self._prefix, *self._tail]))
        layout = self._layout
        head = "".join(without_leading_space(self._prefix)) + layout.glue if self._prefix else ""
        heading = "".join(without_leading_space(self._heading)) + layout.heading_close
        body = layout.glue.join(text for text, _ in self._units)
        tail = "".join(self._tail if layout.fill_open.endswith("#") else without_leading_space(self._tail))
        return f"{head}{layout.open}{heading}{body}{layout.fill_open}{tail}{layout.fill_close}{layout.close}"


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a kind for one tokenizer, shortest first, with the tokens that each adds to a text."""

    kind: TextKind
    texts: tuple[str, ...]
    costs: tuple[int, ...]
    layout_tokens: int
    """Tokens of the heading and of the kind's own opening, filling and closing text."""


def draft(
    tokenizer: Tokenizer,
    tokens: int,
    rng: Random,
    *,
    style: Style,
    bank: WordBank,
    prefix: Sequence[str] = (),
    number: int | None = None,
) -> Draft:
    """A text of about this many tokens after the prefix. `bank` supplies words if the kind has none of its own.

    Drafts with different numbers differ. If no unit of the kind fits, the text is only words. Raises SpecError if the
    kind is not available.
    """
    opening = Opening(number)
    units = units_of(tokenizer, style.kind)
    made = Draft(prefix, _words(tokenizer, style.kind) or bank, rng)
    if units is not None and tokens - units.layout_tokens - _LEAST_TAIL >= units.costs[0]:
        made.write_units(units, tokens, opening, style.repeat)
    else:
        made.write_tail(tokens, opening, style.repeat)
    return made


@functools.lru_cache(maxsize=32)
def units_of(tokenizer: Tokenizer, name: str) -> Units | None:
    """The units of a kind, generated and measured once. None for kinds without units. Raises SpecError for an unknown
    kind, or if the tokenizer has no words for it."""
    _words(tokenizer, name)
    kind = kind_of(name)
    if kind is None:
        return None
    texts = _unit_texts(name, _ASKED_UNITS if tokenizer.is_remote else _UNITS)
    # The cost of a unit between two others, as in a text.
    anchor = texts[0]
    pair, *counts = tokenizer.count_plain(
        [anchor + kind.glue + anchor, *(anchor + kind.glue + text + kind.glue + anchor for text in texts)]
    )
    costs = [max(1, count - pair) for count in counts]
    # The tokens of the layout: a text of one unit and one word, minus these two. The first unit needs no glue, although
    # its cost includes it.
    word = _words(tokenizer, name) or word_bank(tokenizer)
    whole = Draft([], word, stream(0, "layout"))
    whole.write_units(Units(kind, (anchor,), (costs[0],), 0), costs[0] + _LEAST_TAIL, Opening(None), 0.0)
    layout = tokenizer.count_plain([whole.text()])[0] - costs[0] - _LEAST_TAIL
    ordered = sorted(zip(costs, texts, strict=True))
    return Units(kind, tuple(text for _, text in ordered), tuple(cost for cost, _ in ordered), layout)


@functools.lru_cache(maxsize=16)
def _unit_texts(name: str, count: int) -> list[str]:
    kind = kind_of(name)
    assert kind is not None
    rng = stream(0, "units", name)
    return list(dict.fromkeys(kind.unit(rng) for _ in range(count)))


def different_texts(tokenizer: Tokenizer, style: Style, bank: WordBank, tokens: int) -> int:
    """A lower bound for the number of different drafts of 1 or 2 tokens."""
    words = _words(tokenizer, style.kind) or bank
    return len(words.openers) * (len(words.words) if tokens > 1 else 1)


@functools.lru_cache(maxsize=32)
def _words(tokenizer: Tokenizer, name: str) -> WordBank | None:
    """The words that fill a text of this kind. None if it uses the words of the tokenizer or the turn."""
    if name == RANDOM:
        return vocabulary_bank(tokenizer)
    kind = kind_of(name)
    if kind is None or not kind.own_words:
        return None
    return script_bank(tokenizer, _unit_texts(name, _ASKED_UNITS if tokenizer.is_remote else _UNITS))
