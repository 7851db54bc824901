"""A WebSocket besides its replies: which messages of a client ask for a reply, and what the server answers to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from mockserver.dialect.endpoint import Endpoint

Header = tuple[bytes, bytes]

_OWN = ("x-request-id", "traceparent")
_MOCK = "x-mock-"


class Ask(NamedTuple):
    """A request for a reply, as `Endpoint.parse` takes it. A refusal forgets the response that it `continues`."""

    body: bytes
    headers: list[Header]
    continues: str | None = None


class SocketTalk(Protocol):
    """One connection. Its methods are called in the order of the messages."""

    endpoint: Endpoint
    """The endpoint of its replies."""

    def __init__(self, handshake: Sequence[Header], query: Mapping[str, str]) -> None:
        """The headers of the handshake, and the query of its URL."""

    def greeting(self) -> Sequence[bytes]:
        """The first messages, before the client has said anything."""

    def take(self, message: bytes) -> Ask | Sequence[bytes]:
        """A message of the client: it asks for a reply, or these messages answer it."""

    def on_sent(self, message: bytes) -> None:
        """A message of a reply leaves."""


def headers_of(metadata: object, handshake: Sequence[Header]) -> list[Header]:
    """The headers of a message: `x-request-id`, `traceparent` and `x-mock-...` of its metadata, and those of the
    handshake, except for its ids: they name one request."""
    given = {name.lower(): value for name, value in metadata.items()} if isinstance(metadata, dict) else {}
    own = {
        name: value
        for name, value in given.items()
        if isinstance(value, str) and (name in _OWN or name.startswith(_MOCK))
    }
    headers = [pair for pair in handshake if (name := pair[0].decode("latin-1")) not in _OWN and name not in own]
    return headers + [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in own.items()
    ]
