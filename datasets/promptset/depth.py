"""Limits the nesting depth of user input: orjson reads 1,024 levels but writes only 254."""

from __future__ import annotations

import functools

import orjson

_AROUND = 30
"""Levels that a request, a manifest or a summary may add around the input."""

TOO_DEEP = "nested too deep to be sent (at most some 200 levels)"


def too_deep(value: object) -> bool:
    """Whether a request with this value would be nested too deeply to be serialized. Raises TypeError for values that
    JSON cannot hold."""
    try:
        orjson.dumps(functools.reduce(lambda inner, _: [inner], range(_AROUND), value))
    except TypeError as e:
        if "ecursion" not in str(e):
            raise
        return True
    return False
