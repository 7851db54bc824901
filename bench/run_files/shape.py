"""Whether a value from a file has the shape that a type says, and where it has not: in one sentence each.

    misfits({"t": "x"}, Row, "line 3")  ->  'line 3: t must be a whole number, not "x"'

Types are those of annotations: int, float, str, bool, None, Literal, enums, unions, tuples and lists of one type, mappings of
text, and dataclasses, which are objects (fields without a default must be there; keys of no field are passed over). Numbers
are finite. Times in ns and everything that is counted stay below 2**62.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import orjson

MOST = 2**62
_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


def misfits(value: object, kind: object, where: str, least: int | None = None) -> Iterator[str]:
    """What is wrong with the value, which should be of this type. `where` names it; whole numbers are at least `least`."""
    if not _fits(value, kind, least):
        yield from _inner(value, kind, where, least) or [
            f"{where} must be {_described(kind, least)}{_bound(value)}, not {_shown(value)}"
        ]


def _inner(value: object, kind: object, where: str, least: int | None) -> list[str]:
    """What is wrong inside a value that is of the right kind itself."""
    if (options := _options(kind)) is not None:
        containers = [one for one in options if get_origin(one) is not None or dataclasses.is_dataclass(one)]
        return _inner(value, containers[0], where, least) if len(containers) == 1 and value is not None else []
    origin, arguments = get_origin(kind), get_args(kind)
    found: list[str] = []
    if origin in (tuple, list, Sequence) and isinstance(value, list):
        for number, one in enumerate(value):
            found += misfits(one, arguments[0], f"{where}[{number}]", least)
    elif origin in (dict, Mapping) and isinstance(value, dict):
        for key, one in value.items():
            found += misfits(one, arguments[1], f"{where}.{_cut(key)}", least)
    elif dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        hints = _hints(kind)
        for field in dataclasses.fields(kind):
            if field.name in value:
                found += misfits(value[field.name], hints[field.name], f"{where}{_dot(where)}{field.name}", least)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                found.append(f"{where}{_dot(where)}{field.name} is missing")
    return found


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields: a file has thousands of objects of one kind."""
    return get_type_hints(kind)


def _dot(where: str) -> str:
    return " " if where.endswith(":") else "."


def _options(kind: object) -> tuple[Any, ...] | None:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else None


def _fits(value: object, kind: object, least: int | None) -> bool:
    if kind is Any or kind is object:
        return True
    if (options := _options(kind)) is not None:
        return any(_fits(value, one, least) for one in options)
    if kind is bool or kind is str or kind is type(None):
        return isinstance(value, kind)
    if kind is int:
        return type(value) is int and abs(value) < MOST and (least is None or value >= least)
    if kind is float:
        return isinstance(value, int | float) and type(value) in (int, float) and math.isfinite(value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in arguments)
    if origin in (tuple, list, Sequence):
        return isinstance(value, list) and all(_fits(one, arguments[0], least) for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_fits(one, arguments[1], least) for one in value.values())
    if isinstance(kind, type) and issubclass(kind, Enum):
        return isinstance(value, str) and value in {one.value for one in kind}
    return isinstance(value, dict) and not _inner(value, kind, "", least)


def _described(kind: object, least: int | None) -> str:
    if (options := _options(kind)) is not None:
        return " or ".join(dict.fromkeys(_described(one, least) for one in options))
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if kind is int and least is not None:
        return f"a whole number from {least} on"
    if kind in _NAMES:
        return _NAMES[kind]
    if get_origin(kind) in (tuple, list, Sequence):
        return "a list"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(one.value for one in kind)
    return "an object"


def _bound(value: object) -> str:
    """What else there is to say of a value that is wrong only because it is large."""
    return " and below 2**62" if type(value) is int and abs(value) >= MOST else ""


def _shown(value: object) -> str:
    return _cut(orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).decode())


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
