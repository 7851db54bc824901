"""A value in a file of the user's cache, for the next process of the same interpreter.

What cannot be read, is damaged, of another interpreter or perhaps another user's is as if it were not there; what cannot be
written is not kept. The file has a head that says what it is, a sum, and the value as `marshal` writes it.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path


def read(path: Path, what: str) -> object:
    """The value; None where there is none that may be used. `what` it must be: a name, its form, whatever it is made of."""
    try:
        with path.open("rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            content = file.read()
    except OSError:
        return None
    head = _head(what)
    end = len(head) + len(_sum(b""))
    if content[:end] != head + _sum(content[end:]):
        return None
    value: object = marshal.loads(content[end:])
    return value


def write(path: Path, what: str, value: object) -> None:
    """Put it in place of the one before: whole, or not at all. It is of the types that `marshal` knows."""
    body = marshal.dumps(value)  # type: ignore[arg-type]  # The caller's part.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.touch(0o600)
            draft.write_bytes(_head(what) + _sum(body) + body)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _head(what: str) -> bytes:
    """Code is good for the interpreter that compiled it, and no other; nor is all of `marshal`."""
    return f"trueload {what} {sys.version}\n".encode()


def _is_ours(stat: os.stat_result) -> bool:
    """Whether nobody else may have written the file: what is in it is run, or believed."""
    if sys.platform == "win32":  # It knows no owners by number, and a profile is its user's own.
        return True
    return stat.st_uid == os.geteuid() and not stat.st_mode & 0o022


def _sum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "little")
