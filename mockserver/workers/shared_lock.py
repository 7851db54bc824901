"""A lock between processes forked from the one that created it."""

from __future__ import annotations

import sys
import tempfile

if sys.platform != "win32":
    import fcntl


class SharedLock:
    """A POSIX lock. It belongs to a process: the kernel releases it when the process ends, for whatever reason."""

    def __init__(self, alone: bool = False) -> None:
        """`alone`: there is only one process, so locking is skipped."""
        self._alone = alone
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the lock)

    def __enter__(self) -> None:
        if sys.platform != "win32" and not self._alone:  # Windows has only one process.
            fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        if sys.platform != "win32" and not self._alone:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file."""
        self._file.close()
