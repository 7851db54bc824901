"""The texts of recorded sessions: prompts of exact lengths that share what their recording says, and what caches find of it.

A recording says which tokens of a prompt are which (`Path`). So where a text stands is counted from the first token of the
rendered prompt, the template's own included: block 3 of 64 tokens is the prompt's tokens 192 to 255, whatever the template
puts before the first word, and a server's cache finds whole blocks where the recording says so.

A long prompt is a chat of many messages. Where they end depends on the place alone (each `_MESSAGE` tokens an answer of two
tokens stands between two messages of the user), so that prompts which begin alike have the same messages, made once and held
once. Only the last message is made for each prompt.

In front of the first text stands a salt of `SALT_TOKENS`, another one in each replay of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from promptset.chat import Message
from promptset.chat_sum import NotASum, chat_sum
from promptset.errors import SpecError
from promptset.rng import Random, stream, text_stream
from promptset.sentences import LEAST_TOKENS, SentenceBank, sentence_bank
from promptset.sharing import BLOCK, Path
from promptset.tokenizer import Tokenizer

SALT_TOKENS = 16
_SENTENCE = 8
_ANSWER = 2
_MESSAGE = 4096
_BEGIN = "the salt"
_REST = "the rest of a prompt"

_Place = tuple[str | int, int, int, int]
"""A name, the token of the prompt where its text begins, and the tokens that are asked of it: from, and up to."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where texts stand in a rendered prompt, in tokens.

    `head` before the first text, `tail` behind the last. `between`: around and of an answer between two messages of the user;
    None where the template does not allow chats whose messages add up: then a prompt is one message.
    """

    bank: SentenceBank
    head: int
    tail: int
    between: int | None

    @property
    def least(self) -> int:
        """Tokens of the shortest prompt."""
        return self.head + SALT_TOKENS + LEAST_TOKENS + self.tail


def layout_of(tokenizer: Tokenizer) -> Layout:
    """The layout of a tokenizer's template. Raises SpecError where texts of exact lengths cannot be made with it."""
    between: int | None
    try:
        added = chat_sum(tokenizer)
        bank, opening, between = added.bank, added.opening, added.turn + _ANSWER
    except NotASum:
        bank, between = sentence_bank(tokenizer), None
        opening = tokenizer.count_chat([_user(bank.text(16, stream(0, "layout")))]) - 16
    try:
        one, other = (
            tokenizer.encode_chat([_user(sentence + bank.block(16, stream(0, "layout")))])
            for sentence in (bank.first[8][0], next(s for s in bank.first[8] if s[:1] != bank.first[8][0][:1]))
        )
        head = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    except (SpecError, StopIteration):
        head = 0  # A server that counts, and gives no ids.
    return Layout(bank, head, opening - head, between)


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


class Seen:
    """The beginnings of prompts that were sent: what a prefix cache without end holds."""

    def __init__(self) -> None:
        self._longest: dict[tuple[int, str | int], int] = {}

    def common(self, path: Path) -> int:
        """Tokens that a path has in common with one of those that were added."""
        before = found = 0
        for name, tokens in path:
            held = self._longest.get((before, name), 0)
            found += min(held, tokens)
            if held < tokens:
                break
            before = hash((before, name, tokens))
        return found

    def add(self, path: Path) -> None:
        """A prompt that begins so was sent."""
        before = 0
        for name, tokens in path:
            key = (before, name)
            self._longest[key] = max(tokens, self._longest.get(key, 0))
            before = hash((before, name, tokens))


class SessionText:
    """Makes the messages of one session's prompts; those that prompts have in common are one object."""

    def __init__(self, layout: Layout, *, seed: int, salt: str | None, key: str, replay: int) -> None:
        """`key` names the session; `replay` says for how many times its file was played before."""
        self._layout = layout
        self._seed = seed
        self._salt = salt
        self._key = key
        self._first = _salt_text(layout.bank, replay, seed, salt)
        self._made: dict[tuple[_Place, ...], Message] = {}
        answer = layout.bank.text(_ANSWER, stream(0, "answer between"))
        self._answer: Message = {"role": "assistant", "content": answer}

    def prompt(self, path: Path, tokens: int, number: int) -> tuple[tuple[Message, ...], str]:
        """The messages before the last one, and the content of the last one, of call `number`."""
        layout = self._layout
        end = tokens - layout.tail
        places = _places(path, end, f"{_REST} {self._key} {number}")
        said: list[Message] = []
        start, at = layout.head + SALT_TOKENS, 0
        for stop in self._stops(end):
            covered, at = _within(places, at, start, stop)
            if covered not in self._made:
                self._made[covered] = _user(self._text(covered, first=not said))
            said += [self._made[covered], self._answer]
            start = stop + (layout.between or 0)
        covered, _ = _within(places, at, start, end)
        return tuple(said), self._text(covered, first=not said)

    def _stops(self, end: int) -> range:
        """Where the messages of a prompt end, but for the last one."""
        between = self._layout.between
        if between is None:
            return range(0)
        first = _MESSAGE * (1 + self._layout.least // _MESSAGE)
        return range(first, end - between - LEAST_TOKENS + 1, _MESSAGE)

    def sent(self, path: Path, tokens: int) -> Path:
        """What a cache has of a prompt that was sent: the texts up to where its last message ended, or, where a longer prompt
        would go on in another message, up to there."""
        end = tokens - self._layout.tail
        stops = self._stops(end + (self._layout.between or 0) + LEAST_TOKENS)
        stop = next((one for one in reversed(stops) if one <= end), None)
        between = self._layout.between or 0
        end = stop if stop is not None and end < stop + between + LEAST_TOKENS else end
        # All prompts of a replay begin alike, whatever their recording says of the first block.
        start = self._layout.head + SALT_TOKENS
        places = [(name, max(low, start), min(high, end)) for name, _, low, high in _places(path, end, None)]
        return ((_BEGIN, start), *((name, high - low) for name, low, high in places if high > low))

    def is_whole(self, path: Path, tokens: int) -> bool:
        """Whether the path says all of a prompt, so that an equal one is the same prompt."""
        return sum(length for _, length in path) >= tokens - self._layout.tail

    def _text(self, covered: Sequence[_Place], *, first: bool) -> str:
        """The text of a message."""
        bank = self._layout.bank
        texts = [self._first] if first else []
        for key, tokens in _chunks(covered):
            chance = text_stream(self._seed, self._salt, "recorded", *key)
            texts.append(_piece(bank, tokens, chance, first=not texts))
        return "".join(texts)


def _salt_text(bank: SentenceBank, replay: int, seed: int, salt: str | None) -> str:
    """The salt of a replay: two sentences, counted through, so that no two replays have the same."""
    begins, goes_on = bank.first[_SENTENCE], bank.by_length[_SENTENCE]
    number = int(text_stream(seed, salt, "replay").random() * 2**40) + replay
    return begins[number % len(begins)] + goes_on[number // len(begins) % len(goes_on)]


def _places(path: Path, end: int, rest: str | None) -> list[_Place]:
    """The path as places in the prompt, up to `end`; `rest` is the name of what it leaves."""
    places: list[_Place] = []
    at = 0
    for name, tokens in path:
        if at >= end:
            break
        places.append((name, at, at, min(at + tokens, end)))
        at += tokens
    if at < end and rest is not None:
        places.append((rest, at, at, end))
    return places


def _within(places: Sequence[_Place], at: int, start: int, stop: int) -> tuple[tuple[_Place, ...], int]:
    """The places between two tokens of the prompt, from place `at` on, and the place with which the next ones begin."""
    found = []
    while at < len(places) and places[at][2] < stop:
        name, begin, low, high = places[at]
        if high > start:
            found.append((name, begin, max(low, start), min(high, stop)))
        if high > stop:
            break
        at += 1
    return tuple(found), at


def _chunks(covered: Sequence[_Place]) -> Iterator[tuple[tuple[str | int, int, int], int]]:
    """The pieces of which a text is made, each with the key of its text and its tokens: the blocks of a server's cache."""
    for name, begin, low, high in covered:
        start = low
        while start < high:
            stop = min(high, (start // BLOCK + 1) * BLOCK)
            yield (name, start - begin, stop - begin), stop - start
            start = stop


def _piece(bank: SentenceBank, tokens: int, chance: Random, *, first: bool) -> str:
    """A text of so many tokens that goes on behind another one, or begins a message.

    Two sentences where there is room: of single ones of a length there are so few that texts would meet.
    """
    if tokens < LEAST_TOKENS:
        # Not even a sentence: the word that begins one.
        sentence = bank.text(_SENTENCE, chance)
        word = next(one for one in bank.openers if sentence.startswith(one.removeprefix(" ")))
        return word.removeprefix(" ") if first else word
    if tokens < _SENTENCE + LEAST_TOKENS:
        return bank.text(tokens, chance) if first else bank.block(tokens, chance)
    begins = bank.text(_SENTENCE, chance) if first else bank.block(_SENTENCE, chance)
    return begins + bank.block(tokens - _SENTENCE, chance)
