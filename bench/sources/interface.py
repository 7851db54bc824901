"""The interface of all sources of requests, whether they return samples or sessions of several turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from bench.workload import Encoded
    from promptset.samples import Sample
    from promptset.sharing import SharingTally
    from promptset.tokens import Tokenizer

Item_co = TypeVar("Item_co", covariant=True)


class Source(Protocol[Item_co]):
    """A worker's part of the data: an endless iterator of items to send."""

    def __iter__(self) -> Iterator[Item_co]: ...

    def __next__(self) -> Item_co: ...

    def at(self, number: int) -> Item_co:
        """The item with this number. The iterator returns the worker's items, in order."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The report's notes on the data."""

    @property
    def size(self) -> int | None:
        """How many items there are before they repeat; None if they never do."""

    def repeats(self, numbers: range) -> int:
        """How many of the items with these numbers repeat one with a lower number."""

    @property
    def in_memory(self) -> bool:
        """Whether the items are ready, so that making them in advance gains nothing."""

    @property
    def own_body(self) -> Sample | None:
        """The first item, if it is the user's own request body: the probe sends it."""

    @property
    def ways(self) -> tuple[Sample, ...]:
        """One sample for each endpoint and model that samples name themselves: the probe tries each."""

    @property
    def names_models(self) -> bool:
        """Whether every item names its model itself."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that makes the prompts; None if they are the user's own texts."""

    @property
    def at_once(self) -> int:
        """About how many requests of one item may be in flight at once: several for a session with sub-agents."""

    def planned_sharing(self, requests: int) -> SharingTally | None:
        """How many prompt tokens of the first requests a prefix cache could serve; None: no sharing is planned."""

    def untimed(self) -> str | None:
        """Why the times of requests are unknown; None if they are known."""

    def times_s(self) -> Iterator[float]:
        """When each is sent, in order of sending, in seconds; may be called once."""

    def pack_next(self, encode: Callable[[Sample], Encoded]) -> bytes:
        """The next item as bytes, made as far as possible: a `Backlog` in another process adds it."""


class SourceSpec(Protocol):
    """The data of a run. `plans_sharing`: the data plans what its prompts share; without a plan they share nothing."""

    @property
    def plans_sharing(self) -> bool: ...

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> Source[object]:
        """The items numbered `first`, `first` + `step`, and so on. Raises SpecError if they cannot be made.

        The seed decides lengths, order and sharing. The salt selects the texts; if it is None, the seed alone does.
        """
