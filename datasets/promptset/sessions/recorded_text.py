"""The texts of recorded sessions: prompts of exact lengths that share text as recorded, and the part that caches hold.

A recording identifies the tokens of a prompt (`Path`). So positions are counted from the first token of the rendered
prompt, including the template's own: block 3 of 64 tokens is tokens 192 to 255 of the prompt, whatever the template
puts before the first word, and a server's cache hits whole blocks where the recording did.

A long prompt is a chat of many messages. Their boundaries depend only on the position (every `_MESSAGE` tokens, an
answer of two tokens separates two user messages), so prompts with the same beginning have the same messages, generated
and stored once. Only the last message is generated for each prompt.

The first text is preceded by a salt of `SALT_TOKENS`, a different one in each replay of the file.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter

from promptset.chat import Message
from promptset.chat_sum import NotASum, bank_of_chats, chat_sum, common
from promptset.errors import SpecError
from promptset.rng import Random, stream, text_stream
from promptset.sentences import LEAST_TOKENS, SentenceBank
from promptset.sharing import BLOCK, Path
from promptset.tokenizer import Tokenizer

SALT_TOKENS = 16
_SENTENCE = 8
_ANSWER = 2
_MESSAGE = 4096
_BEGIN = "the salt"
_BETWEEN = "an answer between"
_REST = "the rest of a prompt"

_Place = tuple[str | int, int, int, int]
"""A name, the token of the prompt at which its text begins, and the range of tokens taken from it: start and stop."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The positions of texts in a rendered prompt, in tokens.

    `head` before the first text, `tail` after the last. `between`: an answer between two user messages, including what
    surrounds it; None if the template does not allow chats whose messages add up: then a prompt is one message.
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
    """The layout of a tokenizer's template. Raises SpecError if it does not allow texts of exact lengths."""
    between: int | None = None
    try:
        added = chat_sum(tokenizer)
        bank, between = added.bank, added.turn + _ANSWER
    except NotASum:
        bank = bank_of_chats(tokenizer)
    chats = [[_user(bank.text(16, stream(number, "layout")))] for number in range(8)]
    around = tokenizer.count_chat(chats[0]) - 16
    try:
        first, *others = map(tokenizer.encode_chat, chats)
    except SpecError:
        return Layout(bank, 0, around, between)  # A remote server that counts but returns no ids.
    head = min(common(first, other) for other in others)
    return Layout(bank, head, around - head, between)


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


class SentPrefixes:
    """The beginnings of sent prompts: the content of an unlimited prefix cache.

    Consecutive paths usually extend the same beginning, which is then processed only once.
    """

    def __init__(self) -> None:
        self._longest: dict[tuple[int, str | int], int] = {}
        """By what precedes a text, and its name: the maximum tokens of it that were sent."""
        self._path: Path = ()
        self._before: list[int] = []
        """For each text of the last path, a hash of what precedes it."""
        self._added: Path = ()

    def common(self, path: Path) -> int:
        """The number of tokens that a path shares with a path added before."""
        before = self._looked_at(path)
        # A text is present if something was sent after everything before it. Then those earlier texts were sent to
        # their ends.
        whole = bisect_left(range(len(path)), True, key=lambda at: (before[at], path[at][0]) not in self._longest)
        if whole == 0:
            return 0
        name, tokens = path[whole - 1]
        return sum(length for _, length in path[: whole - 1]) + min(tokens, self._longest[before[whole - 1], name])

    def add(self, path: Path) -> None:
        """Record a sent prompt with this beginning."""
        before = self._looked_at(path)
        for at in range(_same(self._added, path), len(path)):
            name, tokens = path[at]
            key = (before[at], name)
            self._longest[key] = max(tokens, self._longest.get(key, 0))
        self._added = path

    def _looked_at(self, path: Path) -> list[int]:
        same = _same(self._path, path)
        before = self._before[:same]
        last = hash((before[-1], *path[same - 1])) if same else 0
        for name, tokens in path[same:]:
            before.append(last)
            last = hash((last, name, tokens))
        self._path, self._before = path, before
        return before


def _same(first: Path, other: Path) -> int:
    """The number of texts in the common beginning of two paths."""
    most = min(len(first), len(other))
    if first[:most] == other[:most]:
        return most
    return bisect_left(range(most), True, key=lambda at: first[: at + 1] != other[: at + 1])


class SessionText:
    """Generates the messages of one session's prompts. Messages common to several prompts are one object."""

    def __init__(self, layout: Layout, *, seed: int, salt: str | None, key: str, replay: int) -> None:
        """`key` names the session; `replay` is how many times its file was played before."""
        self._layout = layout
        self._seed = seed
        self._salt = salt
        self._key = key
        self._first = _salt_text(layout.bank, replay, seed, salt)
        self._made: dict[tuple[_Place, ...], Message] = {}
        answer = layout.bank.text(_ANSWER, stream(0, "answer between"))
        self._answer: Message = {"role": "assistant", "content": answer}

    def prompt(self, path: Path, tokens: int, number: int) -> tuple[tuple[Message, ...], str]:
        """The messages of call `number` before the last one, and the content of the last one."""
        layout = self._layout
        end = tokens - layout.tail
        places = _places(path, end, f"{_REST} {self._key} {number}")
        messages: list[Message] = []
        start, at = layout.head + SALT_TOKENS, 0
        for stop in self._stops(end):
            covered, at = _within(places, at, start, stop)
            if covered not in self._made:
                self._made[covered] = _user(self._text(covered, first=not messages))
            messages += [self._made[covered], self._answer]
            start = stop + (layout.between or 0)
        covered, _ = _within(places, at, start, end)
        return tuple(messages), self._text(covered, first=not messages)

    def _stops(self, end: int) -> range:
        """The positions at which the messages of a prompt end, except the last one."""
        between = self._layout.between
        if between is None:
            return range(0)
        first = _MESSAGE * (1 + self._layout.least // _MESSAGE)
        return range(first, end - between - LEAST_TOKENS + 1, _MESSAGE)

    def sent(self, path: Path, tokens: int) -> Path:
        """The part of a sent prompt that a cache holds: its texts up to the end of its last message, or, if a longer
        prompt would continue in another message, up to there."""
        between = self._layout.between or 0
        end = tokens - self._layout.tail
        stops = self._stops(end)
        after = self._stops(end + between + LEAST_TOKENS)
        if len(after) > len(stops):  # It ends where longer prompts have an answer.
            end = after[-1]
        ends = [*accumulate(map(itemgetter(1), path))]
        # All prompts of a replay have the same beginning, whatever their recording has in the first block.
        start = self._layout.head + SALT_TOKENS
        parts: list[tuple[str | int, int]] = [(_BEGIN, start)]
        for stop in stops:
            parts += _cut_out(path, ends, start, stop)
            if ends and ends[-1] >= stop:
                parts.append((_BETWEEN, between))
            start = stop + between
        return (*parts, *_cut_out(path, ends, start, end))

    def is_whole(self, path: Path, tokens: int) -> bool:
        """Whether the path covers the whole prompt, so that equal paths mean equal prompts."""
        return sum(length for _, length in path) >= tokens - self._layout.tail

    def _text(self, covered: Sequence[_Place], *, first: bool) -> str:
        bank = self._layout.bank
        texts = [self._first] if first else []
        for key, tokens in _chunks(covered):
            chance = text_stream(self._seed, self._salt, "recorded", *key)
            texts.append(_piece(bank, tokens, chance, first=not texts))
        return "".join(texts)


def _salt_text(bank: SentenceBank, replay: int, seed: int, salt: str | None) -> str:
    """The salt of a replay: two sentences, enumerated so that no two replays have the same."""
    begins, goes_on = bank.first[_SENTENCE], bank.by_length[_SENTENCE]
    number = int(text_stream(seed, salt, "replay").random() * 2**40) + replay
    return begins[number % len(begins)] + goes_on[number // len(begins) % len(goes_on)]


def _places(path: Path, end: int, rest: str) -> list[_Place]:
    """The path as places in the prompt, up to `end`. The remainder is text unique to the prompt, named `rest`."""
    places: list[_Place] = []
    at = 0
    for name, tokens in path:
        places.append((name, at, at, min(at + tokens, end)))
        at += tokens
    if at < end:
        places.append((rest, at, at, end))
    return places


def _cut_out(path: Path, ends: Sequence[int], start: int, stop: int) -> list[tuple[str | int, int]]:
    """The part of a path between two tokens of the prompt. `ends` holds the ends of its texts."""
    first, last = bisect_right(ends, start), bisect_left(ends, stop)
    parts = [*path[first : last + 1]]
    if parts and last < len(path):
        name, length = parts[-1]
        parts[-1] = name, length - (ends[last] - stop)
    if parts:
        name, length = parts[0]
        parts[0] = name, length - max(0, start - (ends[first - 1] if first else 0))
    return parts


def _within(places: Sequence[_Place], at: int, start: int, stop: int) -> tuple[tuple[_Place, ...], int]:
    """The places between two tokens of the prompt, from index `at` on, and the index at which the next search begins."""
    parts = []
    while at < len(places) and places[at][2] < stop:
        name, begin, low, high = places[at]
        if high > start:
            parts.append((name, begin, max(low, start), min(high, stop)))
        if high > stop:
            break
        at += 1
    return tuple(parts), at


def _chunks(covered: Sequence[_Place]) -> Iterator[tuple[tuple[str | int, int, int], int]]:
    """Splits a text at the blocks of a server's cache. Yields the key and the tokens of each piece."""
    for name, begin, low, high in covered:
        start = low
        while start < high:
            stop = min(high, (start // BLOCK + 1) * BLOCK)
            yield (name, start - begin, stop - begin), stop - start
            start = stop


def _piece(bank: SentenceBank, tokens: int, chance: Random, *, first: bool) -> str:
    """A text of this many tokens that follows another one, or begins a message.

    It has two sentences if there is room: there are so few single ones of a length that texts would coincide.
    """
    if tokens < LEAST_TOKENS:
        # Too short even for a sentence: use the word that begins one.
        sentence = bank.text(_SENTENCE, chance)
        word = next(opener for opener in bank.openers if sentence.startswith(opener.removeprefix(" ")))
        return word.removeprefix(" ") if first else word
    if tokens < _SENTENCE + LEAST_TOKENS:
        return bank.text(tokens, chance) if first else bank.block(tokens, chance)
    begins = bank.text(_SENTENCE, chance) if first else bank.block(_SENTENCE, chance)
    return begins + bank.block(tokens - _SENTENCE, chance)
