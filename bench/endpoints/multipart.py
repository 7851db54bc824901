"""Bodies of multipart/form-data: one file and other fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

BOUNDARY = "trueload-9f1c6a0d52e84b7fb3d07c1e58a4962b"
"""The same in every body, so that every request of a run has the same head."""
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def encoded(fields: Mapping[str, Any], file: tuple[str, bytes]) -> bytes:
    """The body: each field (a list: once for each value), then the file, as `file`. Raises ValueError if the file
    contains the boundary."""
    name, content = file
    if BOUNDARY.encode() in content:
        raise ValueError(f"the file {name} holds the boundary of the request's parts, {BOUNDARY}")
    parts = [
        _head(f'name="{_quoted(key)}"') + _text(value).encode() + b"\r\n"
        for key, values in fields.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    parts.append(_head(f'name="file"; filename="{_quoted(name)}"', "application/octet-stream") + content + b"\r\n")
    return b"".join((*parts, f"--{BOUNDARY}--\r\n".encode()))


def _head(disposition: str, kind: str | None = None) -> bytes:
    line = "" if kind is None else f"Content-Type: {kind}\r\n"
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{line}\r\n".encode()


def _quoted(name: str) -> str:
    """A name escaped as in browsers."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
