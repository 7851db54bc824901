"""JSON for a schema, by llguidance: the engine with which vLLM, SGLang and llama.cpp constrain their models.

The grammar gives the allowed next bytes. This file only chooses among them, with a seeded generator: words in strings,
short numbers, few entries, until the document is complete. So the library decides what is valid, as on a real server,
and jsonschema checks the result once more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from mockserver.rng import Random
from promptset import json_schemas

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

Words = Callable[[int, Random], str]
"""Generates some words of text."""

MOST_BYTES = 20_000
"""A document that exceeds this length is abandoned."""
_TRIES = 20
_STRING_WORDS = 4
_ENTRIES = 3
_DEEP = 4
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_DIGITS = frozenset(b"0123456789")
_PRINTABLE = frozenset(range(0x20, 0x7F)) - frozenset(b"\\")
_SEPARATORS = b"@:/-._ "
"""Separators between the parts of addresses, dates and names, rarest first."""
_QUOTE, _COMMA = b'",'
_SIMPLE_FIRST = b'ntf0123456789-"[{'
"""First bytes of values, those that end soonest first."""


class Impossible(Exception):
    """No document can be made. The message says why, in a sentence."""


@cache
def _byte_tokenizer() -> LLTokenizer:
    from llguidance import LLTokenizer

    return LLTokenizer("byte")


@lru_cache(maxsize=256)
def _matcher(schema: bytes) -> LLMatcher:
    """The grammar of a schema in its initial state. Copy it before use. Raises Impossible."""
    from llguidance import LLMatcher

    # Keywords unknown to the grammar are checked afterwards.
    options: Any = {"whitespace_flexible": False, "lenient": True}
    as_it_is = orjson.loads(schema)
    for tried in (_closed(as_it_is), as_it_is):
        grammar = LLMatcher.grammar_from_json_schema(orjson.dumps(tried).decode(), overrides=options)
        matcher = LLMatcher(_byte_tokenizer(), grammar, log_level=0)
        if not matcher.is_error():
            return matcher
    raise Impossible(f"The schema cannot be used: {matcher.get_error().splitlines()[0].rstrip('.')}.")


def _closed(schema: object) -> object:
    """The schema with additional members forbidden, unless it mentions them. Models leave them out too."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: value if key in ("enum", "const") else _closed(value) for key, value in schema.items()}
    speaks = ("additionalProperties", "patternProperties", "unevaluatedProperties", "allOf", "anyOf", "oneOf", "$ref")
    if isinstance(schema.get("properties"), dict) and not any(key in schema for key in speaks):
        closed["additionalProperties"] = False
    return closed


def check_schema(schema: dict[str, Any]) -> None:
    """Raises Impossible if the schema is invalid or has no grammar."""
    if (wrong := json_schemas.problem(schema)) is not None:
        raise Impossible(f"The schema is not a JSON schema: {wrong}.")
    _matcher(_key(schema))


def _key(schema: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(schema)
    except (TypeError, ValueError) as e:
        raise Impossible(f"The schema cannot be used: {e}.") from e


def make_document(schema: dict[str, Any], words: Words, rng: Random, *, rich: bool) -> str:
    """A document that satisfies the schema. `rich`: with optional members and several entries; otherwise as short as
    the choices allow. Raises Impossible."""
    for _ in range(_TRIES):
        text = _Walk(_matcher(_key(schema)).deep_copy(), words, rng, rich).run()
        if json_schemas.accepts(schema, orjson.loads(text)):
            return text
    raise Impossible("The mock found no document that satisfies the schema.")


class _Walk:
    """Builds one document, byte by byte."""

    def __init__(self, matcher: LLMatcher, words: Words, rng: Random, rich: bool) -> None:
        self._matcher = matcher
        self._words = words
        self._rng = rng
        self._rich = rich
        self._said = bytearray()
        self._in_string = self._escaped = False
        self._words_left = False
        """Whether the open string may still get its words."""
        self._letters = 0
        """Single letters in the open string."""
        self._entries: list[int] = []
        """The number of commas in each open object and array."""

    def run(self) -> str:
        matcher = self._matcher
        while not matcher.is_stopped():
            if not self._in_string and self._said and matcher.is_accepting():
                break
            if forced := matcher.compute_ff_tokens():
                self._take(bytes(byte for byte in forced if byte < 256))
                continue
            allowed = self._allowed()
            if not allowed:
                break
            if not (self._in_string and self._say_words()):
                self._take(bytes([self._in_text(allowed) if self._in_string else self._between(allowed)]))
            if len(self._said) > MOST_BYTES:
                raise Impossible(f"The mock made {MOST_BYTES} bytes of a document for the schema without an end.")
        if matcher.is_error() or not self._said:
            raise Impossible("The schema cannot be used: its grammar is too complex.")
        return self._said.decode("utf-8", "replace")

    def _allowed(self) -> list[int]:
        mask = self._matcher.compute_bitmask()
        return [byte for byte in range(256) if mask[byte // 8] >> (byte % 8) & 1]

    def _take(self, text: bytes) -> None:
        self._matcher.consume_tokens(list(text))
        for byte in text:
            self._follow(byte)
        self._said += text

    def _follow(self, byte: int) -> None:
        """Track strings and open objects and arrays."""
        if self._escaped:
            self._escaped = False
        elif self._in_string and byte == ord("\\"):
            self._escaped = True
        elif byte == _QUOTE:
            self._in_string = not self._in_string
            self._words_left, self._letters = True, 0
        elif not self._in_string:
            if byte in b"{[":
                self._entries.append(0)
            elif byte in b"}]" and self._entries:
                self._entries.pop()
            elif byte == _COMMA and self._entries:
                self._entries[-1] += 1

    def _say_words(self) -> bool:
        """Add words to the open string, if it accepts any."""
        if not self._words_left:
            return False
        self._words_left = False
        most = _STRING_WORDS if self._rich else 1
        for number in (1 + int(self._rng.random() * most), 1):
            words = self._words(number, self._rng).encode()
            if self._matcher.validate_tokens(list(words)) == len(words):
                self._take(words)
                return True
        return False

    def _in_text(self, allowed: list[int]) -> int:
        """The next byte of a string that is not free text: a constant, a pattern, a format."""
        if _QUOTE in allowed:
            return _QUOTE
        letters = [byte for byte in allowed if byte in _LETTERS]
        others = [byte for byte in allowed if byte in _PRINTABLE and byte not in _LETTERS]
        self._letters += 1
        if others and (not letters or self._letters % 6 == 0):
            separator = next((byte for byte in _SEPARATORS if byte in others), None)
            return self._any_of(others) if separator is None else separator
        return self._any_of(letters or allowed)

    def _between(self, allowed: list[int]) -> int:
        """The next byte outside of strings."""
        more, rng = self._wants_more(), self._rng
        closing = next((byte for byte in b"}]" if byte in allowed), None)
        if self._said and self._said[-1] in _DIGITS and (closing is not None or _COMMA in allowed):
            digits = [byte for byte in allowed if byte in _DIGITS]
            if digits and self._digits_said() < 3 and rng.random() < 0.4:
                return self._any_of(digits)
        if _COMMA in allowed:
            full = bool(self._entries) and self._entries[-1] >= _ENTRIES - 1 and closing == ord("]")
            return _COMMA if closing is None or (more and not full and rng.random() < 0.6) else closing
        if closing is not None and not (more and rng.random() < 0.8):
            return closing
        values = [byte for byte in _SIMPLE_FIRST if byte in allowed]
        if not values:
            return self._any_of([byte for byte in allowed if byte in _PRINTABLE] or allowed)
        if not more:
            digits = [byte for byte in values if byte in _DIGITS]
            return self._any_of(digits) if values[0] in _DIGITS else values[0]
        digits = [byte for byte in values if byte in _DIGITS]
        kinds = [byte for byte in values if byte not in _DIGITS and (byte != ord("-") or not digits)]
        kinds += [_QUOTE] * (2 * (_QUOTE in values))
        if digits:
            kinds.append(self._any_of(digits))
        return self._any_of(kinds)

    def _wants_more(self) -> bool:
        return self._rich and len(self._entries) < _DEEP and len(self._said) < MOST_BYTES // 10

    def _digits_said(self) -> int:
        tail = bytes(self._said[-8:])
        return len(tail) - len(tail.rstrip(b"0123456789"))

    def _any_of(self, options: list[int]) -> int:
        return options[int(self._rng.random() * len(options))]
