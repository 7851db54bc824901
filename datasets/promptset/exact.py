"""Prompts of exactly n tokens, as the server will count them.

Pieces that add one token each (promptset.text) make the length; what the tokenizer and the chat template add of their
own is measured and taken off first; the finished text is counted before it is handed out. Where the count is off, which
needs a tokenizer that joins tokens over spaces, the number of pieces is corrected and the text drawn again.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from promptset.chat import Message
from promptset.errors import ImpossibleLength, SpecError
from promptset.rng import Random
from promptset.text import WordBank, opened, word_bank
from promptset.tokens import Tokenizer

_ATTEMPTS = 20
_TRIED_OPENERS = 200


def exact_prompt(tokenizer: Tokenizer, n: int, rng: Random, *, prefix: Sequence[str] = ()) -> str:
    """A completion prompt of n tokens, those that the tokenizer adds included: `tokenizer.count(prompt) == n`.

    `prefix` is pieces of `word_bank` that it begins with; at least one piece of its own follows. Raises
    ImpossibleLength where n is too short.
    """
    own = least_prompt(tokenizer) - 1
    return _exact(tokenizer.name, n, own, word_bank(tokenizer), rng, prefix, tokenizer.count)


def exact_messages(
    tokenizer: Tokenizer, n: int, rng: Random, system: str | None = None, *, prefix: Sequence[str] = ()
) -> list[Message]:
    """Messages that the template renders to n tokens: `tokenizer.count_chat(messages) == n`.

    They are the system prompt, where one is given, and one user turn, which begins with `prefix`, pieces of
    `chat_bank`. Raises ImpossibleLength where n is less than the template, the system prompt and the prefix need.
    """
    bank, least = _chat_start(tokenizer, system)
    count = functools.partial(_count_turn, tokenizer, system)
    return _turn(_exact(tokenizer.name, n, least - 1, bank, rng, prefix, count), system)


def least_prompt(tokenizer: Tokenizer) -> int:
    """Tokens of the shortest completion prompt."""
    return tokenizer.special_tokens_added + 1


def least_messages(tokenizer: Tokenizer, system: str | None = None) -> int:
    """Tokens of the shortest chat: the template's own, the system prompt's, and one."""
    return _chat_start(tokenizer, system)[1]


def chat_bank(tokenizer: Tokenizer, system: str | None = None) -> WordBank:
    """The pieces for the content of a user turn: of the words that may begin it, those that cost least there.

    A word that is one token at the beginning of a text may be several behind the line break of a template.
    """
    return _chat_start(tokenizer, system)[0]


@functools.lru_cache(maxsize=64)
def _chat_start(tokenizer: Tokenizer, system: str | None) -> tuple[WordBank, int]:
    bank = word_bank(tokenizer)
    openers = bank.openers[:_TRIED_OPENERS]
    turns = [tokenizer.render_chat(_turn(opener.removeprefix(" "), system)) for opener in openers]
    counts = tokenizer.count_plain(turns)
    least = min(counts)
    cheap = tuple(opener for opener, count in zip(openers, counts, strict=True) if count == least)
    return dataclasses.replace(bank, openers=cheap), least


def _turn(content: str, system: str | None) -> list[Message]:
    head: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return [*head, {"role": "user", "content": content}]


def _count_turn(tokenizer: Tokenizer, system: str | None, content: str) -> int:
    return tokenizer.count_chat(_turn(content, system))


def _exact(
    name: str, n: int, own: int, bank: WordBank, rng: Random, prefix: Sequence[str], count: Callable[[str], int]
) -> str:
    """A text for which `count` gives n, of which `own` are not the text's."""
    least = own + len(prefix) + 1
    if n < least:
        parts = [f"{own} of its own"] * (own > 0) + [f"{len(prefix)} of the prefix"] * bool(prefix) + ["1 of text"]
        what = f"{n} tokens are too few for {name}: the shortest prompt has {least} ({', '.join(parts)})"
        raise ImpossibleLength(what, least)
    wanted = n - own - len(prefix)
    for _ in range(_ATTEMPTS):
        text = "".join(opened([*prefix, *bank.fresh(wanted, rng)]))
        got = count(text)
        if got == n:
            return text
        wanted = max(1, wanted + n - got)
    raise SpecError(f"{name}: no text of exactly {n} tokens was found in {_ATTEMPTS} attempts; use another n")
