"""Bodies from a template: `{{ column }}` is a value of the row; `{{ uuid }}` and other functions are drawn for each
request.

If the template is JSON apart from its placeholders, values are written as JSON: text between quotes is escaped, and
elsewhere the whole value is inserted. In other templates a value is written as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from promptset.rng import Random, text_stream

_PLACE = re.compile(r"\{\{\s*(.+?)\s*\}\}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?')


class Draw(NamedTuple):
    """The arguments of a function: the number of the request, and its own random stream."""

    number: int
    chance: Random


def _int(args: Sequence[str]) -> Callable[[Draw], int]:
    low, high = (int(arg) for arg in args)
    if low > high:
        raise ValueError
    return lambda draw: low + int(draw.chance.random() * (high - low + 1))


def _choice(args: Sequence[str]) -> Callable[[Draw], str]:
    if not args:
        raise ValueError
    return lambda draw: args[int(draw.chance.random() * len(args))]


def _hex(args: Sequence[str]) -> Callable[[Draw], str]:
    (digits,) = (int(arg) for arg in args)
    return lambda draw: "".join("0123456789abcdef"[int(draw.chance.random() * 16)] for _ in range(digits))


def _uuid(args: Sequence[str]) -> Callable[[Draw], str]:
    if args:
        raise ValueError
    digits = _hex(["32"])

    def draw_uuid(draw: Draw) -> str:
        text = digits(draw)
        variant = "89ab"[int(draw.chance.random() * 4)]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    return draw_uuid


def _number(args: Sequence[str]) -> Callable[[Draw], int]:
    if args:
        raise ValueError
    return lambda draw: draw.number


FUNCTIONS: dict[str, tuple[Callable[[Sequence[str]], Callable[[Draw], object]], str]] = {
    "uuid": (_uuid, "uuid"),
    "int": (_int, "int LOW HIGH"),
    "choice": (_choice, "choice A B C"),
    "hex": (_hex, "hex DIGITS"),
    "number": (_number, "number"),
}
"""By name: the factory, and the usage."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A placeholder. `column` is the name of a column; without one, a function draws the value. `quoted`: it is inside
    a JSON string."""

    column: str | None
    of: Callable[[Draw], Any] | None
    quoted: bool


@dataclass(frozen=True, slots=True)
class BodyTemplate:
    """Literal texts, and the placeholders between them."""

    texts: tuple[str, ...]
    places: tuple[_Place, ...]
    is_json: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs, without duplicates."""
        return tuple(dict.fromkeys(place.column for place in self.places if place.column is not None))

    def body(self, row: Mapping[str, Any], number: int, seed: int, salt: str | None) -> bytes:
        """The body of the request with this number. Raises KeyError if the row lacks a column."""
        draw = Draw(number, text_stream(seed, salt, "http_body", number))
        parts = [self.texts[0]]
        for place, text in zip(self.places, self.texts[1:], strict=True):
            value = row[place.column] if place.of is None and place.column is not None else _drawn(place, draw)
            parts += (self._written(value, place.quoted), text)
        return "".join(parts).encode()

    def _written(self, value: object, quoted: bool) -> str:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if not self.is_json:
            return text
        return orjson.dumps(text).decode()[1:-1] if quoted else orjson.dumps(value).decode()


def _drawn(place: _Place, draw: Draw) -> object:
    assert place.of is not None
    return place.of(draw)


def parse_template(text: str) -> BodyTemplate:
    """Parse a template. Raises ValueError for a function that is written wrongly."""
    texts, places, at = [], [], 0
    is_json = _is_json(_PLACE.sub("0", text))
    strings = [match.span() for match in _STRING.finditer(_PLACE.sub(lambda match: "0" * len(match[0]), text))]
    for match in _PLACE.finditer(text):
        texts.append(text[at : match.start()])
        at = match.end()
        quoted = any(start < match.start() and match.end() <= end for start, end in strings)
        places.append(_place(match[1], quoted))
    return BodyTemplate((*texts, text[at:]), tuple(places), is_json)


def _place(words: str, quoted: bool) -> _Place:
    name, *args = words.split()
    if name not in FUNCTIONS:
        return _Place(words, None, quoted)
    make, usage = FUNCTIONS[name]
    try:
        return _Place(None, make(args), quoted)
    except ValueError:
        raise ValueError(f"{{{{ {words} }}}} is not understood: write {{{{ {usage} }}}}") from None


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
