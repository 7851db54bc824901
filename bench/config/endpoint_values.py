"""Checks the settings that choose an endpoint, and the settings of `--endpoint http`. Each check raises ValueError."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo

from bench.endpoints import ENDPOINTS, choice, expectations
from bench.endpoints.definition import definition_of, is_file, read_definition, shipped
from bench.secrets import MASK, text_holds_mask
from bench.sources.http import ROW_FORMATS, content_of
from bench.sources.http_template import parse_template
from promptset.loaders.http_requests import METHODS


def endpoint(value: str | None, info: ValidationInfo) -> str | None:
    """The name of an endpoint, or a file that defines an API. Raises ValueError."""
    if value is None or value in ENDPOINTS or info.data.get("api") is not None:
        return value
    if is_file(value):
        read_definition(Path(value))
    elif value not in shipped():
        choice.named(value)
    return value


def api(value: dict[str, Any]) -> dict[str, Any]:
    """The definition of an API. Raises ValueError."""
    definition_of(value)
    return value


def method(value: str) -> str:
    """An HTTP method, in capitals."""
    name = value.upper()
    if name not in METHODS:
        raise ValueError(f"{value!r} is not one of {', '.join(METHODS)}")
    return name


def body(value: str) -> str:
    """A text, or @ and the name of a file."""
    content_of(value)
    return _whole(value)


def template(value: str) -> str:
    """The same for a template."""
    parse_template(content_of(value).decode())
    return _whole(value)


def _whole(value: str) -> str:
    if text_holds_mask(value):
        raise ValueError(f"it was stored without its secrets ({MASK}): give it again")
    return value


def row_format(value: str) -> str:
    """A format for the rows of a data set."""
    known = ("auto", *ROW_FORMATS)
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise ValueError(f"{value!r} is not one of {', '.join(known)}{hint}")
    return value


def expectation(value: str) -> str:
    """A condition of success."""
    expectations.parse((value,))
    return value
