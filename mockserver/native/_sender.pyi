from typing import final

@final
class Stream:
    """A stream that was handed over. Its values are final once it was taken back or removed."""

    @property
    def stamps(self) -> bytes:
        """The stamp of each sent chunk: 64 bits each, ns of CLOCK_MONOTONIC."""
    @property
    def tokens(self) -> int:
        """The number of tokens sent."""
    @property
    def ended(self) -> int:
        """The number of chunks sent after the last token."""
    @property
    def rest(self) -> bytes:
        """Bytes that the connection did not accept."""
    @property
    def complete(self) -> bool:
        """Whether everything was sent."""
    @property
    def text_bytes(self) -> int:
        """Bytes of the JSON texts sent, except those of the first and the last token."""
    @property
    def due_ns(self) -> int:
        """The deadline of the token sent last, or of the first."""

class Sender:
    """Sends streams on its own threads, which never take the GIL: one, and a second if the first is late."""

    def __new__(cls, shared_ns: int, /) -> Sender:
        """`shared_ns`: how early a token that shares a wake-up may be sent. Raises OSError."""
    def add(
        self,
        owner: object,
        fd: int,
        due_ns: int,
        gaps_ns: tuple[int, ...],
        first: bytes,
        first_chunks: int,
        last: bytes,
        last_chunks: int,
        ends: tuple[bytes, ...],
        before: bytes,
        after: bytes,
        pieces: list[str],
        known: dict[str, bytes],
        /,
    ) -> Stream:
        """Send a script on a non-blocking socket: its first token at `due_ns`, the others by `gaps_ns`.

        `first` and `last` are the bytes of the first and the last token, with their numbers of chunks. A token in the
        middle is an HTTP chunk of `before`, its JSON text (the entry of its piece in `known`), and `after`, which ends
        with the line end of the chunk. `ends` follow, at most two writes of a chunk each; without any the stream is
        over after its last token. Raises KeyError for an unknown piece, ValueError if lengths do not match.
        """
    def end(self, stream: Stream, ends: tuple[bytes, ...], /) -> bool:
        """Set what to send after the last token. Returns False if it is too late because the stream is over."""
    def take(self) -> list[object]:
        """The owners of the streams that are over. These streams have left the threads."""
    def settle(self) -> None:
        """Wait for the sends in progress. `take` then gives every stream whose last byte was sent before."""
    def remove(self, stream: Stream, /) -> None:
        """Remove a stream. Nothing more is sent once this returns."""
    def fileno(self) -> int:
        """A descriptor that is readable while `take` has something to return."""
    def threads(self) -> list[tuple[int, int]]:
        """The threads by kernel id, and the CPU time of each in ns."""
    def close(self) -> None:
        """End the threads and drop their streams."""

SOURCE: int
"""The CRC-32 of the source that the binary was built from; 0 if the build did not set it."""
