"""What every source of requests can do, whatever it hands out: samples, or sessions of several turns."""

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
    """A worker's part of the data: an iterator of what it sends, without end."""

    def __iter__(self) -> Iterator[Item_co]: ...

    def __next__(self) -> Item_co: ...

    def at(self, number: int) -> Item_co:
        """The item with this number. The iterator returns the items of its worker, in their order."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report must say of the data."""

    @property
    def size(self) -> int | None:
        """How many items there are before they repeat; None if they never do."""

    def repeats(self, numbers: range) -> int:
        """How many of the items with these numbers repeat one with a lower number."""

    @property
    def in_memory(self) -> bool:
        """Whether the items are ready: nothing is gained by making them ahead."""

    @property
    def own_body(self) -> Sample | None:
        """The first item, where it is a request body of the user's own: the probe sends it."""

    @property
    def ways(self) -> tuple[Sample, ...]:
        """One sample of each endpoint and model that samples name themselves: the probe asks for each."""

    @property
    def names_models(self) -> bool:
        """Whether every item names its model itself."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that makes the prompts; None if they are the user's own texts."""

    @property
    def at_once(self) -> int:
        """Requests of one item that may be in flight at the same time, about: of a session with sub-agents several."""

    def planned_sharing(self, requests: int) -> SharingTally | None:
        """What of the prompt tokens of the first requests a prefix cache could serve; None: none is planned."""

    def untimed(self) -> str | None:
        """Why the times of requests are unknown; None if they are known."""

    def times_s(self) -> Iterator[float]:
        """When each is sent, in the order of sending, in seconds; may be called once."""

    def pack_next(self, encode: Callable[[Sample], Encoded]) -> bytes:
        """The next item as bytes, made as far as it can be: what a `Backlog` in another process adds."""


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
