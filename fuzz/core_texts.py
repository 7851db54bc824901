"""The texts that the compiled core cuts from events, against the same in Python. An input: events, a line each.

The first line is the event that the others are compared with; the texts of a template stand in its `"content":"..."`.
"""

from __future__ import annotations

from bench import native
from bench.endpoints.content_template import ContentTemplate
from fuzz.target import Target

_FIELD = b'"content":"'


def read(data: bytes) -> None:
    """One input."""
    assert native.core is not None
    first, *events = data.split(b"\n")
    at = first.find(_FIELD) + len(_FIELD)
    text = first[at : first.find(b'"', at)] if at >= len(_FIELD) else b""
    template = ContentTemplate(_FIELD)
    if text.isascii():
        template.learn(first, text.decode())
    for given in (events, [first, *events], [b"", first], [first[:at], first[at:]]):
        assert template.texts(given) == template.texts_in_python(given)
    # Whatever stands around a text, empty or longer than an event.
    for before, after in ((first[: len(first) // 2], first[len(first) // 2 :]), (b"", first), (first, b""), (b"", b"")):
        found = native.core.texts(events, before, after)
        assert len(found) <= len(events)
        for event, piece in zip(events, found, strict=False):
            assert event == before + piece + after


WORDS = (
    b'{"choices":[{"index":0,"delta":{"content":"',
    b'"}}]}',
    b"\n",
    b"\\n",
    b"\x7f",
    b"\x00",
    "é".encode(),
    b" word",
)
TARGET = Target(
    read, words=WORDS, missing="" if native.core is not None else "the core is not compiled: install with a C compiler"
)
