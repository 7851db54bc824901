"""Numbered items, returned in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar

from bench.workload import Encoded, draft_of
from promptset.samples import Sample

Item = TypeVar("Item")


class InOrder(ABC, Iterator[Item]):
    """An iterator of the items numbered `first`, `first` + `step`, and so on. A subclass makes the item of any number."""

    def __init__(self, first: int, step: int) -> None:
        self._numbers = count(first, step)

    @abstractmethod
    def at(self, number: int) -> Item:
        """The item with this number, from 0."""

    @property
    @abstractmethod
    def size(self) -> int | None:
        """How many items there are before they repeat; None if they never do."""

    def repeats(self, numbers: range) -> int:
        """How many of the items with these numbers repeat one with a lower number."""
        if self.size is None:
            return 0
        return len(numbers) - len(range(numbers.start, min(numbers.stop, self.size), numbers.step))

    def __next__(self) -> Item:
        return self.at(next(self._numbers))


class SamplesInOrder(InOrder[Sample]):
    """Samples by their numbers."""

    def pack_next(self, encode: Callable[[Sample], Encoded]) -> bytes:
        return draft_of(next(self), encode).pack()
