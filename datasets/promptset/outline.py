"""Outlines and the prompts that are made of them.

An *outline* is what a prompt must have (its length, what it shares with others) before there is any text; a simulated
data set draws outlines, a trace of real traffic is a list of them. The `PromptMaker` of a tokenizer makes the text.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from promptset.chat import Message, Tool
from promptset.drafts import different_texts
from promptset.exact import chat_bank, exact_messages, exact_prompt, least_messages, least_prompt
from promptset.kinds import PLAIN, Style
from promptset.rng import Random, stream
from promptset.sharing import Path, Room
from promptset.text import without_leading_space, word_bank
from promptset.tokenizer import Tokenizer

_KEPT_SEGMENTS = 4096
"""Shared segments whose text is kept; one that was let go is made again, the same."""
_NUMBERS = 2**40


@dataclass(frozen=True, slots=True)
class Outline:
    """A prompt to be made: its tokens, the shared segments that it begins with, the tokens of the answer to ask for."""

    input_tokens: int
    output_tokens: int | None
    path: Path = ()


class PromptMaker:
    """Makes prompts (or, for a chat, messages) of outlines: a name of a segment is the same text in all of them."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        chat: bool,
        seed: int,
        system_tokens: int = 0,
        style: Style = PLAIN,
        tools: Sequence[Tool] | None = None,
    ) -> None:
        """`style` is that of the text that is not shared. With `system_tokens` every chat has a system prompt of so many
        tokens of text; a completion begins with it. Every chat is rendered with the `tools`."""
        self.tokenizer = tokenizer
        self.chat = chat
        self.tools = tuple(tools) if tools and chat else None
        self._seed = seed
        self._style = style
        # Other seeds begin with other words.
        self._first_number = int(stream(seed, "first number").random() * _NUMBERS)
        self._segments: OrderedDict[str | int, list[str]] = OrderedDict()
        self._system: str | None = None
        self._lead: Path = ()
        if system_tokens and chat:
            text = without_leading_space(word_bank(tokenizer).fresh(system_tokens, stream(seed, "system")))
            self._system = "".join(text)
        elif system_tokens:
            self._lead = (("system", system_tokens),)
        self._bank = chat_bank(tokenizer, self._system, tools=self.tools) if chat else word_bank(tokenizer)
        self._own = (least_messages(tokenizer, self._system, tools=self.tools) if chat else least_prompt(tokenizer)) - 1

    @property
    def least(self) -> int:
        """Tokens of the shortest prompt: the tokenizer's own, those of the template and the system prompt, and one."""
        return self._own + sum(tokens for _, tokens in self._lead) + 1

    @functools.cached_property
    def head(self) -> int:
        """Tokens in front of the text that prompts may share, which are the same in every prompt.

        Where the first piece of a text costs more than one token, the others are counted in.
        """
        first, *rest = self._bank.fresh(20, stream(0, "head"))
        ids = [
            self._ids("".join(without_leading_space([first, last])))
            for last in (rest[0], next(p for p in rest if p != rest[0]))
        ]
        return next(i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b) - 1

    def _ids(self, content: str) -> list[int]:
        if not self.chat:
            return self.tokenizer.encode(content, add_special_tokens=True)
        system = [] if self._system is None else [{"role": "system", "content": self._system}]
        return self.tokenizer.encode_chat([*system, {"role": "user", "content": content}], self.tools)

    def different(self, tokens: int) -> int | None:
        """How many prompts of so many tokens differ behind what they share, where that can be too few: else None."""
        own = tokens - self.least + 1
        return different_texts(self.tokenizer, self._style, self._bank, own) if own in (1, 2) else None

    def room(self, tokens: int) -> Room:
        """What a prompt of so many tokens has room for."""
        lead = sum(tokens for _, tokens in self._lead)
        return Room(tokens=tokens, head=self.head + lead, most=max(0, tokens - self.least))

    def path(self, path: Path) -> Path:
        """Everything that a prompt of this path shares, the system prompt of a completion with it."""
        return (*self._lead, *path)

    def make(self, tokens: int, path: Path, rng: Random, number: int | None = None) -> str | tuple[Message, ...]:
        """A prompt of exactly so many tokens that begins with the path. Those of different numbers, where they have one,
        differ behind what they share, as long as there are enough texts of that length. Raises ImpossibleLength."""
        number = None if number is None else self._first_number + number
        pieces = [piece for name, length in self.path(path) for piece in self._text(name, length)]
        if self.chat:
            return tuple(
                exact_messages(
                    self.tokenizer,
                    tokens,
                    rng,
                    self._system,
                    tools=self.tools,
                    prefix=pieces,
                    style=self._style,
                    number=number,
                )
            )
        return exact_prompt(self.tokenizer, tokens, rng, prefix=pieces, style=self._style, number=number)

    def _text(self, name: str | int, length: int) -> list[str]:
        """The first pieces of a segment."""
        kept = self._segments
        if name not in kept or len(kept[name]) < length:
            kept[name] = self._bank.fresh(length, stream(self._seed, "prefix", name))
            if len(kept) > _KEPT_SEGMENTS:
                kept.popitem(last=False)
        kept.move_to_end(name)
        return kept[name][:length]
