"""What the chat template adds to each message, so that the tokens of a long chat can be summed instead of counted.

Most templates put special tokens, or the same few characters, around each message. Then the tokens of a chat are those
of its texts plus a constant per message. Some templates do not: they change earlier messages, or format the last one
differently. So the constants are measured, and verified on longer chats, before they are used (`chat_sum` raises
NotASum).

The constants hold for texts of `promptset.sentences` and for the roles system, user and assistant, in turn.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from promptset.chat import Message
from promptset.errors import SpecError
from promptset.rng import Random, stream
from promptset.sentences import LEAST_TOKENS, SentenceBank, sentence_bank
from promptset.tokenizer import Tokenizer

_CHATS = 24
_MOST_TURNS = 12
_TURN_TOKENS = (LEAST_TOKENS, 3, 5, 8, 17, 64, 333)


class NotASum(SpecError):
    """The template does more than add constant tokens to each message, so chats must be counted whole."""


@dataclass(frozen=True, slots=True)
class ChatSum:
    """The tokens that a template adds."""

    opening: int
    """Around the first user message, including the start of the answer."""
    turn: int
    """Around an answer and the user message after it."""
    system: int | None
    """Around a system prompt at the beginning. None if the template refuses one, or does not begin with it."""
    head: int
    """Tokens before the first user text, not counting the system prompt's own; without a system prompt if there is
    none."""
    lost: int
    """Tokens at the end of a prompt that the next prompt of the same chat does not repeat: the start of the answer, if
    earlier answers are formatted differently."""
    bank: SentenceBank
    """The texts for which the constants hold, of at least 2 tokens: after the template's tokens, words differ in cost."""

    def tokens(self, users: Sequence[int], answers: Sequence[int], system: int | None = None) -> int:
        """The tokens of a prompt, given the tokens of its texts. There is one more user message than answers."""
        if len(users) != len(answers) + 1:
            raise ValueError("a chat must have one more user message than answers")
        if system is not None and self.system is None:
            raise ValueError("this template takes no system prompt")
        base = 0 if system is None else (self.system or 0) + system
        return base + self.opening + self.turn * len(answers) + sum(users) + sum(answers)


@functools.lru_cache(maxsize=8)
def chat_sum(tokenizer: Tokenizer) -> ChatSum:
    """The constants of a tokenizer's template, measured once. Raises NotASum, or SpecError if there is no template.

    Errors are not cached, so the next call measures again with the same chats and the same result. A load calls once or
    twice.
    """
    bank = bank_of_chats(tokenizer)
    chance = stream(0, "chat sum")
    chats = [_chat(bank, [16], [], None, chance), _chat(bank, [16, 16], [16], None, chance)]
    first, second = tokenizer.count_chats(chats)
    opening = first - 16
    turn = second - first - 32
    head = _head(tokenizer, bank, [])
    plain = ChatSum(opening=opening, turn=turn, system=None, head=head, lost=_lost(tokenizer, bank), bank=bank)
    _try(tokenizer, bank, plain, with_system=False)
    added = _system(tokenizer, bank, first)
    if added is None:
        return plain
    system, head = added
    full = dataclasses.replace(plain, system=system, head=head)
    try:
        _try(tokenizer, bank, full, with_system=True)
    except NotASum:
        return plain
    return full


def bank_of_chats(tokenizer: Tokenizer) -> SentenceBank:
    """The sentences, limited to openers with the lowest cost in each role: a word that is one token after a space may
    be two after a line break."""
    bank = sentence_bank(tokenizer)
    text = bank.text(16, stream(0, "chat bank"))
    cheap = list(bank.openers)
    user: Message = {"role": "user", "content": text}
    for role in ("user", "assistant", "system"):
        begun = [{"role": role, "content": opener.removeprefix(" ") + bank.enders[0]} for opener in cheap]
        chats = [
            [user, message, user] if role == "assistant" else [message, user] if role == "system" else [message]
            for message in begun
        ]
        try:
            counts = tokenizer.count_chats(chats)
        except SpecError:
            if role != "system":  # A template may refuse system prompts.
                raise
        else:
            cheap = [opener for opener, count in zip(cheap, counts, strict=True) if count == min(counts)]
    return bank if len(cheap) == len(bank.openers) else bank.beginning_with(tokenizer, cheap)


def _chat(
    bank: SentenceBank, users: Sequence[int], answers: Sequence[int], system: int | None, rng: Random
) -> list[Message]:
    messages: list[Message] = [] if system is None else [{"role": "system", "content": bank.text(system, rng)}]
    for user, answer in zip(users, answers, strict=False):
        messages.append({"role": "user", "content": bank.text(user, rng)})
        messages.append({"role": "assistant", "content": bank.text(answer, rng)})
    return [*messages, {"role": "user", "content": bank.text(users[-1], rng)}]


def _try(tokenizer: Tokenizer, bank: SentenceBank, candidate: ChatSum, *, with_system: bool) -> None:
    """Count whole chats of many shapes. Raises NotASum if a count differs from the sum."""
    chance = stream(0, "chats", with_system)

    def drawn() -> int:
        return _TURN_TOKENS[int(chance.random() * len(_TURN_TOKENS))]

    chats, sums = [], []
    for number in range(8 if tokenizer.is_remote else _CHATS):
        turns = 1 + number % _MOST_TURNS
        users, answers = [drawn() for _ in range(turns)], [drawn() for _ in range(turns - 1)]
        system = drawn() if with_system else None
        chats.append(_chat(bank, users, answers, system, chance))
        sums.append(candidate.tokens(users, answers, system))
    counts = tokenizer.count_chats(chats)
    wrong = next(((chat, n, a) for chat, n, a in zip(chats, counts, sums, strict=True) if n != a), None)
    if wrong is not None:
        chat, counted, added = wrong
        raise NotASum(
            f"{tokenizer.name}: a chat of {len(chat)} messages has {counted} tokens, and its messages add up to "
            f"{added}: the template changes messages by their position"
        )


def _system(tokenizer: Tokenizer, bank: SentenceBank, plain: int) -> tuple[int, int] | None:
    """What a system prompt adds, and the tokens before the user's text without the prompt's own. None if prompts do not
    begin with the system prompt regardless of what follows."""
    system: Message = {"role": "system", "content": bank.text(32, stream(0, "system"))}
    try:
        adds = tokenizer.count_chat([system, *_chat(bank, [16], [], None, stream(0, "chat sum"))]) - plain - 32
        head = _head(tokenizer, bank, [system]) - 32
        later = tokenizer.encode_chat([system, *_chat(bank, [16, 16], [16], None, stream(0, "later"))])
        first = tokenizer.encode_chat([system, *_chat(bank, [16], [], None, stream(1, "later"))])
    except SpecError:
        return None
    return (adds, head) if head >= 0 and common(first, later) >= head + 32 else None


def _head(tokenizer: Tokenizer, bank: SentenceBank, before: list[Message]) -> int:
    """The number of leading tokens that prompts share, whatever the user's text after `before`."""
    texts = [bank.text(16, stream(number, "head")) for number in range(8)]
    prompts = [tokenizer.encode_chat([*before, {"role": "user", "content": text}]) for text in texts]
    return min(common(prompts[0], other) for other in prompts[1:])


def _lost(tokenizer: Tokenizer, bank: SentenceBank) -> int:
    chat = _chat(bank, [16, 16], [16], None, stream(0, "lost"))
    before, after = tokenizer.encode_chat(chat[:1]), tokenizer.encode_chat(chat)
    return len(before) - common(before, after)


def common(first: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common prefix of two prompts."""
    return next((i for i, (a, b) in enumerate(zip(first, other, strict=False)) if a != b), min(len(first), len(other)))
