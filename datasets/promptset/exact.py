"""Prompts of exactly n tokens, as the server will count them.

Pieces that add one token each (promptset.text) make the length; what the tokenizer and the chat template add of their
own is measured and taken off first; the finished text is counted before it is handed out. Where the count is off, which
needs a tokenizer that joins tokens over spaces or a text whose parts join, its end is made longer or shorter by what is
missing, and the whole is counted again.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import orjson

from promptset.chat import Message, Tool
from promptset.drafts import draft
from promptset.errors import ImpossibleLength, SpecError
from promptset.kinds import PLAIN, WORDS, Style
from promptset.rng import Random
from promptset.text import WordBank, word_bank
from promptset.tokenizer import Tokenizer

_ATTEMPTS = 20
_STEADY = 3
"""After so many attempts the last pieces are not only more or fewer but also other ones."""
_TRIED_OPENERS = 200
_ASKED_OPENERS = 30


def exact_prompt(
    tokenizer: Tokenizer,
    n: int,
    rng: Random,
    *,
    prefix: Sequence[str] = (),
    style: Style = PLAIN,
    number: int | None = None,
) -> str:
    """A completion prompt of n tokens, those that the tokenizer adds included: `tokenizer.count(prompt) == n`.

    `prefix` is pieces of `word_bank` that it begins with; at least one piece of its own follows. Prompts that differ in
    `number`, where one is given, differ as long as there are enough texts of that length. Raises ImpossibleLength where
    n is too short.
    """
    own = least_prompt(tokenizer) - 1
    target = _Target(tokenizer, n, own, word_bank(tokenizer), prefix, style, number)
    return _exact(target, rng, tokenizer.count)


def exact_messages(
    tokenizer: Tokenizer,
    n: int,
    rng: Random,
    system: str | None = None,
    *,
    history: Sequence[Message] = (),
    tools: Sequence[Tool] | None = None,
    prefix: Sequence[str] = (),
    style: Style = PLAIN,
    number: int | None = None,
) -> list[Message]:
    """Messages that the template renders to n tokens: `tokenizer.count_chat(messages, tools) == n`.

    They are the system prompt, where one is given, the turns of `history` as they are, and one user turn, which begins
    with `prefix`, pieces of `chat_bank`. Whoever sends them must send the same `tools`. Raises ImpossibleLength where n
    is less than the template, the tools, the turns before and the prefix need.
    """
    head = _head(system, history)
    bank, least = _chat_start(tokenizer, orjson.dumps([head, tools]))

    def count(content: str) -> int:
        return tokenizer.count_chat(_turn(head, content), tools)

    return _turn(head, _exact(_Target(tokenizer, n, least - 1, bank, prefix, style, number), rng, count))


def least_prompt(tokenizer: Tokenizer) -> int:
    """Tokens of the shortest completion prompt."""
    return tokenizer.special_tokens_added + 1


def least_messages(
    tokenizer: Tokenizer,
    system: str | None = None,
    *,
    history: Sequence[Message] = (),
    tools: Sequence[Tool] | None = None,
) -> int:
    """Tokens of the shortest chat: the template's own, those of the turns before, and one."""
    return _chat_start(tokenizer, orjson.dumps([_head(system, history), tools]))[1]


def chat_bank(tokenizer: Tokenizer, system: str | None = None, *, tools: Sequence[Tool] | None = None) -> WordBank:
    """The pieces for the content of a user turn: of the words that may begin it, those that cost least there.

    A word that is one token at the beginning of a text may be several behind the line break of a template.
    """
    return _chat_start(tokenizer, orjson.dumps([_head(system, ()), tools]))[0]


@functools.lru_cache(maxsize=64)
def _chat_start(tokenizer: Tokenizer, before: bytes) -> tuple[WordBank, int]:
    """`before`: the messages before the turn and the tools, as JSON, which can be a key."""
    head, tools = orjson.loads(before)
    bank = word_bank(tokenizer)
    openers = bank.openers[: _ASKED_OPENERS if tokenizer.is_remote else _TRIED_OPENERS]
    counts = tokenizer.count_chats([_turn(head, opener.removeprefix(" ")) for opener in openers], tools)
    least = min(counts)
    cheap = tuple(opener for opener, count in zip(openers, counts, strict=True) if count == least)
    return dataclasses.replace(bank, openers=cheap), least


def _head(system: str | None, history: Sequence[Message]) -> list[Message]:
    return [*([] if system is None else [{"role": "system", "content": system}]), *history]


def _turn(head: Sequence[Message], content: str) -> list[Message]:
    return [*head, {"role": "user", "content": content}]


@dataclasses.dataclass(frozen=True, slots=True)
class _Target:
    """What a text must be."""

    tokenizer: Tokenizer
    n: int
    own: int
    """Tokens that are not the text's."""
    bank: WordBank
    prefix: Sequence[str]
    style: Style
    number: int | None


def _exact(target: _Target, rng: Random, count: Callable[[str], int]) -> str:
    """A text for which `count` gives n."""
    name, n, own, prefix = target.tokenizer.name, target.n, target.own, target.prefix
    least = own + len(prefix) + 1
    if n < least:
        parts = [f"{own} of its own"] * (own > 0) + [f"{len(prefix)} of the prefix"] * bool(prefix) + ["1 of text"]
        what = f"{n} tokens are too few for {name}: the shortest prompt has {least} ({', '.join(parts)})"
        raise ImpossibleLength(what, least)
    # A kind of text may have no text of so few tokens (a Chinese one of 1, say); words nearly always have.
    styles = (
        [target.style] if target.style.kind == WORDS else [target.style, dataclasses.replace(target.style, kind=WORDS)]
    )
    for style in styles:
        made = draft(
            target.tokenizer,
            n - own - len(prefix),
            rng,
            style=style,
            bank=target.bank,
            prefix=prefix,
            number=target.number,
        )
        for attempt in range(_ATTEMPTS):
            text = made.text()
            got = count(text)
            if got == n:
                return text
            made.adjust(n - got)
            if attempt >= _STEADY:
                made.shake(attempt)
    raise SpecError(f"{name}: no text of exactly {n} tokens was found in {_ATTEMPTS} attempts; use another n")
