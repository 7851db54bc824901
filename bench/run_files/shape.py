"""Checks whether a value from a file matches a type, and describes each mismatch in one sentence.

    misfits({"t": "x"}, Row, "line 3")  ->  'line 3: t must be a whole number, not "x"'

Types are annotations: int, float, str, bool, None, Literal, enums, unions, tuples and lists of one type, mappings with
text keys, and dataclasses and Structs, which are objects (fields without a default are required; unknown keys are
ignored). Numbers are finite. Times in ns and counts stay below 2**62.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import orjson

from bench.errors import UsageError
from promptset.whole_file import read_bytes

T = TypeVar("T")
MOST = 2**62
_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}

MOST_VALUES = 1_000_000
"""The limit for a settings document: with aliases, a few lines of YAML can expand to billions of values."""
_PROBLEMS_SHOWN = 10


def read_result(
    path: Path, kind: type[T], schema: object, name: str, more: Callable[[Any], Iterable[str]] = lambda content: ()
) -> T:
    """The content of a result file of this type and schema. `name` describes the file for people. `more` finds problems
    in a content whose types are right. Raises UsageError with the problems if the file is damaged or something else."""
    content = read_object(path, name)
    if content.get("schema") != schema:
        raise UsageError(f"{path} is not a {name} of this version (schema {schema})")
    refuse_misfits(content, kind, f"{path}:", more)
    return msgspec.convert(content, kind)


def read_object(path: Path, name: str, advice: str = "") -> dict[str, Any]:
    """The JSON object in a file. Raises UsageError, which names the file and ends with the advice."""
    try:
        content = orjson.loads(read_bytes(path))
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}{advice}") from e
    except orjson.JSONDecodeError as e:
        raise UsageError(f"{path} is damaged: {e}{advice}") from e
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a {name}{advice}")
    return content


def refuse_misfits(
    content: object,
    kind: object,
    where: str,
    more: Callable[[Any], Iterable[str]] = lambda content: (),
    advice: str = "",
) -> None:
    """Raises UsageError with the first problems of a content. `more` finds problems in a content whose types are right."""
    if problems := [*misfits(content, kind, where)] or [f"{where} {problem}" for problem in more(content)]:
        left = len(problems) - _PROBLEMS_SHOWN
        rest = [f"{where} and {left} more"] if left > 0 else []
        raise UsageError([f"{problem}{advice}" for problem in problems[:_PROBLEMS_SHOWN]] + rest)


def unlike_json(content: object) -> str | None:
    """A value in a YAML document that JSON cannot represent, described in a phrase; None if there is none."""
    left, count = [("", content)], 0
    while left:
        where, value = left.pop()
        count += 1
        if count > MOST_VALUES:
            return f"it has more than {MOST_VALUES:,} values, or an alias (*) that refers to itself"
        if isinstance(value, dict):
            # Without the cut, the path of a list inside itself would grow without end.
            left += [(_cut(f"{where}.{key}" if where else str(key)), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            left += [(_cut(f"{where}[{number}]"), inner) for number, inner in enumerate(value)]
        elif type(value) is int and not -(2**63) <= value < 2**63:
            return f"{where} is a whole number of more than 64 bits"
        elif isinstance(value, str):
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                return f"{where} holds half of a character"
        elif value is not None and not isinstance(value, bool | int | float | datetime.date):
            return f"{where} is no text, no number, and neither true nor false"
    return None


def misfits(value: object, kind: object, where: str, least: int | None = None) -> Iterator[str]:
    """The problems of a value that should have this type. `where` names it; whole numbers must be at least `least`."""
    if not _fits(value, kind, least):
        yield from _inner(value, kind, where, least) or [
            f"{where} must be {_described(kind, least)}{_bound(value)}, not {_shown(value)}"
        ]


def _inner(value: object, kind: object, where: str, least: int | None) -> list[str]:
    """The problems inside a value whose own kind is right."""
    if (options := _options(kind)) is not None:
        containers = [item for item in options if get_origin(item) is not None or _fields(item)]
        return _inner(value, containers[0], where, least) if len(containers) == 1 else []
    origin, arguments = _origin_and_arguments(kind)
    problems: list[str] = []
    if origin in (tuple, list, Sequence) and isinstance(value, list):
        for number, item in enumerate(value):
            problems += misfits(item, arguments[0], f"{where}[{number}]", least)
    elif origin in (dict, Mapping) and isinstance(value, dict):
        for key, item in value.items():
            problems += misfits(item, arguments[1], f"{where}.{_cut(key)}", least)
    elif isinstance(value, dict):
        for name, type_of_field, required in _fields(kind):
            if name in value:
                problems += misfits(value[name], type_of_field, f"{where}{_dot(where)}{name}", least)
            elif required:
                problems.append(f"{where}{_dot(where)}{name} is missing")
    return problems


@functools.cache
def _fields(kind: object) -> tuple[tuple[str, Any, bool], ...]:
    """(key, type, whether required) of each field of a dataclass or a Struct; empty for other types."""
    if not isinstance(kind, type):
        return ()
    if dataclasses.is_dataclass(kind):
        hints, none = get_type_hints(kind), dataclasses.MISSING
        return tuple(
            (field.name, hints[field.name], field.default is none and field.default_factory is none)
            for field in dataclasses.fields(kind)
        )
    if issubclass(kind, msgspec.Struct):
        hints, always = get_type_hints(kind), not kind.__struct_config__.omit_defaults
        return tuple(
            (field.encode_name, hints[field.name], always or field.required) for field in msgspec.structs.fields(kind)
        )
    return ()


def _dot(where: str) -> str:
    return " " if where.endswith(":") else "."


@functools.cache
def _origin_and_arguments(kind: object) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(kind), get_args(kind)


@functools.cache
def _options(kind: object) -> tuple[object, ...] | None:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else None


def _fits(value: object, kind: object, least: int | None) -> bool:
    if kind is Any or kind is object:
        return True
    if (options := _options(kind)) is not None:
        return any(_fits(value, item, least) for item in options)
    if kind is bool or kind is str or kind is type(None):
        return isinstance(value, kind)
    if kind is int:
        return type(value) is int and abs(value) < MOST and (least is None or value >= least)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    origin, arguments = _origin_and_arguments(kind)
    if origin is Literal:
        return any(value == item and type(value) is type(item) for item in arguments)
    if origin in (tuple, list, Sequence):
        return isinstance(value, list) and all(_fits(item, arguments[0], least) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_fits(item, arguments[1], least) for item in value.values())
    if isinstance(kind, type) and issubclass(kind, Enum):
        return isinstance(value, str) and value in {item.value for item in kind}
    return isinstance(value, dict) and all(
        _fits(value[name], type_of_field, least) if name in value else not required
        for name, type_of_field, required in _fields(kind)
    )


def _described(kind: object, least: int | None) -> str:
    if (options := _options(kind)) is not None:
        # "A number" includes whole numbers.
        shown = [option for option in options if option is not int or float not in options]
        return " or ".join(dict.fromkeys(_described(option, least) for option in shown))
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if kind is int and least is not None:
        return f"a whole number from {least} on"
    if kind in _NAMES:
        return _NAMES[kind]
    if get_origin(kind) in (tuple, list, Sequence):
        return "a list"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(option.value for option in kind)
    return "an object"


def _bound(value: object) -> str:
    """An addition to the message for a value that is wrong only because it is too large."""
    return " and below 2**62" if type(value) is int and abs(value) >= MOST else ""


def _shown(value: object) -> str:
    return _cut(orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).decode())


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
