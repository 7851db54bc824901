"""Results with some values set, for tests that use only these."""

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
    """A result with these values, parts as results or dicts; all others are null if allowed, else empty."""
    given = {**(values or {}), **more}
    declared, fields = _declared(kind)
    if declared.tag_field in given and given[declared.tag_field] == declared.tag:
        del given[declared.tag_field]
    made = {}
    for field in fields:
        for name in (field.name, field.encode_name):
            if name in given:
                made[field.name] = _made(field.type, given.pop(name))
        if field.name not in made and field.required:
            made[field.name] = _empty(field.type)
    assert not given, f"{kind.__name__} has no field {given.keys()}"
    return kind(**made)


@functools.cache
def _declared(kind: type[msgspec.Struct]) -> tuple[inspect.StructType, tuple[inspect.Field, ...]]:
    """The type and its fields, cached."""
    declared = inspect.type_info(kind)
    assert isinstance(declared, inspect.StructType)
    return declared, declared.fields


_KNOWN: dict[int, list[inspect.Type]] = {}
"""The choices of the types that `_declared` caches."""


def _choices(declared: inspect.Type) -> list[inspect.Type]:
    if id(declared) not in _KNOWN:
        _KNOWN[id(declared)] = _chosen(declared)
    return _KNOWN[id(declared)]


def _chosen(declared: inspect.Type) -> list[inspect.Type]:
    while isinstance(declared, inspect.Metadata):
        declared = declared.type
    return (
        [one for each in declared.types for one in _chosen(each)]
        if isinstance(declared, inspect.UnionType)
        else [declared]
    )


def _made(declared: inspect.Type, value: Any) -> Any:
    """A value converted to the type: dicts become results."""
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
    """A result as read from its file."""
    return msgspec.json.decode(msgspec.json.encode(result))


def origin(**values: Any) -> dict[str, Any]:
    """The block `run` of a summary with these values; all others are empty."""
    return to_plain(filled(RunOrigin, values))


def described(samples: WorkerSamples, start_ns: int, duration_s: float | None) -> dict[str, Any]:
    """The samples' part of a summary's `instrument`, for a run that began at this instant and took this long."""
    parts = {
        "loop_lag_ms": samples.loop_lag_ms(),
        "cpu": samples.cpu(),
        "run_queue": samples.run_queue(),
        "stolen": samples.stolen(),
        "pause": samples.longest_pause(start_ns, duration_s),
    }
    plain = {name: None if part is None else to_plain(part) for name, part in parts.items()}
    return plain | {"workers": samples.workers()}


def known(value: T | None) -> T:
    """The value, which must not be None."""
    assert value is not None
    return value
