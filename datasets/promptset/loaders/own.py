"""The fields of a row about its own request, apart from the content: `endpoint`, `model`, `headers`, `priority`.

All are optional: the run's values apply otherwise. Header values may be secret, so no error shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptset.header_values import header_problems

OF_NO_BODY = ("endpoint", "headers")
"""Fields next to those of a full request body. No API has body fields of these names, so they describe the request."""

MOST_PRIORITY = 2**31 - 1


def own_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a valid row sets for its own request. Unset fields are left out."""
    own = {key: row[key] for key in ("endpoint", "model", "priority") if row.get(key) is not None}
    if row.get("headers"):
        own["headers"] = tuple((name, value.strip()) for name, value in row["headers"].items())
    return own


def own_problems(row: Mapping[str, Any]) -> list[str]:
    """Problems with a row's fields about its own request, a sentence each."""
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
