"""Mutations of inputs: of bytes, and of values where an input is JSON or YAML, to reach what is behind the parser."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import orjson
import yaml

from fuzz.target import Target

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    0.5,
    -0.0,
    1e308,
    -1e308,
    5e-324,
    2**31,
    2**53,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    10**15,
    "",
    " ",
    "a",
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "null",
    "\u2028",
    "é",
    "\U0001f600",
    "x" * 300,
    "a b",
    "2026-01-01T00:00:00Z",
    "../x",
    "9" * 30,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [0],
    [1, 2, 3],
    {"a": 1},
    "a:b",
    "a,b=c",
    "%",
    "\x00",
)
_ODD_BYTES = (
    b"\x00",
    b"\xff",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b"0",
    b"-",
    b'"',
    b"{",
    b"}",
    b"[",
    b":",
    b" ",
)
_NOTHING = object()
_MOST_BYTES = 100_000
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The same in C, where PyYAML was built with it: ten times as many mutations."""


def mutations(target: Target, seeds: Sequence[bytes], chance: random.Random) -> Iterator[bytes]:
    """Mutated inputs without end."""
    while True:
        seed = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 2, 4))):
            seed = mutated(target, seed, seeds, chance)
        yield seed


def mutated(target: Target, data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """The input with one change."""
    if target.form != "bytes" and chance.random() < 0.75:
        changed = _value_changed(target, data, chance)
        if changed is not None:
            return changed[:_MOST_BYTES]
    return _bytes_changed(target, data, seeds, chance)[:_MOST_BYTES]


def _bytes_changed(target: Target, data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    a, b = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    b = min(b, a + chance.choice((1, 4, 64, 100_000)))
    match chance.randrange(7):
        case 0:  # Bits.
            one = bytes([data[a] ^ (1 << chance.randrange(8))]) if a < len(data) else b""
            return data[:a] + one + data[a + 1 :]
        case 1:
            return data[:a] + data[b:]
        case 2:
            return data[:b] + data[a:b] + data[b:]
        case 3:
            return data[:a] + chance.choice(target.words or _ODD_BYTES) + data[a:]
        case 4:
            return data[:a] + chance.choice(_ODD_BYTES) + data[b:]
        case 5:  # The end of another one.
            other = chance.choice(seeds)
            return data[:a] + other[chance.randrange(len(other) + 1) :]
        case _:
            return data[:a] + chance.randbytes(b - a if b - a < 64 else 1) + data[b:]


def _value_changed(target: Target, data: bytes, chance: random.Random) -> bytes | None:
    """The input with another value somewhere; None where it is no JSON or YAML."""
    if target.form == "yaml":
        try:
            return _as_yaml(_changed(yaml.load(data, _LOADER), target, chance))
        except (yaml.YAMLError, ValueError, RecursionError, TypeError):
            return None
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    for where, text in ((at, lines[at]), (None, data)):
        try:
            value = orjson.dumps(_changed(orjson.loads(text), target, chance))
        except (orjson.JSONDecodeError, TypeError):
            continue
        return value if where is None else b"\n".join([*lines[:where], value, *lines[where + 1 :]])
    return None


def _as_yaml(value: Any) -> bytes:
    return str(yaml.dump(value, Dumper=_DUMPER, allow_unicode=True, sort_keys=False)).encode(errors="replace")


def every_value(target: Target, seeds: Sequence[bytes]) -> Iterator[bytes]:
    """Each input with each odd value in place of each of its values, and without it: one change at a time.

    What stands at the same place in several inputs, lines or entries of a list is changed in the first of them alone.
    """
    known: set[tuple[Any, ...]] = set()
    for data in seeds:
        if target.form == "yaml":
            with suppress(yaml.YAMLError, ValueError):
                yield from map(_as_yaml, _each_changed(yaml.load(data, _LOADER), known))
        elif target.form == "json":
            lines = data.split(b"\n")
            for at, text in ((None, data), *enumerate(lines)):
                with suppress(orjson.JSONDecodeError):
                    for changed in _each_changed(orjson.loads(text), known):
                        one = orjson.dumps(changed)
                        yield one if at is None else b"\n".join([*lines[:at], one, *lines[at + 1 :]])


def _each_changed(value: Any, known: set[tuple[Any, ...]]) -> Iterator[Any]:
    for place in [*_places(value)]:
        kind = tuple("*" if isinstance(key, int) else key for key in place)
        if kind in known:
            continue
        known.add(kind)
        yield from (_replaced(value, place, odd) for odd in (*ODD_VALUES, _NOTHING))


def _replaced(value: Any, place: tuple[Any, ...], odd: Any) -> Any:
    """A copy with another value at this place, or without it."""
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) > 1:
        copy[place[0]] = _replaced(copy[place[0]], place[1:], odd)
    elif odd is _NOTHING:
        del copy[place[0]]
    else:
        copy[place[0]] = odd
    return copy


def _changed(value: Any, target: Target, chance: random.Random) -> Any:
    """A copy of the value in which one place is changed."""
    places = [(), *_places(value)]
    place = chance.choice(places[1:] or places)
    return _put(value, place, target, chance)


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if len(before) > 20:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        place = (*before, key)
        yield place
        yield from _places(one, place)


def _put(value: Any, place: tuple[Any, ...], target: Target, chance: random.Random) -> Any:
    if not place:
        return chance.choice(ODD_VALUES)
    copy = dict(value) if isinstance(value, dict) else list(value)
    key = place[0]
    if len(place) > 1:
        copy[key] = _put(copy[key], place[1:], target, chance)
        return copy
    match chance.randrange(6):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            other = chance.choice(target.words or (b"a",)).decode(errors="replace")
            copy[other] = copy.pop(key)
        case 1 if isinstance(copy, list):
            copy.insert(key, copy[key])
        case 2:
            copy[key] = [copy[key]]
        case 3:
            other = chance.choice([*(copy.values() if isinstance(copy, dict) else copy)])
            copy[key] = other
        case _:
            copy[key] = _near(copy[key], target, chance)
    return copy


def _near(value: Any, target: Target, chance: random.Random) -> Any:
    """A value near this one, or one that is odd."""
    if isinstance(value, bool) or chance.random() < 0.6:
        return chance.choice(ODD_VALUES)
    if isinstance(value, int):
        return value + chance.choice((-1, 1, 1000, -value, 10**9, -(10**9)))
    if isinstance(value, float):
        return value * chance.choice((-1.0, 0.0, 1e6, 1e-6))
    if isinstance(value, str):
        changed = _bytes_changed(target, value.encode(errors="replace"), [value.encode(errors="replace")], chance)
        return changed.decode(errors="replace")
    return chance.choice(ODD_VALUES)
