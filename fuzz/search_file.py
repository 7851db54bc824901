"""search.json as --resume reads it, up to what the search does next."""

from __future__ import annotations

import orjson

from bench.errors import UsageError
from bench.load_search import search_file
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input: the content of the file. The configuration is the one that it names."""
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if not isinstance(content, dict):
        return
    try:
        search = search_file.from_json(content, str(content.get("config_sha256")))
    except UsageError:
        return
    search.next()
    orjson.dumps(search_file.to_json(search, "x"))


WORDS = (
    b"visits",
    b"means",
    b"settings",
    b"objectives",
    b"load",
    b"allowed",
    b"text",
    b"load_kind",
    b"rate",
    b"concurrency",
)
TARGET = Target(read, form="json", words=WORDS)
