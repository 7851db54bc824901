"""An endless supply of simulated prompts of exactly the drawn lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.sources.in_order import SamplesInOrder
from promptset import distributions, recipes
from promptset.kinds import Style
from promptset.samples import Sample
from promptset.sharing import SharingTally, parse_prefix
from promptset.sharing.scheme import BLOCK
from promptset.simulated import SimulatedPrompts, simulated_prompts
from promptset.tools import ignored_note, load_tools

if TYPE_CHECKING:
    from promptset.outline import Outline
    from promptset.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSpec:
    """Prompts to simulate. Lengths are distributions in tokens; `recipe` names the recipe that determines when each is
    sent."""

    input_tokens: str
    output_tokens: str
    prefix: str | None
    text: str
    repeat: float
    tools: str | None
    recipe: str | None

    plans_sharing: ClassVar[bool] = True
    """Drawn prompts share what --prefix sets."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> PromptSource:
        """Raises SpecError if the lengths are impossible."""
        assert tokenizer is not None, "simulated prompts need a tokenizer"
        made = simulated_prompts(
            tokenizer,
            input_tokens=distributions.parse(self.input_tokens, "tokens"),
            output_tokens=distributions.parse(self.output_tokens, "tokens"),
            chat=chat,
            seed=seed,
            salt=salt,
            prefix=None if self.prefix is None else parse_prefix(self.prefix),
            style=Style(self.text, self.repeat),
            tools=None if self.tools is None else load_tools(Path(self.tools)),
        )
        times_s = None if self.recipe is None else recipes.load(self.recipe).times_s(seed)
        return PromptSource(made, times_s=times_s, first=first, step=step)


class PromptSource(SamplesInOrder):
    """Every `step`-th sample of simulated data. `times_s`: when samples are sent, if they have times."""

    size = None
    in_memory = False
    at_once = 1
    own_body = None
    ways: tuple[Sample, ...] = ()
    names_models = False
    drawn = "simulated prompts"

    def __init__(self, prompts: SimulatedPrompts, *, times_s: Iterator[float] | None, first: int, step: int) -> None:
        super().__init__(first, step)
        self._prompts = prompts
        self._times_s = times_s

    def at(self, number: int) -> Sample:
        return self._prompts.sample_at(number)

    def _outlines(self, number: int) -> Sequence[Outline]:
        """The outlines of a request, without its texts."""
        return (self._prompts.outline_at(number),)

    @property
    def notes(self) -> tuple[str, ...]:
        note = ignored_note(self.tokenizer, self._prompts.maker.tools)
        return () if note is None else (note,)

    @property
    def tokenizer(self) -> Tokenizer:
        return self._prompts.maker.tokenizer

    def untimed(self) -> str | None:
        """Why the times of requests are unknown; None if they are known."""
        return f"{self.drawn} have none" if self._times_s is None else None

    def times_s(self) -> Iterator[float]:
        """An endless iterator of when each is sent, in seconds; may be called once."""
        return iter(()) if self._times_s is None else self._times_s

    def planned_sharing(self, requests: int) -> SharingTally | None:
        """How many input tokens of the first requests a prefix cache could serve. Returns None if no sharing is
        planned.

        The part that a chat template puts before every prompt is shared too, if it fills a block of the cache.
        """
        maker = self._prompts.maker
        if not str(self._prompts.prefix) and maker.head < BLOCK:
            return None
        tally = SharingTally(maker.head)
        for number in range(requests):
            for outline in self._outlines(number):
                tally.add(outline.input_tokens, maker.path(outline.path))
        return tally
