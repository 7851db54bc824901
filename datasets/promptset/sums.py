"""Whether the tokens of plain words are a sum, so that nobody needs to count a text made of them.

Nearly all tokenizers split a text before they tokenize it, and tokenize the parts apart from each other. Where each piece of
a bank is such a part, whatever pieces stand beside it, a text has the tokens of its pieces: one each, as `promptset.text` has
measured. A pre-tokenizer sees letters, capitals, spaces and full stops, never words: so a text in which every piece stands
between others of each of these kinds shows it for all texts.
"""

from __future__ import annotations

import functools

from promptset.rng import Random, stream
from promptset.text import WordBank, without_leading_space
from promptset.tokenizer import Tokenizer


@functools.lru_cache(maxsize=16)
def adds_up(tokenizer: Tokenizer, bank: WordBank) -> bool:
    """Whether each text of these pieces, from its second piece on, has as many more tokens as it has more pieces."""
    if tokenizer.is_remote:
        return False
    pieces = without_leading_space(_every_piece(bank, stream(0, "sums")))
    text = "".join(pieces)
    parts = tokenizer.parts(text)
    if parts is None or [part.strip() for part in parts] != [piece.strip() for piece in pieces]:
        return False
    return tokenizer.count_plain([text]) == [len(pieces)]


def _every_piece(bank: WordBank, chance: Random) -> list[str]:
    """Every piece, in an order of chance; behind each third a full stop."""
    drawn: list[str] = []
    mixed = sorted((chance.random(), piece) for piece in (*bank.words, *bank.openers))
    for at, (_, piece) in enumerate(mixed):
        drawn.append(piece)
        if bank.stop is not None and at % 3 == 0:
            drawn.append(bank.stop)
    # A text begins with an opener: what other words cost there is not known.
    return [bank.openers[0], *drawn]
