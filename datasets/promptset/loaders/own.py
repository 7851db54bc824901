"""What a row may say of its own request, apart from what it asks: `endpoint`, `model`, `headers`, `priority`.

None of them needs to be there: the run's own values hold where a row says nothing. The values of headers may be secret, so no
error shows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from promptset.header_values import header_value

OF_NO_BODY = ("endpoint", "headers")
"""Beside the fields of a full request body: no API has such fields, so they are about the request."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
SET_BY_HTTP = frozenset(["content-length", "transfer-encoding", "host", "connection", "x-request-id"])
MOST_PRIORITY = 2**31 - 1


def own_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the sample that a row without problems says of itself; those that it does not say are left out."""
    own = {key: row[key] for key in ("endpoint", "model", "priority") if row.get(key) is not None}
    if row.get("headers"):
        own["headers"] = tuple((name, value.strip()) for name, value in row["headers"].items())
    return own


def own_problems(row: Mapping[str, Any]) -> list[str]:
    """What is wrong with what a row says of itself, a sentence each."""
    problems = [
        f"{key} must be a string that is not empty"
        for key in ("endpoint", "model")
        if row.get(key) is not None and not (isinstance(row[key], str) and row[key])
    ]
    priority = row.get("priority")
    whole = isinstance(priority, int) and not isinstance(priority, bool) and abs(priority) <= MOST_PRIORITY
    if priority is not None and not whole:
        problems.append(f"priority must be a whole number, not {priority!r}")
    return problems + _header_problems(row.get("headers"))


def _header_problems(headers: object) -> list[str]:
    if headers is None:
        return []
    if not isinstance(headers, dict):
        return ['headers must be an object of names and values, such as {"X-Tenant": "a"}']
    problems = []
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            problems.append(f"headers: {name!r} is not the name of a header")
        elif name.lower() in SET_BY_HTTP:
            problems.append(f"headers: {name} is set for each request: leave it out")
        elif not isinstance(value, str):
            problems.append(f"headers: the value of {name} must be a string")
        else:
            try:
                header_value(value, f"the value of {name}")
            except ValueError as e:
                problems.append(f"headers: {e}")
    return problems
