"""Classes of traffic in one stream: a plan decides the class of each request, and each class goes through its own data
in order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.sources.changed import sent_as
from bench.sources.in_order import SamplesInOrder
from promptset.samples import Sample
from promptset.sharing import SharingTally

if TYPE_CHECKING:
    from bench.sources.interface import Source
    from promptset.tokens import Tokenizer


@dataclass(frozen=True, slots=True)
class ClassSource:
    """A class: its name, its source, the destination of its requests unless an item names its own, and the models among
    which it draws (none: the run's model)."""

    name: str
    source: Source[Sample]
    way: Sample
    models: tuple[str, ...]

    def ways(self) -> list[Sample]:
        """One sample for each destination of its requests."""
        samples = [sent_as(self.way, way) for way in self.source.ways]
        if samples and self.source.names_models:
            return samples
        usual = sent_as(self.way, self.way if self.source.own_body is None else self.source.own_body)
        return [*(sent_as(Sample(prompt="", model=model), usual) for model in self.models or (None,)), *samples]


class Mixed(SamplesInOrder):
    """`place` returns the class of a number, and how many of that class precede it."""

    size = None
    in_memory = False
    at_once = 1
    own_body = None

    def __init__(
        self, classes: Sequence[ClassSource], place: Callable[[int], tuple[int, int]], *, first: int, step: int
    ) -> None:
        super().__init__(first, step)
        self._classes = classes
        self._place = place

    def at(self, number: int) -> Sample:
        which, before = self._place(number)
        sample: Sample = self._classes[which].source.at(before)
        return sample

    def repeats(self, numbers: range) -> int:
        """Summed over the classes, whose items have their own numbers."""
        sizes = [member.source.size for member in self._classes]
        if sizes == [None] * len(sizes):
            return 0
        places = map(self._place, numbers)
        return sum((size := sizes[which]) is not None and before >= size for which, before in places)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"class {member.name}: {note}" for member in self._classes for note in member.source.notes)

    @property
    def ways(self) -> tuple[Sample, ...]:
        """One sample for each destination of any class's requests."""
        return tuple(way for _, way in self._ways())

    @property
    def classes_of_ways(self) -> tuple[str, ...]:
        """The class, or the first of several, of each of these destinations."""
        return tuple(name for name, _ in self._ways())

    def _ways(self) -> list[tuple[str, Sample]]:
        ways: dict[object, tuple[str, Sample]] = {}
        for member in self._classes:
            for way in member.ways():
                ways.setdefault((way.endpoint, way.model, way.headers, way.priority), (member.name, way))
        return list(ways.values())

    @property
    def names_models(self) -> bool:
        return all(member.models or member.source.names_models for member in self._classes)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the first class that makes its prompts."""
        return next((member.source.tokenizer for member in self._classes if member.source.tokenizer is not None), None)

    def planned_sharing(self, requests: int) -> SharingTally | None:
        """Returns None if no class plans sharing. Prompts of different classes share nothing."""
        counts = Counter(self._place(number)[0] for number in range(requests))
        plans = [entry.source.planned_sharing(counts[which]) for which, entry in enumerate(self._classes)]
        if all(tally is None for tally in plans):
            return None
        whole = SharingTally(0)
        for which, tally in enumerate(plans):
            if tally is None:
                whole.tokens += self._tokens(which, counts[which])
            else:
                whole.tokens += tally.tokens
                whole.cached += tally.cached
        return whole

    def _tokens(self, which: int, requests: int) -> int:
        """Prompt tokens of a class that shares nothing, estimated from its first requests."""
        looked = min(requests, 100)
        lengths = [self._classes[which].source.at(number).input_tokens for number in range(looked)]
        known = [length for length in lengths if length is not None]
        return math.ceil(sum(known) / len(known) * requests) if known else 0

    def untimed(self) -> str:
        """Why the times of requests are unknown."""
        return "classes have none"

    def times_s(self) -> Iterator[float]:
        return iter(())
