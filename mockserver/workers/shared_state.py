"""What all workers of one mock must agree on, kept once: counters, attempts, and one text (the configuration in force).

It lies in memory that the processes share: the parent makes it, and its workers inherit it over fork(2). One process alone
is the same thing with one worker. Every change is made under one lock. The kernel lets go of that lock when its holder
dies, however it dies, and the last step of every change is the store of a single word: a worker that is killed leaves
whole values behind, and no one waits for it.

How to use it:

- `take(name)` gives 0, 1, 2, ... each number to exactly one caller. A new counter is one line in `COUNTERS`.
- `attempt(id)` counts the requests with this id: 1 for the first, in whichever worker it arrives.
- `forget()` begins anew with both.
- `publish(text)` replaces the text and returns its new version; `version` is one read of a word, cheap enough to be asked
  for each request; `text()` gives the version and what was published. So a worker that is told to change something
  publishes it, and each worker (the same one too) compares `version` with the one that it has applied when a request
  arrives. Once `publish` has returned, every request that arrives afterwards finds the new version, at any worker.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
import tempfile
from collections.abc import Iterator
from hashlib import blake2b

if sys.platform != "win32":
    import fcntl

COUNTERS = ("arrivals_by_order", "replies", "arrivals", "connections")
"""The counters there are: requests that came without an id; ids that the mock made up for its replies; requests and
connections, counted where a rule of faults asks for them."""

MAX_TEXT_BYTES = 1 << 20

# The words (64 bits each) of the shared memory: version, length of the text, one clock of the attempts, the counters; then
# the attempts, as sets of `_WAYS` entries (digest of the id, its attempts, when it was last asked for); then two texts.
_VERSION, _TICK, _FIRST_COUNTER = 0, 1, 2
_SETS = 1 << 15
_WAYS = 8
_ENTRY = 3
_ATTEMPTS_AT = 64
_TEXTS_AT = _ATTEMPTS_AT + _SETS * _WAYS * _ENTRY
_TEXT_WORDS = 1 + MAX_TEXT_BYTES // 8
REMEMBERED_IDS = _SETS * _WAYS
"""Ids whose attempts are remembered, the latest of each set; the memory of a long run stays flat."""


class SharedState:
    """Make it before the workers are forked."""

    def __init__(self) -> None:
        # Anonymous and shared: pages that nobody touches cost nothing.
        self._memory = mmap.mmap(-1, 8 * (_TEXTS_AT + 2 * _TEXT_WORDS))
        self._words = memoryview(self._memory).cast("Q")
        self._bytes = memoryview(self._memory)
        self._lock_file = tempfile.TemporaryFile()  # noqa: SIM115 (it is held for as long as the state)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[memoryview]:
        # A POSIX lock belongs to a process: its end, of any kind, gives the lock back.
        if sys.platform == "win32":
            yield self._words  # There is one process.
            return
        fcntl.lockf(self._lock_file, fcntl.LOCK_EX)
        try:
            yield self._words
        finally:
            fcntl.lockf(self._lock_file, fcntl.LOCK_UN)

    def take(self, counter: str) -> int:
        """The next number of this counter, from 0 on."""
        at = _FIRST_COUNTER + COUNTERS.index(counter)
        with self._locked() as words:
            number: int = words[at]
            words[at] = number + 1
        return number

    def attempt(self, request_id: str) -> int:
        """Which request with this id it is: 1 for the first."""
        digest = int.from_bytes(blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        digest = digest or 1  # 0 is an empty entry.
        first = _ATTEMPTS_AT + (digest % _SETS) * _WAYS * _ENTRY
        with self._locked() as words:
            words[_TICK] = tick = words[_TICK] + 1
            oldest, oldest_tick = first, tick
            for at in range(first, first + _WAYS * _ENTRY, _ENTRY):
                if words[at] == digest:
                    words[at + 2] = tick
                    attempts: int = words[at + 1] + 1
                    words[at + 1] = attempts
                    return attempts
                if words[at + 2] < oldest_tick:
                    oldest, oldest_tick = at, words[at + 2]
            words[oldest] = 0
            words[oldest + 1] = 1
            words[oldest + 2] = tick
            words[oldest] = digest
        return 1

    def forget(self) -> None:
        """Begin anew with the counters and the attempts."""
        with self._locked() as words:
            if words[_TICK]:  # Else all is 0, and pages that nobody touched go on costing nothing.
                self._bytes[8 * _ATTEMPTS_AT : 8 * _TEXTS_AT] = bytes(8 * (_TEXTS_AT - _ATTEMPTS_AT))
                words[_TICK] = 0
            for at in range(_FIRST_COUNTER, _FIRST_COUNTER + len(COUNTERS)):
                words[at] = 0

    @property
    def version(self) -> int:
        """How many texts were published."""
        version: int = self._words[_VERSION]
        return version

    def publish(self, text: bytes) -> int:
        """Replace the text; its version. Raises ValueError where it is longer than `MAX_TEXT_BYTES`."""
        if len(text) > MAX_TEXT_BYTES:
            raise ValueError(f"a text of {len(text)} bytes is too long to be shared: at most {MAX_TEXT_BYTES}")
        with self._locked() as words:
            version: int = words[_VERSION] + 1
            # Two places in turn: who dies in here leaves the text in force whole.
            at = _TEXTS_AT + (version % 2) * _TEXT_WORDS
            words[at] = len(text)
            self._bytes[8 * (at + 1) : 8 * (at + 1) + len(text)] = text
            words[_VERSION] = version
        return version

    def text(self) -> tuple[int, bytes]:
        """The version and the text that was published last; (0, b"") where none was."""
        with self._locked() as words:
            version: int = words[_VERSION]
            if version == 0:
                return 0, b""
            at = _TEXTS_AT + (version % 2) * _TEXT_WORDS
            return version, bytes(self._bytes[8 * (at + 1) : 8 * (at + 1) + words[at]])

    def close(self) -> None:
        """Let go of the memory and the lock."""
        self._words.release()
        self._bytes.release()
        self._memory.close()
        self._lock_file.close()
