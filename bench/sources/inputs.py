"""Simulated inputs: texts to embed, or documents to rank, of exactly the drawn lengths, without end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.sources.in_order import SamplesInOrder
from promptset import distributions, recipes
from promptset.batches import SimulatedBatches
from promptset.kinds import Style
from promptset.samples import Sample
from promptset.sharing import SharingTally, parse_prefix
from promptset.sharing.scheme import BLOCK
from promptset.simulated import simulated_prompts

if TYPE_CHECKING:
    from promptset.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Inputs to simulate: how many a request has, and how many tokens each of them. `query`: and a query before them.

    `recipe` names the recipe that says when each request is sent.
    """

    batch_inputs: str
    input_tokens: str
    query: bool
    prefix: str | None
    text: str
    repeat: float
    recipe: str | None

    @property
    def plans_sharing(self) -> bool:
        """Drawn inputs share what --prefix says."""
        return True

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> InputSource:
        """Raises SpecError where the lengths cannot be had."""
        del chat  # No endpoint takes inputs as messages.
        if tokenizer is None:
            raise ValueError("simulated inputs need a tokenizer")
        prompts = simulated_prompts(
            tokenizer,
            input_tokens=distributions.parse(self.input_tokens, "tokens"),
            output_tokens=distributions.parse(1, "tokens"),
            chat=False,
            seed=seed,
            salt=salt,
            prefix=None if self.prefix is None else parse_prefix(self.prefix),
            style=Style(self.text, self.repeat),
        )
        made = SimulatedBatches(prompts, distributions.parse(self.batch_inputs, "tokens"), self.query)
        times_s = None if self.recipe is None else recipes.load(self.recipe).times_s(seed)
        return InputSource(made, times_s=times_s, first=first, step=step)


class InputSource(SamplesInOrder):
    """Every `step`-th request of simulated inputs. `times_s`: when they are sent, if they have times."""

    size = None
    in_memory = False
    at_once = 1
    own_body = None
    ways: tuple[Sample, ...] = ()
    names_models = False

    def __init__(
        self, made: SimulatedBatches, *, times_s: Iterator[float] | None = None, first: int = 0, step: int = 1
    ) -> None:
        super().__init__(first, step)
        self._made = made
        self._times_s = times_s

    def at(self, number: int) -> Sample:
        return self._made.sample_at(number)

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    @property
    def tokenizer(self) -> Tokenizer:
        return self._made.prompts.maker.tokenizer

    def untimed(self) -> str | None:
        """Why the times of requests are unknown; None if they are known."""
        return "simulated inputs have none" if self._times_s is None else None

    def times_s(self) -> Iterator[float]:
        """When each is sent, in seconds, without end; may be called once."""
        return iter(()) if self._times_s is None else self._times_s

    def planned_sharing(self, requests: int) -> SharingTally | None:
        """What of the input tokens of the first requests a prefix cache could serve; None: none is planned."""
        prompts = self._made.prompts
        if not str(prompts.prefix) and prompts.maker.head < BLOCK:
            return None
        tally = SharingTally(prompts.maker.head)
        for index in range(requests):
            for outline in self._made.outlines(index):
                tally.add(outline.input_tokens, prompts.maker.path(outline.path))
        return tally
