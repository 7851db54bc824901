"""Simulated requests with several inputs: texts to embed, or a query and the documents to rank.

Each input is a simulated prompt with its own drawn length. A request depends only on the seed, the salt and its index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from promptset.distributions import Distribution
from promptset.errors import SpecError
from promptset.outline import Outline
from promptset.rng import stream
from promptset.samples import Sample
from promptset.simulated import SimulatedPrompts

MOST_INPUTS = 2048
"""The maximum inputs per request: OpenAI's limit."""

_RARE = 1e-6


@dataclass(frozen=True, slots=True)
class SimulatedBatches:
    """Requests built from `prompts`. `inputs` is the number of texts per request; `query` adds a query before them."""

    prompts: SimulatedPrompts
    inputs: Distribution
    query: bool

    def outlines(self, index: int) -> list[Outline]:
        """The inputs of the request with this index (from 0), without their texts. A query comes first, if there is
        one."""
        return [self.prompts.outline_at(number) for number in self._numbers(index)]

    def sample_at(self, index: int) -> Sample:
        """The request with this index (from 0). `input_tokens` is the sum over all its inputs."""
        samples = [self.prompts.sample_at(number) for number in self._numbers(index)]
        texts = [sample.prompt for sample in samples if sample.prompt is not None]
        return Sample(
            query=texts[0] if self.query else None,
            texts=tuple(texts[self.query :]),
            input_tokens=sum(sample.input_tokens or 0 for sample in samples),
        )

    def _numbers(self, index: int) -> Iterator[int]:
        """The numbers of its prompts, unique within a run."""
        many = int(self.inputs.sample(stream(self.prompts.seed, "batch_inputs", index)))
        first = index * (MOST_INPUTS + 1)
        return iter(range(first + (not self.query), first + 1 + min(max(many, 1), MOST_INPUTS)))


def check_inputs(inputs: Distribution) -> None:
    """Raises SpecError if requests could have no input, or more than MOST_INPUTS."""
    if inputs.share_below(1) > _RARE:
        raise SpecError(f"{str(inputs)!r} draws requests without an input: give at least 1 (min=1)")
    if 1.0 - inputs.share_below(MOST_INPUTS + 1) > _RARE:
        raise SpecError(
            f"{str(inputs)!r} draws more than {MOST_INPUTS:,} inputs a request: limit them (max={MOST_INPUTS})"
        )
