"""Prompts of exactly n tokens, as the server will count them.

The tokens that the tokenizer and the chat template add are measured and subtracted first. The rest is filled with
pieces of one token each (promptset.text). The finished text is counted. The count can be off if the tokenizer merges
tokens across spaces. The end of the text is then made longer or shorter by the difference, and the whole is counted
again.

Plain words need no count if a tokenizer splits texts at words before it tokenizes them, as nearly all do: then each
piece adds its one token whatever its neighbours (`promptset.sums`). Counting would take most of the time of making a
prompt. In a chat, the template must render the text itself unchanged, with the same text around it as in the trials:
some templates truncate long text.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import orjson

from promptset.chat import Message, Tool
from promptset.drafts import Draft, draft
from promptset.errors import ImpossibleLength, SpecError
from promptset.kinds import PLAIN, WORDS, Style
from promptset.rng import Random, stream
from promptset.sums import adds_up
from promptset.text import Opening, WordBank, without_leading_space, word_bank
from promptset.tokenizer import Tokenizer

_ATTEMPTS = 60
_STEADY = 3
"""After this many attempts the last pieces are also replaced by others."""
_TRIED_SUMS = 24
"""Trial texts of plain words that are counted before later ones are not: one of each length up to this."""
_BEHIND = 64
"""Characters after the user's text that may merge with its last piece."""
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
    """A completion prompt of n tokens, including those that the tokenizer adds: `tokenizer.count(prompt) == n`.

    The prompt starts with `prefix`, pieces of `word_bank`; at least one more piece follows. Prompts with different
    `number`s differ, as long as there are enough texts of that length. Raises ImpossibleLength if n is too small.
    """
    own = least_prompt(tokenizer) - 1
    known = _always if style.kind == WORDS and _prompts_add_up(tokenizer) else None
    target = _Target(tokenizer, n, own, word_bank(tokenizer), prefix, style, number, known)
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

    They are the system prompt (if given), the messages of `history`, and one user message, which starts with `prefix`,
    pieces of `chat_bank`. The request must carry the same `tools`. Raises ImpossibleLength if n is less than the
    template, the tools, the history and the prefix need.
    """
    head = _head(system, history)
    bank, least = _chat_start(tokenizer, orjson.dumps([head, tools]))

    def count(content: str) -> int:
        return tokenizer.count_chat(_turn(head, content), tools)

    def render(content: str) -> str:
        return tokenizer.render_chat(_turn(head, content), tools)

    around = None if history or style.kind != WORDS else _chats_add_up(tokenizer, orjson.dumps([head, tools]))
    known = None if around is None else lambda content: render(content) == content.join(around)
    target = _Target(tokenizer, n, least - 1, bank, prefix, style, number, known)
    return _turn(head, _exact(target, rng, count, render))


def exact_turn(
    tokenizer: Tokenizer, n: int, rng: Random, history: Sequence[Message], tools: Sequence[Tool] | None = None
) -> str:
    """A user message of plain words that makes a chat with `history` exactly n tokens long. Raises SpecError."""

    def turn(content: str) -> list[Message]:
        return _turn(history, content)

    made = Draft((), chat_bank(tokenizer, tools=tools), rng)
    made.write_tail(1, Opening(None), 0.0)
    content = _fitted(made, n, lambda content: tokenizer.count_chat(turn(content), tools))
    if content is None:
        why = _wrong_template(lambda content: tokenizer.render_chat(turn(content), tools), made.text())
        raise SpecError(f"{tokenizer.name}: no turn makes a request of exactly {n} tokens; {why}")
    return content


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
    """Tokens of the shortest chat: those of the template and the history, plus one."""
    return _chat_start(tokenizer, orjson.dumps([_head(system, history), tools]))[1]


def chat_bank(tokenizer: Tokenizer, system: str | None = None, *, tools: Sequence[Tool] | None = None) -> WordBank:
    """The pieces for a user message. Its openers are the words with the lowest cost at the start of the message.

    A word that is one token at the start of a text may be several after a template's line break.
    """
    return _chat_start(tokenizer, orjson.dumps([_head(system, ()), tools]))[0]


@functools.lru_cache(maxsize=64)
def _chat_start(tokenizer: Tokenizer, before: bytes) -> tuple[WordBank, int]:
    """`before` holds the earlier messages and the tools, as JSON so that it can be a cache key."""
    head, tools = orjson.loads(before)
    bank = word_bank(tokenizer)
    openers = bank.openers[: _ASKED_OPENERS if tokenizer.is_remote else _TRIED_OPENERS]
    counts = tokenizer.count_chats([_turn(head, opener.removeprefix(" ")) for opener in openers], tools)
    least = min(counts)
    cheap = tuple(opener for opener, count in zip(openers, counts, strict=True) if count == least)
    return dataclasses.replace(bank, openers=cheap), least


@functools.lru_cache(maxsize=8)
def _prompts_add_up(tokenizer: Tokenizer) -> bool:
    """Whether the tokens of plain-word completion prompts equal their number of pieces."""
    bank = word_bank(tokenizer)
    if not adds_up(tokenizer, word_bank(tokenizer)):
        return False
    counts = tokenizer.count_batch(_trial_texts(bank))
    return counts == [tokenizer.special_tokens_added + n for n in range(1, _TRIED_SUMS + 1)]


@functools.lru_cache(maxsize=64)
def _chats_add_up(tokenizer: Tokenizer, before: bytes) -> tuple[str, str] | None:
    """The text that the template renders before and after a user message that follows these messages and tools. None if
    the tokens of chats are not the message's pieces plus a constant, or if the template changes the text."""
    bank, least = _chat_start(tokenizer, before)
    if not adds_up(tokenizer, word_bank(tokenizer)):
        return None
    head, tools = orjson.loads(before)
    texts = _trial_texts(bank)
    counts = tokenizer.count_chats([_turn(head, text) for text in texts], tools)
    if counts != [least - 1 + n for n in range(1, _TRIED_SUMS + 1)]:
        return None
    # The longest text occurs only where the template puts it.
    first, text, last = tokenizer.render_chat(_turn(head, texts[-1]), tools).partition(texts[-1])
    return (first, last) if text and _may_all_end(tokenizer, bank, last[:_BEHIND]) else None


def _may_all_end(tokenizer: Tokenizer, bank: WordBank, behind: str) -> bool:
    """Whether every piece may end a text without changing its number of tokens. The tokenizer processes the letters
    that the template adds directly after the text together with its last word, and they may merge with some words and
    not others."""
    first = bank.openers[0].removeprefix(" ")
    pieces = (*bank.words, *bank.openers, *([] if bank.stop is None else [bank.stop]))
    return len(set(tokenizer.count_plain([f"{first}{piece}{behind}" for piece in pieces]))) == 1


def _always(text: str) -> bool:
    del text
    return True


def _trial_texts(bank: WordBank) -> list[str]:
    """Texts of 1, 2, 3 ... pieces. Some end with a word, some with a full stop, some with an opener."""
    chance = stream(0, "trial texts")
    drawn = [bank.fresh(n, chance) for n in range(1, _TRIED_SUMS + 1)]
    if bank.stop is not None:
        drawn[7][-1] = drawn[15][-1] = bank.stop
    return ["".join(without_leading_space(pieces)) for pieces in drawn]


def _head(system: str | None, history: Sequence[Message]) -> list[Message]:
    return [*([] if system is None else [{"role": "system", "content": system}]), *history]


def _turn(head: Sequence[Message], content: str) -> list[Message]:
    return [*head, {"role": "user", "content": content}]


@dataclasses.dataclass(frozen=True, slots=True)
class _Target:
    tokenizer: Tokenizer
    n: int
    own: int
    """Tokens added by the tokenizer and the template."""
    bank: WordBank
    prefix: Sequence[str]
    style: Style
    number: int | None
    known: Callable[[str], bool] | None
    """Returns whether the tokens of a plain-word text equal its pieces, so that it need not be counted. None: never."""


def _exact(
    target: _Target, rng: Random, count: Callable[[str], int], render: Callable[[str], str] | None = None
) -> str:
    """A text for which `count` returns n. `render` returns the text that a chat template makes of it."""
    name, n, own, prefix = target.tokenizer.name, target.n, target.own, target.prefix
    least = own + len(prefix) + 1
    if n < least:
        parts = [f"{own} of its own"] * (own > 0) + [f"{len(prefix)} of the prefix"] * bool(prefix) + ["1 of text"]
        problem = f"{n} tokens are too few for {name}: the shortest prompt has {least} ({', '.join(parts)})"
        raise ImpossibleLength(problem, least)
    # Some kinds have no text of so few tokens (Chinese may have none of 1); words nearly always do.
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
        if target.known is not None and target.known(text := made.text()):
            return text
        if (result := _fitted(made, n, count)) is not None:
            return result
    why = "use another n" if render is None else _wrong_template(render, made.text())
    raise SpecError(f"{name}: no text of exactly {n} tokens was found; {why}")


def _fitted(made: Draft, n: int, count: Callable[[str], int]) -> str | None:
    """The text of a draft, made longer or shorter until its count is n. None if that fails."""
    counts = set()
    for attempt in range(_ATTEMPTS):
        text = made.text()
        missing = n - count(text)
        if not missing:
            return text
        counts.add(missing)
        if attempt == _STEADY and missing > 0 and len(counts) == 1:
            return None  # The text grew, but the count did not change.
        if attempt < _STEADY:
            made.adjust(missing)
        else:
            # If pieces cost several tokens each, adding as many as are missing would overshoot further and further.
            made.adjust((missing + (missing > 0)) // 2)
            made.shake(1 + attempt % 4)
    return None


def _wrong_template(render: Callable[[str], str], text: str) -> str:
    """A likely problem with the template, and what to do."""
    text = text.strip()
    try:
        times = render(text).count(text)
    except SpecError:  # A remote tokenizer cannot render text.
        times = 1
    if times == 1:
        return "use another n"
    does = f"writes the user's text {times} times" if times else "leaves out, cuts or changes the user's text"
    return f"its chat template {does}: is it the model's?"
