"""What all results are made of: the base of their types, numbers with limits, and tables whose keys are names.

A result is a tree of frozen values. Its types say what a file holds: msgspec reads and writes the file by them, and
`schema.py` makes its JSON schema of them. The rules:

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
    """A part of a result."""


class NumbersByName(Result, frozen=True, kw_only=True):
    """A part whose numbers are also read by their names."""

    def of(self, name: str) -> float | None:
        """The number with this name. Returns None if there is none."""
        value: float | UnsetType | None = getattr(self, name)
        return None if value is UNSET else value


Number = int | float


def _limits(**limits: int) -> Meta:
    """Limits for the schema. Reading does not hold a file to them: a report of a damaged run still opens."""
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
"""The least and the greatest value that something can have; null: no limit."""

Setting = Annotated[object, Meta(extra_json_schema={"x-any": True})]
"""The value of a setting: whatever JSON has."""

T = TypeVar("T")


def keys(*names: str, pattern: str | None = None) -> Meta:
    """The keys that a table may have."""
    return Meta(extra_json_schema={"propertyNames": {"enum": list(names)} if pattern is None else {"pattern": pattern}})


def one_of(*values: str) -> Meta:
    """The texts that there are. Reading takes others too: those of a later version."""
    return Meta(extra_json_schema={"enum": list(values)})


def needs(**keys: Sequence[str]) -> Meta:
    """The values of a field, and the keys beside it that each of them needs."""
    return Meta(
        extra_json_schema={"enum": list(keys), "x-needs": {value: list(names) for value, names in keys.items()}}
    )


def every_key(*names: str, of: str | None = None, optional: Sequence[str] = ()) -> Meta:
    """The keys that a table always has, and the ones that it may have. `of` names a list of keys that the writer of schemas
    has: the table always has all of them, or the given names among them."""
    return Meta(extra_json_schema={"x-every-key": list(names), "x-of": of, "x-optional": list(optional)})


def to_plain(result: Result | Mapping[str, Result]) -> dict[str, Any]:
    """A result as its file has it: dicts and lists."""
    return cast("dict[str, Any]", msgspec.to_builtins(result))


def to_bytes(content: Result | Mapping[str, object]) -> bytes:
    """A result as it is written to its file."""
    return orjson.dumps(msgspec.to_builtins(content), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def rounded(numbers: T) -> T:
    """Numbers to twelve digits: a picosecond in a second, and no noise of the last bit. What is not finite becomes None."""
    return cast("T", _rounded(numbers))


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.12g}") if math.isfinite(value) else None
    if value is None or isinstance(value, int | str):  # Most of the others; to ask for a Mapping takes longest.
        return value
    if isinstance(value, msgspec.Struct):
        return type(value)(**{name: _rounded(getattr(value, name)) for name in value.__struct_fields__})
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
