"""A lock between processes that were forked from the one that made it."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator

if sys.platform != "win32":
    import fcntl


class SharedLock:
    """A POSIX lock. It belongs to a process: the kernel releases it at the end of the process, however that comes."""

    def __init__(self, alone: bool = False) -> None:
        """`alone`: there is one process, which has nobody to keep out."""
        self._alone = alone
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the lock)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it."""
        if sys.platform == "win32" or self._alone:
            yield  # On Windows the process is the only one.
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give its file back."""
        self._file.close()
