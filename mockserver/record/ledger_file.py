"""The ledger's file: one or several processes append whole lines to it and read them back by number.

Rules:
- The file holds whole lines only. If a write is cut short (a full disk), the file is truncated to whole lines. Several
  processes append under one kernel lock, which is released when its holder ends.
- If the file cannot be written, the mock continues. The lines stay in memory, up to `KEEP_BYTES`, and are retried every
  `RETRY_S`. The log reports it once, `/truth` as long as it lasts. At the end, unwritten lines go into their own file in the
  directory for temporary files, and the log names it. Lines beyond `KEEP_BYTES` are lost, and counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from mockserver.clock import NS_PER_S, now_ns
from mockserver.errors import UsageError

if sys.platform != "win32":
    import fcntl

_LOG = logging.getLogger("mockserver")

KEEP_BYTES = 64 << 20
RETRY_S = 1.0
_SLICE_BYTES = 1 << 20
"""Bytes to write, or to scan, at a time."""


def open_file(path: Path | None) -> BinaryIO:
    """The file of the ledger. Without a path it is an unnamed file that disappears with the process.

    Raises UsageError if it cannot be written.
    """
    if path is None:
        return cast(BinaryIO, tempfile.TemporaryFile("a+b", buffering=0))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # A mock was killed within this line. The next one must not join it.
                file.write(b"\n")
        return file
    except OSError as e:
        raise UsageError(f"--ledger {path}: cannot be written: {e.strerror}") from e


class LedgerFile:
    """Lines in a file. `shared`: other processes also append, and their lines count. Create it before the fork."""

    def __init__(self, file: BinaryIO, shared: bool = False) -> None:
        self._file = file
        self._shared = shared
        # The offset of each line since the start, and of the next one.
        self._starts = array("Q", [file.seek(0, os.SEEK_END)])
        self._unwritten: deque[bytes] = deque()
        self._unwritten_bytes = 0
        self._retry_ns = 0
        self.lost = 0
        self.error: str | None = None
        """The reason why the file cannot be written at the moment."""

    @property
    def lines(self) -> int:
        while self._find_lines():
            pass
        return len(self._starts) - 1

    @property
    def unwritten(self) -> int:
        """Lines of this process that are not in the file yet."""
        return len(self._unwritten)

    def state(self) -> dict[str, Any]:
        return {"unwritten": self.unwritten, "lost": self.lost, "error": self.error}

    def append(self, lines: Sequence[bytes] = ()) -> None:
        """Write these and all waiting lines, as far as the file accepts them."""
        for line in lines:
            if self._unwritten_bytes + len(line) > KEEP_BYTES:
                self._drain()  # Many long lines can come at once. Keep only those that the file does not accept.
            if self._unwritten_bytes + len(line) > KEEP_BYTES:
                self.lost += 1
                continue
            self._unwritten.append(line)
            self._unwritten_bytes += len(line)
        self._drain()
        if self._shared:
            self._find_lines()

    def _drain(self) -> None:
        """Write waiting lines as far as the file accepts them."""
        if self.error is None or now_ns() >= self._retry_ns:
            while self._unwritten and self._write_some():
                pass

    def _write_some(self) -> bool:
        """Write a slice. Returns whether the file accepted it."""
        batch, size = [], 0
        for line in self._unwritten:
            batch.append(line)
            size += len(line)
            if size >= _SLICE_BYTES:
                break
        error = None
        with self._locked():
            start = self._file.seek(0, os.SEEK_END)
            try:
                _write_all(self._file, b"".join(batch))
            except OSError as e:
                error = e
                batch = self._cut_to_whole_lines(start, batch)
        for line in batch:
            self._unwritten.popleft()
            self._unwritten_bytes -= len(line)
            if not self._shared:
                self._starts.append(self._starts[-1] + len(line))
        if error is not None:
            if self.error is None:
                _LOG.error("cannot write the ledger (%s): keeping its lines in memory and retrying", error.strerror)
            self.error = error.strerror
            self._retry_ns = now_ns() + round(RETRY_S * NS_PER_S)
        elif self.error is not None:
            _LOG.warning("the ledger can be written again")
            self.error = None
        return error is None

    def _cut_to_whole_lines(self, start: int, batch: list[bytes]) -> list[bytes]:
        """The lines that were completely written. The file is truncated after them."""
        end, whole = start, []
        size = self._file.seek(0, os.SEEK_END)
        for line in batch:
            if end + len(line) > size:
                break
            whole.append(line)
            end += len(line)
        if size > end:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
        return whole

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._shared:
            yield
            return
        if sys.platform != "win32":  # On Windows the mock is a single process.
            fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if sys.platform != "win32":
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _find_lines(self) -> bool:
        """Find lines of other processes, up to a slice. Returns whether there may be more."""
        if not self._shared:
            return False
        at = self._starts[-1]
        data = self._read_at(at, _SLICE_BYTES)
        end = data.find(b"\n") + 1
        if not end and len(data) == _SLICE_BYTES:  # One line longer than a slice.
            data = self._read_at(at, os.fstat(self._file.fileno()).st_size - at)
            end = data.find(b"\n") + 1
        more = len(data) >= _SLICE_BYTES and end > 0
        while end:
            self._starts.append(at + end)
            end = data.find(b"\n", end) + 1
        return more

    def read(self, since: int = 0) -> bytes:
        """The lines from number `since` on (the first is 0). Unwritten lines of this process come last."""
        lines = self.lines
        pending = list(self._unwritten)[max(since - lines, 0) :]
        if since >= lines:
            return b"".join(pending)
        start = self._starts[max(since, 0)]
        return b"".join((self._read_at(start, self._starts[-1] - start), *pending))

    def _read_at(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`. Writes go to the end of the file regardless of its position."""
        if sys.platform != "win32":
            return os.pread(self._file.fileno(), size, offset)
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        """Retry once, save unwritten lines elsewhere, and close the file."""
        self._retry_ns = 0
        self.append()
        if self._unwritten:
            self._save_elsewhere()
        if self.lost:
            _LOG.error("%d lines of the ledger are lost", self.lost)
        self._file.close()

    def _save_elsewhere(self) -> None:
        try:
            with tempfile.NamedTemporaryFile(prefix="ledger-", suffix=".jsonl", delete=False) as other:
                other.write(b"".join(self._unwritten))
        except OSError as e:
            _LOG.error("%d lines of the ledger are lost: %s", self.unwritten, e.strerror)
            return
        _LOG.error("%d lines of the ledger are in %s: its own file could not be written", self.unwritten, other.name)


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = file.write(view)
        view = view[written:]
