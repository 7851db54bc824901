"""How a data file is split into requests: one per line, or the whole file; each possibly in Base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import orjson

from bench.console.errors import ConsoleError, TooLarge
from bench.console.language import tr

MOST_OF_A_ROW = 64 * 1024 * 1024
"""Bytes of one request."""


class Readable(Protocol):
    """The read methods of a file, or of a file inside a ZIP."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Rows:
    """`whole`: the file is one request, a JSON body or (in a .txt) a prompt. `base64`: each request is the Base64 of a
    JSON body."""

    whole: bool = False
    base64: bool = False

    def read(self, name: str, file: Readable) -> Iterator[bytes]:
        """Yield the rows of a data set as JSON Lines. Raises ConsoleError, which names the invalid line."""
        number = 0
        while line := file.read(MOST_OF_A_ROW + 1) if self.whole else file.readline(MOST_OF_A_ROW + 1):
            number += 1
            place = name if self.whole else tr("%(name)s, line %(n)s", name=name, n=number)
            if len(line) > MOST_OF_A_ROW:
                raise TooLarge(
                    tr("%(place)s: one request has at most %(mib)s MiB", place=place, mib=MOST_OF_A_ROW // 2**20)
                )
            if line.strip():
                yield self._row(name, place, line)

    def _row(self, name: str, place: str, content: bytes) -> bytes:
        if self.base64:
            row = body_of_base64(content)
            if row is None:
                raise ConsoleError(
                    tr(
                        "%(place)s is not the Base64 of a body in JSON: for other bodies choose a line, and a task without "
                        "an LLM",
                        place=place,
                    )
                )
            return row
        try:
            return orjson.dumps(orjson.loads(content), option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONDecodeError as e:
            if not name.endswith(".txt"):
                raise ConsoleError(
                    tr(
                        "%(name)s is not one JSON document (%(why)s): choose a line for each request",
                        name=repr(name),
                        why=e,
                    )
                ) from e
            prompt = {"prompt": content.decode(errors="replace")}
            return orjson.dumps(prompt, option=orjson.OPT_APPEND_NEWLINE)


AS_IT_IS = Rows()
"""One request per line, in any format."""


def body_of_base64(text: bytes) -> bytes | None:
    """Decode a JSON body from Base64 into a row. Returns None if the text is not one."""
    try:
        body = orjson.loads(base64.b64decode(b"".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        return None
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE) if isinstance(body, dict) else None
