"""What a request is in a file of data: a line, all of the file, or the Base64 of either."""

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
    """What is read of a file, or of a file in a ZIP."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Rows:
    """`whole`: all of a file is one request, a body in JSON or, in a .txt, a prompt. `base64`: of a body in JSON."""

    whole: bool = False
    base64: bool = False

    def read(self, name: str, file: Readable) -> Iterator[bytes]:
        """The rows of a data set, in JSON Lines. Raises ConsoleError and names the line that is not a row."""
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
"""Each line is a request, whatever its format."""


def body_of_base64(text: bytes) -> bytes | None:
    """The body in JSON whose Base64 this is, as a row. Returns None if it is not."""
    try:
        body = orjson.loads(base64.b64decode(b"".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        return None
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE) if isinstance(body, dict) else None
