"""An endless supply of simulated inputs: texts to embed, or documents to rank, of exactly the drawn lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.sources.simulated import PromptSource
from promptset import distributions, recipes
from promptset.batches import SimulatedBatches
from promptset.kinds import Style
from promptset.samples import Sample
from promptset.sharing import parse_prefix
from promptset.simulated import simulated_prompts

if TYPE_CHECKING:
    from promptset.outline import Outline
    from promptset.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Inputs to simulate: how many per request, and how many tokens each. `query`: preceded by a query.

    `recipe` names the recipe that determines when each request is sent.
    """

    batch_inputs: str
    input_tokens: str
    query: bool
    prefix: str | None
    text: str
    repeat: float
    recipe: str | None

    plans_sharing: ClassVar[bool] = True
    """Drawn inputs share what --prefix sets."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> InputSource:
        """Raises SpecError if the lengths are impossible."""
        del chat  # No endpoint takes inputs as messages.
        assert tokenizer is not None, "simulated inputs need a tokenizer"
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


class InputSource(PromptSource):
    """Every `step`-th request of simulated inputs. `times_s`: when they are sent, if they have times."""

    drawn = "simulated inputs"

    def __init__(self, batches: SimulatedBatches, *, times_s: Iterator[float] | None, first: int, step: int) -> None:
        super().__init__(batches.prompts, times_s=times_s, first=first, step=step)
        self._batches = batches

    def at(self, number: int) -> Sample:
        return self._batches.sample_at(number)

    def _outlines(self, number: int) -> Sequence[Outline]:
        return self._batches.outlines(number)
