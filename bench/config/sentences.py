"""Turns pydantic's errors about a setting into plain sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_PLAIN = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "int_parsing_size": "has too many digits",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object of fields and values",
    "literal_error": "must be {expected}",
}
"""pydantic's error types in plain words; the limits are filled in from the error."""

_MOST_SHOWN = 200
"""Characters of a value that a sentence quotes."""


def sentences(error: ErrorDetails, place_of: Callable[[str], str]) -> list[str]:
    """Plain sentences for pydantic's error about one field; our validators may report several problems. `place_of`
    returns where a setting was given."""
    loc = [str(part) for part in error["loc"]]
    place = ".".join([place_of(loc[0]), *loc[1:]])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return [f"{place} is missing: give the server's URL, for example --url http://127.0.0.1:8000"]
    if error["type"] == "extra_forbidden":
        return [f"{place} is not known"]
    if error["type"] == "value_error":
        return [f"{place}: {problem[0].lower()}{problem[1:]}" for problem in message.splitlines() if problem]
    if error["type"] in _PLAIN:
        message = _PLAIN[error["type"]].format(**error.get("ctx", {}))
    sentence = f"{place}: {message[0].lower()}{message[1:]}"
    if loc[0] in ("api_key", "header", "url", "targets", "extra_body"):  # These may hold secrets.
        return [sentence]
    given = repr(error["input"])
    return [f"{sentence} (given: {given if len(given) <= _MOST_SHOWN else f'{given[: _MOST_SHOWN - 3]}...'})"]
