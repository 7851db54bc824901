"""Checks whether the path of a flag can be written, before the work begins, with the same messages for every command."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UsageError


def _is_there(path: Path) -> bool:
    """Whether the path exists. Raises OSError if the system does not tell; from Python 3.14 on, exists() would return
    False."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return True


def directory_problem(path: Path) -> str | None:
    """Why no directory, or no file in it, can be created there; None if both can."""
    try:
        there = next(place for place in (path, *path.parents) if _is_there(place))
    except OSError as e:  # For example a name that is too long, or a directory without access.
        return str(e.strerror)
    if not there.is_dir():
        return "it is a file" if there == path else f"{there} is a file"
    return _closed(there)


def file_problem(path: Path, *, makes_directories: bool = False) -> str | None:
    """Why no file can be written there; None if it can. `makes_directories`: the writer creates missing directories."""
    try:
        if path.is_dir():
            return "it is a directory"
        if _is_there(path):
            return None if os.access(path, os.W_OK) else f"{path} is closed to us"
        if not makes_directories and not path.absolute().parent.is_dir():
            return f"there is no directory {path.parent}"
    except OSError as e:
        return str(e.strerror)
    return directory_problem(path.absolute().parent)


def refuse_directory(flag: str, path: Path) -> None:
    """Raises UsageError if no directory, or no file in it, can be created there."""
    if (problem := directory_problem(path)) is not None:
        raise UsageError(_sentence(flag, path, problem, "directory"))


def refuse_file(flag: str, path: Path, *, makes_directories: bool = False) -> None:
    """Raises UsageError if no file can be written there."""
    if (problem := file_problem(path, makes_directories=makes_directories)) is not None:
        raise UsageError(_sentence(flag, path, problem, "file"))


def make_directory(flag: str, path: Path) -> None:
    """Create the directory, unless it exists. Raises UsageError if that fails, or no file can be written in it."""
    refuse_directory(flag, path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UsageError(_sentence(flag, path, str(e.strerror), "directory")) from e


@contextmanager
def not_removed(path: Path) -> Iterator[None]:
    """Raises UsageError instead of the errors that follow if somebody removes the directory meanwhile."""
    try:
        yield
    except (OSError, UsageError) as e:
        if path.exists():
            raise
        raise UsageError(
            f"{path} was removed while results were written to it: they are lost. Measure again, and leave it until the end"
        ) from e


def write_file(flag: str, path: Path, content: bytes, *, makes_directories: bool = False) -> None:
    """Write a whole file atomically: readers see the old or the new content, never part of it. Links stay links, and a
    replaced file keeps its mode. Raises UsageError if that fails."""
    try:
        if makes_directories:
            path.parent.mkdir(parents=True, exist_ok=True)
        _put(path.resolve(), content)
    except OSError as e:
        raise UsageError(_sentence(flag, path, str(e.strerror), "file")) from e


def _put(path: Path, content: bytes) -> None:
    if (_is_there(path) and not path.is_file()) or not os.access(path.parent, os.W_OK | os.X_OK):
        path.write_bytes(content)  # A device, or a file in a directory without write access, cannot be replaced.
        return
    draft = path.with_name(f".{os.getpid()}.new")
    replaced = _is_there(path)
    try:
        if replaced:
            draft.touch(0o600)  # Never readable by more people than the old file.
        draft.write_bytes(content)
        if replaced:
            shutil.copymode(path, draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _sentence(flag: str, path: Path, problem: str, kind: str) -> str:
    return f"{flag} {path} cannot be written ({problem}): name another {kind}"


def _closed(folder: Path) -> str | None:
    """Why no file can be created in a directory. Only creating one can tell: root has every permission, but still
    cannot create files in /proc or on a read-only disk. The file is deleted at once."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} is closed to us"
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return None
    except OSError as e:
        return f"no file can be made in {folder}: {e.strerror}"
