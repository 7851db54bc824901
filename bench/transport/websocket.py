"""The client's side of a WebSocket, sans-IO: the handshake, outgoing messages, and the incoming messages of one reply
after the other.

wsproto does framing, masking and the handshake (RFC 6455). This file turns its events into values: the pieces of a body
for an exchange, each a whole text message, and the connection's own answers (to pings, to a close). No extension is
offered, so messages are not compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from bench.endpoints.failure import excerpt
from bench.endpoints.interface import SocketWords
from bench.endpoints.typed_events import is_object
from bench.transport.sse import MAX_EVENT_BYTES

_TEXT = 0x81
"""The first byte of a text message in one frame."""


class BrokenSocket(Exception):
    """The data is not a WebSocket's. The message says why."""


@dataclass(slots=True)
class Refused:
    """A handshake that the server has answered over HTTP."""

    status: int
    content_type: str
    location: str | None
    body: bytearray = field(default_factory=bytearray)


class ClientSocket:
    """One connection. First the handshake: send `hello`, then call `feed_handshake` until it returns True.

    Then replies: `begin`, and `feed` with the attributes of `ResponseParser` that a connection uses. `outgoing` is what
    the connection must send by itself.
    """

    def __init__(self, host: str, target: str, headers: Sequence[tuple[str, str]]) -> None:
        self._frames = WSConnection(ConnectionType.CLIENT)
        extra = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self.hello = self._frames.send(Request(host=host, target=target, extra_headers=extra))
        self.refused: Refused | None = None
        self.outgoing = b""
        self.closed: str | None = None
        """The reason that the server gave when it closed the connection."""
        self._message: list[str] = []
        self._size = 0
        self._words: SocketWords | None = None
        # The same as in a ResponseParser.
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.error: str | None = None
        self.complete = False
        self.keep_alive = True
        self.beside = False

    def feed_handshake(self, data: bytes) -> bool:
        """Whether the handshake has ended; it failed if `refused` is set. Raises BrokenSocket."""
        try:
            self._frames.receive_data(data)
            for event in self._frames.events():
                if isinstance(event, AcceptConnection):
                    return True
                if isinstance(event, RejectConnection):
                    named = {name.lower(): value for name, value in event.headers}
                    location = named.get(b"location")
                    self.refused = Refused(
                        event.status_code,
                        named.get(b"content-type", b"").decode("latin-1"),
                        None if location is None else location.decode("latin-1"),
                    )
                    if not event.has_body:
                        return True
                elif isinstance(event, RejectData) and self.refused is not None:
                    self.refused.body += event.data
                    if event.body_finished:
                        return True
        except (RemoteProtocolError, UnicodeDecodeError) as e:  # wsproto decodes some header fields as ASCII.
            raise BrokenSocket(f"the server does not speak WebSocket here: {e}") from e
        return False

    def message(self, text: bytes) -> bytes:
        """The frames of a text message. Raises BrokenSocket if the server has closed the connection."""
        try:
            return self._frames.send(TextMessage(data=text.decode()))
        except LocalProtocolError as e:
            raise BrokenSocket(str(e)) from e

    def begin(self, words: SocketWords) -> None:
        """A reply comes next; `words` decide which messages belong to it, and which is its last."""
        self._words = words
        self.status, self.complete, self.keep_alive = None, False, True

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these bytes complete, up to the end of the reply. A message after it ends the connection
        (`keep_alive`), as do a close, a non-text message, and one that is no event (`error`)."""
        pieces: list[bytes] = []
        self.beside = False
        try:
            self._frames.receive_data(data)
            for event in self._frames.events():
                if isinstance(event, TextMessage):
                    self._take(event, pieces)
                elif isinstance(event, Ping):
                    self.beside = True
                    self.outgoing += self._frames.send(event.response())
                elif isinstance(event, CloseConnection):
                    self._close(event)
                elif isinstance(event, BytesMessage):
                    self._fail("a binary message came, and events are texts")
        except (RemoteProtocolError, LocalProtocolError) as e:
            self._fail(str(e))
        self.beside = self.beside and not pieces and not self._message and self.closed is None and self.error is None
        return pieces

    def _take(self, event: TextMessage, pieces: list[bytes]) -> None:
        self._message.append(event.data)
        self._size += len(event.data)
        if self._size > MAX_EVENT_BYTES:
            self._fail(f"a message is larger than the limit of {MAX_EVENT_BYTES} bytes")
        if not event.message_finished:
            return
        message = "".join(self._message).encode()
        self._message.clear()
        self._size = 0
        words = self._words
        may_end = words is not None and words.may_end(message)
        if may_end and not self.complete and not is_object(message):
            self.status = 200
            self._fail(f"a message is not a JSON object: {excerpt(message)}")
            return
        if words is not None and words.is_beside(message, begun=self.status is not None):
            self.beside = True
            return
        if self.complete:
            self.keep_alive = False
            return
        self.status = 200
        pieces.append(message)
        if words is not None and may_end and words.is_last(message):
            self.complete = True

    @property
    def unfinished_bytes(self) -> int:
        """Bytes of an incomplete message."""
        return len("".join(self._message).encode())

    def _close(self, event: CloseConnection) -> None:
        if self._frames.state is ConnectionState.OPEN:  # wsproto reports unreadable frames in this way.
            self._fail(f"no WebSocket frame came: {event.reason}")
            return
        reason = f" ({event.reason[:200]})" if event.reason else ""
        self.closed = f"with code {event.code}{reason}"
        self.keep_alive = False
        self.outgoing += self._frames.send(event.response())

    def _fail(self, words: str) -> None:
        self.keep_alive = False
        if self.error is None:
            self.error = words

    def behind(self, data: bytes) -> None:
        """A read after the reply: a ping, or an unrequested message."""
        self.feed(data)

    def goodbye(self) -> bytes:
        """The frame that closes the connection; empty if it is closed."""
        try:
            return self._frames.send(CloseConnection(code=CloseReason.NORMAL_CLOSURE))
        except LocalProtocolError:
            return b""

    def end_of_file(self) -> None:
        """Does nothing: a WebSocket that ends without a close frame completes no reply."""

    def close(self) -> None:
        """No reply comes next."""


def is_one_text(data: bytes) -> bool:
    """Whether these bytes are exactly one frame with a whole text message."""
    if len(data) < 2 or data[0] != _TEXT:
        return False
    length, at = data[1], 2
    if length == 126:
        length, at = int.from_bytes(data[2:4], "big"), 4
    elif length == 127:
        length, at = int.from_bytes(data[2:10], "big"), 10
    return at + length == len(data)


def left_of_frame(glance: bytes) -> int:
    """How many bytes of a frame follow its first ones, at least 0, for `read_chunkwise`. If the frame is so large that
    these do not contain its length: more than a read takes."""
    if len(glance) < 2:
        return 0
    if glance[1] & 0x7F == 127 and len(glance) < 10:
        return 65_536
    length, at = glance[1] & 0x7F, 2
    if length == 126:
        length, at = int.from_bytes(glance[2:4], "big"), 4
    elif length == 127:
        length, at = int.from_bytes(glance[2:10], "big"), 10
    return max(0, at + length - len(glance))
