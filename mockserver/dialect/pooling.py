"""The endpoints that generate no text: what they ask for, and how they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mockserver.dialect.frames import UsageCounts
from mockserver.dialect.refusals import Refusal, refusal_of

Identity = tuple[str, int, str]
"""The id of the reply, the second of its creation, the model."""
MakeBody = Callable[[UsageCounts | None], bytes]
"""The body of a reply, from its usage. None: a fault withholds it."""


class PoolingRequest(Protocol):
    """A request for embeddings or scores."""

    @property
    def inputs(self) -> Sequence[Sequence[str | list[int]]]:
        """What the model processes: for each input its texts or token ids, which together must fit its context."""

    @property
    def entry_name(self) -> str:
        """What an input is called in errors."""

    async def answer(self, seed: int, identity: Identity) -> MakeBody:
        """The answer. Between parts of a long one the streams get their turn."""


@dataclass(frozen=True, slots=True)
class PoolingEndpoint:
    """An endpoint that generates no text."""

    paths: tuple[str, ...]
    id_prefix: str
    parse: Callable[[dict[str, Any], int], PoolingRequest]
    """A body, and the configured numbers of an embedding. Raises Refusal (400)."""


def too_long(limit: int, entry: str, number: int, tokens: int) -> Refusal:
    """The 400 for an input that is longer than the context."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, {entry} {number} has {tokens} tokens. "
        "Please reduce its length."
    )
    return refusal_of(400, message, entry)
