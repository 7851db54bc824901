"""The lines of live.jsonl for the pages, the API and the list. Damaged lines are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson


class _Second(msgspec.Struct):
    output_tokens: float
    succeeded: int


class _Client(msgspec.Struct):
    loop_lag_ms: float
    cpu: float | None
    run_queue_share: float | None
    slowest: str | None = None


class _Line(msgspec.Struct):
    """The fields a line must have to be shown."""

    second: _Second
    client: _Client
    sent: int
    done: int
    in_flight: int
    failed: int
    left_s: float | None
    share_done: float | None


_DECODER = msgspec.json.Decoder(_Line)


def read(path: Path, after: int = 0) -> list[dict[str, Any] | None]:
    """The complete lines after the first `after`, with None for each damaged line, so that lines can be counted."""
    return read_on(path, after, None)[0]


def read_on(path: Path, after: int, position: int | None) -> tuple[list[dict[str, Any] | None], int | None]:
    """The complete lines after a byte position, and the position after them, so that a follower of a long run need not
    reread it.

    With `position` None, reading starts at the beginning and skips the first `after` lines.
    """
    if path.is_symlink() or not path.is_file():
        return [], position
    with path.open("rb") as file:
        file.seek(position or 0)
        *lines, rest = file.read().split(b"\n")
        end = file.tell() - len(rest)
    return [row(line) for line in (lines[after:] if position is None else lines)], end


def row(line: bytes) -> dict[str, Any] | None:
    """Decode a line. Returns None if it is damaged."""
    try:
        _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    content: dict[str, Any] = orjson.loads(line)
    return content
