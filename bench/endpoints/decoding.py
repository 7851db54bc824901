"""Decodes JSON from servers, unless it is nested deeper than any real reply.

Invalid UTF-8 is read as U+FFFD, following the event stream standard and other clients. So is half a surrogate pair,
which JSON allows and orjson does not. Servers that cut a text between its bytes or its UTF-16 units send both. A byte
order mark, which some frameworks write before JSON, is dropped.

orjson reads 1,024 levels and writes 254; Python's own `str` and `repr` of such an object raise RecursionError. So JSON
nested deeper than any real reply is refused here, once, and readers may print or write each part of a reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""Any JSON value."""
MOST_LEVELS = 128
"""The schema of a tool, or the arguments of a call, has a dozen."""

_SURROGATES = re.compile(
    rb"\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""Escapes other than \\u, complete surrogate pairs, and halves of a pair."""

SHORT = 2 * MOST_LEVELS
"""So many bytes cannot hold more levels: each level has two brackets."""


def loads(data: bytes) -> Any:  # noqa: ANN401 - as orjson's own
    """Decode JSON. Raises orjson.JSONDecodeError for invalid JSON, and for JSON nested too deep."""
    try:
        decoded = orjson.loads(data)
    except orjson.JSONDecodeError:
        readable = _SURROGATES.sub(_whole_character, data.decode("utf-8-sig", "replace").encode())
        if readable == data:
            raise
        decoded = orjson.loads(readable)
    if may_be_deep(data) and _levels(decoded) > MOST_LEVELS:
        raise orjson.JSONDecodeError(f"nested deeper than {MOST_LEVELS} levels", "", 0)
    return decoded


def _whole_character(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["half"] else escape[0]


def may_be_deep(data: bytes) -> bool:
    """Whether there are that many brackets, even inside texts: a cheap check."""
    return len(data) > SHORT and data.count(b"[") + data.count(b"{") > MOST_LEVELS


def _levels(decoded: object) -> int:
    """The nesting depth of objects and lists, found level by level, without recursion."""
    levels, inside = 0, _containers([decoded])
    while inside:
        levels += 1
        inside = [value for each in inside for value in _containers(each.values() if isinstance(each, dict) else each)]
    return levels


def _containers(values: Iterable[object]) -> list[dict[str, Any] | list[Any]]:
    return [value for value in values if isinstance(value, dict | list)]
