"""Results with some values, for tests that look at no others."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from bench.metrics.instrument import WorkerSamples
from bench.results.base import to_plain
from bench.results.run import RunOrigin

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)


def filled(kind: type[R], values: Mapping[str, Any] | None = None, /, **more: Any) -> R:
    """A result with these values, parts as results or as dicts; all others are null where they may be, else empty."""
    given = {**(values or {}), **more}
    declared = _declared(kind)
    if declared.tag_field in given and given[declared.tag_field] == declared.tag:
        del given[declared.tag_field]
    unknown = (
        given.keys() - {field.name for field in declared.fields} - {field.encode_name for field in declared.fields}
    )
    assert not unknown, f"{kind.__name__} has no {unknown}"
    made = {}
    for field in declared.fields:
        for name in (field.name, field.encode_name):
            if name in given:
                made[field.name] = _made(field.type, given[name])
        if field.name not in made and field.required:
            made[field.name] = _empty(field.type)
    return kind(**made)


@functools.cache
def _declared(kind: type[msgspec.Struct]) -> inspect.StructType:
    declared = inspect.type_info(kind)
    assert isinstance(declared, inspect.StructType)
    return declared


def _choices(declared: inspect.Type) -> list[inspect.Type]:
    while isinstance(declared, inspect.Metadata):
        declared = declared.type
    return (
        [one for each in declared.types for one in _choices(each)]
        if isinstance(declared, inspect.UnionType)
        else [declared]
    )


def _made(declared: inspect.Type, value: Any) -> Any:
    """A value as the type has it: dicts become results."""
    if value is None or isinstance(value, str | int | float):
        return value
    for one in _choices(declared):
        if isinstance(one, inspect.StructType) and isinstance(value, Mapping):
            if one.tag_field in value and value[one.tag_field] != one.tag:
                continue
            return filled(one.cls, value)
        if isinstance(one, inspect.DictType) and isinstance(value, Mapping):
            return {key: _made(one.value_type, item) for key, item in value.items()}
        if isinstance(one, inspect.CollectionType) and isinstance(value, list | tuple):
            return [_made(one.item_type, item) for item in value]
    return value


def _empty(declared: inspect.Type) -> Any:
    choices = _choices(declared)
    if any(isinstance(one, inspect.NoneType) for one in choices):
        return None
    (kind, *_) = choices
    if isinstance(kind, inspect.StructType):
        return filled(kind.cls)
    if isinstance(kind, inspect.LiteralType):
        return kind.values[0]
    if isinstance(kind, inspect.EnumType):
        return next(iter(kind.cls))
    empty = {
        inspect.IntType: 0,
        inspect.FloatType: 0.0,
        inspect.StrType: "",
        inspect.BoolType: False,
        inspect.DictType: {},
    }
    return empty.get(type(kind), [])


def as_json(result: msgspec.Struct) -> Any:
    """A result as a reader of its file has it."""
    return msgspec.json.decode(msgspec.json.encode(result))


def origin(**values: Any) -> dict[str, Any]:
    """The block `run` of a summary with these values; all others are empty."""
    return to_plain(filled(RunOrigin, values))


def described(samples: WorkerSamples, start_ns: int, duration_s: float | None) -> dict[str, Any]:
    """The samples' part of `instrument` of a summary, for a run that began at this instant and took so long."""
    parts = {
        "loop_lag_ms": samples.loop_lag_ms(),
        "cpu": samples.cpu(),
        "run_queue": samples.run_queue(),
        "pause": samples.longest_pause(start_ns, duration_s),
    }
    plain = {name: None if part is None else to_plain(part) for name, part in parts.items()}
    return plain | {"workers": samples.workers()}


def known(value: T | None) -> T:
    """A value that is there."""
    assert value is not None
    return value
