"""Samples: what a request is made of, drawn or loaded.

A drawn sample depends on (seed, index) alone: any process can make any of them, and more of them change none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from promptset.chat import Message
from promptset.distributions import Distribution
from promptset.errors import SpecError
from promptset.exact import chat_bank, exact_messages, exact_prompt, least_messages, least_prompt
from promptset.rng import stream
from promptset.sharing import PrefixSpec
from promptset.text import word_bank
from promptset.tokens import Tokenizer

_RARE = 1e-6
"""Lengths too short to exist are drawn again where they are rarer than this, and refused otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What to send: exactly one of `prompt`, `messages` and `body` is there. Of counts, None means "not known"."""

    prompt: str | None = None
    messages: tuple[Message, ...] | None = None
    body: dict[str, Any] | None = None
    """A full request body, to be sent as it is."""
    input_tokens: int | None = None
    """Tokens of the prompt, or of the rendered messages, as the tokenizer counts them."""
    output_tokens: int | None = None
    """Tokens of the answer to ask for."""
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Simulated(Iterator[Sample]):
    """Simulated data without end; `sample_at` gives any of it directly. Made by `simulated`."""

    tokenizer: Tokenizer
    input_tokens: Distribution
    output_tokens: Distribution
    chat: bool
    seed: int
    prefix: PrefixSpec | None
    least_tokens: int
    """Tokens of the shortest prompt that exists under this tokenizer, template and prefix."""
    indices: Iterator[int]
    """Which samples iteration gives."""

    def __next__(self) -> Sample:
        return self.sample_at(next(self.indices))

    def sample_at(self, index: int) -> Sample:
        """The sample with this index, counting from 0."""
        lengths = stream(self.seed, "input_tokens", index)
        while (n := int(self.input_tokens.sample(lengths))) < self.least_tokens:
            pass
        output_tokens = int(self.output_tokens.sample(stream(self.seed, "output_tokens", index)))
        prefix: list[str] = []
        if self.prefix is not None:
            prefix = _group_prefix(self.prefix, self.tokenizer, self.chat, self.seed, index % self.prefix.groups)
        text = stream(self.seed, "text", index)
        if self.chat:
            messages = tuple(exact_messages(self.tokenizer, n, text, prefix=prefix))
            return Sample(messages=messages, input_tokens=n, output_tokens=output_tokens)
        prompt = exact_prompt(self.tokenizer, n, text, prefix=prefix)
        return Sample(prompt=prompt, input_tokens=n, output_tokens=output_tokens)


def simulated(
    tokenizer: Tokenizer,
    *,
    input_tokens: Distribution,
    output_tokens: Distribution,
    chat: bool,
    seed: int,
    prefix: PrefixSpec | None = None,
) -> Simulated:
    """Samples of exactly as many tokens as `input_tokens` draws, each prompt different but for a shared prefix.

    Raises SpecError where the distribution draws lengths that cannot be had, and says which limit makes it good.
    """
    least = (least_messages(tokenizer) if chat else least_prompt(tokenizer)) + (prefix.tokens if prefix else 0)
    short = input_tokens.share_below(least)
    if short > _RARE:
        why = f"{tokenizer.name}, its chat template" if chat else tokenizer.name
        raise SpecError(
            f"input tokens {str(input_tokens)!r}: {short:.2g} of the lengths are below {least}, the shortest prompt of "
            f"{why}{' and the prefix' if prefix else ''}: ask for at least {least} (where it is drawn: min={least})"
        )
    return Simulated(tokenizer, input_tokens, output_tokens, chat, seed, prefix, least, iter(_naturals()))


def _naturals() -> Iterator[int]:
    index = 0
    while True:
        yield index
        index += 1


@functools.lru_cache(maxsize=1024)
def _group_prefix(prefix: PrefixSpec, tokenizer: Tokenizer, chat: bool, seed: int, group: int) -> list[str]:
    bank = chat_bank(tokenizer) if chat else word_bank(tokenizer)
    return prefix.pieces(bank, seed, group)
