"""Keeps the code that Python generates and compiles anew at every start: the methods of dataclasses.

A run has some 260 dataclasses, whose 1,500 methods `dataclasses` writes as text and compiles: a tenth of a second of each
process. What a text compiles to never changes, so it is kept in a file in the user's cache, by the text itself and for this
interpreter alone. Without the file (it cannot be read or written, is damaged or another user's) all is compiled, as always.
"""

from __future__ import annotations

import builtins
import dataclasses
import marshal
import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any

FILE = "generated-code"
"""Its name in the user's cache."""

MOST = 10_000
"""Texts that are kept at most: beyond them the file begins anew."""

_HEAD = f"trueload generated code 1 {sys.version}\n".encode()
"""Code is good for the interpreter that compiled it, and no other."""


class GeneratedCode:
    """The code of texts. `execute` takes the place of `exec` where a library executes a text that it has written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = _read(path)
        self._known = len(self._kept)

    def execute(
        self, source: str | CodeType, names: dict[str, Any] | None = None, own: dict[str, Any] | None = None
    ) -> None:
        """What `exec` does, as dataclasses call it: with the names that the text sees, and those that it makes."""
        builtins.exec(self._code(source) if isinstance(source, str) else source, names, own)

    def _code(self, source: str) -> CodeType:
        marshalled = self._kept.get(source)
        if marshalled is None:
            code = compile(source, "<string>", "exec", dont_inherit=True)
            self._kept[source] = marshal.dumps(code)
            return code
        kept: CodeType = marshal.loads(marshalled)
        return kept

    def write(self) -> None:
        """Put what is new into the file, for the next process. Where it cannot be written, that one compiles again."""
        if len(self._kept) == self._known:
            return
        if len(self._kept) > MOST:
            self._kept = dict(list(self._kept.items())[self._known :])
        self._known = len(self._kept)
        body = marshal.dumps(self._kept)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                draft.touch(0o600)
                draft.write_bytes(_HEAD + _sum(body) + body)
                draft.replace(self._path)
            finally:
                draft.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, bytes]:
    """What the file has; empty where it is not ours, of another interpreter or damaged."""
    try:
        with path.open("rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return {}
            content = file.read()
    except OSError:
        return {}
    end = len(_HEAD) + len(_sum(b""))
    if content[:end] != _HEAD + _sum(content[end:]):
        return {}
    kept = marshal.loads(content[end:])
    return kept if isinstance(kept, dict) else {}


def _is_ours(stat: os.stat_result) -> bool:
    """Whether nobody else may have written the file: what is in it is run."""
    if sys.platform == "win32":  # It knows no owners by number, and a profile is its user's own.
        return True
    return stat.st_uid == os.geteuid() and not stat.st_mode & 0o022


def _sum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "little")


def keep(path: Path) -> GeneratedCode:
    """Have dataclasses execute what they write by this file. The caller has it written at the end."""
    code = GeneratedCode(path)
    # A name of the module itself comes before the builtin one.
    vars(dataclasses)["exec"] = code.execute
    return code
