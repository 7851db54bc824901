"""Documents of a given length in tokens: words are added to a string that may be longer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import orjson

from mockserver.documents.grammar import Impossible, Words, make_document
from mockserver.rng import Random
from promptset.json_schemas import accepts
from promptset.tokens import Tokenizer

_ADJUSTMENTS = 6
_STRINGS_TRIED = 8

_NAMING_KEYWORDS = frozenset(
    {"properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames", "required",
     "minProperties", "maxProperties", "allOf", "anyOf", "oneOf", "not", "if", "enum", "const", "$ref", "dependentSchemas",
     "dependentRequired", "dependencies", "$dynamicRef"}
)  # fmt: skip

ANY_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "count": {"type": "integer", "minimum": 0, "maximum": 999},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["answer"],
    "additionalProperties": False,
}
"""The schema of a reply in JSON mode without a schema."""


class DocumentMaker:
    """Makes documents for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, words: Words) -> None:
        """`words(n, rng)` returns n words of one token each, the first without a leading space."""
        self._tokenizer = tokenizer
        self._words = words

    def make(self, schema: dict[str, Any], tokens: int, rng: Random) -> str:
        """A document that satisfies the schema, of `tokens` tokens if it has a string that may be that long. Otherwise
        it is shorter, or as short as possible. Raises Impossible."""
        candidates: list[tuple[bool, int, str]] = []
        why = Impossible("")
        for tried, rich in ((ANY_OBJECT if _is_open(schema) else schema, True), (schema, True), (schema, False)):
            try:
                text = make_document(tried, self._words, rng, rich=rich)
            except Impossible as e:
                why = e
                continue
            length = self.count(text)
            longer = self._lengthened(schema, text, tokens, rng) if length < tokens else None
            if length == tokens or longer is not None:
                return text if longer is None else longer
            # Prefer documents that fit: the longest of them, else the shortest of the others.
            candidates.append((length > tokens, length if length > tokens else -length, text))
        if not candidates:
            raise why
        return min(candidates)[2]

    def count(self, text: str) -> int:
        """The number of tokens of a text."""
        return self._tokenizer.count_plain([text])[0]

    def _lengthened(self, schema: dict[str, Any], text: str, tokens: int, rng: Random) -> str | None:
        document = orjson.loads(text)
        # Try the last strings first: that looks most like an answer that continues.
        for place in [*_strings(document)][: -_STRINGS_TRIED - 1 : -1]:
            original = place.read()
            if not accepts(schema, place.write(document, f"{original} more")):
                place.write(document, original)
                continue
            added = tokens - self.count(text)
            for _ in range(_ADJUSTMENTS):
                more = self._words(added, rng)
                longer = orjson.dumps(place.write(document, f"{original} {more}" if original else more)).decode()
                miss = tokens - self.count(longer)
                if miss == 0 and accepts(schema, orjson.loads(longer)):
                    return longer
                added = max(1, added + miss)
            place.write(document, original)
        return None


def _is_open(schema: dict[str, Any]) -> bool:
    """Whether the schema allows any object, and names no members."""
    return schema.get("type", "object") == "object" and not schema.keys() & _NAMING_KEYWORDS


class _Holder(Protocol):
    """An object or an array of a document."""

    def __getitem__(self, key: Any, /) -> object: ...  # noqa: ANN401 - a name, or a position

    def __setitem__(self, key: Any, value: str, /) -> None: ...  # noqa: ANN401


class _Place:
    def __init__(self, holder: _Holder, key: str | int) -> None:
        self._holder, self._key = holder, key

    def read(self) -> str:
        return str(self._holder[self._key])

    def write(self, document: object, text: str) -> object:
        """The document with this string replaced."""
        self._holder[self._key] = text
        return document


def _strings(value: object) -> Iterator[_Place]:
    """The strings in a document, in order. A document that is itself a string has none that can be replaced."""
    if not isinstance(value, dict | list):
        return
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries:
        if isinstance(inner, str):
            yield _Place(value, key)
        else:
            yield from _strings(inner)
