"""The endpoints that generate no text: their requests and replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mockserver.dialect.frames import UsageCounts
from mockserver.dialect.refusals import Refusal, refusal_of

Identity = tuple[str, int, str]
"""The id of the reply, its creation time in seconds, and the model."""
MakeBody = Callable[[UsageCounts | None], bytes]
"""Builds the body of a reply from its usage. A usage of None is withheld by a fault."""


class PoolingRequest(Protocol):
    """A request for embeddings or scores."""

    @property
    def inputs(self) -> Sequence[Sequence[str | list[int]]]:
        """The inputs of the model: for each, its texts or token ids, which together must fit into the context."""

    @property
    def entry_name(self) -> str:
        """The name of an input in error messages."""

    async def answer(self, seed: int, identity: Identity) -> MakeBody:
        """Computes the answer. A long computation yields to the streams."""


@dataclass(frozen=True, slots=True)
class PoolingEndpoint:
    """An endpoint that generates no text."""

    paths: tuple[str, ...]
    id_prefix: str
    parse: Callable[[dict[str, Any], int], PoolingRequest]
    """Parses a body, given the configured embedding size. Raises Refusal (400)."""


def too_long(limit: int, entry: str, number: int, tokens: int) -> Refusal:
    """The 400 for an input that exceeds the context."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, {entry} {number} has {tokens} tokens. "
        "Please reduce its length."
    )
    return refusal_of(400, message, entry)
