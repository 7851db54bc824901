"""A text as the texts of its tokens."""

from __future__ import annotations

from promptset.tokens import Tokenizer

_CONTEXT = 4
"""Tokens to decode before a new one, as some tokenizers write a token differently at the start of a text."""
_CUT = "\ufffd"


def pieces_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """One text per token. A token that ends inside a character has none; the one that completes it has it all."""
    ids = tokenizer.encode(text)
    pieces: list[str] = []
    start = shown = 0
    for stop in range(1, len(ids) + 1):
        before, now = tokenizer.decode(ids[start:shown]), tokenizer.decode(ids[start:stop])
        if now.endswith(_CUT) and stop < len(ids):
            pieces.append("")
            continue
        pieces.append(now[len(before) :])
        shown = stop
        start = max(start, shown - _CONTEXT)
    if pieces and "".join(pieces) != text:
        # A tokenizer that does not give the text back: all of it comes with the first token.
        pieces = [text, *[""] * (len(pieces) - 1)]
    return pieces
