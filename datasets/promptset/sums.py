"""Whether the tokens of plain words can be summed, so that a text made of them need not be counted.

Nearly all tokenizers split a text before they tokenize it, and tokenize the parts independently. If each piece of a
bank is such a part whatever its neighbours, the tokens of a text are those of its pieces: one each, as `promptset.text`
has measured. A pre-tokenizer sees letters, capitals, spaces and full stops, never words. So one text in which every
piece occurs between others of each of these kinds proves it for all texts.
"""

from __future__ import annotations

import functools

from promptset.rng import Random, stream
from promptset.text import WordBank, without_leading_space
from promptset.tokenizer import Tokenizer


@functools.lru_cache(maxsize=16)
def adds_up(tokenizer: Tokenizer, bank: WordBank) -> bool:
    """Whether, in texts of these pieces, each piece after the first adds exactly one token."""
    pieces = without_leading_space(_every_piece(bank, stream(0, "sums")))
    text = "".join(pieces)
    parts = tokenizer.parts(text)
    if parts is None or [part.strip() for part in parts] != [piece.strip() for piece in pieces]:
        return False
    return tokenizer.count_plain([text]) == [len(pieces)]


def _every_piece(bank: WordBank, chance: Random) -> list[str]:
    """Every piece in random order, with a full stop after every third."""
    drawn: list[str] = []
    mixed = sorted((chance.random(), piece) for piece in (*bank.words, *bank.openers))
    for at, (_, piece) in enumerate(mixed):
        drawn.append(piece)
        if bank.stop is not None and at % 3 == 0:
            drawn.append(bank.stop)
    # A text begins with an opener: the cost of other words there is unknown.
    return [bank.openers[0], *drawn]
