"""The responses that later requests may continue (`previous_response_id`), shared by all workers of one mock.

A ring buffer in memory that the parent creates and its workers inherit over fork(2): the newest response is written
after the previous one, over the oldest. So any worker can continue a response of another without asking it, the store
never exceeds its size, and the oldest responses go first, whichever worker wrote them. A response is complete: it does
not need earlier ones.

The last step of every change is the store of a single word, as in shared_state.py, so a killed worker leaves whole
values.
"""

from __future__ import annotations

import mmap
import sys
from dataclasses import dataclass
from hashlib import blake2b

from mockserver.workers.shared_lock import SharedLock

# Words of 64 bits: the number of the oldest response; of the next one; the end of the written bytes (it only grows; the
# position in the ring is its remainder); the number dropped; then a slot per response: digests, begins, lengths of both
# parts.
_OLDEST, _NEXT, _END, _DROPPED = range(4)
_SLOTS_AT = 8


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response. Both parts are JSON."""

    conversation: bytes
    """The conversation that a continuing request begins with."""
    body: bytes
    """The response itself."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """The fill level of a store."""

    responses: int
    stored_bytes: int
    dropped: int
    """Responses dropped for newer ones, since the start."""


class LastResponse:
    """The last response of one connection. It is stored nowhere else."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._response: StoredResponse | None = None

    def keep(self, response_id: str, response: StoredResponse) -> None:
        self._id, self._response = response_id, response

    def get(self, response_id: str) -> StoredResponse | None:
        """Returns the last response if it has this id."""
        return self._response if response_id == self._id else None

    def forget(self, response_id: str) -> None:
        """Forget the response if it has this id."""
        if response_id == self._id:
            self._id = self._response = None


class ResponseStore:
    """Stores at most `most` responses in `size` bytes. Create it before forking workers. With 0 it stores nothing."""

    def __init__(self, most: int = 0, size: int = 0) -> None:
        self._most = most if size > 0 else 0
        self._size = size
        # Anonymous and shared. Untouched pages cost nothing.
        self._data_at = 8 * (_SLOTS_AT + 4 * self._most)
        self._memory = mmap.mmap(-1, self._data_at + (size if self._most else 0))
        self._bytes = memoryview(self._memory)
        self._words = self._bytes[: self._data_at].cast("Q")
        self._digests, self._begins, self._first, self._second = (_SLOTS_AT + i * self._most for i in range(4))
        self._lock = SharedLock()

    def add(self, response_id: str, response: StoredResponse) -> None:
        """Store a response, replacing an older one with this id. A response larger than the store is not stored."""
        digest, need = _digest(response_id), len(response.conversation) + len(response.body)
        with self._lock:
            self._forget(digest)
            if self._most == 0 or need > self._size:
                return
            words = self._words
            while words[_NEXT] > words[_OLDEST] and (
                words[_NEXT] - words[_OLDEST] >= self._most or self._used() + need > self._size
            ):
                self._drop_oldest()
            begin, slot = words[_END], words[_NEXT] % self._most
            self._write(begin, response.conversation)
            self._write(begin + len(response.conversation), response.body)
            words[self._digests + slot] = 0
            words[self._begins + slot] = begin
            words[self._first + slot] = len(response.conversation)
            words[self._second + slot] = len(response.body)
            words[_END] = begin + need
            words[_NEXT] += 1
            words[self._digests + slot] = digest

    def get(self, response_id: str) -> StoredResponse | None:
        """The response with this id, or None if it was never stored, or was dropped or forgotten."""
        with self._lock:
            slot = self._find(_digest(response_id))
            if slot is None:
                return None
            words = self._words
            begin, first, second = (words[at + slot] for at in (self._begins, self._first, self._second))
            return StoredResponse(self._read(begin, first), self._read(begin + first, second))

    def remove(self, response_id: str) -> bool:
        """Forget the response with this id. Returns whether there was one."""
        with self._lock:
            return self._forget(_digest(response_id))

    def clear(self) -> None:
        with self._lock:
            for slot in range(min(self._most, self._words[_NEXT])):
                self._words[self._digests + slot] = 0
            self._words[_OLDEST] = self._words[_NEXT]
            self._words[_DROPPED] = 0

    def state(self) -> StoreState:
        """The fill level. Responses removed individually keep their bytes until they would be the oldest."""
        with self._lock:
            slots = self._words[self._digests : self._digests + self._most]
            return StoreState(sum(digest != 0 for digest in slots), self._used(), self._words[_DROPPED])

    def close(self) -> None:
        """Release the memory and the lock."""
        self._words.release()
        self._bytes.release()
        self._memory.close()
        self._lock.close()

    def _used(self) -> int:
        words = self._words
        if words[_NEXT] == words[_OLDEST]:
            return 0
        used: int = words[_END] - words[self._begins + words[_OLDEST] % self._most]
        return used

    def _drop_oldest(self) -> None:
        slot = self._words[_OLDEST] % self._most
        self._words[_DROPPED] += self._words[self._digests + slot] != 0
        self._words[self._digests + slot] = 0
        self._words[_OLDEST] += 1

    def _find(self, digest: int) -> int | None:
        """The slot of a digest. It searches bytes, which takes some us for thousands of responses."""
        wanted = digest.to_bytes(8, sys.byteorder)
        digests = bytes(self._bytes[8 * self._digests : 8 * (self._digests + self._most)])
        at = digests.find(wanted)
        while at % 8 and at >= 0:
            at = digests.find(wanted, at + 1)
        return None if at < 0 else at // 8

    def _forget(self, digest: int) -> bool:
        slot = self._find(digest)
        if slot is not None:
            self._words[self._digests + slot] = 0
        return slot is not None

    def _write(self, begin: int, data: bytes) -> None:
        at = begin % self._size
        until_end = min(len(data), self._size - at)
        start = self._data_at
        self._bytes[start + at : start + at + until_end] = data[:until_end]
        self._bytes[start : start + len(data) - until_end] = data[until_end:]

    def _read(self, begin: int, length: int) -> bytes:
        at = begin % self._size
        until_end = min(length, self._size - at)
        start = self._data_at
        return bytes(self._bytes[start + at : start + at + until_end]) + bytes(
            self._bytes[start : start + length - until_end]
        )


def _digest(response_id: str) -> int:
    digest = blake2b(response_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1  # 0 is an empty slot.
