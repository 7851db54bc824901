"""Values of HTTP headers as people give them: keys read from a file end in a line break, pasted ones hold anything."""

from __future__ import annotations


def header_value(text: str, what: str) -> str:
    """The value without the white space around it. Raises ValueError, which names `what` and never shows the value, for one
    that no header can carry: characters that are not ASCII, or control characters, which would begin another header."""
    value = text.strip()
    if not value.isascii():
        raise ValueError(f"{what} has characters that a header cannot carry: it is not ASCII")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError(f"{what} has characters that a header cannot carry: a line break or another control character")
    return value


def api_key(text: str) -> str:
    """The key of an API, as a header carries it. Raises ValueError, which never shows the key."""
    key = header_value(text, "the key")
    if not key:
        raise ValueError("the key is empty: give one, or leave it out")
    return key
