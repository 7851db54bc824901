"""Simulated samples.

A simulated sample depends only on the seed, the salt and its index: any process can make any sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from promptset.chat import Tool
from promptset.distributions import Distribution
from promptset.drafts import units_of
from promptset.errors import SpecError
from promptset.kinds import PLAIN, Style
from promptset.outline import Outline, PromptMaker
from promptset.rng import stream
from promptset.samples import MOST_TOKENS, Sample
from promptset.sharing import Prefix
from promptset.tokenizer import Tokenizer

_RARE = 1e-6
"""Impossible lengths are drawn again if they are rarer than this, and refused otherwise."""

_TEXT_BYTES, _MEMORY_BYTES, _TOKENS_PER_S = 6, 560, 300_000
"""Per token of a prompt: bytes of text and of memory; and generated tokens per second (measured with `words`)."""


@dataclass(frozen=True, slots=True)
class SimulatedPrompts(Iterator[Sample]):
    """An endless sequence of samples. `sample_at` returns any of them. Created by `simulated_prompts`."""

    maker: PromptMaker
    input_tokens: Distribution
    output_tokens: Distribution
    seed: int
    salt: str | None
    prefix: Prefix
    least_tokens: int
    """Tokens of the shortest possible prompt with this tokenizer, template and prefix."""
    indices: Iterator[int]
    """The indices that iteration returns."""

    def __next__(self) -> Sample:
        return self.sample_at(next(self.indices))

    def outline_at(self, index: int) -> Outline:
        """The sample with this index (from 0), without its text."""
        n = self._input_tokens(index)
        output_tokens = self.output_tokens.constant  # A constant needs no draw.
        if output_tokens is None:
            output_tokens = self.output_tokens.sample(stream(self.seed, "output_tokens", index))
        path = () if self.prefix.scheme is None else self.prefix.path(index, self.seed, self.maker.room(n))
        return Outline(n, int(output_tokens), path)

    def _input_tokens(self, index: int) -> int:
        if (always := self.input_tokens.constant) is not None:
            return int(always)
        lengths = stream(self.seed, "input_tokens", index)
        while (n := int(self.input_tokens.sample(lengths))) < self.least_tokens:
            pass
        return n

    def repeats(self, count: int) -> list[str]:
        """A sentence for each length that is too short for all prompts of `count` samples to differ."""
        sentences = []
        for tokens in (self.least_tokens, self.least_tokens + 1):
            share = self.input_tokens.share_below(tokens + 1) - self.input_tokens.share_below(tokens)
            different = self.maker.different(tokens - self.prefix.least)
            such = round(share * count)
            if different is not None and different < such:
                sentences.append(
                    f"some of the prompts of {tokens} tokens are the same: of {such} such prompts at most {different} differ"
                )
        return sentences

    def sample_at(self, index: int) -> Sample:
        outline = self.outline_at(index)
        made = self.maker.make(outline.input_tokens, outline.path, index)
        prompt, messages = (made, None) if isinstance(made, str) else (None, made)
        return Sample(
            prompt=prompt,
            messages=messages,
            tools=self.maker.tools,
            input_tokens=outline.input_tokens,
            output_tokens=outline.output_tokens,
            path=self.maker.path(outline.path),
        )


def simulated_prompts(
    tokenizer: Tokenizer,
    *,
    input_tokens: Distribution,
    output_tokens: Distribution,
    chat: bool,
    seed: int,
    salt: str | None = None,
    prefix: Prefix | None = None,
    style: Style = PLAIN,
    tools: Sequence[Tool] | None = None,
) -> SimulatedPrompts:
    """Samples whose tokens are exactly the draws of `input_tokens`. All prompts differ, except for a shared prefix.
    Every chat offers the `tools`. The seed determines lengths and sharing; a different `salt` gives other texts of the
    same lengths.

    Raises SpecError if the style is not available, or if the distribution draws impossible lengths. The message says
    which limit to add.
    """
    prefix = Prefix() if prefix is None else prefix
    maker = PromptMaker(
        tokenizer, chat=chat, seed=seed, salt=salt, system_tokens=prefix.system_tokens, style=style, tools=tools
    )
    units_of(tokenizer, style.kind)  # Raises now if the kind is not available, and measures its units.
    least = maker.least + prefix.least
    if problems := [*_too_short(input_tokens, least, maker, prefix), *too_long(input_tokens)]:
        raise SpecError(problems)
    return SimulatedPrompts(maker, input_tokens, output_tokens, seed, salt, prefix, least, count())


def _too_short(input_tokens: Distribution, least: int, maker: PromptMaker, prefix: Prefix) -> list[str]:
    short = input_tokens.share_below(least)
    if short <= _RARE:
        return []
    extras = ["its chat template"] * maker.chat + ["the tools"] * bool(maker.tools) + ["the prefix"] * bool(str(prefix))
    template = " with " + " and ".join(extras) if extras else ""
    tokens = f"{least} token{'s' * (least != 1)}"
    shortest = f"the shortest prompt of {maker.tokenizer.name}{template} has {tokens}"
    if input_tokens.constant is not None:
        return [f"input tokens {str(input_tokens)!r}: {shortest}: ask for at least {least}"]
    return [
        f"input tokens {str(input_tokens)!r}: {100 * short:.2g}% of the lengths are below {least}, and {shortest}: "
        f"add min={least}"
    ]


def too_long(input_tokens: Distribution) -> list[str]:
    """Problems with lengths that are too long to generate."""
    if 1.0 - input_tokens.share_below(MOST_TOKENS + 1) <= _RARE:
        return []
    tokens = input_tokens.constant
    if tokens is None:
        return [
            f"input tokens {str(input_tokens)!r}: lengths are above {MOST_TOKENS:,}: limit them (max={MOST_TOKENS})"
        ]
    return [
        f"input tokens {str(input_tokens)!r}: one such prompt is {tokens * _TEXT_BYTES / 1e6:,.0f} MB of text, and making it "
        f"takes {tokens * _MEMORY_BYTES / 1e9:,.0f} GB of memory and {tokens / _TOKENS_PER_S / 60:,.0f} minutes: "
        f"ask for at most {MOST_TOKENS:,}"
    ]
