"""A lock between processes that were forked from the one that made it."""

from __future__ import annotations

import sys
import tempfile

if sys.platform != "win32":
    import fcntl


class SharedLock:
    """A POSIX lock. It belongs to a process: the kernel releases it at the end of the process, however that comes."""

    def __init__(self, alone: bool = False) -> None:
        """`alone`: there is one process, which has nobody to keep out."""
        self._alone = alone
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the lock)

    def __enter__(self) -> None:
        if sys.platform != "win32" and not self._alone:  # On Windows the process is the only one.
            fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        if sys.platform != "win32" and not self._alone:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give its file back."""
        self._file.close()
