"""The state that all workers of one mock share: counters, attempts, and one text (the current configuration).

It is in shared memory that the parent creates and its workers inherit over fork(2). A single process is the same thing
with one worker. Every change happens under one lock. The kernel releases the lock when its holder dies, for whatever
reason, and the last step of every change is the store of a single word. So a killed worker leaves whole values and
blocks no other worker.

How to use it:

- `take(name)` returns 0, 1, 2, ..., each number to exactly one caller. A new counter is one line in `COUNTERS`.
- `attempt(id)` counts the requests with this id: 1 for the first, at any worker.
- `forget()` resets both, and empties `responses` (response_store.py).
- `publish(text)` replaces the text and returns its new version. `version` reads one word, which is cheap enough for every
  request. `text()` returns the version and the text. The worker that receives a change publishes it, and every worker
  compares `version` with the one it has applied when a request arrives. After `publish` has returned, every later request
  sees the new version, at any worker.
"""

from __future__ import annotations

import mmap
from hashlib import blake2b

from mockserver.workers.response_store import ResponseStore
from mockserver.workers.shared_lock import SharedLock

COUNTERS = ("arrivals_by_order", "replies", "arrivals", "connections")
"""The counters: requests without an id; ids that the mock generates for its replies; requests and connections, counted
only if a fault rule needs their number."""

MAX_TEXT_BYTES = 1 << 20

# The shared memory in words of 64 bits: the version, a clock for the attempts, the counters; then the attempts, in sets of
# `_WAYS` entries (digest of the id, number of attempts, time of the last one); then two texts.
_VERSION, _TICK, _FIRST_COUNTER = 0, 1, 2
_SETS = 1 << 15
_WAYS = 8
_ENTRY = 3
_ATTEMPTS_AT = 64
_TEXTS_AT = _ATTEMPTS_AT + _SETS * _WAYS * _ENTRY
_TEXT_WORDS = 1 + MAX_TEXT_BYTES // 8


class SharedState:
    """Create it before forking workers."""

    def __init__(self, responses: ResponseStore | None = None, alone: bool = False) -> None:
        """`responses` stores the responses that later requests may continue; None stores none. `alone`: there is one
        worker."""
        self.responses = ResponseStore() if responses is None else responses
        # Anonymous and shared. Untouched pages cost nothing.
        self._memory = mmap.mmap(-1, 8 * (_TEXTS_AT + 2 * _TEXT_WORDS))
        self._words = memoryview(self._memory).cast("Q")
        self._bytes = memoryview(self._memory)
        self._lock = SharedLock(alone)

    def take(self, counter: str) -> int:
        """The next number of this counter, starting at 0."""
        at = _FIRST_COUNTER + COUNTERS.index(counter)
        words = self._words
        with self._lock:
            number: int = words[at]
            words[at] = number + 1
        return number

    def taken(self, counter: str) -> int:
        """How many numbers of this counter were taken."""
        number: int = self._words[_FIRST_COUNTER + COUNTERS.index(counter)]
        return number

    def attempt(self, request_id: str) -> int:
        """The number of requests with this id so far: 1 for the first."""
        digest = int.from_bytes(blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        digest = digest or 1  # 0 is an empty entry.
        first = _ATTEMPTS_AT + (digest % _SETS) * _WAYS * _ENTRY
        words = self._words
        with self._lock:
            words[_TICK] = tick = words[_TICK] + 1
            entries = words[first : first + _WAYS * _ENTRY].tolist()
            digests, ticks = entries[::_ENTRY], entries[2::_ENTRY]
            if digest in digests:
                at = first + digests.index(digest) * _ENTRY
                words[at + 2] = tick
                attempts: int = words[at + 1] + 1
                words[at + 1] = attempts
                return attempts
            oldest = first + ticks.index(min(ticks)) * _ENTRY
            words[oldest] = 0
            words[oldest + 1] = 1
            words[oldest + 2] = tick
            words[oldest] = digest
        return 1

    def forget(self) -> None:
        """Reset the counters and the attempts, and forget the responses."""
        self.responses.clear()
        words = self._words
        with self._lock:
            if words[_TICK]:  # Otherwise everything is 0, and untouched pages stay free.
                self._bytes[8 * _ATTEMPTS_AT : 8 * _TEXTS_AT] = bytes(8 * (_TEXTS_AT - _ATTEMPTS_AT))
                words[_TICK] = 0
            for at in range(_FIRST_COUNTER, _FIRST_COUNTER + len(COUNTERS)):
                words[at] = 0

    @property
    def version(self) -> int:
        """The number of published texts."""
        version: int = self._words[_VERSION]
        return version

    def publish(self, text: bytes) -> int:
        """Replace the text and return its version. Raises ValueError if it is longer than `MAX_TEXT_BYTES`."""
        if len(text) > MAX_TEXT_BYTES:
            raise ValueError(f"the text has {len(text)} bytes; the limit is {MAX_TEXT_BYTES}")
        words = self._words
        with self._lock:
            version: int = words[_VERSION] + 1
            # Alternate between two places: a worker that dies here leaves the current text intact.
            at = _TEXTS_AT + (version % 2) * _TEXT_WORDS
            words[at] = len(text)
            self._bytes[8 * (at + 1) : 8 * (at + 1) + len(text)] = text
            words[_VERSION] = version
        return version

    def text(self) -> tuple[int, bytes]:
        """The version and the last published text, or (0, b"")."""
        words = self._words
        with self._lock:
            version: int = words[_VERSION]
            if version == 0:
                return 0, b""
            at = _TEXTS_AT + (version % 2) * _TEXT_WORDS
            return version, bytes(self._bytes[8 * (at + 1) : 8 * (at + 1) + words[at]])

    def close(self) -> None:
        """Release the memory and the lock."""
        self._words.release()
        self._bytes.release()
        self._memory.close()
        self._lock.close()
        self.responses.close()
