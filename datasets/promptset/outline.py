"""Outlines, and the prompts generated from them.

An *outline* describes a prompt without its text: its length and its shared prefix. A simulated data set draws outlines;
a trace of real traffic is a list of them. The `PromptMaker` of a tokenizer generates the text.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from promptset.chat import Message, Tool
from promptset.drafts import different_texts
from promptset.errors import SpecError
from promptset.exact import chat_bank, exact_messages, exact_prompt, least_messages, least_prompt
from promptset.kinds import PLAIN, Style
from promptset.rng import stream, text_stream
from promptset.sharing import Path, Room
from promptset.text import without_leading_space, word_bank
from promptset.tokenizer import Tokenizer

_KEPT_SEGMENTS = 4096
"""Shared segments whose text is cached. An evicted one is generated again, with the same text."""
_NUMBERS = 2**40
_TRIED_PIECES = 200
"""Pieces tried to find the end of the head."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A prompt without its text: its tokens, the shared segments it starts with, and the output tokens to ask for."""

    input_tokens: int
    output_tokens: int | None
    path: Path = ()


class PromptMaker:
    """Generates prompts (or, for a chat, messages) from outlines. Segments with the same name have the same text."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        chat: bool,
        seed: int,
        salt: str | None = None,
        system_tokens: int = 0,
        style: Style = PLAIN,
        tools: Sequence[Tool] | None = None,
    ) -> None:
        """`seed` and `salt` select the texts (promptset.rng.text_stream). `style` applies to the unshared text. With
        `system_tokens`, every chat has a system prompt of that length, and a completion starts with it. Every chat is
        rendered with the `tools`."""
        self.tokenizer = tokenizer
        self.chat = chat
        self.tools = tuple(tools) if tools and chat else None
        self._seed = seed
        self._salt = salt
        self._style = style
        self._segments: OrderedDict[str | int, list[str]] = OrderedDict()
        self._system: str | None = None
        self._lead: Path = ()
        if system_tokens and chat:
            text = without_leading_space(word_bank(tokenizer).fresh(system_tokens, text_stream(seed, salt, "system")))
            self._system = "".join(text)
        elif system_tokens:
            self._lead = (("system", system_tokens),)
        self._bank = chat_bank(tokenizer, self._system, tools=self.tools) if chat else word_bank(tokenizer)
        self._own = (least_messages(tokenizer, self._system, tools=self.tools) if chat else least_prompt(tokenizer)) - 1

    @property
    def least(self) -> int:
        """Tokens of the shortest prompt: those of tokenizer, template and system prompt, plus one."""
        return self._own + sum(tokens for _, tokens in self._lead) + 1

    @functools.cached_property
    def head(self) -> int:
        """Tokens before the text that prompts may share. They are the same in every prompt.

        If the first piece of a text costs more than one token, the others are included. Raises SpecError if the
        tokenizer does not distinguish words (a small vocabulary, in which nearly all of them are the unknown token).
        """
        first, *rest = self._bank.fresh(_TRIED_PIECES, stream(0, "head"))
        tried = (self._ids("".join(without_leading_space([first, last]))) for last in dict.fromkeys(rest))
        reference = next(tried)
        for other in tried:
            differ = [i for i, (a, b) in enumerate(zip(reference, other, strict=False)) if a != b]
            if differ:
                return differ[0] - 1
        template = ", or its chat template leaves the words out" if self.chat else ""
        raise SpecError(
            f"{self.tokenizer.name} has the same tokens for different words{template}, so that all prompts would share "
            "everything: name another tokenizer"
        )

    def _ids(self, content: str) -> list[int]:
        if not self.chat:
            return self.tokenizer.encode(content, add_special_tokens=True)
        system = [] if self._system is None else [{"role": "system", "content": self._system}]
        return self.tokenizer.encode_chat([*system, {"role": "user", "content": content}], self.tools)

    def different(self, tokens: int) -> int | None:
        """A lower bound for the number of different prompts of this length. None if there are plenty."""
        free = tokens - self.least + 1
        return different_texts(self.tokenizer, self._style, self._bank, free) if free in (1, 2) else None

    def room(self, tokens: int) -> Room:
        """The room for shared text in a prompt of this length."""
        lead = sum(tokens for _, tokens in self._lead)
        return Room(tokens=tokens, head=self.head + lead, most=max(0, tokens - self.least))

    def path(self, path: Path) -> Path:
        """All segments that a prompt of this path shares, including the system prompt of a completion."""
        return (*self._lead, *path)

    def make(self, tokens: int, path: Path, index: int) -> str | tuple[Message, ...]:
        """Prompt number `index`: exactly this many tokens, starting with the path. Prompts with different indices differ
        right after their shared text, as long as there are enough texts of that length. Raises ImpossibleLength."""
        # Also keyed by the length: a longer prompt with the same index must not start with the text of a shorter one.
        rng = text_stream(self._seed, self._salt, "text", index, tokens)
        number = _first_number(self._seed, self._salt, tokens) + index
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
        cache = self._segments
        if name not in cache or len(cache[name]) < length:
            cache[name] = self._bank.fresh(length, text_stream(self._seed, self._salt, "prefix", name))
            if len(cache) > _KEPT_SEGMENTS:
                cache.popitem(last=False)
        cache.move_to_end(name)
        return cache[name][:length]


@functools.lru_cache(maxsize=4096)
def _first_number(seed: int, salt: str | None, tokens: int) -> int:
    """The first number of prompts of this length."""
    return int(text_stream(seed, salt, "first number", tokens).random() * _NUMBERS)
