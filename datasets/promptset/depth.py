"""How deep what a user gives may be nested: orjson reads 1,024 levels and writes 254."""

from __future__ import annotations

import functools

import orjson

_AROUND = 30
"""A request, a manifest or a summary has a few levels around what it is given."""

TOO_DEEP = "nested too deep to be sent (at most some 200 levels)"


def too_deep(value: object) -> bool:
    """Whether a value is nested too deep for a request with it to be written. Raises TypeError for what JSON cannot hold."""
    try:
        orjson.dumps(functools.reduce(lambda inner, _: [inner], range(_AROUND), value))
    except TypeError as e:
        if "ecursion" not in str(e):
            raise
        return True
    return False
