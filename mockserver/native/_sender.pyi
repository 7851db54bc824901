from typing import final

@final
class Stream:
    """A stream that was handed over. What it says holds once it was taken back or removed."""

    @property
    def stamps(self) -> bytes:
        """The stamp of each chunk that was sent: 64 bits each, ns of CLOCK_MONOTONIC."""
    @property
    def tokens(self) -> int:
        """Tokens that were sent."""
    @property
    def ended(self) -> int:
        """Chunks that were sent behind the last token."""
    @property
    def rest(self) -> bytes:
        """Bytes that the connection did not take."""
    @property
    def complete(self) -> bool:
        """Whether everything was sent."""
    @property
    def text_bytes(self) -> int:
        """Bytes of the JSON texts that were sent, but for those of the first and the last token."""
    @property
    def due_ns(self) -> int:
        """The deadline of the token that was sent last, or of the first."""

class Sender:
    """Sends streams on threads of its own, which never take the interpreter's lock: one, and a second where that is late."""

    def __new__(cls, shared_ns: int, /) -> Sender:
        """`shared_ns`: how early a token may be that shares a wake-up. Raises OSError."""
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

        `first` and `last` are the bytes of the first and the last token, and the chunks that they are. A token in the middle
        is an HTTP chunk of `before`, its JSON text (that of its piece in `known`), and `after`, which ends with the line end
        of the chunk. `ends` are what follows, at most two writes of a chunk each; with none the stream is over after its last
        token. Raises KeyError for a piece that is not known, ValueError where lengths do not fit.
        """
    def end(self, stream: Stream, ends: tuple[bytes, ...], /) -> bool:
        """What to send behind the last token. False: it is too late, the stream is over."""
    def take(self) -> list[object]:
        """The owners of the streams that are over. They have left."""
    def remove(self, stream: Stream, /) -> None:
        """Nothing more is sent of it once this returns."""
    def fileno(self) -> int:
        """A descriptor that is readable while `take` has something to give."""
    def threads(self) -> list[tuple[int, int]]:
        """Its threads, as the kernel numbers them, and the CPU time of each in ns."""
    def close(self) -> None:
        """End the threads and drop what they have."""

SOURCE: int
"""The CRC-32 of the source that it was made of; 0 where the build did not tell it."""
