"""Error messages for settings: where the setting is, what was written, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def flag_of(field: str) -> str:
    """The flag of a field: `output_tokens` is `--output-tokens`."""
    return "--" + field.replace("_", "-")


def sentences_of(error: ErrorDetails, path: Path | None, flags: Mapping[str, object]) -> list[str]:
    """The problems of one field, one sentence each."""
    if not error["loc"]:
        return str(error["ctx"]["error"]).splitlines()
    field, *inside = (str(step) for step in error["loc"])
    where = ".".join([field, *inside])
    if field in flags:
        where = flag_of(field)
    elif path is not None:
        where = f"{path}: {where}"
    cause = error.get("ctx", {}).get("error")
    if cause is not None:  # Our own validators already quote the value.
        return [f"{where}: {problem}" for problem in str(cause).splitlines()]
    written = "***" if field == "api_key" else repr(error["input"])
    wanted = _WANTED.get(error["type"])
    if wanted is None:
        return [f"{where}: {written}: {error['msg'][0].lower()}{error['msg'][1:]}"]
    return [f"{where}: {written}: write {wanted.format(**error.get('ctx', {}))}"]


_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "on or off",
    "bool_type": "on or off",
    "string_type": "a text",
    "string_too_short": "at least {min_length} character",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than_equal": "a number of at most {le:g}",
}
"""What to write instead, by pydantic error type."""
