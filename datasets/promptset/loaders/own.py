"""What a row may say of its own request, apart from what it asks: `endpoint`, `model`, `headers`, `priority`.

None of them needs to be there: the run's own values hold where a row says nothing. The values of headers may be secret, so no
error shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptset.header_values import header_problems

OF_NO_BODY = ("endpoint", "headers")
"""Beside the fields of a full request body: no API has such fields, so they are about the request."""

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
    return problems + header_problems(row.get("headers"))
