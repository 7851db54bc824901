"""What a run sends, how much of it, and how much its prompts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.answers.probe_set import write_probes
from bench.errors import UsageError
from bench.load.components import source_of
from bench.manifest import PromptTexts
from bench.rng import fresh_salt
from promptset.errors import SpecError

if TYPE_CHECKING:
    from bench.modes.interface import LoadPlan
    from bench.sources.interface import Source
    from bench.watched_load import RunContext
    from promptset.sharing import SharingTally
    from promptset.tokens import Tokenizer

SHARING_PLANNED_OVER = 10_000
"""Computes the planned sharing of a run over at most this many requests: it hardly changes after them."""


@dataclass(frozen=True, slots=True)
class Supply:
    """The opened data of a run, and its plan."""

    tokenizer: Tokenizer | None
    salt: str | None
    source: Source[Any]
    plan: LoadPlan

    @classmethod
    def of(cls, run: RunContext, tokenizer: Tokenizer | None) -> Supply:
        """Open the data and plan the load."""
        config = run.config
        salt = None if config.same_prompts else fresh_salt()
        with run.observer.waiting("getting the data ready" if config.dataset is None else f"reading {config.dataset}"):
            source = source_of(config, tokenizer, salt=salt)
            if config.check_answers is not None:
                write_probes(run.directory, config.make_probes())
            return cls(tokenizer, salt, source, config.load.plan(config.length, source))

    @property
    def texts(self) -> PromptTexts:
        """The origin of the prompt texts."""
        if self.source.tokenizer is None:
            return PromptTexts(texts="own", salt=None)
        return PromptTexts(texts="same" if self.salt is None else "fresh", salt=self.salt)

    def planned_sharing(self) -> SharingTally | None:
        """What the prompts share, computed over all or a representative number. Raises UsageError if it cannot be
        computed."""
        requests = SHARING_PLANNED_OVER if self.plan.total is None else min(self.plan.total, SHARING_PLANNED_OVER)
        try:
            return self.source.planned_sharing(requests)
        except SpecError as e:
            raise UsageError(e.problems) from e
