"""HTTP headers from users: keys read from a file end in a line break, pasted ones may contain anything."""

from __future__ import annotations

import re

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
SET_BY_HTTP = frozenset(["content-length", "transfer-encoding", "host", "connection", "x-request-id"])
"""Headers that are set for each request."""


def header_value(text: str, label: str) -> str:
    """The value without surrounding white space. Raises ValueError, which names `label` and never shows the value, if no
    header can carry it: non-ASCII characters, or control characters, which would begin another header."""
    value = text.strip()
    if not value.isascii():
        raise ValueError(f"{label} has characters that a header cannot carry: it is not ASCII")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError(
            f"{label} has characters that a header cannot carry: a line break or another control character"
        )
    return value


def api_key(text: str) -> str:
    """An API key for a header. Raises ValueError, which never shows the key."""
    key = header_value(text, "the key")
    if not key:
        raise ValueError("the key is empty: give one, or leave it out")
    return key


def header_problems(headers: object) -> list[str]:
    """Problems with the headers of a row or a file, a sentence each. `headers` may be None."""
    if headers is None:
        return []
    if not isinstance(headers, dict):
        return ['headers must be an object of names and values, such as {"X-Tenant": "a"}']
    problems = []
    for name, value in headers.items():
        if not isinstance(name, str) or not HEADER_NAME.fullmatch(name):
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
