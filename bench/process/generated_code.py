"""Keeps the code that Python generates and compiles anew at every start: the methods of dataclasses.

A run has some 260 dataclasses, whose 1,500 methods `dataclasses` writes as text and compiles: a tenth of a second of each
process. What a text compiles to never changes, so it is kept in a file in the user's cache, by the text itself and for this
interpreter alone. Without the file (it cannot be read or written, is damaged or another user's) all is compiled, as always.
"""

from __future__ import annotations

import builtins
import dataclasses
import marshal
from pathlib import Path
from types import CodeType
from typing import Any

from bench.process import kept_file

FILE = "generated-code"
"""Its name in the user's cache."""

MOST = 10_000
"""Texts that are kept at most: beyond them the file begins anew."""

WHAT = "generated code 1"


class GeneratedCode:
    """The code of texts. `execute` takes the place of `exec` where a library executes a text that it has written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = kept_file.read(path, WHAT)
        self._kept: dict[str, bytes] = kept if isinstance(kept, dict) else {}
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
        kept_file.write(self._path, WHAT, self._kept)


def keep(path: Path) -> GeneratedCode:
    """Have dataclasses execute what they write by this file. The caller has it written at the end."""
    code = GeneratedCode(path)
    # A name of the module itself comes before the builtin one.
    vars(dataclasses)["exec"] = code.execute
    return code
