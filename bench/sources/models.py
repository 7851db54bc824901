"""A source whose items go to several models: each that names none gets one by its number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from bench.conversations import pack_session
from bench.models import ModelMix
from bench.sources.interface import Source
from bench.workload import Encoded, draft_of
from promptset.samples import Sample
from promptset.sessions import Session
from promptset.tokens import Tokenizer


class MixedModels(Iterator[Any]):
    """The items of a source; all of a session go to one model."""

    def __init__(self, source: Source[Any], mix: ModelMix, seed: int, *, first: int, step: int) -> None:
        self._source = source
        self._mix = mix
        self._seed = seed
        self._next = first
        self._step = step

    def __next__(self) -> Any:
        item, number = next(self._source), self._next
        self._next += self._step
        return item if item.model is not None else replace(item, model=self._mix.of(self._seed, number))

    def pack_next(self, encode: Callable[[Sample], Encoded]) -> bytes:
        """The next item, packed."""
        item = next(self)
        return pack_session(item) if isinstance(item, Session) else draft_of(item, encode).pack()

    in_memory = False

    @property
    def notes(self) -> tuple[str, ...]:
        """As of the source. So with what follows."""
        return self._source.notes

    @property
    def size(self) -> int | None:
        return self._source.size

    @property
    def own_body(self) -> Sample | None:
        return self._source.own_body

    @property
    def ways(self) -> tuple[Sample, ...]:
        return self._source.ways

    @property
    def names_models(self) -> bool:
        return self._source.names_models

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._source.tokenizer

    def planned_sharing(self, requests: int) -> float | None:
        return self._source.planned_sharing(requests)

    def untimed(self) -> str | None:
        return self._source.untimed()

    def times_s(self) -> Iterator[float]:
        return self._source.times_s()
