"""The protocol of a WebSocket: which client messages ask for a reply, and how the server answers the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from mockserver.dialect.endpoint import Endpoint

Header = tuple[bytes, bytes]

_REQUEST_HEADERS = ("x-request-id", "traceparent")
_MOCK = "x-mock-"


class Ask(NamedTuple):
    """A request for a reply, as `Endpoint.parse` takes it. If it is refused, the response that it `continues` is
    forgotten."""

    body: bytes
    headers: list[Header]
    continues: str | None = None


class SocketTalk(Protocol):
    """One connection. Its methods are called in message order."""

    endpoint: Endpoint
    """The endpoint of the replies."""

    def __init__(self, handshake: Sequence[Header], query: Mapping[str, str]) -> None:
        """`handshake` has the headers of the handshake, `query` the query of its URL."""

    def greeting(self) -> Sequence[bytes]:
        """The server's first messages, before the client sends any."""

    def take(self, message: bytes) -> Ask | Sequence[bytes]:
        """Handle a client message. Returns a request for a reply, or the messages that answer it."""

    def on_sent(self, message: bytes) -> None:
        """Called when a message of a reply is sent."""


def headers_of(metadata: object, handshake: Sequence[Header]) -> list[Header]:
    """The headers of a message: `x-request-id`, `traceparent` and `x-mock-...` of its metadata, and the handshake's
    headers except its ids, which identify one request."""
    fields = {name.lower(): value for name, value in metadata.items()} if isinstance(metadata, dict) else {}
    own = {
        name: value
        for name, value in fields.items()
        if isinstance(value, str) and (name in _REQUEST_HEADERS or name.startswith(_MOCK))
    }
    headers = [
        pair for pair in handshake if (name := pair[0].decode("latin-1")) not in _REQUEST_HEADERS and name not in own
    ]
    return headers + [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in own.items()
    ]
