"""Integers beyond 64 bits: orjson parses them as floats, so they would be sent as different numbers."""

from __future__ import annotations

import json
import re

_MANY_DIGITS = re.compile(rb"-\d{19}|\d{20}")
"""Every number beyond 64 bits has this many digits. Strings may have them too."""
_LEAST, _MOST = -(2**63), 2**64 - 1


class _TooLarge(Exception):
    """A number beyond 64 bits."""


def large_number(text: bytes) -> str | None:
    """The problem with a valid JSON text that contains an integer beyond 64 bits, else None."""
    if _MANY_DIGITS.search(text):
        try:
            json.loads(text, parse_int=_check)
        except _TooLarge as e:
            return f"the number {e} has more than 64 bits and would be sent as another: write it as text"
    return None


def _check(digits: str) -> int:
    if len(digits) > 20 or not _LEAST <= int(digits) <= _MOST:
        raise _TooLarge(digits if len(digits) <= 40 else f"{digits[:40]}...")
    return 0
