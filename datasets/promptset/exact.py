"""Prompts of exactly n tokens, as the server will count them.

Pieces that add one token each (promptset.text) make the length; what the tokenizer and the chat template add of their
own is measured and taken off first; the finished text is counted before it is handed out. Where the count is off, which
needs a tokenizer that joins tokens over spaces, the number of pieces is corrected and the text drawn again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from promptset.chat import Message
from promptset.errors import ImpossibleLength, SpecError
from promptset.rng import Random
from promptset.text import opened, word_bank
from promptset.tokens import Tokenizer

_ATTEMPTS = 20


def exact_prompt(tokenizer: Tokenizer, n: int, rng: Random, *, prefix: Sequence[str] = ()) -> str:
    """A completion prompt of n tokens, those that the tokenizer adds included: `tokenizer.count(prompt) == n`.

    `prefix` is pieces that it begins with; at least one piece of its own follows. Raises ImpossibleLength where n is
    too short.
    """
    own = least_prompt(tokenizer) - 1
    return _exact(tokenizer, n, own, rng, prefix, tokenizer.count)


def exact_messages(
    tokenizer: Tokenizer, n: int, rng: Random, system: str | None = None, *, prefix: Sequence[str] = ()
) -> list[Message]:
    """Messages that the template renders to n tokens: `tokenizer.count_chat(messages) == n`.

    They are the system prompt, where one is given, and one user turn, which begins with the pieces of `prefix`. Raises
    ImpossibleLength where n is less than the template, the system prompt and the prefix need.
    """
    own = least_messages(tokenizer, system) - 1
    count = functools.partial(_count_turn, tokenizer, system)
    return _turn(_exact(tokenizer, n, own, rng, prefix, count), system)


def least_prompt(tokenizer: Tokenizer) -> int:
    """Tokens of the shortest completion prompt."""
    return tokenizer.special_tokens_added + 1


@functools.lru_cache(maxsize=64)
def least_messages(tokenizer: Tokenizer, system: str | None = None) -> int:
    """Tokens of the shortest chat: the template's own, the system prompt's, and one."""
    word = word_bank(tokenizer).openers[0].removeprefix(" ")
    return _count_turn(tokenizer, system, word)


def _turn(content: str, system: str | None) -> list[Message]:
    head: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return [*head, {"role": "user", "content": content}]


def _count_turn(tokenizer: Tokenizer, system: str | None, content: str) -> int:
    return tokenizer.count_chat(_turn(content, system))


def _exact(
    tokenizer: Tokenizer, n: int, own: int, rng: Random, prefix: Sequence[str], count: Callable[[str], int]
) -> str:
    least = own + len(prefix) + 1
    if n < least:
        parts = [f"{own} of its own"] * (own > 0) + [f"{len(prefix)} of the prefix"] * bool(prefix) + ["1 of text"]
        what = f"{n} tokens are too few for {tokenizer.name}: the shortest prompt has {least} ({', '.join(parts)})"
        raise ImpossibleLength(what, least)
    bank = word_bank(tokenizer)
    wanted = n - own - len(prefix)
    for _ in range(_ATTEMPTS):
        text = "".join(opened([*prefix, *bank.fresh(wanted, rng)]))
        got = count(text)
        if got == n:
            return text
        wanted = max(1, wanted + n - got)
    raise SpecError(f"{tokenizer.name}: no text of exactly {n} tokens was found in {_ATTEMPTS} attempts; use another n")
