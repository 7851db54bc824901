"""The building blocks of all results: their base type, numbers with limits, and tables whose keys are names.

A result is a tree of frozen values. Its types define the content of a file: msgspec uses them to read and write the
file, and `schema.py` makes its JSON schema from them. The rules:

- A key that every file has stands without a default, and is written as null if its value is None.
- A key that may be missing has the default None, and None is not written. Where null means something else, the default
  is UNSET.
- A key that older files lack, and every new one has, has a default and stands in a type with omit_defaults=False.
- The string below a field describes it, in the schema and on the reference page.
- Numbers stay as they are: a whole number is written as 1 and not as 1.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast

import msgspec
import orjson
from msgspec import UNSET, Meta, UnsetType


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of a result."""


class NumbersByName(Result, frozen=True, kw_only=True):
    """A part whose numbers can also be read by name."""

    def of(self, name: str) -> float | None:
        """The number with this name. Returns None if there is none."""
        value: float | UnsetType | None = getattr(self, name)
        return None if value is UNSET else value


Number = int | float


def _limits(**limits: int) -> Meta:
    """Limits for the schema. They are not enforced when a file is read: a report of a damaged run still opens."""
    return Meta(extra_json_schema=dict(limits))


Count = Annotated[int, _limits(minimum=0)]
Positive = Annotated[int, _limits(minimum=1)]
Amount = Annotated[Number, _limits(minimum=0)]
Portion = Annotated[Number, _limits(minimum=0, maximum=1)]
"""A share, from 0 to 1."""
FromOne = Annotated[Number, _limits(minimum=1)]
Interval = Annotated[Sequence[Number], Meta(min_length=2, max_length=2)]
"""The two ends of a 95% interval."""
Between = Annotated[Sequence[Number | None], Meta(min_length=2, max_length=2)]
"""The lower and the upper limit of a value; null: no limit."""

Setting = Annotated[object, Meta(extra_json_schema={"x-any": True})]
"""The value of a setting: any JSON value."""

T = TypeVar("T")


def keys(*names: str, pattern: str | None = None) -> Meta:
    """The keys that a table may have."""
    return Meta(extra_json_schema={"propertyNames": {"enum": list(names)} if pattern is None else {"pattern": pattern}})


def one_of(*values: str) -> Meta:
    """The possible texts. Others, from a later version, are also accepted when a file is read."""
    return Meta(extra_json_schema={"enum": list(values)})


def needs(**keys: Sequence[str]) -> Meta:
    """The values of a field, and the other keys that each of them requires."""
    return Meta(
        extra_json_schema={"enum": list(keys), "x-needs": {value: list(names) for value, names in keys.items()}}
    )


def every_key(*names: str, of: str | None = None, optional: Sequence[str] = ()) -> Meta:
    """The keys that a table always has, and the optional ones. `of` names one of the lists of the schema writer: the
    table always has all keys of that list, or the given names among them."""
    return Meta(extra_json_schema={"x-every-key": list(names), "x-of": of, "x-optional": list(optional)})


def to_plain(result: Result | Mapping[str, Result]) -> dict[str, Any]:
    """A result in the form of its file: dicts and lists."""
    return cast("dict[str, Any]", msgspec.to_builtins(result))


def to_bytes(content: Result | Mapping[str, object]) -> bytes:
    """A result in the bytes of its file."""
    return orjson.dumps(msgspec.to_builtins(content), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def rounded(numbers: T) -> T:
    """Numbers rounded to twelve digits: a picosecond in a second, without the noise of the last bits. Infinite numbers
    and NaN become None."""
    return cast("T", _rounded(numbers))


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.12g}") if math.isfinite(value) else None
    if value is None or isinstance(value, int | str):  # Most other values; checking for a Mapping is slowest.
        return value
    if isinstance(value, msgspec.Struct):
        return type(value)(**{name: _rounded(getattr(value, name)) for name in value.__struct_fields__})
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
