"""What the chat template adds to each message, so that the tokens of a long chat are a sum and nobody counts it whole.

Most templates put special tokens, or the same few characters, around each message: then a chat has the tokens of its texts
and a constant for each message. Some do not: they change earlier messages, or write the last one in another way. So the
constants are measured, and tried on longer chats, before anybody relies on them (`chat_sum` raises NotASum).

The constants hold for texts of `promptset.sentences` and for roles system, user and assistant, in turn.
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
    """The template does more than to add the same tokens to each message: chats have to be counted whole."""


@dataclass(frozen=True, slots=True)
class ChatSum:
    """The tokens that a template adds."""

    opening: int
    """Around the first message of the user, the start of the answer included."""
    turn: int
    """Around an answer and the user's message behind it."""
    system: int | None
    """Around a system prompt before all of it; None where the template refuses one, or does not begin with it."""
    head: int
    """Tokens before the first text of the user beyond those of the system prompt; without one, where there is none."""
    lost: int
    """Tokens at the end of a prompt with which the next prompt of the same chat does not go on: the start of the answer,
    where an earlier answer is written in another way."""
    bank: SentenceBank
    """The texts that they hold for, of at least 2 tokens: not every word costs the same behind the template's own."""

    def tokens(self, users: Sequence[int], answers: Sequence[int], system: int | None = None) -> int:
        """Tokens of a prompt by those of its texts: one message of the user more than there are answers."""
        if len(users) != len(answers) + 1:
            raise ValueError("a chat must have one more user message than answers")
        if system is not None and self.system is None:
            raise ValueError("this template takes no system prompt")
        own = 0 if system is None else (self.system or 0) + system
        return own + self.opening + self.turn * len(answers) + sum(users) + sum(answers)


@functools.lru_cache(maxsize=8)
def chat_sum(tokenizer: Tokenizer) -> ChatSum:
    """The constants of a tokenizer's template, measured once. Raises NotASum; SpecError where there is no template.

    An error is not kept, so the next call measures again, with the same chats and the same end. A load asks once or twice.
    """
    bank = bank_of_chats(tokenizer)
    chance = stream(0, "chat sum")
    one, two = [16], [16, 16]
    first, second = tokenizer.count_chats([_chat(bank, one, [], None, chance), _chat(bank, two, [16], None, chance)])
    opening = first - 16
    turn = second - first - 32
    head = _head(tokenizer, bank, [])
    plain = ChatSum(opening=opening, turn=turn, system=None, head=head, lost=_lost(tokenizer, bank), bank=bank)
    _try(tokenizer, bank, plain, with_system=False)
    system, head = _system(tokenizer, bank, first)
    if system is None:
        return plain
    found = dataclasses.replace(plain, system=system, head=head)
    try:
        _try(tokenizer, bank, found, with_system=True)
    except NotASum:
        return plain
    return found


def bank_of_chats(tokenizer: Tokenizer) -> SentenceBank:
    """The sentences, where texts begin with the words that cost least in each role: behind a line break a word may be two
    tokens that is one behind a space."""
    bank = sentence_bank(tokenizer)
    text = bank.text(16, stream(0, "chat bank"))
    cheap = list(bank.openers)
    user: Message = {"role": "user", "content": text}
    for role in ("user", "assistant", "system"):
        begun = [{"role": role, "content": opener.removeprefix(" ") + bank.enders[0]} for opener in cheap]
        chats = [
            [user, one, user] if role == "assistant" else [one, user] if role == "system" else [one] for one in begun
        ]
        try:
            counts = tokenizer.count_chats(chats)
        except SpecError:
            if role == "system":
                break  # The template refuses one.
            raise
        cheap = [opener for opener, count in zip(cheap, counts, strict=True) if count == min(counts)]
    return bank if len(cheap) == len(bank.openers) else bank.beginning_with(tokenizer, cheap)


def _chat(
    bank: SentenceBank, users: Sequence[int], answers: Sequence[int], system: int | None, rng: Random
) -> list[Message]:
    said: list[Message] = [] if system is None else [{"role": "system", "content": bank.text(system, rng)}]
    for user, answer in zip(users, answers, strict=False):
        said.append({"role": "user", "content": bank.text(user, rng)})
        said.append({"role": "assistant", "content": bank.text(answer, rng)})
    return [*said, {"role": "user", "content": bank.text(users[-1], rng)}]


def _try(tokenizer: Tokenizer, bank: SentenceBank, found: ChatSum, *, with_system: bool) -> None:
    """Count chats of many shapes whole. Raises NotASum."""
    chance = stream(0, "chats", with_system)

    def drawn() -> int:
        return _TURN_TOKENS[int(chance.random() * len(_TURN_TOKENS))]

    chats, sums = [], []
    for number in range(8 if tokenizer.is_remote else _CHATS):
        turns = 1 + number % _MOST_TURNS
        users, answers = [drawn() for _ in range(turns)], [drawn() for _ in range(turns - 1)]
        system = drawn() if with_system else None
        chats.append(_chat(bank, users, answers, system, chance))
        sums.append(found.tokens(users, answers, system))
    counts = tokenizer.count_chats(chats)
    wrong = next(((chat, n, a) for chat, n, a in zip(chats, counts, sums, strict=True) if n != a), None)
    if wrong is not None:
        chat, counted, added = wrong
        raise NotASum(
            f"{tokenizer.name}: a chat of {len(chat)} messages has {counted} tokens, and its messages add up to "
            f"{added}: the template changes messages by their position"
        )


def _system(tokenizer: Tokenizer, bank: SentenceBank, plain: int) -> tuple[int | None, int]:
    """What a system prompt adds, and the tokens before the user's text without those of it; None where prompts do not begin
    with it whatever follows."""
    system: Message = {"role": "system", "content": bank.text(32, stream(0, "system"))}
    try:
        adds = tokenizer.count_chat([system, *_chat(bank, [16], [], None, stream(0, "chat sum"))]) - plain - 32
        head = _head(tokenizer, bank, [system]) - 32
        later = tokenizer.encode_chat([system, *_chat(bank, [16, 16], [16], None, stream(0, "later"))])
        first = tokenizer.encode_chat([system, *_chat(bank, [16], [], None, stream(1, "later"))])
    except SpecError:
        return None, 0
    return (adds, head) if head >= 0 and common(first, later) >= head + 32 else (None, 0)


def _head(tokenizer: Tokenizer, bank: SentenceBank, before: list[Message]) -> int:
    """Tokens that prompts have in common whatever the user says behind `before`."""
    texts = [bank.text(16, stream(number, "head")) for number in range(8)]
    prompts = [tokenizer.encode_chat([*before, {"role": "user", "content": text}]) for text in texts]
    return min(common(prompts[0], other) for other in prompts[1:])


def _lost(tokenizer: Tokenizer, bank: SentenceBank) -> int:
    chat = _chat(bank, [16, 16], [16], None, stream(0, "lost"))
    before, after = tokenizer.encode_chat(chat[:1]), tokenizer.encode_chat(chat)
    return len(before) - common(before, after)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two prompts share from their beginning on."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
