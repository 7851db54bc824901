"""Decodes JSON of servers, unless it is nested deeper than any real reply.

Bytes that are no UTF-8 are read as U+FFFD, as the standard of event streams says and clients do. So is half a surrogate pair,
which JSON allows and orjson does not. Servers that cut a text between its bytes or its UTF-16 units send both. A byte order
mark, which some frameworks write before JSON, is dropped.

orjson reads 1,024 levels and writes 254; Python's own `str` and `repr` of such an object end in a RecursionError. So JSON
nested deeper than any reply is refused here, once, and readers may print or write each part of a reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON holds."""
MOST_LEVELS = 128
"""The schema of a tool, or the arguments of a call, has a dozen."""

_SURROGATES = re.compile(
    rb"\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""Escapes that begin with a backslash of their own, whole pairs of surrogates, and halves of a pair."""

SHORT = 2 * MOST_LEVELS
"""Bytes that cannot hold more levels: each has two brackets."""


def loads(data: bytes) -> Any:  # noqa: ANN401 - as orjson's own
    """Raises orjson.JSONDecodeError for what is no JSON, and for what is nested too deep."""
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
    """Whether there are so many brackets, be they in texts: a look that costs little."""
    return len(data) > SHORT and data.count(b"[") + data.count(b"{") > MOST_LEVELS


def _levels(decoded: object) -> int:
    """How many objects and lists lie one in the other, looked at level by level: no deeper call for a deeper level."""
    levels, inside = 0, _containers([decoded])
    while inside:
        levels += 1
        inside = [value for each in inside for value in _containers(each.values() if isinstance(each, dict) else each)]
    return levels


def _containers(values: Iterable[object]) -> list[dict[str, Any] | list[Any]]:
    return [value for value in values if isinstance(value, dict | list)]
