"""The conditions of `--expect` on a response: its status, and the content of its body.

`status=200|404`, `status=2xx`, `json:$.ok=true`, `json:$.id` (it exists), `json:$.error=null` (it does not),
`text:ready` (the body contains it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from bench.endpoints import decoding
from bench.endpoints.decoding import Json
from bench.endpoints.failure import excerpt
from bench.endpoints.json_path import JsonPath, parse_path

_NEXT = re.compile(r",(?=status=|json:|text:)")
_STATUS = re.compile(r"[1-5]\d\d|[1-5]xx")
_USUAL = frozenset(range(200, 300))


@dataclass(frozen=True, slots=True)
class _Value:
    """A value in the body. `exists`: any value except null; an `expected` null may also be missing."""

    path: JsonPath
    expected: Json
    exists: bool = False

    def problem(self, document: Json) -> str | None:
        value = self.path.first(document)
        if value is None:
            return f"the reply has no {self.path.text}" if self.exists or self.expected is not None else None
        # In Python, true equals 1.
        same = value == self.expected and isinstance(value, bool) is isinstance(self.expected, bool)
        if self.exists or same or str(value) == self.expected:
            return None
        return f"{self.path.text} of the reply is {_shown(value)}, not {_shown(self.expected)}"


@dataclass(frozen=True, slots=True)
class Expectations:
    """The statuses of a success, and what its body must contain."""

    statuses: frozenset[int] = _USUAL
    values: tuple[_Value, ...] = ()
    texts: tuple[bytes, ...] = ()

    def problem(self, body: bytes) -> str | None:
        """What the body of a response lacks, in a sentence. Returns None if it is as expected."""
        for text in self.texts:
            if text not in body:
                return f"the reply does not contain {text.decode('utf-8', 'replace')!r}: {excerpt(body)}"
        if not self.values:
            return None
        try:
            document = decoding.loads(body)
        except orjson.JSONDecodeError as e:
            return f"the body is not JSON ({e}): {excerpt(body)}"
        return next((words for value in self.values if (words := value.problem(document)) is not None), None)


def parse(specs: Sequence[str]) -> Expectations:
    """Parse the conditions. Raises ValueError for one that is not understood."""
    statuses: set[int] = set()
    values: list[_Value] = []
    texts: list[bytes] = []
    for part in (part for spec in specs for part in _NEXT.split(spec)):
        if part.startswith("status="):
            statuses |= _statuses(part[7:])
        elif part.startswith("json:"):
            path, equals, expected = part[5:].partition("=")
            values.append(_Value(parse_path(path.strip()), _value(expected) if equals else None, exists=not equals))
        elif part.startswith("text:") and len(part) > 5:
            texts.append(part[5:].encode())
        else:
            raise ValueError(
                f"{part!r} is not understood: write status=200|404, json:$.ok=true, json:$.id or text:WORDS, "
                "with commas between them"
            )
    return Expectations(frozenset(statuses) or _USUAL, tuple(values), tuple(texts))


def _statuses(text: str) -> set[int]:
    statuses: set[int] = set()
    for word in text.split("|"):
        if not _STATUS.fullmatch(word):
            raise ValueError(f"{word!r} is not a status: write 200, several as 200|404, or a group as 2xx")
        statuses |= set(range(int(word[0]) * 100, int(word[0]) * 100 + 100)) if word.endswith("xx") else {int(word)}
    return statuses


def _value(text: str) -> Json:
    """The value as JSON, else the text itself."""
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value


def _shown(value: object) -> str:
    return orjson.dumps(value).decode()[:60]
